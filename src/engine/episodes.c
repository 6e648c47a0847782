#include "engine/episodes.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/replay.h"
#include "engine/topics.h"

enum { EPISODES_MAX = 128, NOBODY = UINT32_MAX };

uint32_t episodes_text_max(const struct kv_choice *choice)
{
    const uint32_t block = choice->options.common.block;
    return block && block < REPLAY_CHUNK ? block : REPLAY_CHUNK;
}

/* A conversation read turn by turn. */
struct walk {
    const struct episodes_in *in;
    const struct epicache_options *opt;
    struct turns turns;
    uint32_t n_history;      // ids before the question
    struct stretch question; // ids
    struct topics topics;
    uint32_t n_base;
    uint32_t n_episode;           // those of the topics, then those that a turn began
    float *middle;                // [EPISODES_MAX][dim] of the latter
    uint32_t grown[EPISODES_MAX]; // ids appended to each since n_base
    uint32_t *owner;              // [turns.n] the episode of each turn behind n_base
    uint32_t now;                 // of the last turn; NOBODY: there is none
    bool begins; // a turn far from all may begin an episode, and turns may be skipped
};

/* ---- nearest ---- */

static const float *middle_of(const struct walk *w, uint32_t e)
{
    const uint32_t d = w->topics.embedder.dim, k = w->topics.cluster.k;
    return e < k ? w->topics.cluster.centroid + (size_t)e * d : w->middle + (size_t)(e - k) * d;
}

/* The nearest episode, the first of equal ones; that of the turn before unless another is nearer by `stay`. */
static uint32_t nearest(const struct walk *w, const float *vector, float *similarity)
{
    const uint32_t d = w->topics.embedder.dim;
    uint32_t best = 0;
    float most = -INFINITY;
    for (uint32_t e = 0; e < w->n_episode; e++) {
        const float near = dot_of(vector, middle_of(w, e), d);
        if (near > most) {
            most = near;
            best = e;
        }
    }
    if (w->now < w->n_episode && w->now != best) {
        const float near = dot_of(vector, middle_of(w, w->now), d);
        if (most - near < w->opt->stay) {
            best = w->now;
            most = near;
        }
    }
    *similarity = most;
    return best;
}

/* The control: one drawn by the ids. */
static uint32_t drawn(const struct walk *w, struct stretch s)
{
    uint64_t h = 0;
    for (uint32_t i = s.first; i < s.end; i++)
        h = h * UINT64_C(0x9e3779b97f4a7c15) + (uint32_t)w->in->ids[i] + 1;
    struct rng rng = rng_seeded(h, 7);
    return rng_below(&rng, w->n_episode);
}

/* Where a turn belongs; a new episode where it is far from all. */
static enum status route(struct walk *w, struct stretch s, uint32_t *episode, float *similarity,
                         struct note *why)
{
    const uint32_t d = w->topics.embedder.dim, k = w->topics.cluster.k;
    float *vector = mem_new(d, sizeof *vector);
    if (!vector)
        return FULL;
    const enum status st = embed(&w->topics.embedder, w->in->ids, s, vector, why);
    *episode = nearest(w, vector, similarity);
    if (w->begins && *similarity < w->opt->new_below && w->n_episode < EPISODES_MAX) {
        memcpy(w->middle + (size_t)(w->n_episode - k) * d, vector, d * sizeof *vector);
        *episode = w->n_episode++;
        *similarity = 1;
    }
    if (w->opt->route == EPICACHE_RANDOM)
        *episode = drawn(w, s);
    mem_free(vector);
    return st;
}

/* ---- episodes are made, and grow ---- */

