/* akvifer.h - the public C API: open a model, start an engine, submit requests, read events.
 *
 *     akv_model_open -> akv_engine_new -> akv_submit ... akv_next_event ... -> akv_engine_free
 *                                                                           -> akv_model_close
 *
 * One engine runs any number of requests at once over one model and one bounded pool of KV memory.
 * KV is shared by itself: what of a prompt some request computed before is reused, under the same
 * salt. Sizes are in bytes, times in nanoseconds, positions and counts in tokens. docs/example.c is
 * a whole program.
 *
 * Threads   every function may be called from any thread; akv_next_event from one at a time.
 *           Opening, creating and freeing must not overlap with other calls on the same object.
 * Errors    a call that fails answers a status other than AKV_OK, writes a sentence for humans into
 *           `why` (which may be NULL), leaves its outputs untouched and changes nothing. One that
 *           succeeds may leave a warning in `why`.
 * Lifetime  strings and arrays that are passed in are copied before a call returns. What an event
 *           points to lives until the next akv_next_event on the same engine. */
#ifndef AKVIFER_H
#define AKVIFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define AKV_API __attribute__((visibility("default")))
#else
#define AKV_API
#endif

/* Sorted by what the caller can do about it. */
enum akv_status {
    AKV_OK = 0,
    AKV_FULL,      /* no memory, or no room in the queue: wait for events, then try again */
    AKV_NOT_FOUND, /* no such file, event or template */
    AKV_BAD_INPUT, /* what was passed is wrong: the note names it, its value and the limit */
    AKV_CANCELED,  /* somebody asked for it to stop */
    AKV_IO_ERROR,  /* the system refused: the note has its words */
    AKV_CORRUPT,   /* bytes or numbers are not what they must be: distrust the source */
};

struct akv_note {
    char text[512];
};

typedef struct akv_model akv_model;
typedef struct akv_engine akv_engine;

/* ---- models ---- */

struct akv_model_params {
    const char *path;          /* a GGUF file, or any of a split set */
    const char *cpu;           /* kernels: NULL or "auto", "ref", "avx2", "avx512" */
    uint32_t n_thread;         /* 0: as many as this process may use */
    const char *chat_template; /* Jinja text instead of the model's own template; or NULL */

    /* 0..1 while weights load, from the calling thread; may be NULL. */
    void (*progress)(void *arg, double done);
    void *progress_arg;
};

AKV_API enum akv_status akv_model_open(akv_model **out, const struct akv_model_params *params,
                                       struct akv_note *why);
/* No engine may be using it; NULL is allowed. */
AKV_API void akv_model_close(akv_model *model);

struct akv_model_info {
    const char *name;         /* general.name, or the file's name */
    const char *architecture; /* "llama", "qwen2", "qwen3", "gemma3" */
    const char *kernels;      /* which run, e.g. "avx2 (AMD EPYC, AVX2 FMA F16C)" */
    uint32_t n_ctx_train;     /* longest context it was trained for */
    uint32_t n_vocab, n_layer, n_embd;
    uint64_t n_param;
    size_t weight_bytes; /* resident */
    bool has_chat_template;
    const char *chat_template; /* its Jinja text; "" where there is none that works */
    int32_t bos, eos;          /* tokens; -1: none */
};
AKV_API void akv_model_info(const akv_model *model, struct akv_model_info *out);

/* Text to ids. `special`: control tokens may be named; `bos`: the model's BOS comes in front if it
 * uses one. *n_id is in: room in ids, out: ids there are. AKV_FULL: the room is too small, and
 * *n_id says what is needed. */
AKV_API enum akv_status akv_tokenize(const akv_model *model, const char *text, size_t len,
                                     bool special, bool bos, int32_t *ids, size_t *n_id,
                                     struct akv_note *why);

/* The bytes of one token, *len of them; control tokens are empty unless `special`. Valid while the
 * model is open. */
AKV_API const char *akv_token_bytes(const akv_model *model, int32_t id, bool special, size_t *len);

