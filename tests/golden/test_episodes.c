/* Episodes of a growing chat: what is read, what is passed over, and that an answer has the same bits whether its
 * episode's cache was found, gone on with, or built anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/episodes.h"
#include "engine/topics.h"
#include "support/sanitized.h"
#include "support/still.h"
#include "support/tiny_encoder.h"

#define POLICY "epicache:budget=96,block=192,episodes=3,recent=4,segment=2,stay=0"
enum { BUDGET = 96, BLOCK = 192, N_CTX = 4096, ROUNDS = SANITIZED ? 20 : 32, N_TOPIC = 3 };

static struct still s;

static char encoder_path[] = "/tmp/akv-encoder-XXXXXX";

static int open_still(void **state)
{
    (void)state;
    const int fd = mkstemp(encoder_path);
    if (fd < 0)
        return -1;
    close(fd);
    tiny_encoder_save(encoder_path);
    still_open(&s, "llama");
    return 0;
}

static int close_still(void **state)
{
    (void)state;
    still_close(&s);
    return unlink(encoder_path);
}

/* ---- chats ---- */

static const char *const topic[N_TOPIC] = {
    "train ticket station platform carriage conductor railway timetable",
    "doctor tooth pain appointment clinic medicine nurse surgery",
    "garden rose seed water soil spade tulip compost",
};

static void add_text(struct ids *chat, const char *text)
{
    struct note why = { "" };
    assert_int_equal(vocab_encode(s.vocab, text, strlen(text), VOCAB_SPECIAL, chat, &why), OK);
}

