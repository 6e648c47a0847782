/* `akvifer eval kv`: what is typed, the statistics, and that every task asks what it says, the same
 * for the same seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bin/eval_kv_choose.h"
#include "bin/eval_kv_report.h"
#include "bin/eval_kv_stats.h"
#include "bin/eval_kv_tasks.h"
#include "bin/eval_kv_words.h"
#include "support/temp_dir.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

/* ---- statistics ---- */

/* The mean of 400 draws lies in the interval, whose width is near that of the normal approximation;
 * the same seed gives the same bits. */
static void intervals_are_as_wide_as_they_should_be(void **state)
{
    enum { N = 400 };
    double x[N];
    uint32_t group[N];
    struct rng rng = rng_seeded(3, 1);
    struct eval_interval a, b;
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        x[i] = rng_unit(&rng);
        group[i] = i;
    }
    assert_int_equal(eval_bootstrap(&a, x, group, N, 1), OK);
    assert_int_equal(eval_bootstrap(&b, x, group, N, 1), OK);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(eval_bootstrap(&b, x, group, N, 2), OK);
    assert_true(a.low != b.low && a.mean == b.mean);
    assert_true(a.low < a.mean && a.mean < a.high && a.low < 0.5 && a.high > 0.5);
    const double normal = 2 * 1.96 * sqrt(1.0 / 12 / N);
    assert_true(fabs(a.high - a.low - normal) < 0.15 * normal);
}

/* Cases of one context say the same: four contexts of a hundred equal values are four values. */
static void contexts_are_drawn_whole(void **state)
{
    enum { N = 400 };
    double x[N];
    uint32_t whole[N], alone[N];
    struct eval_interval a, b;
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        x[i] = i / 100;
        whole[i] = 7 + i / 100;
        alone[i] = i;
    }
    assert_int_equal(eval_bootstrap(&a, x, whole, N, 1), OK);
    assert_int_equal(eval_bootstrap(&b, x, alone, N, 1), OK);
    assert_true(a.mean == 1.5 && b.mean == 1.5);
    assert_true(a.high - a.low > 5 * (b.high - b.low));
    assert_int_equal(eval_bootstrap(&a, x, whole, 1, 1), OK);
    assert_true(a.mean == 0 && a.low == 0 && a.high == 0);
}

/* Of nine tokens that q has all, it is the definition; q that lacks one of p's is charged its
 * least. */
static void kl_is_what_its_definition_says(void **state)
{
    struct akv_logprob p[9], q[9];
    double kl = 0, rest_p = 1, rest_q = 1;
    (void)state;
    for (int i = 0; i < 9; i++) {
        p[i] = (struct akv_logprob){ i, logf(0.1F * (float)(9 - i) / 5) };
        q[i] = (struct akv_logprob){ 8 - i, logf(0.02F * (float)(9 - i)) };
    }
    for (int i = 0; i < 8; i++) {
        const double of_p = exp((double)p[i].logprob), of_q = exp((double)q[8 - i].logprob);
        kl += of_p * log(of_p / of_q);
        rest_p -= of_p;
        rest_q -= of_q;
    }
    kl += rest_p > 1e-6 ? rest_p * log(rest_p / rest_q) : 1e-6 * log(1e-6 / rest_q);
    assert_true(fabs(eval_kl(p, q, 9) - kl) < 1e-9);
    assert_true(fabs(eval_kl(p, p, 9)) < 1e-12);
    const double with = eval_kl(p, q, 9);
    q[8].id = 99; // p's best: now it gets the least, which is what it had
    assert_true(fabs(eval_kl(p, q, 9) - with) < 1e-12);
}

/* A perplexity twice as high in every case is twice that of full, with no doubt about it. */
static void ratios_are_of_cases(void **state)
{
    struct eval_task_choice chosen;
    struct note why = { "" };
    double value[4] = { 1.0, log(2), 3.0, log(2) };
    struct eval_case item[2] = { { .context = 0 }, { .context = 1 } };
    const struct eval_table t = { .chosen = &chosen, .cases = { .item = item, .n_item = 2 } };
    struct eval_row row = { .value = value };
    (void)state;
    assert_int_equal(eval_task_choose(&chosen, "book", 0, &why), OK);
    assert_int_equal(eval_row_sum(&row, &t, 1, &why), OK);
    assert_true(fabs(row.measure[0].mean - exp(2)) < 1e-9);
    assert_true(fabs(row.measure[1].mean - 2) < 1e-12);
    assert_true(fabs(row.measure[1].low - 2) < 1e-12 && fabs(row.measure[1].high - 2) < 1e-12);
}

