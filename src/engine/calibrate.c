#include "engine/calibrate.h"

#include <math.h>

#include "base/embed.h"
#include "base/mem.h"
#include "engine/replay.h"

enum { UBATCH = 256, LEAST = 64 };

/* The end of a text, a quarter of it at most, is what follows the rest. */
enum { END_MOST = 384, END_PART = 4 };

/* One text on its way. */
struct calibration {
    struct model *m;
    const struct vocab *vocab;
    struct kv_shape shape;
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    struct kv_space *space;
    struct kv_excerpt *excerpt;
    struct replay_prefix prefix;
    struct ids ids;
    uint32_t n; // tokens of the text
};

/* Rows ids[0..n) into the space, from `position` on. FULL: no block. */
static enum status read_past(struct calibration *c, struct kv_space *space,
                             const struct kv_excerpt *excerpt, const int32_t *ids,
                             uint32_t position, uint32_t n, struct kv_taps *taps)
{
    for (uint32_t done = 0; done < n;) {
        const uint32_t now = n - done < UBATCH ? n - done : UBATCH;
        const struct batch_seq seq = { .space = space,
                                       .n_row = now,
                                       .position = position + done,
                                       .excerpt = excerpt,
                                       .taps = taps };
        const struct batch batch = { .n_row = now, .n_seq = 1, .id = ids + done, .seq = &seq };
        const enum status st = kv_space_grow(space, position + done + now);
        if (st != OK)
            return st;
        model_forward(c->m, &batch);
        model_let_go(c->m);
        done += now;
        kv_space_commit(space, position + done);
    }
    return OK;
}

static enum status read_rows(struct calibration *c, struct kv_space *space, const int32_t *ids,
                             uint32_t position, uint32_t n, struct kv_taps *taps)
{
    return read_past(c, space, c->excerpt, ids, position, n, taps);
}

static enum status open_kv(struct calibration *c, struct note *why)
{
    const uint32_t n_position = 2 * c->n + REPLAY_ROWS;
    const struct kv_pool_config pool = { .shape = &c->shape,
                                         .bytes_max =
                                             kv_sequence_bytes(&c->shape, n_position, n_position) };
    enum status st = kv_pool_new(&c->pool, &pool, why);
    const struct kv_spaces_config spaces = { .pool = c->pool, .n_position_max = n_position };
    if (st == OK)
        st = kv_spaces_new(&c->spaces, &spaces, why);
    if (st == OK)
        st = kv_space_new(&c->space, c->spaces, why);
    const struct kv_excerpt_config excerpt = { .pool = c->pool,
                                               .n_position_max = n_position,
                                               .n_tail_mass = c->n + REPLAY_ROWS };
    if (st == OK)
        st = kv_excerpt_new(&c->excerpt, &excerpt, why);
    return st;
}

static enum status replay_all(struct calibration *c, struct note *why)
{
    const struct replay_text text = { .prefix = &c->prefix, .ids = c->ids.id, .n = c->n };
    struct replay r;
    bool over = false;
    enum status st = replay_begin(&r, &text, c->space, c->excerpt, c->n, why);
    while (st == OK && !over) {
        st = read_rows(c, r.space, r.ids, r.n_past, r.n, &r.taps);
        if (st == OK)
            st = replay_went_on(&r, &text, c->space, r.n, &over, why);
    }
    replay_end(&r);
    return st;
}

/* z [n_layer][n_kv_head][n] of layers without a window. */
static void gather(const struct calibration *c, uint32_t n, float *z)
{
    const uint32_t whole = kv_whole_group(&c->shape);
    for (uint32_t layer = 0; layer < c->shape.n_layer; layer++) {
        if (c->shape.layer_group[layer] != whole)
            continue;
        for (uint32_t h = 0; h < c->shape.group[whole].n_kv_head; h++) {
            const struct kv_list list = kv_excerpt_list(c->excerpt, layer, h);
            for (uint32_t i = 0; i < n; i++)
                *z++ = (float)list.tail_mass[i % list.n_tail_mass];
        }
    }
}

