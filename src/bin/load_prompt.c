#include "bin/load_prompt.h"

#include "base/json.h"
#include "base/mem.h"

enum { N_WORD = 256, DIGITS = 4 };

/* Streams of the seed's random numbers. */
enum { OF_PREFIX = 1, OF_OWN = 2, OF_LENGTH = 3, OF_THINK = 4 };

static const char *const words[N_WORD] = {
    "the",    "of",     "and",      "to",       "in",      "is",      "that",    "for",
    "it",     "as",     "was",      "with",     "be",      "by",      "on",      "not",
    "he",     "his",    "but",      "at",       "are",     "this",    "have",    "from",
    "or",     "had",    "an",       "they",     "which",   "one",     "you",     "were",
    "all",    "her",    "she",      "there",    "would",   "their",   "we",      "him",
    "been",   "has",    "when",     "who",      "will",    "no",      "more",    "if",
    "out",    "so",     "said",     "what",     "up",      "its",     "about",   "than",
    "into",   "them",   "can",      "only",     "other",   "time",    "new",     "some",
    "could",  "these",  "two",      "may",      "first",   "then",    "do",      "any",
    "like",   "my",     "now",      "over",     "such",    "our",     "man",     "me",
    "even",   "most",   "made",     "after",    "also",    "did",     "many",    "off",
    "before", "must",   "well",     "back",     "through", "years",   "much",    "where",
    "your",   "way",    "down",     "should",   "because", "long",    "each",    "just",
    "state",  "those",  "people",   "too",      "how",     "little",  "good",    "world",
    "make",   "very",   "year",     "still",    "see",     "own",     "work",    "men",
    "day",    "get",    "here",     "old",      "life",    "both",    "between", "being",
    "under",  "three",  "never",    "know",     "same",    "last",    "another", "while",
    "us",     "might",  "great",    "go",       "come",    "since",   "against", "right",
    "came",   "take",   "used",     "himself",  "few",     "house",   "use",     "place",
    "during", "high",   "without",  "again",    "home",    "around",  "small",   "however",
    "found",  "part",   "school",   "every",    "does",    "number",  "away",    "always",
    "next",   "left",   "country",  "family",   "set",     "want",    "often",   "almost",
    "money",  "city",   "side",     "best",     "light",   "second",  "power",   "night",
    "public", "water",  "whole",    "large",    "early",   "hand",    "head",    "once",
    "given",  "fact",   "business", "car",      "case",    "word",    "room",    "body",
    "land",   "line",   "read",     "book",     "kind",    "name",    "south",   "north",
    "west",   "east",   "road",     "food",     "green",   "white",   "red",     "black",
    "blue",   "tree",   "sea",      "air",      "fire",    "earth",   "music",   "game",
    "team",   "player", "market",   "price",    "cost",    "service", "report",  "paper",
    "letter", "story",  "idea",     "plan",     "level",   "field",   "form",    "type",
    "class",  "group",  "order",    "law",      "court",   "war",     "peace",   "king",
    "love",   "death",  "child",    "children", "woman",   "women",   "mother",  "father",
};

/* Random numbers of one thing alone: they do not depend on what else was drawn. */
static struct rng rng_of(uint64_t seed, uint32_t stream, enum load_part part, uint32_t i)
{
    return rng_seeded(seed, (uint64_t)i << 8 | (uint64_t)part << 4 | stream);
}

static void add_word(struct buf *out, uint32_t word)
{
    if (out->len)
        buf_add_byte(out, ' ');
    buf_add_text(out, words[word % N_WORD]);
}

static void add_words(struct buf *out, struct rng *rng, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        add_word(out, rng_u32(rng));
}

/* L2: the lowest digit first, so that neighbours part at once. */
static void add_own(const struct load_prompts *p, enum load_part part, uint32_t i, uint32_t n,
                    struct buf *out)
{
    struct rng rng = rng_of(p->shape->seed, OF_OWN, part, i);
    const uint32_t digits = n < DIGITS ? n : DIGITS;
    for (uint32_t k = 0; k < digits; k++)
        add_word(out, (uint32_t)(p->shape->seed + part) + (i >> 8 * k));
    add_words(out, &rng, n - digits);
}