/* ---- what is typed ---- */

static void lists_keep_options_with_their_owner(void **state)
{
    struct eval_pieces p;
    struct note why = { "" };
    (void)state;
    assert_int_equal(eval_split(&p, "auto,h2o:recent=64,sinks=4,window", &why), OK);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.text[0], "auto");
    assert_string_equal(p.text[1], "h2o:recent=64,sinks=4");
    assert_string_equal(p.text[2], "window");
    assert_int_equal(eval_split(&p, "auto,,h2o", &why), BAD_INPUT);
    assert_int_equal(eval_split(&p, "", &why), BAD_INPUT);
}

static void budgets_multiply_policies(void **state)
{
    struct eval_policies p;
    struct note why = { "" };
    (void)state;
    assert_int_equal(
        eval_policies_choose(&p, "full,h2o:recent=64,tova:budget=99,window", "5%,512", true, &why),
        OK);
    static const char *const texts[] = {
        "full",
        "h2o:recent=64,budget=5%",
        "h2o:recent=64,budget=512",
        "tova:budget=99",
        "window:budget=5%",
        "window:budget=512",
        "random:budget=5%",
        "random:budget=512",
    };
    assert_int_equal(p.n, sizeof texts / sizeof *texts);
    for (uint32_t i = 0; i < p.n; i++)
        assert_string_equal(p.policy[i].text, texts[i]);
    assert_string_equal(p.policy[2].budget, "512");
    assert_int_equal(eval_policies_choose(&p, "auto", "5%", false, &why), OK);
    assert_int_equal(p.n, 2);
}

static void wrong_tasks_say_what_there_is(void **state)
{
    static const char *const wrong[][2] = {
        { "nedle", "there are book, agree, needle" },
        { "needle:length=5", "it has items=5, lengths=" },
        { "needle:lengths", "needle has no option 'lengths'" },
        { "needle:lengths=5", "from 128 to" },
        { "needle:lengths=1024//2048", "whole numbers" },
        { "needle:lengths=1024/", "whole numbers" },
        { "needle:items=-1", "whole numbers" },
        { "book:items=1/2/3/4/5/6/7/8/9", "up to 8" },
    };
    struct eval_task_choice c;
    struct note why = { "" };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(eval_task_choose(&c, wrong[i][0], 0, &why), BAD_INPUT);
        if (!strstr(why.text, wrong[i][1]))
            fail_msg("'%s' does not say '%s'", why.text, wrong[i][1]);
    }
    assert_int_equal(eval_task_choose(&c, "needle:lengths=1024/2048,items=16/12", 3, &why), OK);
    assert_int_equal(c.option[1].n, 2);
    assert_int_equal(eval_list_at(&c.option[0], 0), 16);
    assert_int_equal(eval_list_at(&c.option[0], 5), 12);
    assert_int_equal(eval_task_choose(&c, "needle", 3, &why), OK);
    assert_int_equal(eval_list_at(&c.option[0], 1), 3);
}

/* ---- tasks ---- */

static akv_model *model;
static struct eval_prose prose;

static int open_model(void **state)
{
    const struct akv_model_params params = { .path = SMOLLM2, .n_thread = 1 };
    struct akv_note inner = { "" };
    struct note why = { "" };
    if (temp_dir_make(state) != 0)
        return 1;
    if (akv_model_open(&model, &params, &inner) != AKV_OK ||
        eval_prose_open(&prose, model, NULL, &why) != OK)
        return 1;
    return 0;
}

static int close_model(void **state)
{
    eval_prose_close(&prose);
    akv_model_close(model);
    return temp_dir_remove(state);
}

