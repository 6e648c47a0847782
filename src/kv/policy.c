#include "kv/policy.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/words.h"
#include "kv/option.h"
#include "kv/policy/all.h"

static const struct kv_policy kv_policy_full = {
    .name = "full",
    .source = "the model as it was trained",
    .summary = "keeps every row",
    .options_bytes = sizeof(struct kv_common),
};

const struct kv_policy *const kv_policies[] = {
    &kv_policy_full,     &kv_policy_auto,       &kv_policy_window,
    &kv_policy_random,   &kv_policy_h2o,        &kv_policy_h2o_chunked,
    &kv_policy_snapkv,   &kv_policy_tova,       &kv_policy_keydiff,
    &kv_policy_expected, &kv_policy_kvzip,      &kv_policy_epicache,
    &kv_policy_quest,    &kv_policy_sentencekv, NULL,
};

/* ---- options of a policy ---- */

#define COMMON(field) offsetof(struct kv_common, field)

const struct kv_option kv_common_options[KV_N_COMMON] = {
    { "budget", KV_OPTION_AMOUNT, COMMON(budget), "rows", "20%", NULL, 1, 16777216, NULL,
      "rows of each kv_head that stay, on average, or that a query reads: a number, a share of "
      "what "
      "there is, or bytes of KV" },
    { "sinks", KV_OPTION_COUNT, COMMON(n_sink), "rows", "0", "4", 0, 65536, NULL,
      "first positions that always stay, or are read" },
    { "recent", KV_OPTION_AMOUNT, COMMON(recent), "rows", "0", NULL, 0, 16777216, NULL,
      "newest positions that always stay, or are read, part of the budget: a number, or a share of "
      "it" },
    { "block", KV_OPTION_COUNT, COMMON(block), "tokens", "0", NULL, 0, 16777216, NULL,
      "drop also after each so many tokens of a prompt, which bounds its memory; 0: only at its "
      "end" },
    { "every", KV_OPTION_AMOUNT, COMMON(every), "tokens", "0", "64", 0, 16777216, NULL,
      "drop again after each so many generated tokens: a number, or a share of the budget in whole "
      "blocks of 64; 0: never" },
    { "shares", KV_OPTION_WORD, COMMON(shares), NULL, "equal", NULL, 0, 0,
      "equal profile layers "
      "shuffled",
      "how the budget is dealt to heads: the same to all, as the model's profile has it, by its "
      "layers alone, as much as their keys change when rows are missing, or (a control) as the "
      "profile has it, but to other heads" },
    { "round", KV_OPTION_SWITCH, COMMON(round), NULL, "off", NULL, 0, 0, NULL,
      "budgets of heads fill whole blocks of 64 rows, so that memory falls to the budget" },
    { "even", KV_OPTION_NUMBER, COMMON(even), NULL, "0", NULL, 0, 1, NULL,
      "with shares=profile or layers, the part of a budget of 10% that heads get by what text that "
      "follows looks at (alike, where the profile does not say); of less, what is left for shares "
      "shrinks as the root of the budget, and with whole it grows so of more" },
    { "even_block", KV_OPTION_NUMBER, COMMON(even_block), NULL, "0", NULL, 0, 1, NULL,
      "the same where `block` is set and heads get parts, not all rows: what a head that retrieves "
      "drops at a block's end is gone" },
    { "whole", KV_OPTION_WORD, COMMON(whole), NULL, "off", NULL, 0, 0, "off on profile",
      "with shares=profile or layers: one head after the other gets all rows, the largest share "
      "first, instead of each a part; or as the profile says" },
    { "alpha", KV_OPTION_NUMBER, COMMON(alpha), NULL, "2", NULL, 0, 8, NULL,
      "with shares=layers, the power of how much a layer's keys change that its share follows; 0: "
      "all the same" },
};
static const char *common_text(const struct kv_common_text *t, uint32_t i)
{
    const char *const text[KV_N_COMMON] = { t->budget,     t->sinks,  t->recent, t->block,
                                            t->every,      t->shares, t->round,  t->even,
                                            t->even_block, t->whole,  t->alpha };
    return text[i];
}

static bool has_options(const struct kv_policy *p)
{
    return p->rank || p->select;
}

const struct kv_option *kv_policy_option(const struct kv_policy *p, uint32_t i)
{
    const uint32_t n_common = p->rank ? KV_N_COMMON : KV_N_COMMON_SELECT;
    if (!has_options(p))
        return NULL;
    if (i < n_common)
        return &kv_common_options[i];
    return i - n_common < p->n_option ? &p->option[i - n_common] : NULL;
}

