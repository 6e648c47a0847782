#include "engine/limits.h"

#include <stdio.h>
#include <string.h>

#include "engine/keeper.h"
#include "os/mem_limit.h"

enum { PARALLEL = 16, QUEUE = 256, CTX_MIN = 64, CTX_MAX = 1 << 30, SEQUENCES_BY_DEFAULT = 4 };

static const size_t WORKSPACE = (size_t)40 << 20;
static const double STEP_STRETCH = 2.5;

static enum status choose_kv_type(struct engine_limits *l, const char *name, struct note *why)
{
    if (kv_type_of_name(name, &l->kv_type))
        return OK;
    note_set(why, "--kv-type is '%s'; it must be f16, f32 or int8", name);
    return BAD_INPUT;
}

static enum status choose_kv_map(struct engine_limits *l, const char *name, struct note *why)
{
    l->kv_table = strcmp(name, "table") == 0;
    if (l->kv_table || strcmp(name, "space") == 0)
        return OK;
    note_set(why, "--kv-map is '%s'; it must be space or table", name);
    return BAD_INPUT;
}

/* Most KV of one sequence of n_ctx positions under a policy: what it kept lies beside what it still reads. */
static size_t bytes_under(const struct engine_limits *l, const struct kv_choice *choice,
                          uint32_t n_ctx)
{
    const uint32_t n_step = l->n_ubatch < n_ctx ? l->n_ubatch : n_ctx;
    const struct keeper_frame frame = { .model.shape = &l->shape };
    const struct keeper keeper = { .choice = *choice,
                                   .n_prompt = n_ctx,
                                   .n_position_max = n_ctx,
                                   .every = kv_keep_every(choice, &l->shape, n_ctx) };
    return kv_choice_drops(choice) ? keeper_bytes(&keeper, &frame, n_ctx, n_step)
                                   : kv_sequence_bytes(&l->shape, n_ctx, n_step);
}

static size_t one_sequence(const struct engine_limits *l, uint32_t n_ctx)
{
    return bytes_under(l, &l->policy, n_ctx);
}

/* The longest context of whole blocks, at most n_ctx, of which one sequence fits; one block at least. */
static uint32_t longest_under(const struct engine_limits *l, const struct kv_choice *choice,
                              uint32_t n_ctx, size_t bytes)
{
    uint32_t fits = CTX_MIN / KV_BLOCK, above = n_ctx / KV_BLOCK + 1; /* in blocks */
    if (bytes_under(l, choice, n_ctx) <= bytes)
        return n_ctx;
    while (above - fits > 1) {
        const uint32_t middle = fits + (above - fits) / 2;
        *(bytes_under(l, choice, middle * KV_BLOCK) <= bytes ? &fits : &above) = middle;
    }
    return fits * KV_BLOCK;
}

static uint32_t longest_fit(const struct engine_limits *l, uint32_t n_ctx, size_t bytes)
{
    return longest_under(l, &l->policy, n_ctx, bytes);
}

uint32_t engine_limits_context(const struct engine_limits *l, const struct kv_choice *choice)
{
    return longest_under(l, choice, l->n_ctx, l->kv_bytes);
}

static enum status choose_kv_bytes(struct engine_limits *l, const struct akv_limits *wish,
                                   struct note *why)
{
    struct mem_limit memory = { 0 };
    enum status st = mem_limit_read("", &memory, why);
    if (st != OK)
        return st;
    const size_t budget =
        memory.available / 2; /* the other half stays with the rest of the machine */
    const uint32_t n_want =
        l->n_parallel < SEQUENCES_BY_DEFAULT ? l->n_parallel : SEQUENCES_BY_DEFAULT;
    l->kv_bytes = wish->kv_bytes;
    if (wish->n_ctx == 0)
        l->n_ctx = longest_fit(l, l->n_ctx, wish->kv_bytes ? wish->kv_bytes : budget);
    const size_t one = one_sequence(l, l->n_ctx);
    if (l->kv_bytes == 0) {
        /* one more, for what a policy keeps of one beside what it still reads */
        l->kv_bytes = one * (n_want + 1) < budget ? one * (n_want + 1) : budget;
        if (l->kv_bytes < one && one <= memory.available)
            l->kv_bytes = one; /* asked for, and there is room */
    }
    if (l->kv_bytes < one && wish->kv_bytes == 0) {
        note_set(why,
                 "a context of %u tokens needs %zu bytes of KV, and %zu are free here; lower -c to "
                 "%u, or say with --kv-ram that the memory will be there",
                 l->n_ctx, one, memory.available, longest_fit(l, l->n_ctx, memory.available));
        return BAD_INPUT;
    }
    if (l->kv_bytes >= one)
        return OK;
    char or_lower[64] = "";
    if (one_sequence(l, CTX_MIN) <= l->kv_bytes)
        snprintf(or_lower, sizeof or_lower, ", or lower -c to %u",
                 longest_fit(l, l->n_ctx, l->kv_bytes));
    note_set(why,
             "a context of %u tokens needs %zu bytes of KV, the cap (--kv-ram) is %zu; raise it to "
             "at least %zu%s, or read it under a policy with blocks, as --kv-policy h2o-chunked",
             l->n_ctx, one, l->kv_bytes, one, or_lower);
    return BAD_INPUT;
}