static const struct eval_task *made(struct eval_cases *out, const char *text, uint64_t seed)
{
    struct eval_task_choice c;
    struct note why = { "" };
    if (eval_task_choose(&c, text, 0, &why) != OK)
        fail_msg("%s", why.text);
    const struct eval_task_in in = {
        .model = model, .seed = seed, .prose = &prose, .data = temp_dir(), .option = c.option
    };
    *out = (struct eval_cases){ 0 };
    enum status st = c.task->make(out, &in, &why);
    if (st == OK)
        st = eval_cases_check(out, 8192, &why);
    if (st != OK)
        fail_msg("%s", why.text);
    return c.task;
}

/* Text of n ids from `at` on. */
static void detokenize(struct buf *out, const struct eval_cases *cs, size_t at, size_t n)
{
    buf_clear(out);
    for (size_t i = at; i < at + n; i++) {
        size_t len;
        const char *bytes = akv_token_bytes(model, cs->ids.id[i], true, &len);
        buf_add(out, bytes, len);
    }
}

static void context_text(struct buf *out, const struct eval_cases *cs, uint32_t item)
{
    const struct eval_context *c = &cs->context[cs->item[item].context];
    detokenize(out, cs, c->at, c->n);
}

/* What is given behind the context of a tail, and what is scored. */
static void tail_texts(struct buf *given, struct buf *scored, const struct eval_cases *cs,
                       uint32_t tail)
{
    const struct eval_tail *t = &cs->tail[tail];
    detokenize(given, cs, t->at, t->n_given);
    detokenize(scored, cs, t->at + t->n_given, t->n - t->n_given);
}

static void expect_same_ids(const struct eval_cases *a, const struct eval_cases *b)
{
    assert_int_equal(a->ids.n, b->ids.n);
    assert_memory_equal(a->ids.id, b->ids.id, a->ids.n * sizeof *a->ids.id);
    assert_int_equal(a->n_tail, b->n_tail);
    assert_memory_equal(a->tail, b->tail, a->n_tail * sizeof *a->tail);
}

static const char *const small_tasks[] = {
    "book:context=100,tail=20,items=6",
    "agree:context=100,tail=20,items=2",
    "needle:lengths=256/512,items=5",
    "pairs:items=2,pairs=20",
    "choice:items=7",
    "labels:items=2,shots=8",
    "dialogue:tokens=256,items=2,asks=3",
    "multihop:items=2,passages=1",
};

static const char DIALOGUES[] =
    "{\"conv\": 0, \"episodes\": [{\"e\": 0, \"turns\": [{\"s\": \"U\", \"x\": \"A flight to Oslo, "
    "please.\"}, {\"s\": \"S\", \"x\": \"Booked.\"}]}, {\"e\": 1, \"turns\": [{\"s\": \"U\", "
    "\"x\": "
    "\"A table for two.\"}]}], \"qa\": [{\"q\": \"Where to?\", \"a\": [\"Oslo\"], \"e\": 0, "
    "\"slot\": "
    "\"city\"}, {\"q\": \"For how many?\", \"a\": [\"2\"], \"e\": 1, \"slot\": \"n\"}]}\n"
    "{\"conv\": 1, \"episodes\": [{\"e\": 0, \"turns\": [{\"s\": \"U\", \"x\": \"A train to "
    "Rome.\"}]}], "
    "\"qa\": [{\"q\": \"Where to?\", \"a\": [\"Rome\"], \"e\": 0, \"slot\": \"city\"}, {\"q\": "
    "\"When?\", "
    "\"a\": [\"Monday\"], \"e\": 0, \"slot\": \"day\"}]}\n";

static void put_data(void)
{
    struct buf questions = { 0 };
    for (int i = 0; i < 10; i++)
        buf_addf(
            &questions,
            "%s{\"question\": \"Who was %d?\", \"answers\": [\"Answer %d\"], \"ctxs\": "
            "[{\"title\": "
            "\"\", \"text\": \"nothing here\"}, {\"title\": \"\", \"text\": \"it was answer %d "
            "then\"}]}",
            i ? "," : "[", i, i, i);
    buf_add_byte(&questions, ']');
    temp_dir_put("sgd-longconv/sgd_longconv.jsonl", DIALOGUES);
    temp_dir_put("musique-rag/musique_s.json", buf_text(&questions));
    buf_close(&questions);
}

