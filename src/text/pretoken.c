#include "text/pretoken.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/vocab.h"

/* White_Space, as the inside of a character class. */
#define WS                                                                                         \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

#define OTHER " ?[^" WS "\\p{L}\\p{N}]+"          // neither space, letter nor number
#define SPACES "[" WS "]+(?![^" WS "])|[" WS "]+" // all but the last before a word
#define LINES "[" WS "]*[\\r\\n]+|" SPACES        // line ends with the space in front of them
#define SUFFIX "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])" // 's 't 'm 'd 're 've 'll
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"                // letters with one thing in front

#define GPT2 "'(?:[stmd]|re|ve|ll)| ?\\p{L}+| ?\\p{N}+|" OTHER "|" SPACES
#define LLAMA3 SUFFIX "|" WORD "|\\p{N}{1,3}|" OTHER "[\\r\\n]*|" LINES
#define QWEN2 SUFFIX "|" WORD "|\\p{N}|" OTHER "[\\r\\n]*|" LINES

/* tekken cuts before capitals: CamelCase is two words. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define FRONT "[^\\r\\n\\p{L}\\p{N}]?"
#define TEKKEN                                                                                     \
    FRONT UPPER "*" LOWER "+|" FRONT UPPER "+" LOWER "*|\\p{N}|" OTHER "[\\r\\n/]*|" LINES

/* Cased letters, as deepseek-llm lists them. */
#define CASED                                                                                      \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"                 \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}"         \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}"                  \
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"                       \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"                 \
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}"                 \
    "\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}"                 \
    "\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}"         \
    "\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}"                           \
    "\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}"                 \
    "\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}"          \
    "\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}"                  \
    "\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"         \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}"                  \
    "\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}"                 \
    "\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"                 \
    "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}"         \
    "\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"
#define DEEPSEEK_MARKS                                                                             \
    "!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}"
#define DEEPSEEK_CJK "\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}"

#define NAMES_DEFAULT "default"
#define NAMES_GPT2                                                                                 \
    "gpt-2,phi-2,mpt,olmo,jais,gigachat,a.x-4.0,mellum,trillion,granite-docling,exaone4"
#define NAMES_LLAMA3 "llama-bpe,llama3,llama-v3,falcon3,falcon-h1,pixtral,midm-2.0,lfm2"
#define NAMES_LLAMA3_PLAIN "smaug-bpe,dbrx,glm4,chatglm-bpe"
#define NAMES_QWEN2                                                                                \
    "qwen2,deepseek-r1-qwen,megrez,stablelm2,hunyuan,solar-open,grok-2,kormo,f2llmv2"
#define NAMES_SMOLLM "smollm,starcoder,refact,command-r,codeshell,exaone,minerva-7b,mellum2"
#define NAMES_DEEPSEEK_LLM "deepseek-llm"
#define NAMES_DEEPSEEK_CODER "deepseek-coder"
#define NAMES_TEKKEN "tekken"

struct pretoken_rule {
    const char *names; // separated by commas; the first is the rule's own
    bool ignore_merges, add_bos;
    const char *pattern[PRETOKEN_PATTERNS_MAX]; // in order; NULL ends them early
};

static const struct pretoken_rule RULES[] = {
    { .names = NAMES_DEFAULT,
      .pattern = { "[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
    { .names = NAMES_GPT2, .pattern = { GPT2 } },
    { .names = NAMES_LLAMA3, .ignore_merges = true, .add_bos = true, .pattern = { LLAMA3 } },
    { .names = NAMES_LLAMA3_PLAIN, .pattern = { LLAMA3 } },
    { .names = NAMES_QWEN2, .pattern = { QWEN2 } },
    { .names = NAMES_SMOLLM, .pattern = { "\\p{N}", GPT2 } },
    { .names = NAMES_DEEPSEEK_LLM,
      .pattern = { "[\\r\\n]", "[" WS "]?[" CASED "]+", "[" WS "]?[" DEEPSEEK_MARKS "]+",
                   // "\s+$"; the look-behind spares a start at each space of a long run
                   "(?<![" WS "])[" WS "]++\\z", "[" DEEPSEEK_CJK "]+", "\\p{N}+" } },
    { .names = NAMES_DEEPSEEK_CODER,
      .pattern = { "[\\r\\n]", "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+", "[" DEEPSEEK_CJK "]+",
                   "\\p{N}" } },
    { .names = NAMES_TEKKEN, .ignore_merges = true, .add_bos = true, .pattern = { TEKKEN } },
};

const char *vocab_pre_names(void)
{
    return NAMES_DEFAULT "," NAMES_GPT2 "," NAMES_LLAMA3 "," NAMES_LLAMA3_PLAIN "," NAMES_QWEN2
                         "," NAMES_SMOLLM "," NAMES_DEEPSEEK_LLM "," NAMES_DEEPSEEK_CODER
                         "," NAMES_TEKKEN;
}

static bool lists(const char *names, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = names; *at; at += strcspn(at, ","), at += *at == ',') {
        if (strcspn(at, ",") == len && memcmp(at, name, len) == 0)
            return true;
    }
    return false;
}

const struct pretoken_rule *pretoken_find(const char *name)
{
    for (size_t i = 0; i < sizeof RULES / sizeof RULES[0]; i++) {
        if (lists(RULES[i].names, name))
            return &RULES[i];
    }
    return NULL;
}

bool pretoken_ignores_merges(const struct pretoken_rule *rule)
{
    return rule->ignore_merges;
}

bool pretoken_adds_bos(const struct pretoken_rule *rule)
{
    return rule->add_bos;
}

static void *memory_get(size_t bytes, void *unused)
{
    (void)unused;
    return mem_new(bytes, 1);
}

static void memory_put(void *p, void *unused)
{
    (void)unused;
    mem_free(p);
}

static enum status compile(struct pretoken *p, const char *pattern, struct note *why)
{
    int error;
    PCRE2_SIZE at;
    enum status st = FULL;
    pcre2_compile_context *ctx = pcre2_compile_context_create(p->memory);
    if (!ctx)
        goto done;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP, &error, &at, ctx);
    assert(code || error == PCRE2_ERROR_NOMEMORY || error == PCRE2_ERROR_HEAP_FAILED);
    if (!code)
        goto done;
    p->code[p->n_code++] = code;
    // Where the system grants no memory that is writable and executable the interpreter does it,
    // slower.
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    st = OK;
done:
    if (st != OK)
        note_set(why, "out of memory for the patterns of pre-tokenizer '%s'", p->rule->names);
    pcre2_compile_context_free(ctx);
    return st;
}

