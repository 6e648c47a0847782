#include "bin/sampling_flags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* "15=1.5" or "15=-inf", and as llama.cpp has it "15+1.5" or "15-1.5". */
static enum status read_bias(const char *text, int32_t *id, float *value, struct note *why)
{
    char *after_id, *end;
    errno = 0;
    long x = strtol(text, &after_id, 10);
    bool has_id = after_id > text && !errno && x >= 0 && x <= INT32_MAX;
    const char *number = after_id + (*after_id == '=');
    bool has_value = *after_id && strchr("=+-", *after_id);
    float y = strtof(number, &end);
    if (!has_id || !has_value || end == number || *end) {
        note_set(why, "--logit-bias: '%s' is not ID=VALUE, such as 15=-1.5 or 15=-inf", text);
        return BAD_INPUT;
    }
    *id = (int32_t)x;
    *value = y;
    return OK;
}

static uint64_t random_seed(void)
{
    uint32_t seed = 0; // short, since people type it again
    return getrandom(&seed, sizeof seed, 0) == sizeof seed ? seed : 0;
}

enum status sampling_from_flags(struct akv_sampling *out, struct sampling_bias *bias,
                                const struct sampling_flags *f, struct note *why)
{
    for (uint32_t i = 0; i < f->bias.n; i++) {
        enum status st = read_bias(f->bias.text[i], &bias->id[i], &bias->value[i], why);
        if (st != OK)
            return st;
    }
    *out = (struct akv_sampling){
        .temperature = (float)f->temperature,
        .top_k = (int32_t)f->top_k,
        .top_p = (float)f->top_p,
        .min_p = (float)f->min_p,
        .typical_p = (float)f->typical_p,
        .repeat_penalty = (float)f->repeat_penalty,
        .repeat_last_n = (int32_t)f->repeat_last_n,
        .presence_penalty = (float)f->presence_penalty,
        .frequency_penalty = (float)f->frequency_penalty,
        .seed = f->seed < 0 ? random_seed() : (uint64_t)f->seed,
        .bias_id = bias->id,
        .bias = bias->value,
        .n_bias = f->bias.n,
    };
    return OK;
}