const char *kv_option_preset(const struct kv_policy *p, const struct kv_option *o, bool paper)
{
    const bool is_common = o >= kv_common_options && o < kv_common_options + KV_N_COMMON;
    const uint32_t i = is_common ? (uint32_t)(o - kv_common_options) : 0;
    const char *of_paper = is_common ? common_text(&p->paper, i) : NULL;
    const char *of_tuned = is_common ? common_text(&p->tuned, i) : NULL;
    if (!paper && of_tuned)
        return of_tuned;
    if (!paper && o->tuned)
        return o->tuned;
    return of_paper ? of_paper : o->paper;
}

/* ---- choices ---- */

static const struct kv_policy *find_policy(const char *name, struct note *why)
{
    struct nearest near = { .typed = name };
    char all[256] = "";
    for (const struct kv_policy *const *p = kv_policies; *p; p++) {
        if (strcmp((*p)->name, name) == 0)
            return *p;
        nearest_try(&near, (*p)->name, strlen((*p)->name));
        kv_text_join(all, sizeof all, (*p)->name);
    }
    note_set(why, "there is no KV policy '%.40s'%s%s%s; there are: %s", name,
             near.best ? " (did you mean '" : "", near.best ? near.best : "",
             near.best ? "'?)" : "", all);
    return NULL;
}

static const struct kv_option *find_option(const struct kv_policy *p, const char *name,
                                           struct note *why)
{
    const struct kv_option *o;
    struct nearest near = { .typed = name };
    char all[384] = "preset";
    nearest_try(&near, all, strlen(all));
    for (uint32_t i = 0; (o = kv_policy_option(p, i)); i++) {
        if (strcmp(o->name, name) == 0)
            return o;
        nearest_try(&near, o->name, strlen(o->name));
        kv_text_join(all, sizeof all, o->name);
    }
    if (!has_options(p)) {
        note_set(why, "KV policy '%s' has no options, '%.40s' is none of it", p->name, name);
        return NULL;
    }
    note_set(why, "KV policy '%s' has no option '%.40s'%s%s%s; it has: %s", p->name, name,
             near.best ? " (did you mean '" : "", near.best ? near.best : "",
             near.best ? "'?)" : "", all);
    return NULL;
}

static void set_presets(struct kv_choice *c, bool paper)
{
    const struct kv_option *o;
    for (uint32_t i = 0; (o = kv_policy_option(c->policy, i)); i++) {
        struct note why;
        enum status st =
            kv_option_set(o, c->options.bytes, kv_option_preset(c->policy, o, paper), &why);
        assert(st == OK); // a default of the table is within its bounds (tests/unit/test_policy)
    }
}

enum status kv_choice_of(struct kv_choice *out, const char *name, struct note *why)
{
    const struct kv_policy *p = find_policy(name, why);
    if (!p)
        return BAD_INPUT;
    assert(p->options_bytes <= sizeof out->options);
    *out = (struct kv_choice){ .policy = p };
    set_presets(out, false);
    return OK;
}

static enum status set_preset(struct kv_choice *c, const char *value, struct note *why)
{
    const bool paper = strcmp(value, "paper") == 0;
    if (!paper && strcmp(value, "tuned") != 0) {
        note_set(why, "preset: '%.40s' is none of: paper tuned", value);
        return BAD_INPUT;
    }
    set_presets(c, paper);
    return OK;
}

enum status kv_choice_set(struct kv_choice *c, const char *name, const char *value,
                          struct note *why)
{
    if (strcmp(name, "preset") == 0 && has_options(c->policy))
        return set_preset(c, value, why);
    const struct kv_option *o = find_option(c->policy, name, why);
    return o ? kv_option_set(o, c->options.bytes, value, why) : BAD_INPUT;
}

bool kv_choice_drops(const struct kv_choice *c)
{
    const struct kv_policy *p = c->policy;
    return p->rank && !(p->keep_factor && isinf(p->keep_factor(c->options.bytes)));
}

uint32_t kv_choice_recent_least(const struct kv_choice *c)
{
    return c->policy->recent_least ? c->policy->recent_least(c->options.bytes) : 0;
}

/* The newest rows that stay of a budget in rows. */
static double recent_of(const struct kv_choice *c)
{
    const struct kv_common *o = &c->options.common;
    if (o->recent.unit == KV_ROWS)
        return o->recent.n;
    return fmax(floor(o->budget.n * o->recent.n / 100), kv_choice_recent_least(c));
}