/* A few words of one topic. */
static void add_words(struct ids *chat, uint32_t t, struct rng *rng)
{
    char words[200] = "", all[200], *rest;
    snprintf(all, sizeof all, "%s", topic[t]);
    for (char *w = strtok_r(all, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
        if (rng_below(rng, 2))
            snprintf(words + strlen(words), sizeof words - strlen(words), "%s ", w);
    add_text(chat, words[0] ? words : topic[t]);
}

static void add_question(struct ids *chat, uint32_t t, struct rng *rng)
{
    add_text(chat, "<|im_start|>user\n");
    add_words(chat, t, rng);
    add_text(chat, "<|end|>\n<|im_start|>bot\n");
}

static void end_answer(struct ids *chat)
{
    add_text(chat, "<|end|>\n");
}

/* The talk comes back to each topic. */
static uint32_t topic_of(uint32_t round)
{
    return round / 3 % N_TOPIC;
}

/* ---- what is read ---- */

static enum status try_make(struct episodes *e, const struct kv_choice *choice,
                            const struct ids *chat, struct note *why)
{
    struct kv_shape shape;
    struct hidden_frame frame;
    struct hidden *hidden = NULL;
    enum status st = embed_frame(&frame, s.vocab, why);
    if (st == OK)
        st = hidden_new(&hidden, s.model, &frame, why);
    if (st != OK)
        return st;
    hparams_kv_shape(model_hparams(s.model), KV_F16, &shape);
    const struct episodes_in in = { .from = { s.model, s.vocab, hidden, NULL, "" },
                                    .shape = &shape,
                                    .choice = choice,
                                    .ids = chat->id,
                                    .n_prompt = (uint32_t)chat->n };
    st = episodes_make(e, &in, why);
    hidden_free(hidden);
    return st;
}

static void make(struct episodes *e, const struct kv_choice *choice, const struct ids *chat)
{
    struct note why = { "" };
    assert_int_equal(try_make(e, choice, chat, &why), OK);
}

/* Inside the history, behind the base, in order and apart. */
static void expect_skips(const struct episodes *e, const struct ids *chat)
{
    uint32_t end = e->n_base;
    for (uint32_t i = 0; i < e->n_skip; i++) {
        assert_true(e->skip[i].first >= end);
        assert_true(e->skip[i].end > e->skip[i].first && e->skip[i].end < chat->n);
        end = e->skip[i].end + 1;
    }
}

/* The topic that most words of an episode's text are of. */
static uint32_t most_of(const struct episodes *e)
{
    struct note why = { "" };
    struct buf text = { 0 };
    uint32_t count[N_TOPIC] = { 0 }, most = 0;
    assert_int_equal(vocab_decode(s.vocab, e->text, e->n_text, false, &text, &why), OK);
    for (uint32_t t = 0; t < N_TOPIC; t++) {
        char all[200], *rest;
        snprintf(all, sizeof all, "%s", topic[t]);
        for (char *w = strtok_r(all, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
            for (const char *at = buf_text(&text); (at = strstr(at, w)); at++)
                count[t]++;
        most = count[t] > count[most] ? t : most;
    }
    buf_close(&text);
    return most;
}

static void episodes_grow_with_a_chat(void **state)
{
    (void)state;
    struct kv_choice choice;
    struct note why = { "" };
    struct rng rng = rng_seeded(5, 5);
    struct ids chat = { 0 };
    uint32_t n_base = 0, n_made = 0, n_skip = 0, n_own = 0, n_asked = 0;
    assert_int_equal(kv_choice_parse(&choice, POLICY, &why), OK);
    for (uint32_t r = 0; r < ROUNDS; r++) {
        struct episodes e, again;
        const size_t n_history = chat.n;
        add_question(&chat, topic_of(r), &rng);
        make(&e, &choice, &chat);
        make(&again, &choice, &chat);
        assert_true(e.n_base == again.n_base && e.episode == again.episode); /* Z1 */
        assert_memory_equal(&e.similarity, &again.similarity, sizeof e.similarity);
        assert_true(e.n_base >= n_base && e.n_base <= n_history);
        assert_true(n_history <= BUDGET + BLOCK || r < 2 || e.n_base > 0);
        assert_true(e.n_text <= BLOCK);
        expect_skips(&e, &chat);
        n_made += e.n_base > n_base;
        n_base = e.n_base;
        n_skip += e.n_skip;
        n_own += e.n_base && most_of(&e) == topic_of(r);
        n_asked += e.n_base > 0;
        add_words(&chat, topic_of(r), &rng);
        end_answer(&chat);
        episodes_close(&e);
        episodes_close(&again);
    }
    print_message(
        "%u tokens: made %u times, %u stretches passed over, %u of %u routed to their topic\n",
        (uint32_t)chat.n, n_made, n_skip, n_own, n_asked);
    assert_true(n_made > 1 && n_skip > 4);
    assert_true(n_own * 10 >= n_asked * 6); /* by chance a third */
    ids_close(&chat);
}

/* A cap that holds a few of what one request keeps: far from the whole chat. */
static struct akv_limits limits_of(void)
{
    const struct akv_limits limits = { .n_ctx = N_CTX,
                                       .n_ubatch = 48,
                                       .kv_policy = POLICY,
                                       .encoder = encoder_path,
                                       .kv_bytes = still_kv_bytes(&s, 1, 1400, 48) };
    return limits;
}

/* ---- (j) of the paper's sheet: a segment's own text asks for the episode that it is in ---- */

static uint32_t nearest_to(const struct topics *t, const float *vector)
{
    const uint32_t d = t->embedder.dim;
    uint32_t best = 0;
    for (uint32_t e = 1; e < t->cluster.k; e++)
        if (dot_of(vector, t->cluster.centroid + (size_t)e * d, d) >
            dot_of(vector, t->cluster.centroid + (size_t)best * d, d))
            best = e;
    return best;
}

/* How many of 100 segments. */
static uint32_t own_of(const char *policy, const struct ids *chat)
{
    struct kv_choice choice;
    struct topics t;
    struct turns turns;
    struct note why = { "" };
    uint32_t n_own = 0;
    const struct embed_from from = { s.model, s.vocab, s.engine->hidden, s.engine->encoder, "" };
    assert_int_equal(kv_choice_parse(&choice, policy, &why), OK);
    assert_int_equal(turns_cut(&turns, s.vocab, chat->id, (uint32_t)chat->n, &why), OK);
    assert_int_equal(topics_make(&t, (const struct epicache_options *)choice.options.bytes, &from,
                                 chat->id, &turns, (uint32_t)chat->n, &why),
                     OK);
    float *vector = mem_new(t.embedder.dim, sizeof *vector);
    for (uint32_t i = 0; i < t.n; i++) {
        assert_int_equal(embed(&t.embedder, chat->id, t.segment[i], vector, &why), OK);
        n_own += nearest_to(&t, vector) == t.cluster.of[i];
    }
    const uint32_t percent = 100 * n_own / t.n;
    print_message("%s: %u of %u segments\n", policy, n_own, t.n);
    mem_free(vector);
    topics_close(&t);
    turns_close(&turns);
    return percent;
}

static void a_segment_is_nearest_to_its_own_episode(void **state)
{
    (void)state;
    static const char *const embed_by[] = { "tfidf", "self", "self,embed_of=text",
                                            "self,embed_layer=0", "minilm" };
    const struct akv_limits limits = limits_of();
    struct rng rng = rng_seeded(4, 4);
    struct ids chat = { 0 };
    for (uint32_t r = 0; r < 2 * ROUNDS; r++) {
        add_question(&chat, topic_of(r), &rng);
        add_words(&chat, topic_of(r), &rng);
        end_answer(&chat);
    }
    still_engine_open(&s, &limits);
    for (uint32_t i = 0; i < sizeof embed_by / sizeof *embed_by; i++) {
        char policy[200];
        snprintf(policy, sizeof policy, "epicache:segment=2,episodes=3,blur=0,embed=%s",
                 embed_by[i]);
        assert_true(own_of(policy, &chat) > 95);
    }
    still_engine_close(&s);
    ids_close(&chat);
}

/* Whatever lacks memory, the request is refused with words. */
static void allocations_may_fail(const char *policy)
{
    struct kv_choice choice;
    struct note why = { "" };
    struct rng rng = rng_seeded(6, 1);
    struct ids chat = { 0 };
    struct episodes e = { 0 };
    enum status st = FULL;
    assert_int_equal(kv_choice_parse(&choice, policy, &why), OK);
    for (uint32_t r = 0; r < 9; r++)
        add_question(&chat, topic_of(r), &rng);
    for (uint64_t k = 1; st != OK; k++) {
        why.text[0] = '\0';
        mem_fail_at(k);
        st = try_make(&e, &choice, &chat, &why);
        mem_fail_at(0);
        assert_true(st == OK || (st == FULL && why.text[0] && !e.text && !e.skip));
    }
    assert_true(e.n_base > 0);
    episodes_close(&e);
    ids_close(&chat);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    allocations_may_fail(POLICY);
    allocations_may_fail(POLICY ",embed=self");
}

/* ---- the same bits ---- */

struct answer {
    struct buf told;
    struct ids ids;
    struct akv_usage usage;
    bool done;
};

static void take(struct answer *a, const struct akv_event *event)
{
    if (event->kind == AKV_EVENT_DONE) {
        if (event->stop == AKV_STOP_ERROR)
            fail_msg("%s", event->message);
        a->usage = event->usage;
        a->done = true;
    } else {
        ids_add(&a->ids, event->token);
        buf_add(&a->told, event->top, event->n_top * sizeof *event->top);
    }
}

static void ask(struct answer *a, const struct ids *chat, const char *policy, const char *salt)
{
    const struct akv_request request = {
        .ids = chat->id,
        .n_id = chat->n,
        .n_predict = 12,
        .ignore_eos = true,
        .n_logprob = 4,
        .sampling = { .temperature = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1 },
        .kv_policy = policy,
        .cache_salt = salt,
        .user = a,
    };
    struct note why = { "" };
    uint64_t id;
    *a = (struct answer){ 0 };
    if (engine_submit(s.engine, &request, 1, &id, &why) != OK)
        fail_msg("%s", why.text);
    while (!a->done) {
        struct outbox_event *event;
        still_turn(&s);
        while ((event = still_event(&s))) {
            take(event->event.user, &event->event);
            outbox_event_free(event);
        }
    }
}

static void answer_close(struct answer *a)
{
    buf_close(&a->told);
    ids_close(&a->ids);
}

static void expect_same(const struct answer *a, const struct answer *b)
{
    assert_int_equal(a->told.len, b->told.len);
    assert_memory_equal(a->told.bytes, b->told.bytes, a->told.len);
    assert_int_equal(a->usage.n_kept, b->usage.n_kept);
}

static void a_chat_goes_on_where_it_was(const char *policy)
{
    const struct akv_limits limits = limits_of();
    struct rng rng = rng_seeded(6, 6);
    struct ids chat[ROUNDS] = { 0 };
    static struct answer warm[ROUNDS];
    uint32_t n_on = 0, n_found = 0, n_dropped = 0;
    still_engine_open(&s, &limits);
    for (uint32_t r = 0; r < ROUNDS; r++) {
        if (r > 0) {
            ids_add_all(&chat[r], chat[r - 1].id, chat[r - 1].n);
            ids_add_all(&chat[r], warm[r - 1].ids.id, warm[r - 1].ids.n);
            end_answer(&chat[r]);
        }
        add_question(&chat[r], topic_of(r), &rng);
        ask(&warm[r], &chat[r], policy, NULL);
        n_on += r > 0 && warm[r].usage.kv_n_episode && warm[r].usage.n_cached >= chat[r - 1].n;
        n_found += warm[r].usage.kv_n_episode && warm[r].usage.n_cached > 0;
        n_dropped += warm[r].usage.n_dropped > 0;
        assert_true(warm[r].usage.kv_bytes_peak <= limits.kv_bytes);
    }
    still_engine_close(&s);
    for (uint32_t r = 0; r < ROUNDS; r += 3) {
        struct answer cold;
        still_engine_open(&s, &limits);
        ask(&cold, &chat[r], policy, NULL);
        assert_int_equal(cold.usage.n_cached, 0);
        expect_same(&cold, &warm[r]);
        assert_int_equal(cold.usage.kv_episode, warm[r].usage.kv_episode);
        answer_close(&cold);
        still_engine_close(&s);
    }
    print_message(
        "%s: of %d rounds %u went on with the one before, %u found something, %u dropped rows\n",
        policy, ROUNDS, n_on, n_found, n_dropped);
    assert_true(n_on > 0 && n_found > n_on && n_dropped > 0);
    for (uint32_t r = 0; r < ROUNDS; r++) {
        answer_close(&warm[r]);
        ids_close(&chat[r]);
    }
}

static void found_or_built_anew(void **state)
{
    (void)state;
    a_chat_goes_on_where_it_was(POLICY);
}

static void also_where_turns_begin_episodes(void **state)
{
    (void)state;
    a_chat_goes_on_where_it_was(POLICY ",new=0.3");
}

static void also_with_a_sentence_encoder(void **state)
{
    (void)state;
    a_chat_goes_on_where_it_was(POLICY ",embed=minilm");
}

static void also_with_the_model_itself(void **state)
{
    (void)state;
    a_chat_goes_on_where_it_was(POLICY ",embed=self");
    a_chat_goes_on_where_it_was(POLICY ",embed=self,embed_of=text,embed_layer=0.5");
}

/* Neither an engine nor a request can have it, and both say what to do. */
static void without_an_encoder_there_is_no_minilm(void **state)
{
    (void)state;
    struct akv_limits limits = limits_of();
    const int32_t id = 1;
    const struct akv_request request = { .ids = &id,
                                         .n_id = 1,
                                         .kv_policy = POLICY ",embed=minilm" };
    struct note why = { "" };
    uint64_t number;
    limits.encoder = NULL;
    still_engine_open(&s, &limits);
    assert_int_equal(engine_submit(s.engine, &request, 1, &number, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "akvifer pull minilm"));
    still_engine_close(&s);
    struct engine *e;
    limits.kv_policy = request.kv_policy;
    assert_int_equal(engine_new(&e, s.model, s.vocab, &limits, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "--encoder"));
}

/* The episodes of a few chats in turn, in a pool that has not room for all: what was parked comes back with the same
 * bits. */
static void parked_and_back(void **state)
{
    (void)state;
    enum { CHATS = 5, TIMES = 3 };
    struct akv_limits limits = limits_of();
    struct rng rng = rng_seeded(9, 9);
    struct ids chat[CHATS] = { 0 };
    static struct answer first[CHATS];
    limits.kv_bytes = still_kv_bytes(&s, 1, 1000, 48);
    for (uint32_t c = 0; c < CHATS; c++)
        for (uint32_t r = 0; r < 10; r++) {
            add_question(&chat[c], topic_of(r), &rng);
            if (r < 9) {
                add_words(&chat[c], topic_of(r), &rng);
                end_answer(&chat[c]);
            }
        }
    still_engine_open(&s, &limits);
    for (uint32_t c = 0; c < CHATS; c++)
        ask(&first[c], &chat[c], POLICY ",park=ram", "one");
    for (uint32_t i = 0; i < TIMES * CHATS; i++) {
        struct answer again;
        ask(&again, &chat[i % CHATS], POLICY ",park=ram", "one");
        assert_true(again.usage.n_cached > 0);
        expect_same(&again, &first[i % CHATS]);
        answer_close(&again);
    }
    const struct frozen_table *t = &s.engine->frozen;
    print_message("%llu times parked, %llu times back, %zu bytes are parked\n",
                  (unsigned long long)t->n_parked, (unsigned long long)t->n_unparked,
                  t->parked_bytes);
    assert_true(t->n_parked > CHATS && t->n_unparked > CHATS);
    assert_true(t->parked_bytes <= limits.kv_bytes);
    still_engine_close(&s);
    for (uint32_t c = 0; c < CHATS; c++) {
        answer_close(&first[c]);
        ids_close(&chat[c]);
    }
}

static void another_tenant_finds_nothing(void **state)
{
    (void)state;
    const struct akv_limits limits = limits_of();
    struct rng rng = rng_seeded(7, 7);
    struct ids chat = { 0 };
    struct answer a, b, c;
    for (uint32_t r = 0; r < 12; r++) {
        add_question(&chat, topic_of(r), &rng);
        if (r < 11) {
            add_words(&chat, topic_of(r), &rng);
            end_answer(&chat);
        }
    }
    still_engine_open(&s, &limits);
    ask(&a, &chat, POLICY, "one");
    ask(&b, &chat, POLICY, "two");
    ask(&c, &chat, POLICY, "one");
    assert_true(a.usage.kv_n_episode > 0);
    assert_int_equal(b.usage.n_cached, 0);
    assert_true(c.usage.n_cached > 0);
    expect_same(&a, &b);
    expect_same(&a, &c);
    still_engine_close(&s);
    answer_close(&a);
    answer_close(&b);
    answer_close(&c);
    ids_close(&chat);
}

/* (a) of the paper's sheet: what fits the budget is as it would be without a policy. */
static void a_budget_that_holds_all_changes_nothing(void **state)
{
    (void)state;
    const struct akv_limits limits = { .n_ctx = N_CTX };
    struct rng rng = rng_seeded(8, 8);
    struct ids chat = { 0 };
    struct answer a, b;
    for (uint32_t r = 0; r < 8; r++) {
        add_question(&chat, topic_of(r), &rng);
        if (r < 7)
            end_answer(&chat);
    }
    still_engine_open(&s, &limits);
    ask(&a, &chat, "full", "one");
    ask(&b, &chat, "epicache:budget=100%,block=64,episodes=3", "two");
    expect_same(&a, &b);
    assert_int_equal(b.usage.n_dropped, 0);
    still_engine_close(&s);
    answer_close(&a);
    answer_close(&b);
    ids_close(&chat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(episodes_grow_with_a_chat),
        cmocka_unit_test(a_segment_is_nearest_to_its_own_episode),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(found_or_built_anew),
        cmocka_unit_test(also_where_turns_begin_episodes),
        cmocka_unit_test(also_with_a_sentence_encoder),
        cmocka_unit_test(also_with_the_model_itself),
        cmocka_unit_test(without_an_encoder_there_is_no_minilm),
        cmocka_unit_test(parked_and_back),
        cmocka_unit_test(another_tenant_finds_nothing),
        cmocka_unit_test(a_budget_that_holds_all_changes_nothing),
    };
    return cmocka_run_group_tests(tests, open_still, close_still);
}
