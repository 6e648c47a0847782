/* kv/keep.h - carrying a keep policy out: budgets, floors, ranks, the best rows stay.
 *
 *   lists of the excerpt --policy's rank--> floors first, then the best by rank, up to each head's budget --> drop,
 *   settle
 *
 * K1  What stays of a list is at least its floors (sinks and recent rows), and at most its budget where that is larger.
 * K2  Nothing is dropped while a list is within its budget; a budget at or above what was read changes nothing at all.
 *     (Where heads share a budget, all their lists together are such a list.)
 * K3  The same sequence, choice and profile keep the same rows, alone or in any batch, and on any machine.
 *
 * Threads  the engine thread, between steps; ranks are computed by the workers it is given.
 * Cost     no allocation once a room has grown to the largest past. */
#ifndef KV_KEEP_H
#define KV_KEEP_H

#include "kernels/kernels.h"
#include "kv/excerpt.h"
#include "kv/least.h"
#include "kv/policy.h"
#include "kv/shares.h"
#include "kv/taps.h"
#include "os/workers.h"

/* Memory for ranks, kept between calls; one at a time uses it. */
struct kv_keep_room;

/* For so many workers. FULL: no memory. */
must_use enum status kv_keep_room_new(struct kv_keep_room **out, const struct kv_shape *shape,
                                      uint32_t n_worker);
void kv_keep_room_free(struct kv_keep_room *room); // NULL is allowed

/* What it needs to know of the model. */
struct kv_keep_model {
    const struct kernels *kern;
    struct workers *workers; // as many as the room is for
    struct kv_keep_room *room;
    const struct kv_shape *shape;
    uint32_t n_head; // that ask
    float scale, softcap;
    uint32_t n_rot;
    bool rope_halves;
    const double *rope_freq; // [n_rot / 2] radians a position, of layers without a window
};

struct kv_keep_job {
    const struct kv_choice *choice;
    const struct kv_shares *shares; // NULL: equal ones
    struct kv_excerpt *excerpt;
    struct kv_space *space;
    const struct kv_taps *taps; // what the policy needs (kv_policy.needs); NULL: nothing
    const float *
        future; // as in kv_rank_in: kv/rank.h's KV_FUTURE positions from n_position on; NULL: no moments
    uint32_t n_position; // computed and committed
    uint32_t n_whole;    // what percentages are of: the prompt's length, or what has been read
};

/* What a choice comes to over n_whole positions. */
struct kv_floors {
    uint32_t budget;         // rows of each kv_head on average
    uint32_t n_sink, recent; // rows at each end that stay
};
/* Of what a query reads; and of what is kept, which is more where the policy says so (kv_policy.keep_factor). */
struct kv_floors kv_read_floors(const struct kv_choice *c, const struct kv_shape *shape,
                                uint32_t n_whole);
struct kv_floors kv_keep_floors(const struct kv_choice *c, const struct kv_shape *shape,
                                uint32_t n_whole);

/* The positions behind no floor when n_position are computed. */
struct kv_open kv_open_of(const struct kv_floors *f, uint32_t n_position);

/* Whether a model can serve it. BAD_INPUT: every layer has a window, so that nothing is dropped or left out; or a
 * budget in bytes is less than the rows that always stay. */
must_use enum status kv_keep_check(const struct kv_choice *c, const struct kv_shape *shape,
                                   struct note *why);

/* Generated tokens from one keep to the next; 0: none. Who judges a large budget in longer steps holds no more beside
 * it, for its size, and takes less of each token's time. */
uint32_t kv_keep_every(const struct kv_choice *c, const struct kv_shape *shape, uint32_t n_whole);

/* Whether heads that retrieve get all rows, one after the other (kv/shares.h). */
bool kv_keep_is_whole(const struct kv_choice *c, const struct kv_shares *shares);

/* rows [lists: layers without a window, kv_heads]: each list's budget when n_position positions are computed. One that
 * the whole does not fill is dealt over what has been computed: nothing goes before there are more rows than that. */
void kv_keep_deal(const struct kv_choice *c, const struct kv_shares *shares,
                  const struct kv_shape *shape, uint32_t n_whole, uint32_t n_position,
                  uint32_t *rows);

/* Most bytes of slots that such a past holds after any keep up to n_position, for admission; 0 where the policy drops
 * nothing. FULL: no memory to find out. */
must_use enum status kv_keep_bytes(const struct kv_choice *c, const struct kv_shares *shares,
                                   const struct kv_shape *shape, uint32_t n_whole,
                                   uint32_t n_position, size_t *out);

/* Ranks and drops where something is above its budget, settles, and brings rows near for a policy that rolls: to be
 * called at the ends of blocks of a prompt, at its end, and each so many tokens of an answer. FULL: no memory for
 * ranks, and nothing changed; or not enough of the pool, and rows dropped stay dropped: a second call goes on. */
must_use enum status kv_keep_run(const struct kv_keep_model *m, const struct kv_keep_job *job,
                                 struct note *why);

/* Brings near what has settled, of a policy that rolls (kv_excerpt_turn); a run does so itself. FULL: to be called
 * again. */
must_use enum status kv_keep_turn(const struct kv_keep_model *m, const struct kv_keep_job *job,
                                  struct note *why);

/* Whether a run would drop something: what ranks need is worth finding out. (Without memory to say: yes.) */
bool kv_keep_may_drop(const struct kv_keep_model *m, const struct kv_keep_job *job);

/* The row that leaves with each generated token (kv_policy.evicts_each): of every list that is above its budget, the
 * lowest ranked row behind no floor. Nothing moves. FULL: no memory, nothing changed. */
must_use enum status kv_keep_one(const struct kv_keep_model *m, const struct kv_keep_job *job,
                                 struct note *why);

#endif