static enum status make_topics(struct walk *w, uint32_t n_base, struct note *why)
{
    topics_close(&w->topics);
    const enum status st =
        topics_make(&w->topics, w->opt, &w->in->from, w->in->ids, &w->turns, n_base, why);
    if (st != OK)
        return st;
    mem_free(w->middle);
    w->middle = mem_new((size_t)EPISODES_MAX * w->topics.embedder.dim, sizeof *w->middle);
    memset(w->grown, 0, sizeof w->grown);
    w->n_base = n_base;
    w->n_episode = w->topics.cluster.k;
    w->now = NOBODY;
    return w->middle ? OK : FULL;
}

static uint32_t budget_of(const struct walk *w, uint32_t n)
{
    return kv_keep_floors(w->in->choice, w->in->shape, n).budget;
}

/* Rows behind which an episode is made anew. */
static uint32_t grows_to(const struct walk *w, uint32_t episode)
{
    const uint32_t block = episodes_text_max(w->in->choice);
    return episode < w->topics.cluster.k ? block : budget_of(w, w->n_base) + block;
}

static bool has_windows(const struct kv_shape *shape)
{
    for (uint32_t g = 0; g < shape->n_group; g++)
        if (shape->group[g].window)
            return true;
    return false;
}

/* Turns [i, end): what was asked and what was answered. */
static uint32_t round_end(const struct walk *w, uint32_t i)
{
    const struct turn *t = w->turns.turn;
    uint32_t end = i + 1;
    while (end < w->turns.n && t[end].first < w->n_history &&
           (t[end].answers || t[end].speech == t[end - 1].speech))
        end++;
    return end;
}

static struct stretch speech_at(const struct walk *w, uint32_t i)
{
    const struct turn *t = w->turns.turn;
    uint32_t last = i;
    while (last + 1 < w->turns.n && t[last + 1].speech == t[i].speech)
        last++;
    return (struct stretch){ t[i].first, t[last].end };
}

static enum status add_round(struct walk *w, uint32_t i, uint32_t end, struct note *why)
{
    const uint32_t n = w->turns.turn[end - 1].end;
    if (w->n_base == 0)
        return n > budget_of(w, n) + episodes_text_max(w->in->choice) ? make_topics(w, n, why) : OK;
    uint32_t e;
    float similarity;
    const enum status st = route(w, speech_at(w, i), &e, &similarity, why);
    if (st != OK)
        return st;
    const uint32_t who = w->begins ? e : 0; /* Z3: all grow together */
    for (uint32_t t = i; t < end; t++)
        w->owner[t] = e;
    w->now = e;
    w->grown[who] += n - w->turns.turn[i].first;
    return w->grown[who] > grows_to(w, who) ? make_topics(w, n, why) : OK;
}

static enum status walk_history(struct walk *w, struct note *why)
{
    enum status st = OK;
    for (uint32_t i = 0, end; st == OK && i < w->turns.n && w->turns.turn[i].first < w->n_history;
         i = end) {
        end = round_end(w, i);
        st = add_round(w, i, end, why);
    }
    return st;
}

/* ---- what is asked ---- */

/* The last message; of a text its last line, at most a block of it. */
static void find_question(struct walk *w)
{
    const struct turn *t = w->turns.turn;
    const uint32_t n_prompt = w->in->n_prompt, most = episodes_text_max(w->in->choice);
    const bool header = w->turns.header < n_prompt;
    uint32_t i = w->turns.n - 1;
    if (header && i > 0)
        i--;
    while (i > 0 && t[i - 1].speech == t[i].speech)
        i--;
    w->question = (struct stretch){ t[i].first, header ? w->turns.header : n_prompt };
    if (!w->turns.is_chat && n_prompt - w->question.first > most)
        w->question.first = n_prompt - most;
    w->n_history = w->question.first;
}

