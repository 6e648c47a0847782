/* bin/sampling_flags.h - the flags of verbs that draw tokens, with llama.cpp's names and defaults.
 *
 *     struct my_options { struct sampling_flags sampling; ... };
 *     static const struct flag rows[] = { SAMPLING_FLAGS(my_options, sampling), { ... } };
 */
#ifndef BIN_SAMPLING_FLAGS_H
#define BIN_SAMPLING_FLAGS_H

#include <math.h>

#include "akvifer.h"
#include "base/note.h"
#include "base/status.h"
#include "bin/flags.h"

struct sampling_flags {
    int64_t seed, top_k, repeat_last_n;
    double temperature, top_p, min_p, typical_p;
    double repeat_penalty, presence_penalty, frequency_penalty;
    struct flag_texts bias;
};

/* clang-format off */
#define SAMPLING_FLAGS(S, F)                                                                       \
    { .names = "-s --seed", .type = FLAG_INT, .at = FLAG_AT(S, F.seed), .unit = "SEED",            \
      .preset = "-1", .least = -1, .most = (double)INFINITY,                                       \
      .help = "Same seed, same answer, on any machine; -1 takes a random one." },                  \
    { .names = "--temp", .type = FLAG_FLOAT, .at = FLAG_AT(S, F.temperature), .unit = "T",         \
      .preset = "0.8", .least = 0, .most = 100,                                                    \
      .help = "Temperature; 0 always takes the most probable token." },                            \
    { .names = "--top-k", .type = FLAG_INT, .at = FLAG_AT(S, F.top_k), .unit = "K",                \
      .preset = "40", .least = 0, .most = INT32_MAX,                                               \
      .help = "Draws from the K most probable tokens; 0 is off." },                                \
    { .names = "--top-p", .type = FLAG_FLOAT, .at = FLAG_AT(S, F.top_p), .unit = "P",              \
      .preset = "0.95", .least = 0, .most = 1,                                                     \
      .help = "Draws from the fewest tokens that hold P of the probability; 1 is off." },          \
    { .names = "--min-p", .type = FLAG_FLOAT, .at = FLAG_AT(S, F.min_p), .unit = "P",              \
      .preset = "0.05", .least = 0, .most = 1,                                                     \
      .help = "Draws from tokens at least P times as probable as the best; 0 is off." },           \
    { .names = "--typical --typical-p", .type = FLAG_FLOAT, .at = FLAG_AT(S, F.typical_p),         \
      .unit = "P", .preset = "1", .least = 0, .most = 1,                                           \
      .help = "Draws from the most typical tokens that hold P of the probability; 1 is off." },    \
    { .names = "--repeat-penalty", .type = FLAG_FLOAT, .at = FLAG_AT(S, F.repeat_penalty),         \
      .unit = "X", .preset = "1", .least = 0.01, .most = 100,                                      \
      .help = "Divides the logits of tokens that were there lately; 1 is off." },                  \
    { .names = "--repeat-last-n", .type = FLAG_INT, .at = FLAG_AT(S, F.repeat_last_n),             \
      .unit = "N", .preset = "64", .least = -1, .most = 1 << 20,                                   \
      .help = "How many tokens back penalties look; 0 is off, -1 is the whole context." },         \
    { .names = "--presence-penalty", .type = FLAG_FLOAT, .at = FLAG_AT(S, F.presence_penalty),     \
      .unit = "X", .preset = "0", .least = -100, .most = 100,                                      \
      .help = "Subtracted from the logits of tokens that were there." },                           \
    { .names = "--frequency-penalty", .type = FLAG_FLOAT, .at = FLAG_AT(S, F.frequency_penalty),   \
      .unit = "X", .preset = "0", .least = -100, .most = 100,                                      \
      .help = "Subtracted as often as they were there." },                                         \
    { .names = "-l --logit-bias", .type = FLAG_TEXTS, .at = FLAG_AT(S, F.bias),                    \
      .unit = "ID=VALUE",                                                                          \
      .help = "Added to the logit of a token; 15=-inf forbids it. May be given many times." }
/* clang-format on */

struct sampling_bias {
    int32_t id[FLAG_TEXTS_MAX];
    float value[FLAG_TEXTS_MAX];
};

/* *out points into *bias. BAD_INPUT: a --logit-bias that cannot be read. */
must_use enum status sampling_from_flags(struct akv_sampling *out, struct sampling_bias *bias,
                                         const struct sampling_flags *f, struct note *why);

#endif
