/* kv/policy: words to choices and back; what is refused, and how it is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "kv/keep.h"
#include "kv/option.h"
#include "kv/policy/all.h"

static const char *docs(void)
{
    static char text[1 << 16];
    FILE *f = fopen("docs/POLICIES.md", "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static struct kv_choice parsed(const char *text)
{
    struct kv_choice c;
    struct note why = { "" };
    if (kv_choice_parse(&c, text, &why) != OK)
        fail_msg("%s: %s", text, why.text);
    return c;
}

/* Everything in `words` (with | between) is in the note. */
static void expect_refused(const char *text, const char *words)
{
    struct kv_choice c;
    struct note why = { "" };
    char list[256], *save, *word;
    memset(&c, 7, sizeof c);
    assert_int_equal(kv_choice_parse(&c, text, &why), BAD_INPUT);
    assert_int_equal(c.options.bytes[0], 7); // outputs are written on success alone
    assert_true(strlen(words) < sizeof list);
    strcpy(list, words);
    for (word = strtok_r(list, "|", &save); word; word = strtok_r(NULL, "|", &save))
        if (!strstr(why.text, word))
            fail_msg("'%s' was refused with: %s (no '%s')", text, why.text, word);
}

static void expect_text(const char *text, const char *want)
{
    char got[512];
    struct kv_choice c = parsed(text);
    assert_true(kv_choice_print(&c, got, sizeof got) < (int)sizeof got);
    assert_string_equal(got, want);
}

static void every_default_is_inside_its_bounds(void **state)
{
    (void)state;
    for (const struct kv_policy *const *p = kv_policies; *p; p++) {
        struct kv_choice c;
        const struct kv_option *o;
        assert_int_equal(kv_choice_of(&c, (*p)->name, NULL), OK);
        assert_int_equal(kv_choice_check(&c, NULL), OK);
        for (uint32_t i = 0; (o = kv_policy_option(*p, i)); i++)
            for (int paper = 0; paper < 2; paper++)
                assert_int_equal(
                    kv_option_set(o, c.options.bytes, kv_option_preset(*p, o, paper), NULL), OK);
    }
}

static void presets_come_first(void **state)
{
    (void)state;
    expect_text("full", "full");
    expect_text(
        "sentencekv:keep_factor=inf,budget=100",
        "sentencekv:budget=100,sinks=4,recent=32,block=0,every=0,shares=equal,round=off,even=0,"
        "even_block=0,"
        "whole=off,"
        "alpha=2,"
        "keep_factor=inf,window=32,boundaries=auto,longest=64,least=4,query=token,heads=sum,"
        "address=mean,by_rows=0.5,score=dot,dense_first=0,rerank=drift,drift=0.8");
    expect_text("window:preset=paper",
                "window:budget=20%,sinks=4,recent=0,block=0,every=1,"
                "shares=equal,round=off,even=0,even_block=0,whole=off,alpha=2,pos=rolling");
    expect_text("epicache:preset=paper",
                "epicache:budget=20%,sinks=0,recent=0,block=512,every=0,shares=layers,round=off,"
                "even=0,even_block=0,whole=off,alpha=2,episodes=4,segment=4,reps=1,ranks=mass,"
                "embed=minilm,embed_layer=0,embed_of=text,blur=0,support=past,new=0,stay=0,park="
                "off,route=nearest");
    struct kv_choice c = parsed("h2o:sinks=7,budget=300,preset=paper");
    assert_int_equal(c.options.common.n_sink, 7);
    assert_true(c.options.common.budget.unit == KV_ROWS && c.options.common.budget.n == 300);
    c = parsed("h2o:preset=paper");
    assert_int_equal(c.options.common.n_sink, 0);
    c = parsed("h2o");
    assert_int_equal(c.options.common.n_sink, 4);
    assert_int_equal(kv_choice_set(&c, "preset", "paper", NULL), OK);
    assert_int_equal(c.options.common.n_sink, 0);
}

static void amounts_have_units(void **state)
{
    (void)state;
    const struct {
        const char *text, *want;
    } of[] = {
        { "512", "512" },         { "20%", "20%" },   { "0.1%", "0.1%" },
        { "64MiB", "64MiB" },     { "64M", "64MiB" }, { "1.5MB", "1536KiB" },
        { "512KB", "512KiB" },    { "100B", "100B" }, { "2GiB", "2GiB" },
        { "1T", "1TiB" },         { "1e3", "1000" },  { "100%", "100%" },
        { "33.333%", "33.333%" },
    };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        char text[64], want[160];
        snprintf(text, sizeof text, "keydiff:budget=%s,sinks=0", of[i].text);
        snprintf(want, sizeof want,
                 "keydiff:budget=%s,sinks=0,recent=0,block=0,every=64,shares=equal,round=off,even="
                 "0,even_block=0,whole=off,alpha=2",
                 of[i].want);
        expect_text(text, want);
    }
}