enum status kv_choice_check(const struct kv_choice *c, struct note *why)
{
    const struct kv_common *common_of = &c->options.common;
    if (!has_options(c->policy))
        return OK;
    if (common_of->recent.unit == KV_BYTES) {
        note_set(why,
                 "recent: bytes are for the budget; give rows, or a share of it (recent=25%%)");
        return BAD_INPUT;
    }
    if (common_of->every.unit == KV_BYTES) {
        note_set(why,
                 "every: bytes are for the budget; give tokens, or a share of it (every=16%%)");
        return BAD_INPUT;
    }
    const double floors = common_of->n_sink + recent_of(c);
    if (common_of->budget.unit == KV_ROWS && common_of->budget.n < floors) {
        note_set(why,
                 "budget: %.0f rows are fewer than the %.0f that always stay (sinks=%u and "
                 "recent); raise the budget or lower those",
                 common_of->budget.n, floors, common_of->n_sink);
        return BAD_INPUT;
    }
    return c->policy->check ? c->policy->check(c->options.bytes, why) : OK;
}

/* ---- as text ---- */

enum { WORD_ROOM = 64 }; // of a name or a value

/* The next of `*text` up to one of `ends`, or to its end. False: it is too long. */
static bool take_word(const char **text, const char *ends, char word[WORD_ROOM])
{
    size_t n = strcspn(*text, ends);
    if (n >= WORD_ROOM)
        return false;
    memcpy(word, *text, n);
    word[n] = '\0';
    *text += n;
    return true;
}

/* One "name=value" of a list, and the comma behind it. */
static enum status take_option(const char **text, char name[WORD_ROOM], char value[WORD_ROOM],
                               struct note *why)
{
    const char *at = *text;
    if (!take_word(text, "=,", name) || !*name || **text != '=') {
        note_set(why, "'%.60s' is no option: they are written name=value, with commas between", at);
        return BAD_INPUT;
    }
    ++*text;
    if (!take_word(text, ",", value)) {
        note_set(why, "%s: a value of more than %d letters", name, WORD_ROOM - 1);
        return BAD_INPUT;
    }
    if (**text == ',' && !*++*text) {
        note_set(why, "an option is missing behind the last comma");
        return BAD_INPUT;
    }
    return OK;
}

/* BAD_INPUT: an option stands in the list twice. */
static enum status check_once(const char *text, struct note *why)
{
    char name[WORD_ROOM], value[WORD_ROOM], other[WORD_ROOM];
    enum status st = OK;
    while (st == OK && *text) {
        st = take_option(&text, name, value, why);
        for (const char *rest = text; st == OK && *rest;) {
            st = take_option(&rest, other, value, why);
            if (st != OK || strcmp(name, other) != 0)
                continue;
            note_set(why, "%s is given twice", name);
            st = BAD_INPUT;
        }
    }
    return st;
}

/* The preset of a list comes first wherever it stands: `only_preset` walks for it alone. */
static enum status set_options(struct kv_choice *c, const char *text, bool only_preset,
                               struct note *why)
{
    enum status st = OK;
    while (st == OK && *text) {
        char name[WORD_ROOM], value[WORD_ROOM];
        st = take_option(&text, name, value, why);
        if (st == OK && (strcmp(name, "preset") == 0) == only_preset)
            st = kv_choice_set(c, name, value, why);
    }
    return st;
}

enum status kv_choice_parse(struct kv_choice *out, const char *text, struct note *why)
{
    char name[WORD_ROOM];
    struct kv_choice c;
    const char *at = text;
    if (!take_word(&at, ":", name)) {
        note_set(why, "'%.60s..' is no KV policy: its name is too long", text);
        return BAD_INPUT;
    }
    enum status st = kv_choice_of(&c, name, why);
    if (st == OK && *at == ':' && !*++at) {
        note_set(why, "options are missing behind '%s:'", name);
        st = BAD_INPUT;
    }
    if (st == OK)
        st = check_once(at, why);
    if (st == OK)
        st = set_options(&c, at, true, why);
    if (st == OK)
        st = set_options(&c, at, false, why);
    if (st == OK)
        st = kv_choice_check(&c, why);
    if (st == OK)
        *out = c;
    return st;
}

int kv_choice_print(const struct kv_choice *c, char *text, size_t size)
{
    struct kv_text out = { .text = text, .size = size };
    const struct kv_option *o;
    kv_text_add(&out, "%s", c->policy->name);
    for (uint32_t i = 0; (o = kv_policy_option(c->policy, i)); i++) {
        kv_text_add(&out, "%c%s=", i ? ',' : ':', o->name);
        kv_option_print(o, c->options.bytes, &out);
    }
    return (int)out.len;
}