/* Renders {"messages": [...], "tools": [...], "add_generation_prompt": true, ...} through the
 * model's chat template and tokenizes it, so that text of messages never becomes a control token.
 * Ids are given as by akv_tokenize. AKV_NOT_FOUND: the model has no template that works. */
AKV_API enum akv_status akv_render_chat(const akv_model *model, const char *json, size_t len,
                                        int32_t *ids, size_t *n_id, struct akv_note *why);

/* ---- engines ---- */

struct akv_limits {
    /* Longest context of a request, up to 2^30; 0: the model's, or what fits kv_bytes. More than
     * the model's n_ctx_train is computed as asked: whether it makes sense is the model's
     * affair. */
    uint32_t n_ctx;
    /* Hard cap on KV memory (--kv-ram); 0: from the model, n_ctx and the memory that is free. */
    size_t kv_bytes;
    const char *kv_type; /* NULL or "f16", "f32", "int8" */
    uint32_t n_parallel; /* requests that run at once; 0: 16 */
    uint32_t n_queue;    /* requests that may wait; 0: 256 */
    uint32_t n_ubatch;   /* most tokens a step; 0: chosen for the workspace to stay small */
    /* While answers stream, prompts are read in pieces that make no step longer than so many times
     * one without them; 0: 2.5; negative: as long as n_ubatch lets it be. */
    float step_stretch;
    uint32_t n_cache_min; /* a beginning that is shorter is not reused (--cache-min) */
    const char *kv_map;   /* NULL or "space" (contiguous addresses), "table" (a table of blocks) */
    /* What requests do with their KV that do not say themselves, as akv_request.kv_policy; NULL:
     * "full". */
    const char *kv_policy;
    /* A profile of the model's heads, as `akvifer profile` writes it, for policies that deal a budget to
     * them; NULL: the file beside the model, MODEL.gguf.kv.json, or the program's own, or none. */
    const char *kv_profile;
    /* A GGUF file of a BERT-shaped sentence encoder, for policies that compare texts
     * (epicache:embed=minilm); it is read when it is first needed. NULL: none. */
    const char *encoder;
};

/* One engine a model at a time: its workspace and threads are not shared. AKV_BAD_INPUT: a limit
 * is wrong, or the model has one already. */
AKV_API enum akv_status akv_engine_new(akv_engine **out, akv_model *model,
                                       const struct akv_limits *limits, struct akv_note *why);
/* Cancels what runs; NULL is allowed. */
AKV_API void akv_engine_free(akv_engine *engine);

struct akv_sampling {
    float temperature;                         /* 0: greedy */
    int32_t top_k;                             /* 0: off */
    float top_p;                               /* 1: off */
    float min_p;                               /* 0: off */
    float typical_p;                           /* 1: off */
    float repeat_penalty;                      /* 1: off */
    int32_t repeat_last_n;                     /* how far back penalties look; 0: off, -1: all */
    float presence_penalty, frequency_penalty; /* 0: off */
    uint64_t seed;                             /* same seed, same answer, on any machine */
    const int32_t *bias_id;                    /* n_bias logit biases: token and what is added; */
    const float *bias;                         /*   -INFINITY forbids the token */
    uint32_t n_bias;
};
/* Temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, seed 0, all else off. */
AKV_API struct akv_sampling akv_sampling_default(void);

struct akv_request {
    const int32_t *ids; /* the prompt, n_id of them */
    size_t n_id;
    struct akv_sampling sampling;

    /* Where it ends. */
    uint32_t n_predict;      /* most tokens to generate; UINT32_MAX: until an end token or n_ctx; */
                             /*   0 computes the prompt, whose KV stays for others */
    uint32_t n_predict_min;  /* before so many, neither end tokens nor stop_id can be drawn */
    bool ignore_eos;         /* end tokens can never be drawn */
    const char *const *stop; /* n_stop texts that end the answer; they are not part of it */
    uint32_t n_stop;
    const int32_t *stop_id; /* n_stop_id tokens that end it as an end token does */
    uint32_t n_stop_id;
    uint32_t time_limit_ms; /* from akv_submit on, waiting included; 0: none */
    uint32_t
        line_limit_ms; /* from its first token on: behind that, at the next line end; 0: none */