static void errors_say_what_there_is(void **state)
{
    (void)state;
    expect_refused("h20", "'h20'|did you mean 'h2o'|full auto window|snapkv");
    expect_refused("", "there is no KV policy ''");
    expect_refused("full:budget=3", "'full' has no options|budget");
    expect_refused("full:preset=paper", "'full' has no options");
    expect_refused("h2o:buget=3", "'buget'|did you mean 'budget'|it has: preset budget sinks");
    expect_refused("h2o:budget=0", "budget: 0 is outside of the limits, 1 to 16777216 rows");
    expect_refused("h2o:budget=0%", "above 0 to 100%");
    expect_refused("h2o:budget=101%", "101%");
    expect_refused("h2o:budget=2K", "'2K' is no amount|512KiB");
    expect_refused("h2o:budget=2.5", "'2.5' is no amount");
    expect_refused("h2o:budget=nan", "'nan'");
    expect_refused("h2o:budget=0x10", "'0x10'");
    expect_refused("h2o:budget=1e999", "'1e999'");
    expect_refused("h2o:budget=", "''");
    expect_refused("h2o:recent=1,sinks=2,recent=3", "recent is given twice");
    expect_refused("h2o:preset=paper,preset=tuned", "preset is given twice");
    expect_refused("random:seed=-1", "seed: -1 is outside of the limits, 0 to 4294967295");
    expect_refused("h2o:sinks=-1", "sinks: -1 is outside of the limits, 0 to 65536");
    expect_refused("h2o:sinks=1.5", "'1.5' is no whole number");
    expect_refused("h2o:sinks=many", "'many' is no whole number");
    expect_refused("h2o:score=best", "'best' is none of: sum mean ema last");
    expect_refused("h2o:values=maybe", "'maybe' is neither on nor off");
    expect_refused("h2o:decay=2", "decay: 2 is outside of the limits, 0 to 1");
    expect_refused("h2o:preset=old", "'old' is none of: paper tuned");
    expect_refused("h2o:budget", "name=value");
    expect_refused("h2o:=3", "name=value");
    expect_refused("h2o:", "missing behind 'h2o:'");
    expect_refused("h2o:sinks=1,", "missing behind the last comma");
    expect_refused("h2o:sinks=1,,", "name=value");
    expect_refused("h2o:group=max", "group=max|score=last");
    expect_refused("h2o:budget=8,recent=6",
                   "budget: 8 rows are fewer than the 10 that always stay");
    expect_refused("auto:budget=11", "budget: 11 rows are fewer than the 12 that always stay");
    expect_refused("h2o:budget=40,recent=100%", "fewer than the 44");
    expect_refused("sentencekv:keep_factor=0.5", "keep_factor: 0.5|1 to inf");
    expect_refused("sentencekv:every=8", "every: 8|must be 0");
    expect_refused("h2o:decay=inf", "'inf' is no number");
    expect_refused("h2o:recent=1MiB", "recent: bytes are for the budget");
    expect_refused("tova:every=1MiB", "every: bytes are for the budget");
    expect_refused("h2o:sinks=11111111111111111111111111111111111111111111111111111111111111111",
                   "more than 63 letters");
}

static void any_choice_is_printed_and_read(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(3, 9);
    const char *const values[] = { "1",  "0",   "7",    "20%", "64MiB", "33.3%", "0.25",  "1e-3",
                                   "on", "off", "mean", "max", "last",  "paper", "tuned", "inf" };
    for (int round = 0; round < 20000; round++) {
        uint32_t n_policy = 0, n_option = 0;
        while (kv_policies[n_policy])
            n_policy++;
        const struct kv_policy *p = kv_policies[rng_below(&rng, n_policy)];
        struct kv_choice c, again;
        assert_int_equal(kv_choice_of(&c, p->name, NULL), OK);
        while (kv_policy_option(p, n_option))
            n_option++;
        for (uint32_t i = 0; n_option && i < 4; i++)
            if (kv_choice_set(&c, kv_policy_option(p, rng_below(&rng, n_option))->name,
                              values[rng_below(&rng, sizeof values / sizeof *values)], NULL))
                continue;
        char text[512];
        const int len = kv_choice_print(&c, text, sizeof text);
        assert_int_equal(len, strlen(text));
        char part[8];
        assert_int_equal(kv_choice_print(&c, part, sizeof part), len); // as snprintf
        assert_int_equal(kv_choice_print(&c, NULL, 0), len);
        if (kv_choice_check(&c, NULL) != OK)
            continue;
        again = parsed(text);
        assert_true(again.policy == c.policy);
        assert_memory_equal(&again.options, &c.options, sizeof c.options);
    }
}