enum status load_prompts_open(struct load_prompts *p, const struct load_shape *shape,
                              struct note *why)
{
    bool failed = false;
    *p = (struct load_prompts){ .shape = shape,
                                .prefix = mem_new(shape->n_prefix, sizeof *p->prefix) };
    for (uint32_t k = 0; p->prefix && k < shape->n_prefix; k++) {
        struct rng rng = rng_of(shape->seed, OF_PREFIX, LOAD_COUNTED, k);
        for (uint32_t i = 0; i < DIGITS && i < shape->prefix_tokens; i++)
            add_word(&p->prefix[k], (uint32_t)shape->seed + (k >> 8 * i));
        if (shape->prefix_tokens > DIGITS)
            add_words(&p->prefix[k], &rng, shape->prefix_tokens - DIGITS);
        failed |= p->prefix[k].failed;
    }
    if (p->prefix && !failed)
        return OK;
    note_set(why, "no memory for %u prefixes of %u tokens", shape->n_prefix, shape->prefix_tokens);
    load_prompts_close(p);
    return FULL;
}

void load_prompts_close(struct load_prompts *p)
{
    for (uint32_t k = 0; p->prefix && k < p->shape->n_prefix; k++)
        buf_close(&p->prefix[k]);
    mem_free(p->prefix);
    *p = (struct load_prompts){ 0 };
}

static json_t *message(const char *role, const struct buf *text)
{
    return json_pack("{ss ss%}", "role", role, "content", buf_text(text), text->len);
}

static void add_chat(json_t *body, const struct buf *prefix, const struct buf *own)
{
    json_t *messages = json_array();
    if (prefix->len)
        json_array_append_new(messages, message("system", prefix));
    json_array_append_new(messages, message("user", own));
    json_object_set_new(body, "messages", messages);
}

static enum status add_text_prompt(json_t *body, const struct buf *prefix, const struct buf *own)
{
    struct buf whole = { 0 };
    buf_add(&whole, buf_text(prefix), prefix->len);
    if (prefix->len && own->len)
        buf_add_byte(&whole, ' ');
    buf_add(&whole, buf_text(own), own->len);
    json_object_set_new(body, "prompt", json_stringn(buf_text(&whole), whole.len));
    const bool failed = whole.failed;
    buf_close(&whole);
    return failed ? FULL : OK;
}

static json_t *settings(const struct load_shape *s, uint32_t n_output)
{
    json_t *body =
        json_pack("{ss* si sf sb s{sb}}", "model", s->model, "max_tokens", (int)n_output,
                  "temperature", s->temperature, "stream", 1, "stream_options", "include_usage", 1);
    if (body && s->ignore_eos)
        json_object_set_new(body, "ignore_eos", json_true());
    return body;
}

enum status load_prompt_body(const struct load_prompts *p, enum load_part part, uint32_t i,
                             struct buf *out, uint32_t *n_output)
{
    const struct load_shape *s = p->shape;
    const struct buf none = { 0 };
    const struct buf *prefix = part == LOAD_WARM_UP ? &none : &p->prefix[i % s->n_prefix];
    struct rng rng = rng_of(s->seed, OF_LENGTH, part, i);
    struct buf own = { 0 };
    enum status st = OK;

    uint32_t n_own = load_dist_count(&s->own, &rng, 1, LOAD_TOKENS_MAX);
    *n_output = load_dist_count(&s->output, &rng, 1, LOAD_TOKENS_MAX);
    if (s->trace && part == LOAD_COUNTED) {
        n_own = s->trace->row[i].n_prompt;
        *n_output = s->trace->row[i].n_output;
    }
    if (part == LOAD_WARM_PREFIX)
        *n_output = 1;
    add_own(p, part, i, n_own, &own);
    json_t *body = settings(s, *n_output);
    if (s->text)
        st = add_text_prompt(body, prefix, &own);
    else
        add_chat(body, prefix, &own);
    if (s->extra)
        json_object_update(body, s->extra);
    buf_clear(out);
    json_to_text(body, out);
    if (st == OK && (!body || own.failed || out->failed))
        st = FULL;
    json_decref(body);
    buf_close(&own);
    return st;
}

double load_think_ms(const struct load_shape *shape, const struct load_dist *think, uint32_t i)
{
    struct rng rng = rng_of(shape->seed, OF_THINK, LOAD_COUNTED, i);
    return load_dist_draw(think, &rng);
}