    /* What is reported. */
    uint32_t n_logprob;   /* best alternatives with each generated token, 0..64 */
    bool prompt_logprobs; /* the same for every prompt position, which is then computed anew */

    /* What KV is shared. */
    const char
        *cache_salt;     /* requests of different salts share nothing; up to 255 bytes; what is */
                         /*   before the first '/' names the tenant, for reasons; NULL: "" */
    uint32_t n_public;   /* ids of the prompt's beginning that everybody may share who says so of */
                         /*   his own: whole blocks of 64. Others can find out that somebody did */
    bool cache_no_read;  /* compute the whole prompt */
    bool cache_no_write; /* leave no KV behind for others */

    /* What stays of its KV: "full", or a policy with options, e.g. "h2o:budget=20%,recent=256"
     * (docs/POLICIES.md); NULL: the engine's. */
    const char *kv_policy;
    /* 0: the policy's own schedule. n: the first n ids are the context; the policy prunes behind them (and inside them
     * at its blocks, if it has a `block`), and what follows is read at its true positions and stays. Requests of the
     * same policy, salt and context share the pruned state; then PROMPT events may begin at position n - 1. */
    uint32_t kv_context;
    /* Without kv_context: the policy judges the prompt as it would an answer that follows its first id, each token or
     * each `every` of them; one with a `block` judges at blocks as ever. Percentages are of the whole prompt. Its rows,
     * and their log-probabilities, have the bits of such an answer. AKV_BAD_INPUT: the policy drops rows behind a
     * prompt alone. */
    bool kv_written;
    /* Of what follows the context, so many ids are the question: policies that look for what is asked about (epicache)
     * read no further, so that every answer to it finds the same; 0: all of it. Of policies that select (quest,
     * sentencekv) the question's rows read everything, as those of a prompt do; 0: they select, too. */
    uint32_t kv_question;
    /* Requests of other policies have the same context, and it is to be read once for all of them: whatever one of them
     * may want to know of it is written down, and what was read stays beside what each of them keeps until blocks are
     * short. The answers are the same. Without kv_context it means nothing. */
    bool kv_compare;

    void *user; /* comes back with every event */
};

/* *id names the request. AKV_BAD_INPUT: it could never run, and the note has the numbers. AKV_FULL:
 * n_queue requests wait already. AKV_CORRUPT: the model's file was changed in place while it is in
 * use. */
AKV_API enum akv_status akv_submit(akv_engine *engine, const struct akv_request *request,
                                   uint64_t *id, struct akv_note *why);

/* The same for n requests at once, which name themselves in id [n]: all of them or none. */
AKV_API enum akv_status akv_submit_all(akv_engine *engine, const struct akv_request *request,
                                       uint32_t n, uint64_t *id, struct akv_note *why);

/* Whether submitting such a request may take seconds, as its policy reads a history before it starts (epicache): not
 * to be done where others wait. */
AKV_API bool akv_submit_is_long(const akv_engine *engine, const struct akv_request *request);

/* A DONE event with AKV_STOP_CANCELED follows, unless the request was done. */
AKV_API void akv_cancel(akv_engine *engine, uint64_t id);

/* Blocks that were there once. why NULL: none. */
struct akv_evicted {
    const char
        *why; /* "memory": others needed the room; "window": so too, and no window looked at */
              /*   them any more; "index": the list of what is kept was full */
    const char *from; /* "memory": whence they went */
    uint64_t steps_ago, ns_ago;
};