/* Bytes of options and others: whatever is read, what it says of itself reads the same. */
static void noise_is_read_or_refused(void **state)
{
    (void)state;
    static const char *const bits[] = {
        "h2o", "auto",  ":",   ",", "=", "budget", "preset", "%",     "recent", "paper", "1",
        "99",  "sinks", "KiB", "-", "e", "\xff",   " ",      "score", "sum",    "window"
    };
    struct rng rng = rng_seeded(4, 4);
    int n_read = 0;
    for (int round = 0; round < 100000; round++) {
        char text[200] = "";
        for (uint32_t n = rng_below(&rng, 12); n > 0; n--)
            strcat(text, bits[rng_below(&rng, sizeof bits / sizeof *bits)]);
        struct kv_choice c;
        struct note why = { "" };
        if (kv_choice_parse(&c, text, &why) != OK) {
            assert_true(why.text[0] != '\0');
            continue;
        }
        n_read++;
        char out[512];
        kv_choice_print(&c, out, sizeof out);
        struct kv_choice again = parsed(out);
        assert_memory_equal(&again.options, &c.options, sizeof c.options);
    }
    assert_true(n_read > 100);
}

/* The manual of policies has them all, in lines that fit, and docs/POLICIES.md has it word for word. */
static void the_manual_is_whole(void **state)
{
    (void)state;
    struct buf out = { 0 };
    kv_policies_print(&out);
    for (const struct kv_policy *const *p = kv_policies; *p; p++) {
        char heading[64];
        const struct kv_option *o;
        snprintf(heading, sizeof heading, "\n## %s\n", (*p)->name);
        assert_non_null(strstr(docs(), heading));
        assert_non_null(strstr(buf_text(&out), (*p)->summary));
        for (uint32_t i = 0; (o = kv_policy_option(*p, i)); i++)
            assert_non_null(strstr(buf_text(&out), o->name));
    }
    for (const char *line = buf_text(&out); *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 100 && line[strcspn(line, "\n") - 1] != ' ');
    if (!strstr(docs(), buf_text(&out)))
        fail_msg("docs/POLICIES.md has not this text:\n%s", buf_text(&out));
    buf_close(&out);
}

static void expect_unserved(const char *choice, const struct kv_shape *shape, const char *word)
{
    const struct kv_choice c = parsed(choice);
    struct note why = { "" };
    assert_int_equal(kv_keep_check(&c, shape, &why), *word ? BAD_INPUT : OK);
    assert_non_null(strstr(why.text, word));
}

/* 64 bytes are a row of both kv_heads of both layers: K and V of 4 elements. */
static void a_model_that_cannot_serve_it_is_told(void **state)
{
    struct kv_shape shape = {
        .type = KV_F16,
        .n_group = 1,
        .group = { { .n_layer = 2, .n_kv_head = 2, .d_k = 4, .d_v = 4 } },
        .n_layer = 2,
    };
    (void)state;
    expect_unserved("h2o:budget=1B", &shape, "1 bytes are 0.0156 rows of each kv_head");
    expect_unserved("keydiff:budget=63B,sinks=0", &shape, "and 1 always stay");
    expect_unserved("keydiff:budget=64B,sinks=0", &shape, "");
    expect_unserved("window:budget=1KiB,recent=13", &shape, "and 17 always stay");
    expect_unserved("window:budget=1KiB,recent=12", &shape, "");
    expect_unserved("quest:budget=1KiB", &shape, "and 20 always stay");
    expect_unserved("auto:budget=1%", &shape, "");
    shape.group[0].window = 32;
    expect_unserved("auto", &shape, "every layer of this model has a window");
    expect_unserved("quest", &shape, "every layer of this model has a window");
    expect_unserved("full", &shape, "");
}

static void expect_every(const char *choice, uint32_t n_whole, uint32_t want)
{
    const struct kv_shape unused = { 0 }; // but for budgets in bytes
    const struct kv_choice c = parsed(choice);
    assert_int_equal(kv_keep_every(&c, &unused, n_whole), want);
}

static void large_budgets_are_judged_more_rarely(void **state)
{
    (void)state;
    expect_every("auto:budget=20%", 4096, 128);
    expect_every("auto:budget=20%", 2048, 64);
    expect_every("auto:budget=2000", 100000, 320);
    expect_every("auto:budget=20%", 10, 64);
    expect_every("auto:budget=20%,every=50%", 1000, 64);
    expect_every("auto:budget=20%,every=7", 4096, 7);
    expect_every("auto:budget=20%,every=0%", 4096, 0);
    expect_every("tova:budget=4096", 8192, 16);
    expect_every("h2o:budget=4096", 8192, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_default_is_inside_its_bounds),
        cmocka_unit_test(presets_come_first),
        cmocka_unit_test(amounts_have_units),
        cmocka_unit_test(errors_say_what_there_is),
        cmocka_unit_test(any_choice_is_printed_and_read),
        cmocka_unit_test(noise_is_read_or_refused),
        cmocka_unit_test(the_manual_is_whole),
        cmocka_unit_test(a_model_that_cannot_serve_it_is_told),
        cmocka_unit_test(large_budgets_are_judged_more_rarely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
