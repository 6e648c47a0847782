/* bin/engine_flags.h - the flags of every verb that runs a model, and starting an engine from them.
 *
 *     struct my_options { struct engine_flags engine; ... };
 *     static const struct flag rows[] = { ENGINE_FLAGS(my_options, engine), { ... } };
 *
 * While a model loads for more than half a second a terminal shows how far it is. */
#ifndef BIN_ENGINE_FLAGS_H
#define BIN_ENGINE_FLAGS_H

#include <math.h>

#include "akvifer.h"
#include "bin/flags.h"
#include "kv/shape.h"

struct engine_flags {
    const char *model, *cpu;
    const char *chat_template; // a Jinja text, or NULL; no flag sets it
    const char *kv_policy, *kv_profile, *encoder;
    int64_t n_thread, n_ctx, n_ubatch, n_parallel, n_queue, n_cache_min;
    uint64_t kv_ram;
    uint32_t kv_type, kv_map;
    double step_stretch; // 0: the engine's default
    bool quiet;
};

#define ENGINE_FLAGS(S, F)                                                                         \
    { .names = "-m --model",                                                                       \
      .type = FLAG_TEXT,                                                                           \
      .at = FLAG_AT(S, F.model),                                                                   \
      .unit = "MODEL",                                                                             \
      .preset = "smollm2",                                                                         \
      .help = "A GGUF file, or a short name that `akvifer pull` knows." },                         \
        { .names = "-c --ctx-size",                                                                \
          .type = FLAG_INT,                                                                        \
          .at = FLAG_AT(S, F.n_ctx),                                                               \
          .unit = "TOKENS",                                                                        \
          .least = 0,                                                                              \
          .most = 1 << 30,                                                                         \
          .shown = "the model's, or what fits --kv-ram",                                           \
          .help = "Longest context of one request." },                                             \
        { .names = "-t --threads",                                                                 \
          .type = FLAG_INT,                                                                        \
          .at = FLAG_AT(S, F.n_thread),                                                            \
          .unit = "N",                                                                             \
          .least = 0,                                                                              \
          .most = 1024,                                                                            \
          .shown = "all that this process may use",                                                \
          .help = "Threads that compute." },                                                       \
        { .names = "--kv-ram",                                                                     \
          .type = FLAG_SIZE,                                                                       \
          .at = FLAG_AT(S, F.kv_ram),                                                              \
          .unit = "BYTES",                                                                         \
          .shown = "from the model, -c and the memory that is free",                               \
          .help = "Hard cap on the memory of the KV cache." },                                     \
        { .names = "--kv-type",                                                                    \
          .type = FLAG_ENUM,                                                                       \
          .at = FLAG_AT(S, F.kv_type),                                                             \
          .unit = "TYPE",                                                                          \
          .preset = "f16",                                                                         \
          .words = KV_TYPE_NAMES,                                                                  \
          .help = "How keys and values are stored." },                                             \
        { .names = "--kv-policy",                                                                  \
          .type = FLAG_TEXT,                                                                       \
          .at = FLAG_AT(S, F.kv_policy),                                                           \
          .unit = "POLICY",                                                                        \
          .preset = "full",                                                                        \
          .help = "What stays of the KV: a policy and its options, as in auto:budget=20% or "      \
                  "h2o:budget=512,recent=256; help lists them." },                                 \
        { .names = "--kv-profile",                                                                 \
          .type = FLAG_TEXT,                                                                       \
          .at = FLAG_AT(S, F.kv_profile),                                                          \
          .unit = "FILE",                                                                          \
          .shown = "MODEL.gguf.kv.json beside the model, if it is there",                          \
          .help = "Shares of the model's heads in a KV budget, as `akvifer profile` writes "       \
                  "them." },                                                                       \
        { .names = "--encoder",                                                                    \
          .type = FLAG_TEXT,                                                                       \
          .at = FLAG_AT(S, F.encoder),                                                             \
          .unit = "FILE",                                                                          \
          .shown = "minilm, if it was pulled",                                                     \
          .help = "A sentence encoder (BERT-shaped, GGUF), for epicache:embed=minilm; it is read " \
                  "when it is first needed." },                                                    \
        { .names = "--kv-map",                                                                     \
          .type = FLAG_ENUM,                                                                       \
          .at = FLAG_AT(S, F.kv_map),                                                              \
          .unit = "FORM",                                                                          \
          .preset = "space",                                                                       \
          .words = "space table",                                                                  \
          .help = "Contiguous virtual addresses, or a table of blocks." },                         \
        { .names = "-ub --ubatch-size --ubatch",                                                   \
          .type = FLAG_INT,                                                                        \
          .at = FLAG_AT(S, F.n_ubatch),                                                            \
          .unit = "TOKENS",                                                                        \
          .least = 0,                                                                              \
          .most = 4096,                                                                            \
          .shown = "what a 40 MiB workspace allows",                                               \
          .help = "Most tokens computed in one step." },                                           \
        { .names = "--step-stretch",                                                               \
          .type = FLAG_FLOAT,                                                                      \
          .at = FLAG_AT(S, F.step_stretch),                                                        \
          .unit = "X",                                                                             \
          .preset = "2.5",                                                                         \
          .least = -1,                                                                             \
          .most = 1000000,                                                                         \
          .help = "While answers stream, prompts make no step longer than X times one without "    \
                  "them; -1: no bound." },                                                         \
        { .names = "--cache-min",                                                                  \
          .type = FLAG_INT,                                                                        \
          .at = FLAG_AT(S, F.n_cache_min),                                                         \
          .unit = "TOKENS",                                                                        \
          .preset = "1",                                                                           \
          .least = 0,                                                                              \
          .most = 1 << 30,                                                                         \
          .help = "Shortest beginning of a prompt that is reused." },                              \
        { .names = "--cpu",                                                                        \
          .type = FLAG_TEXT,                                                                       \
          .at = FLAG_AT(S, F.cpu),                                                                 \
          .unit = "NAME",                                                                          \
          .preset = "auto",                                                                        \
          .help = "Kernels to use: auto, ref, avx2, avx512 or amx; the results are the same." },   \
    {                                                                                              \
        .names = "-q --quiet", .type = FLAG_SWITCH, .at = FLAG_AT(S, F.quiet),                     \
        .help = "Does not print the memory plan at start."                                         \
    }

/* For verbs that run several requests at once. */
#define PARALLEL_FLAG(S, F)                                                                        \
    {                                                                                              \
        .names = "-np --parallel", .type = FLAG_INT, .at = FLAG_AT(S, F.n_parallel), .unit = "N",  \
        .preset = "8", .least = 1, .most = 1024,                                                   \
        .help = "Sequences computed together; the results are the same."                           \
    }

struct engine_opened {
    akv_model *model;
    akv_engine *engine;
    struct akv_model_info info; // with `name` for its name
    char name[128];             // cut, and harmless to a terminal
};

/* `--kv-policy help` asks for the list instead of a model: it is printed, and the program ends. engine_open does this
 * too; a verb calls it that reads something before. */
void engine_answer_help(const struct engine_flags *f);

/* Opens the model and starts an engine; the plan goes to standard error unless quiet, and so does in
 * any case what is odd about the model. n_parallel 0 stands for 1. */
must_use enum status engine_open(struct engine_opened *out, const struct engine_flags *f,
                                 struct note *why);
void engine_close(struct engine_opened *o);

#endif