/* What a request would find. */
struct akv_cache_find {
    uint32_t n_cached; /* positions that would be reused, and as in akv_usage: */
    bool cached_public;
    const char *miss;
    uint32_t miss_at;
    struct akv_evicted evicted;
    int32_t instead[16]; /* "diverged": n_instead ids that follow there in what is kept */
    uint32_t n_instead;
};

/* Waits for no step, and touches nothing. Fails as akv_submit, but never for a full queue. */
AKV_API enum akv_status akv_cache_find(akv_engine *engine, const struct akv_request *request,
                                       struct akv_cache_find *out, struct akv_note *why);

enum akv_event_kind { AKV_EVENT_TOKEN, AKV_EVENT_PROMPT, AKV_EVENT_DONE };

enum akv_stop {
    AKV_STOP_END,      /* an end token, or one of stop_id */
    AKV_STOP_TEXT,     /* one of the stop texts */
    AKV_STOP_LENGTH,   /* n_predict tokens */
    AKV_STOP_CONTEXT,  /* the context is full */
    AKV_STOP_TIME,     /* time_limit_ms are over: what there is of the answer */
    AKV_STOP_CANCELED, /* akv_cancel, or the engine was freed */
    AKV_STOP_ERROR     /* status and message say what happened; CORRUPT: distrust the answer */
};

struct akv_logprob {
    int32_t id;
    float logprob; /* natural logarithm */
};

struct akv_usage {
    uint32_t n_prompt, n_generated;
    uint32_t n_cached;  /* prompt positions whose KV was reused */
    bool cached_public; /* they are of what everybody may share */
    /* Why no more was: "none" (all that can be was), "cold", "diverged", "end", "evicted", "window",
     * "off", "below_minimum", "policy" (its KV policy has to see it computed), "salt" (cold, but another salt of the
     * same tenant has it) or "public" (cold, but others made it public: see akv_request). */
    const char *cache_miss;
    /* The same for whoever runs the engine: also "tenant" (cold, but another tenant has it), which
     * nobody else may learn. */
    const char *cache_miss_operator;
    uint32_t cache_miss_at;     /* the position at which it ended, */
    struct akv_evicted evicted; /*   and what had been there: "evicted", "window" */
    uint64_t queue_ns, prompt_ns, generate_ns;
    size_t kv_bytes_peak;
    /* Positions whose KV was there at the end, and those that the policy dropped: means over the
     * kv_heads of all layers without a window. Together they are all that was computed. */
    uint32_t n_kept, n_dropped;
    size_t kv_bytes_end; /* of KV at the end */
    /* The policy as it was understood, with all options; "": everything stays, and nobody asked. What is below is of a
     * policy that is not "full". */
    char kv_policy[384];
    uint32_t kv_windowed; /* layers that have a window, and that it left alone */
    /* How its budget was dealt to heads: "profile", "layers", "shuffled" or "equal"; NULL: it has none. */
    const char *kv_shares;
    /* Episodes that the history was divided into (0: none were), the one that was read, and how near the question is to
     * it (a cosine). */
    uint32_t kv_n_episode, kv_episode;
    float kv_similarity;
    /* Of a policy that selects: positions that each row behind the prompt read on average, and that there were (0:
     * there was no such row, or it does not select); memory of the process that its choice took. */
    uint32_t n_read, n_there;
    size_t kv_book_bytes;
};

struct akv_event {
    enum akv_event_kind kind;
    uint64_t id; /* the request's */
    void *user;

    /* TOKEN: one generated token, and the complete characters that it brought (maybe none);
     * DONE: the text is what was still held back, and token, with AKV_STOP_END, the one that ended it (else -1). */
    int32_t token;
    const char *text; /* zero-terminated */
    size_t text_len;
    float logprob;
    const struct akv_logprob *top; /* n_top alternatives, best first */
    uint32_t n_top;

    /* PROMPT: prompt positions first .. first + n - 1. After reading ids[0..p], next[p - first] is
     * the log-probability of ids[p + 1] (NAN behind the end), top[(p - first) * n_top ..] the
     * best. */
    uint32_t first, n;
    const float *next;