/* The attention that the first n rows received, which is forgotten then, as shares. */
static enum status add(const struct calibration *c, const struct kv_shares *sum,
                       float *const *share, uint32_t n, struct note *why)
{
    float *z = mem_new((size_t)sum->n_layer * sum->n_kv_head * n, sizeof *z);
    enum status st = z ? OK : FULL;
    if (st == OK) {
        gather(c, n, z);
        st = kv_shares_add(sum, share, z, n);
    }
    mem_free(z);
    kv_excerpt_clear_mass(c->excerpt);
    if (st != OK)
        note_set(why, "no memory for the attention that %u rows received", n);
    return st;
}

/* The text, and what its end looks at. */
static enum status read_text(struct calibration *c, const struct kv_shares *sum, struct note *why)
{
    const uint32_t part = c->n / END_PART, end = part < END_MOST ? part : END_MOST, n = c->n - end;
    struct kv_taps taps = { .mass = KV_TAP_MASS_SUM, .into = c->excerpt, .n_counted = UINT32_MAX };
    enum status st = read_rows(c, c->space, c->ids.id, 0, n, NULL);
    if (st == OK)
        st = read_rows(c, c->space, c->ids.id + n, n, end, &taps);
    if (st == OK)
        return add(c, sum, sum->follow, n, why);
    note_set(why, "the system gives no memory for the KV of %u tokens", c->n);
    return st;
}

/* ---- layers ---- */

/* What a small budget leaves: the first rows, and the newest. */
enum { SINKS = 64, NEWEST = 128 };

static double cosine(const float *a, const float *b, uint32_t d)
{
    double ab = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < d; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 1;
}

/* Adds 1 - cosine of the keys of rows [first, end) in two spaces, summed over rows and heads, to change [n_layer]. key:
 * room for two. */
static void compare_keys(const struct calibration *c, const struct kv_space *masked, uint32_t first,
                         uint32_t end, float *key, double *change)
{
    const struct kernels *kern = model_kernels(c->m);
    const uint32_t whole = kv_whole_group(&c->shape);
    const struct kv_group *g = &c->shape.group[whole];
    float *a = key, *b = key + g->d_k;
    for (uint32_t layer = 0; layer < c->shape.n_layer; layer++) {
        if (c->shape.layer_group[layer] != whole)
            continue;
        const struct kv_view x = kv_view_layer(c->space, layer), y = kv_view_layer(masked, layer);
        for (uint32_t h = 0; h < g->n_kv_head; h++)
            for (uint32_t p = first; p < end; p++) {
                kern->load_k(c->shape.type, kv_view_k(&x, p / KV_BLOCK, h), p % KV_BLOCK, a,
                             g->d_k);
                kern->load_k(c->shape.type, kv_view_k(&y, p / KV_BLOCK, h), p % KV_BLOCK, b,
                             g->d_k);
                change[c->shape.layer_index[layer]] += 1 - cosine(a, b, g->d_k);
            }
    }
}

/* Rows [first, end) of every list are not read any more. */
static void hide(const struct calibration *c, struct kv_excerpt *e, uint32_t first, uint32_t end)
{
    const uint32_t whole = kv_whole_group(&c->shape);
    for (uint32_t layer = 0; layer < c->shape.n_layer; layer++)
        for (uint32_t h = 0; h < c->shape.group[whole].n_kv_head; h++)
            for (uint32_t p = first; c->shape.layer_group[layer] == whole && p < end; p++)
                kv_excerpt_drop(e, layer, h, KV_IN_TAIL | p);
}

/* The text once more, block by block over its first and newest rows alone. */
static enum status read_masked(struct calibration *c, struct kv_space *masked,
                               struct kv_excerpt *excerpt, float *key, double *change)
{
    enum status st = OK;
    for (uint32_t first = 0, hidden = SINKS; first < c->n && st == OK; first += UBATCH) {
        const uint32_t n = c->n - first < UBATCH ? c->n - first : UBATCH, end = first + n;
        st = read_past(c, masked, excerpt, c->ids.id + first, first, n, NULL);
        if (st != OK)
            break;
        compare_keys(c, masked, first, end, key, change);
        if (end > hidden + NEWEST) {
            hide(c, excerpt, hidden, end - NEWEST);
            hidden = end - NEWEST;
        }
    }
    return st;
}