static enum status begin(struct walk *w, struct note *why)
{
    const struct episodes_in *in = w->in;
    const uint32_t n_cut = in->n_context ? in->n_context : in->n_prompt;
    const enum status st = turns_cut(&w->turns, in->from.vocab, in->ids, n_cut, why);
    if (st != OK)
        return st;
    if (in->n_context) {
        const uint32_t n = in->n_prompt - in->n_context;
        w->n_history = in->n_context;
        w->question = (struct stretch){ n_cut, n_cut + n };
        if (in->n_question && in->n_question < n)
            w->question.end = n_cut + in->n_question;
    } else {
        find_question(w);
    }
    w->owner = mem_new(w->turns.n, sizeof *w->owner);
    return w->owner ? OK : FULL;
}

/* ---- what comes of it ---- */

/* Behind the base, turns of other episodes; of an episode that a turn began, the history but for its first message. */
static enum status find_skips(const struct walk *w, struct episodes *out)
{
    const bool begun = out->episode >= w->topics.cluster.k;
    const struct stretch first = speech_at(w, 0);
    out->skip = mem_new(w->turns.n + 1, sizeof *out->skip);
    if (!out->skip)
        return FULL;
    if (begun && first.end < w->n_base)
        out->skip[out->n_skip++] = (struct stretch){ first.end, w->n_base };
    if (begun)
        out->n_base = 0;
    for (uint32_t i = 0; i < w->turns.n; i++) {
        const struct turn *t = &w->turns.turn[i];
        struct stretch *last = out->n_skip ? &out->skip[out->n_skip - 1] : NULL;
        if (t->first < w->n_base || t->first >= w->n_history || w->owner[i] == out->episode)
            continue;
        if (last && last->end == t->first)
            last->end = t->end;
        else
            out->skip[out->n_skip++] = (struct stretch){ t->first, t->end };
    }
    return OK;
}

static enum status finish(struct walk *w, struct episodes *out, struct note *why)
{
    struct ids text = { 0 };
    if (w->n_base == 0)
        return OK;
    enum status st = route(w, w->question, &out->episode, &out->similarity, why);
    out->n_base = w->n_base;
    out->n_episode = w->n_episode;
    if (st == OK && w->begins)
        st = find_skips(w, out);
    if (st == OK && out->episode < w->topics.cluster.k)
        st = topics_text(&w->topics, out->episode, w->in->ids, w->opt->n_rep,
                         episodes_text_max(w->in->choice), &text);
    out->text = text.id;
    out->n_text = (uint32_t)text.n;
    return st;
}

enum status episodes_check(const struct kv_choice *choice, const struct encoder *encoder,
                           struct note *why)
{
    const struct epicache_options *opt = (const struct epicache_options *)choice->options.bytes;
    if (choice->policy->replay != KV_REPLAY_EPISODE || opt->embed != EPICACHE_MINILM || encoder)
        return OK;
    note_set(why, "embed=minilm needs a sentence encoder, and none is here: `akvifer pull minilm` "
                  "fetches it (--encoder names another file)");
    return BAD_INPUT;
}

enum status episodes_make(struct episodes *out, const struct episodes_in *in, struct note *why)
{
    struct walk w = { .in = in,
                      .opt = (const struct epicache_options *)in->choice->options.bytes,
                      .now = NOBODY };
    *out = (struct episodes){ 0 };
    enum status st = episodes_check(in->choice, in->from.encoder, why);
    if (st == OK)
        st = begin(&w, why);
    const bool once = in->once || in->n_context || !w.turns.is_chat;
    w.begins = !once && !has_windows(in->shape);
    if (st == OK && w.n_history > 0)
        st = once ? make_topics(&w, w.n_history, why) : walk_history(&w, why);
    if (st == OK)
        st = finish(&w, out, why);
    turns_close(&w.turns);
    topics_close(&w.topics);
    mem_free(w.middle);
    mem_free(w.owner);
    if (st == FULL)
        note_set(why, "no memory for the episodes of a conversation of %u tokens", in->n_prompt);
    if (st != OK)
        episodes_close(out);
    return st;
}

void episodes_close(struct episodes *e)
{
    mem_free(e->text);
    mem_free(e->skip);
    *e = (struct episodes){ 0 };
}