    /* DONE: the last event of a request. */
    enum akv_stop stop;
    enum akv_status status; /* with AKV_STOP_ERROR */
    const char *message;    /* the same, for humans; else "" */
    uint32_t stop_text;     /* with AKV_STOP_TEXT: which of akv_request.stop it was */
    struct akv_usage usage;
};

/* Waits up to timeout_ms (-1: for ever; 0: not at all). AKV_NOT_FOUND: nothing came. */
AKV_API enum akv_status akv_next_event(akv_engine *engine, struct akv_event *out, int timeout_ms);

enum { AKV_STEP_BUCKETS = 13, AKV_TIME_BUCKETS = 16 };

/* Times: n[i] of up to time_bound[i] of akv_stats (and above the one before), the last of all
 * above; and their sum in seconds. */
struct akv_times {
    uint64_t n[AKV_TIME_BUCKETS];
    double sum;
};

/* Of the engine's last step; sums since its start. */
struct akv_stats {
    size_t kv_bytes_max, kv_bytes_backed, kv_bytes_held;
    size_t kv_bytes_parked; /* of episodes, outside of the cap (policy epicache, park=ram) */
    uint64_t n_episode_parked, n_episode_unparked; /* times that one went there and came back */
    uint32_t n_running, n_waiting;
    uint32_t n_block_held;    /* by sequences, or idle for reuse; */
    uint32_t n_block_indexed; /*   of them, those that another request could reuse */
    uint32_t n_ctx, n_ubatch, n_parallel, n_queue; /* the limits */
    uint64_t n_step, n_token_prompt, n_token_cached, n_token_generated;
    uint64_t n_evicted;        /* blocks forgotten to make room, */
    uint64_t n_window_dropped; /*   and passed blocks of windowed layers; */
    uint64_t n_crowded;        /*   and because the list of them was full; */
    uint64_t n_pruned;         /*   and because a policy dropped rows of them */
    size_t kv_bytes_kept; /* of kv_bytes_held: rows that policies kept, in blocks of their own */
    const double *time_bound; /* [AKV_TIME_BUCKETS - 1] seconds; of blocks that went: since they */
    struct akv_times block_lifetime, block_idle; /*   could be reused, and since their last use; */
    struct akv_times block_reuse_gap;            /*   from one use of a block to the next */
    uint64_t n_paused;                           /* sequences put back to wait for it */
    uint64_t step_ns;         /* in steps: choosing who gets rows, taking and mapping blocks, */
    uint64_t plan_ns, map_ns; /*   computing, logits and drawing from them, and all the rest: */
    uint64_t forward_ns, sample_ns, keep_ns; /* keeping blocks for reuse, telling */
    uint64_t n_step_sequence, n_row; /* sequences that had rows, and these, summed over steps */
    /* Steps by rows: [i] of up to 2^i (and above half of that), the last of all above. */
    uint64_t n_step_of_rows[AKV_STEP_BUCKETS];
    size_t weight_bytes, workspace_bytes, kv_bytes_per_token;
    /* Of policies that select: rows of KV read, and there; memory that running requests need for it. */
    uint64_t n_row_read, n_row_there;
    size_t kv_book_bytes;
    /* Memory of the process: what policies wrote down over prefixes that are shared. */
    size_t kv_mark_bytes;
};
AKV_API void akv_stats(akv_engine *engine, struct akv_stats *out);

/* ---- looking on ---- */

enum { AKV_BLOCK_TOKENS = 64, AKV_GROUPS_MAX = 4 };
#define AKV_NOWHERE UINT32_MAX

enum akv_block_state {
    AKV_BLOCK_FREE,
    AKV_BLOCK_OPEN,   /* one sequence writes it */
    AKV_BLOCK_SEALED, /* full or ended, and read by n_sequence running ones */
    AKV_BLOCK_IDLE    /* kept for reuse only: it goes when memory is short */
};