/* E1; every context begins cases of its own, and each tail has both halves (C1, C2). */
static void the_seed_decides(void **state)
{
    (void)state;
    put_data();
    for (size_t i = 0; i < sizeof small_tasks / sizeof *small_tasks; i++) {
        struct eval_cases a, again, other;
        made(&a, small_tasks[i], 1);
        made(&again, small_tasks[i], 1);
        made(&other, small_tasks[i], 2);
        expect_same_ids(&a, &again);
        assert_true(a.n_item > 0 && a.item[a.n_item - 1].context == a.n_context - 1);
        for (uint32_t k = 0; k < a.n_tail; k++)
            assert_true(a.tail[k].n_given > 0 && a.tail[k].n > a.tail[k].n_given);
        const bool same = a.ids.n == other.ids.n &&
                          memcmp(a.ids.id, other.ids.id, a.ids.n * sizeof *a.ids.id) == 0;
        assert_false(same);
        eval_cases_close(&a);
        eval_cases_close(&again);
        eval_cases_close(&other);
    }
}

/* Its tokens are those of its text in one piece: an answer is not cut where the model would not. */
static void expect_one_text(const struct eval_cases *cs, uint32_t item)
{
    const struct eval_tail *t = &cs->tail[cs->item[item].tail];
    struct buf text = { 0 };
    struct ids ids = { 0 };
    detokenize(&text, cs, t->at, t->n);
    eval_tokens(&ids, model, buf_text(&text), text.len, false);
    assert_int_equal(ids.n, t->n);
    assert_memory_equal(ids.id, cs->ids.id + t->at, t->n * sizeof *ids.id);
    buf_close(&text);
    ids_close(&ids);
}

/* The number stands once in the context, near its depth, and only the right answer repeats it. */
static void needles_lie_at_their_depth(void **state)
{
    struct eval_cases cs;
    struct buf context = { 0 }, given = { 0 }, answer = { 0 };
    (void)state;
    made(&cs, "needle:lengths=512/1024,items=5,depths=5", 1);
    assert_int_equal(cs.n_item, 10);
    for (uint32_t i = 0; i < cs.n_item; i++) {
        const struct eval_case *c = &cs.item[i];
        assert_int_equal(c->n_tail, 9);
        assert_int_equal(c->length, i < 5 ? 512 : 1024);
        assert_int_equal(c->percent, 10 + 20 * (i % 5));
        context_text(&context, &cs, i);
        for (uint32_t k = 0; k < c->n_tail; k++) {
            const struct eval_tail *t = &cs.tail[c->tail + k];
            tail_texts(&given, &answer, &cs, c->tail + k);
            assert_int_equal(strlen(answer.bytes), 8); // a space and seven digits
            const char *at = strstr(context.bytes, answer.bytes);
            assert_true((at != NULL) == (k == 0));
            assert_true(cs.context[c->context].n + t->n <= c->length);
            assert_true(cs.context[c->context].n + t->n + 4 >= c->length);
            if (k == 0) {
                const double depth = 100.0 * (double)(at - context.bytes) / (double)context.len;
                assert_true(fabs(depth - c->percent) < 10);
                assert_null(strstr(at + 1, answer.bytes));
            }
        }
        assert_non_null(strstr(given.bytes, "What is the special magic number for "));
        expect_one_text(&cs, i);
    }
    eval_cases_close(&cs);
    buf_close(&context);
    buf_close(&given);
    buf_close(&answer);
}

/* The line that is asked has the right answer; the wrong ones stand in other lines. */
static void pairs_ask_for_lines_of_the_list(void **state)
{
    struct eval_cases cs;
    struct buf context = { 0 }, given = { 0 }, answer = { 0 };
    (void)state;
    made(&cs, "pairs:items=2,pairs=24,asks=3", 1);
    assert_int_equal(cs.n_item, 6);
    assert_int_equal(cs.n_context, 2);
    for (uint32_t i = 0; i < cs.n_item; i++) {
        context_text(&context, &cs, i);
        for (uint32_t k = 0; k < 9; k++) {
            char line[96];
            tail_texts(&given, &answer, &cs, cs.item[i].tail + k);
            snprintf(line, sizeof line, "%s%s\n", strrchr(given.bytes, '\n'), answer.bytes);
            assert_non_null(strstr(context.bytes, answer.bytes));
            if (k == 0 || strstr(context.bytes, line))
                assert_true(k == 0 && (strstr(context.bytes, line) || i % 3 == 2));
        }
        expect_one_text(&cs, i);
    }
    eval_cases_close(&cs);
    buf_close(&context);
    buf_close(&given);
    buf_close(&answer);
}