static enum status add_changes(struct calibration *c, struct kv_shares *sum, struct note *why)
{
    const struct kv_excerpt_config config = { .pool = c->pool, .n_position_max = c->n };
    struct kv_space *masked = NULL;
    struct kv_excerpt *excerpt = NULL;
    double *change = mem_new(sum->n_layer, sizeof *change);
    float *key = mem_new(2 * (size_t)c->shape.group[kv_whole_group(&c->shape)].d_k, sizeof *key);
    enum status st = kv_space_new(&masked, c->spaces, why);
    if (st == OK)
        st = kv_excerpt_new(&excerpt, &config, why);
    if (st == OK)
        st = change && key ? read_masked(c, masked, excerpt, key, change) : FULL;
    for (uint32_t l = 0; st == OK && l < sum->n_layer; l++) {
        const double mean = change[l] / ((double)c->n * sum->n_kv_head);
        sum->change[l] += mean > 0 ? (float)mean : 0; // rounding: layer 0 attends to nothing before
    }
    if (st == FULL)
        note_set(why, "no memory to compare the keys of %u rows", c->n);
    kv_excerpt_free(excerpt);
    kv_space_free(masked);
    mem_free(change);
    mem_free(key);
    return st;
}

static void close(struct calibration *c)
{
    kv_excerpt_free(c->excerpt);
    kv_space_free(c->space);
    kv_spaces_free(c->spaces);
    kv_pool_free(c->pool);
    ids_close(&c->ids);
}

enum status calibrate(struct kv_shares *sum, struct model *m, const struct vocab *v,
                      enum kv_type type, const struct calibration_text *text, struct note *why)
{
    struct calibration c = { .m = m, .vocab = v };
    hparams_kv_shape(model_hparams(m), type, &c.shape);
    enum status st = replay_prefix_make(&c.prefix, replay_repeat, model_file(m), v, why);
    if (st == OK)
        st = vocab_encode(v, text->bytes, text->len, VOCAB_BOS, &c.ids, why);
    c.n = c.ids.n < CALIBRATION_TOKENS ? (uint32_t)c.ids.n : CALIBRATION_TOKENS;
    if (st == OK && c.n < LEAST) {
        note_set(why, "a calibration text has %u tokens; it needs %d", c.n, LEAST);
        st = BAD_INPUT;
    }
    if (st == OK)
        st = model_reserve(m, UBATCH, why);
    if (st == OK)
        st = open_kv(&c, why);
    if (st == OK)
        st = read_text(&c, sum, why);
    if (st == OK)
        st = replay_all(&c, why);
    if (st == OK)
        st = add(&c, sum, sum->share, c.n, why);
    if (st == OK)
        st = add_changes(&c, sum, why);
    close(&c);
    return st;
}

/* ---- the program's own texts ---- */

EMBED(calibration_1, "src/engine/calibration/1_moby_dick.txt");
EMBED(calibration_2, "src/engine/calibration/2_war_and_peace.txt");
EMBED(calibration_3, "src/engine/calibration/3_pride_and_prejudice.txt");
EMBED(calibration_4, "src/engine/calibration/4_frankenstein.txt");
EMBED(calibration_5, "src/engine/calibration/5_sherlock_holmes.txt");
EMBED(calibration_6, "src/engine/calibration/6_tinyshakespeare.txt");
EMBED(calibration_7, "src/engine/calibration/7_moby_dick.txt");

struct calibration_text calibration_text(uint32_t i)
{
    const char *const begin[CALIBRATION_TEXTS] = { calibration_1, calibration_2, calibration_3,
                                                   calibration_4, calibration_5, calibration_6,
                                                   calibration_7 };
    const char *const end[CALIBRATION_TEXTS] = { calibration_1_end, calibration_2_end,
                                                 calibration_3_end, calibration_4_end,
                                                 calibration_5_end, calibration_6_end,
                                                 calibration_7_end };
    return (struct calibration_text){ begin[i], (size_t)(end[i] - begin[i]) };
}