enum status engine_limits_choose(struct engine_limits *out, const struct akv_limits *wish,
                                 const struct model *m, struct note *why)
{
    const struct hparams *h = model_hparams(m);
    struct engine_limits l = {
        .n_ctx = wish->n_ctx ? wish->n_ctx : h->n_ctx,
        .n_parallel = wish->n_parallel ? wish->n_parallel : PARALLEL,
        .n_queue = wish->n_queue ? wish->n_queue : QUEUE,
        .n_ubatch = wish->n_ubatch ? wish->n_ubatch : model_rows_for(m, WORKSPACE),
        .n_cache_min = wish->n_cache_min,
        .step_stretch = wish->step_stretch < 0    ? 0
                        : wish->step_stretch == 0 ? STEP_STRETCH
                                                  : (double)wish->step_stretch,
    };
    enum status st = choose_kv_type(&l, wish->kv_type ? wish->kv_type : "f16", why);
    if (st == OK)
        st = choose_kv_map(&l, wish->kv_map ? wish->kv_map : "space", why);
    if (st != OK)
        return st;
    if (l.n_ctx > CTX_MAX) {
        note_set(why, "a context of %u tokens is asked for (-c); it must be at most %u", l.n_ctx,
                 CTX_MAX);
        return BAD_INPUT;
    }
    if (l.n_ubatch > 4096) {
        note_set(why, "%u tokens a step are asked for (-ub); it must be at most 4096", l.n_ubatch);
        return BAD_INPUT;
    }
    if (l.n_ubatch < l.n_parallel)
        l.n_parallel = l.n_ubatch; /* every running sequence gets a row in every step */
    if (l.step_stretch != 0 && !(l.step_stretch >= 1.1 && l.step_stretch <= 1e6)) {
        note_set(why,
                 "steps may be stretched %g times by prompts (--step-stretch); it must be 1.1 to "
                 "1000000, or negative for no bound",
                 l.step_stretch);
        return BAD_INPUT;
    }
    st = kv_choice_parse(&l.policy, wish->kv_policy ? wish->kv_policy : "full", why);
    if (st != OK)
        return st;
    hparams_kv_shape(h, l.kv_type, &l.shape);
    st = kv_keep_check(&l.policy, &l.shape, why);
    if (st == OK)
        st = choose_kv_bytes(&l, wish, why);
    if (st == OK)
        *out = l;
    return st;
}

/* What a policy is to do, and where it cannot. */
static void policy_text(const struct engine_limits *l, const char *profile, struct buf *out)
{
    const uint32_t n_window = kv_windowed_layers(&l->shape);
    char choice[KV_CHOICE_TEXT];
    kv_choice_print(&l->policy, choice, sizeof choice);
    buf_addf(out, "kv policy            %s\n", choice);
    buf_addf(out, "kv profile           %s\n", profile);
    if (n_window)
        buf_addf(out, "kv windows           %u of %u layers, which the policy leaves alone\n",
                 n_window, l->shape.n_layer);
}

void engine_plan_text(const struct engine_limits *l, const struct model *m, const char *profile,
                      struct buf *out)
{
    const double mib = 1 << 20;
    const struct hparams *h = model_hparams(m);
    buf_addf(out, "weights    %9.1f MiB  %u layers, %s\n", (double)model_weights(m)->bytes / mib,
             h->n_layer, model_arch_name(m));
    buf_addf(out, "kv cap     %9.1f MiB  %s, %zu bytes a token: %.1f contexts of %u tokens\n",
             (double)l->kv_bytes / mib, kv_type_name(l->kv_type), kv_bytes_per_position(&l->shape),
             (double)l->kv_bytes / (double)one_sequence(l, l->n_ctx), l->n_ctx);
    if (l->policy.policy->rank || l->policy.policy->select)
        policy_text(l, profile, out);
    buf_addf(out, "workspace  %9.1f MiB  up to %u tokens a step, %u threads\n",
             (double)model_workspace_bytes(m) / mib, l->n_ubatch, model_n_thread(m));
}