/* Four different answers, of which the question names all, and no shot is asked again. */
static void choices_are_among_four(void **state)
{
    struct eval_cases cs;
    struct buf context = { 0 }, given = { 0 }, answer = { 0 };
    (void)state;
    made(&cs, "choice:items=6,asks=2", 1);
    assert_int_equal(cs.n_item, 12);
    for (uint32_t i = 0; i < cs.n_item; i++) {
        assert_int_equal(cs.item[i].n_tail, 4);
        context_text(&context, &cs, i);
        for (uint32_t k = 0; k < 4; k++) {
            tail_texts(&given, &answer, &cs, cs.item[i].tail + k);
            assert_non_null(strstr(given.bytes, answer.bytes));
        }
        assert_null(strstr(context.bytes, strrchr(given.bytes, '\n') + 1));
        expect_one_text(&cs, i);
    }
    eval_cases_close(&cs);
    buf_close(&context);
    buf_close(&given);
    buf_close(&answer);
}

/* The group of a word: a relation, and which half of its pairs. EVAL_RELATIONS: of none. */
static uint32_t group_of(const char *word, size_t len)
{
    static const uint32_t half[EVAL_RELATIONS] = { 0, 0, 0, 0, 1, 1 };
    for (uint32_t r = 0; r < EVAL_RELATIONS; r++)
        for (uint32_t p = 0; p < EVAL_PAIRS; p++) {
            const char *of = eval_relations[r].pair[p][half[r]];
            if (strlen(of) == len && memcmp(of, word, len) == 0)
                return r;
        }
    return EVAL_RELATIONS;
}

static uint32_t group_behind(const char *line, size_t *len)
{
    const char *word = line + strlen("Word: ");
    *len = strcspn(word, "\n");
    return group_of(word, *len);
}

/* The words of the asked one's group have its label, all others another, and eight of 32 are of that group. */
static void labels_are_of_groups(void **state)
{
    struct eval_cases cs;
    struct buf context = { 0 }, given = { 0 }, answer = { 0 };
    (void)state;
    made(&cs, "labels:items=3,asks=2", 1);
    assert_int_equal(cs.n_item, 6);
    for (uint32_t i = 0; i < cs.n_item; i++) {
        uint32_t n_same = 0, n_shot = 0;
        size_t len;
        context_text(&context, &cs, i);
        tail_texts(&given, &answer, &cs, cs.item[i].tail);
        assert_int_equal(cs.item[i].n_tail, 4);
        const char *asked = strstr(given.bytes, "Word: ");
        const uint32_t group = group_behind(asked, &len);
        assert_true(group < EVAL_RELATIONS);
        assert_null(strstr(context.bytes, asked));
        for (const char *at = context.bytes; (at = strstr(at, "Word: ")); at++, n_shot++) {
            const bool same = group_behind(at, &len) == group;
            const char *label = at + strlen("Word: ") + len + strlen("\nLabel:");
            assert_true(same == (memcmp(label, answer.bytes, answer.len) == 0));
            n_same += same;
        }
        assert_int_equal(n_shot, 32);
        assert_int_equal(n_same, 8);
        expect_one_text(&cs, i);
    }
    eval_cases_close(&cs);
    buf_close(&context);
    buf_close(&given);
    buf_close(&answer);
}