enum status pretoken_open(struct pretoken *p, const struct pretoken_rule *rule, struct note *why)
{
    enum status st = FULL;
    *p = (struct pretoken){ .rule = rule };
    p->memory = pcre2_general_context_create(memory_get, memory_put, NULL);
    p->limits = p->memory ? pcre2_match_context_create(p->memory) : NULL;
    if (!p->limits) {
        note_set(why, "out of memory for a pre-tokenizer");
        goto fail;
    }
    pcre2_set_match_limit(p->limits, 10 * 1000 * 1000);
    for (int i = 0; i < PRETOKEN_PATTERNS_MAX && rule->pattern[i]; i++) {
        st = compile(p, rule->pattern[i], why);
        if (st != OK)
            goto fail;
    }
    return OK;
fail:
    pretoken_close(p);
    return st;
}

void pretoken_close(struct pretoken *p)
{
    for (int i = 0; i < p->n_code; i++)
        pcre2_code_free(p->code[i]);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->memory);
    *p = (struct pretoken){ 0 };
}

struct splitter {
    const struct pretoken *p;
    pcre2_match_data *match;
    const char *text; // all of it, to say where something happened
    pretoken_take *take;
    void *ctx;
};

static enum status gave_up(const struct splitter *s, const char *at, int error, struct note *why)
{
    if (error == PCRE2_ERROR_NOMEMORY || error == PCRE2_ERROR_HEAPLIMIT) {
        note_set(why, "out of memory while splitting text into words");
        return FULL;
    }
    note_set(why,
             "cannot split the text into words: pattern of pre-tokenizer '%.*s' gave up at byte "
             "%zu (PCRE2 error %d); shorten the run of equal characters there",
             (int)strcspn(s->p->rule->names, ","), s->p->rule->names, (size_t)(at - s->text),
             error);
    return BAD_INPUT;
}

/* Applies pattern number k and those after it to one word of the patterns before. */
static enum status cut(const struct splitter *s, int k, const char *word, size_t len,
                       struct note *why)
{
    if (k == s->p->n_code)
        return s->take(s->ctx, word, len, why);
    enum status st = OK;
    size_t done = 0;
    while (st == OK && done < len) {
        int n = pcre2_match(s->p->code[k], (PCRE2_SPTR)word, len, done, PCRE2_NO_UTF_CHECK,
                            s->match, s->p->limits);
        if (n < 0 && n != PCRE2_ERROR_NOMATCH)
            return gave_up(s, word + done, n, why);
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->match);
        size_t from = n < 0 ? len : at[0], to = n < 0 ? len : at[1];
        assert(n < 0 || to > from); // no pattern of ours matches nothing
        if (from > done)
            st = cut(s, k + 1, word + done, from - done, why);
        if (st == OK && to > from)
            st = cut(s, k + 1, word + from, to - from, why);
        done = to;
    }
    return st;
}

/* How many of the first bytes are valid UTF-8 (`valid`), or are not. */
static size_t run_of(const char *text, size_t len, bool valid)
{
    size_t at = 0;
    while (at < len) {
        uint32_t c;
        size_t n = utf8_read(text + at, len - at, &c);
        if ((n > 0) != valid)
            break;
        at += n ? n : 1;
    }
    return at;
}

enum status pretoken_split(const struct pretoken *p, const char *text, size_t len,
                           pretoken_take *take, void *ctx, struct note *why)
{
    enum status st = OK;
    struct splitter s = { .p = p, .text = text, .take = take, .ctx = ctx };
    s.match = pcre2_match_data_create(1, p->memory);
    if (!s.match) {
        note_set(why, "out of memory while splitting text into words");
        return FULL;
    }
    for (size_t done = 0; st == OK && done < len;) {
        size_t n = run_of(text + done, len - done, true);
        if (n)
            st = cut(&s, 0, text + done, n, why);
        done += n;
        n = run_of(text + done, len - done, false);
        if (st == OK && n)
            st = take(ctx, text + done, n, why);
        done += n;
    }
    pcre2_match_data_free(s.match);
    return st;
}