/* 64 positions of one group of layers. All but the state is meaningless where it is FREE. */
struct akv_block {
    enum akv_block_state state;
    uint32_t salt;       /* of the snapshot's: whose it is; "*" is everybody's */
    uint32_t node;       /* name of its node in the prefix tree, or AKV_NOWHERE */
    uint32_t n_sequence; /* running sequences that have it, */
    uint64_t sequence;   /*   and the oldest of them; 0: none */
    uint64_t used_step;
};

/* A block's worth of tokens in the prefix tree. */
struct akv_node {
    uint32_t name; /* the same as long as it lives */
    uint32_t salt;
    uint32_t depth;      /* 1: a prompt begins here */
    uint32_t n_sequence; /* running sequences that have got exactly so far */
    uint32_t n_id;
    int32_t ids[AKV_BLOCK_TOKENS];
    uint64_t used_step;
};

enum akv_phase { AKV_PHASE_WAITING, AKV_PHASE_PROMPT, AKV_PHASE_ANSWER };

struct akv_sequence {
    uint64_t id;
    uint32_t salt;
    enum akv_phase phase;
    uint32_t n_prompt, n_cached, n_generated;
    uint32_t n_done;    /* positions whose KV is computed */
    uint32_t n_block;   /* of all groups */
    uint64_t age_ns;    /* since it was submitted */
    const char *policy; /* the name of its KV policy; "full": it keeps everything */
};

/* All there is, at one moment. */
struct akv_snapshot {
    uint64_t step;
    uint32_t n_group; /* of layers: one, or more where some have a window */
    struct {
        size_t block_bytes;
        uint32_t n_block, n_layer, window; /* window 0: those layers see everything */
    } group[AKV_GROUPS_MAX];
    const struct akv_block *block; /* group[0].n_block of group 0, then those of group 1 ... */
    const struct akv_node *node;   /* n_node, parents before their children */
    uint32_t n_node;
    const struct akv_sequence *sequence; /* n_sequence: those that run, oldest first; then those */
    uint32_t n_sequence;                 /*   that wait */
    const char *const *salt;             /* n_salt; one may stand here more than once */
    uint32_t n_salt;
};

/* A snapshot to be taken, with room for everything; free it before the engine. */
AKV_API enum akv_status akv_snapshot_new(struct akv_snapshot **out, akv_engine *engine,
                                         struct akv_note *why);
AKV_API void akv_snapshot_free(struct akv_snapshot *snapshot); /* NULL is allowed */

/* Copies; waits for no step. Costs the engine nothing while nobody looks. AKV_FULL: no memory. */
AKV_API enum akv_status akv_snapshot_take(akv_engine *engine, struct akv_snapshot *snapshot,
                                          struct akv_note *why);

enum { AKV_ROW_COLUMNS = 256 };

/* Which rows of a running request its KV policy kept: a picture of layers by positions. */
struct akv_rows {
    uint32_t n_layer, n_kv_head, n_position;
    uint32_t n_column; /* at most AKV_ROW_COLUMNS; column c begins at c * n_position / n_column */
    const uint32_t *window;    /* [n_layer]: 0, or what such a layer sees; no policy touches it */
    const uint32_t *kept;      /* [n_layer][n_column]: rows that are there, of all kv_heads */
    const char *salt, *policy; /* the request's; the policy with its options */
};

/* Of the request `id`, as akv_submit gave it; waits for no step. AKV_BAD_INPUT: none of that number runs. AKV_FULL: no
 * memory. Free it with akv_rows_free. */
AKV_API enum akv_status akv_rows_take(struct akv_rows **out, akv_engine *engine, uint64_t id,
                                      struct akv_note *why);
AKV_API void akv_rows_free(struct akv_rows *rows); /* NULL is allowed */

/* The memory plan that is printed at start: one line for each class of memory. Valid while the
 * engine lives. */
AKV_API const char *akv_plan_text(akv_engine *engine);

AKV_API const char *akv_version(void);

#ifdef __cplusplus
}
#endif

#endif