static void dialogues_ask_about_what_was_said(void **state)
{
    struct eval_cases cs;
    struct buf context = { 0 }, given = { 0 }, answer = { 0 };
    (void)state;
    put_data();
    made(&cs, "dialogue:items=2,tokens=256,asks=2", 1);
    assert_int_equal(cs.n_context, 2);
    assert_int_equal(cs.n_item, 4);
    context_text(&context, &cs, 0);
    assert_string_equal(context.bytes, "User: A flight to Oslo, please.\nAssistant: Booked.\n\n"
                                       "User: A table for two.\n\n");
    tail_texts(&given, &answer, &cs, cs.item[0].tail);
    assert_string_equal(given.bytes, "Question: Where to?\nAnswer:");
    assert_string_equal(answer.bytes, " Oslo");
    tail_texts(&given, &answer, &cs, cs.item[0].tail + 1);
    assert_string_equal(answer.bytes, " Rome"); // of the same slot
    context_text(&context, &cs, 2);
    eval_cases_close(&cs);

    made(&cs, "dialogue:items=1,first=1,tokens=256,asks=2", 1);
    assert_int_equal(cs.n_context, 1);
    context_text(&given, &cs, 0);
    assert_string_equal(given.bytes, context.bytes);
    eval_cases_close(&cs);

    made(&cs, "multihop:items=2,passages=1", 1);
    context_text(&context, &cs, 0);
    assert_string_equal(context.bytes, "it was answer 0 then");
    tail_texts(&given, &answer, &cs, cs.item[0].tail);
    assert_string_equal(given.bytes, "\n\nQuestion: Who was 0?\nAnswer:");
    assert_string_equal(answer.bytes, " answer 0");
    eval_cases_close(&cs);
    buf_close(&context);
    buf_close(&given);
    buf_close(&answer);
}

/* Passages lie in one text each and apart; more than there are is an error with both numbers. */
static void passages_do_not_overlap(void **state)
{
    enum { N = 400 };
    size_t place[N];
    struct rng rng = rng_seeded(1, 1);
    (void)state;
    const uint32_t n = eval_prose_places(&prose, 500, &rng, place, N);
    assert_true(n > 60 && n < N);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t t = 0;
        while (prose.text[t + 1] <= place[i])
            t++;
        assert_true(place[i] + 500 <= prose.text[t + 1]);
        for (uint32_t k = 0; k < i; k++)
            assert_true(place[i] >= place[k] + 500 || place[k] >= place[i] + 500);
    }
    struct eval_cases cs = { 0 };
    struct note why = { "" };
    assert_int_equal(eval_passages(&cs, &prose, 1, 1000, 2000, 100, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "items asks for 1000"));
    eval_cases_close(&cs);
}

static void folders_of_texts_are_read(void **state)
{
    struct eval_prose p;
    struct note why = { "" };
    struct buf first = { 0 };
    (void)state;
    temp_dir_put("texts/b.txt", "Second. Text.");
    temp_dir_put("texts/a.txt", "First text! \"Is it?\" It is.\n");
    temp_dir_put("texts/c.md", "No text.");
    assert_int_equal(eval_prose_open(&p, model, in_dir("texts"), &why), OK);
    assert_int_equal(p.n_text, 2);
    assert_int_equal(p.sentence.n, 3 + 1 + 2); // a line break behind the last is its own
    const struct eval_cases cs = { .ids = p.ids };
    detokenize(&first, &cs, p.text[0], p.text[1]);
    assert_string_equal(first.bytes, "First text! \"Is it?\" It is.\n");
    eval_prose_close(&p);
    buf_close(&first);
    assert_int_equal(eval_prose_open(&p, model, in_dir("none"), &why), NOT_FOUND);
    temp_dir_put("empty/x.md", "");
    assert_int_equal(eval_prose_open(&p, model, in_dir("empty"), &why), BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_are_as_wide_as_they_should_be),
        cmocka_unit_test(contexts_are_drawn_whole),
        cmocka_unit_test(kl_is_what_its_definition_says),
        cmocka_unit_test(ratios_are_of_cases),
        cmocka_unit_test(lists_keep_options_with_their_owner),
        cmocka_unit_test(budgets_multiply_policies),
        cmocka_unit_test(wrong_tasks_say_what_there_is),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(needles_lie_at_their_depth),
        cmocka_unit_test(pairs_ask_for_lines_of_the_list),
        cmocka_unit_test(choices_are_among_four),
        cmocka_unit_test(labels_are_of_groups),
        cmocka_unit_test(dialogues_ask_about_what_was_said),
        cmocka_unit_test(passages_do_not_overlap),
        cmocka_unit_test(folders_of_texts_are_read),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
