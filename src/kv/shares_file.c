/* The file of a profile: JSON, one line a layer and budget. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "kv/shares.h"

enum { VERSION = 1 };

static void write_budgets(const struct kv_shares *s, const char *name, float *const *share,
                          struct buf *out)
{
    buf_addf(out, ", \"%s\": {", name);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++) {
        buf_addf(out, "%s\n\"%u\": [", b ? "," : "", kv_shares_percent[b]);
        for (uint32_t l = 0; l < s->n_layer; l++) {
            buf_addf(out, "%s\n  [", l ? "," : "");
            for (uint32_t h = 0; h < s->n_kv_head; h++)
                buf_addf(out, "%s%.4g", h ? ", " : "",
                         (double)share[b][(size_t)l * s->n_kv_head + h]);
            buf_add_byte(out, ']');
        }
        buf_add_byte(out, ']');
    }
    buf_add_byte(out, '}');
}

void kv_shares_write(const struct kv_shares *s, const struct kv_shares_id *of, struct buf *out)
{
    buf_addf(out, "{\"akvifer_profile\": %d, \"model\": ", VERSION);
    buf_add_json_text(out, of->model, strlen(of->model));
    buf_addf(out, ", \"kv_type\": ");
    buf_add_json_text(out, of->kv_type, strlen(of->kv_type));
    buf_add_text(out, ", \"layers\": [");
    for (uint32_t l = 0; l < s->n_layer; l++)
        buf_addf(out, "%s%.4g", l ? ", " : "", (double)s->change[l]);
    buf_add_byte(out, ']');
    write_budgets(s, "shares", s->share, out);
    if (kv_shares_has_follow(s))
        write_budgets(s, "follow", s->follow, out);
    buf_add_text(out, s->whole ? ", \"whole\": true}\n" : "}\n");
}

static enum status check_word(const json_t *file, const char *name, const char *want,
                              struct note *why)
{
    const char *is = json_string_value(json_object_get(file, name));
    if (is && strcmp(is, want) == 0)
        return OK;
    note_set(why, "the profile is of %s '%.60s', not '%.60s': measure one with akvifer profile",
             name, is ? is : "", want);
    return NOT_FOUND;
}

static bool read_numbers(const json_t *row, uint32_t n, float *share)
{
    if (!json_is_array(row) || json_array_size(row) != n)
        return false;
    for (uint32_t h = 0; h < n; h++) {
        const json_t *x = json_array_get(row, h);
        const double value = json_is_number(x) ? json_number_value(x) : -1;
        if (!(value >= 0 && value <= 1e6))
            return false;
        share[h] = (float)value;
    }
    return true;
}

/* Shares of all budgets under a name of the file. */
static enum status read_budgets(const json_t *file, const char *name, const struct kv_shares *into,
                                float *const *share, struct note *why)
{
    const json_t *all = json_object_get(file, name);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++) {
        char percent[16];
        snprintf(percent, sizeof percent, "%u", kv_shares_percent[b]);
        const json_t *layers = json_object_get(all, percent);
        bool fits = json_is_array(layers) && json_array_size(layers) == into->n_layer;
        for (uint32_t l = 0; fits && l < into->n_layer; l++)
            fits = read_numbers(json_array_get(layers, l), into->n_kv_head,
                                share[b] + (size_t)l * into->n_kv_head);
        if (fits)
            continue;
        note_set(why, "the profile's %s at %s %% are not %u layers of %u numbers from 0 up", name,
                 percent, into->n_layer, into->n_kv_head);
        return BAD_INPUT;
    }
    return OK;
}

/* Those of an older profile are 0: not measured. */
static enum status read_changes(const json_t *file, struct kv_shares *into, struct note *why)
{
    const json_t *layers = json_object_get(file, "layers");
    if (!layers || read_numbers(layers, into->n_layer, into->change))
        return OK;
    note_set(why, "the profile's layers are not %u numbers from 0 up", into->n_layer);
    return BAD_INPUT;
}

static enum status read_profile(const json_t *file, const struct kv_shares_id *of,
                                struct kv_shares *into, struct note *why)
{
    if (json_integer_value(json_object_get(file, "akvifer_profile")) != VERSION) {
        note_set(why, "it is no profile of this program (akvifer_profile: %d)", VERSION);
        return BAD_INPUT;
    }
    enum status st = check_word(file, "model", of->model, why);
    if (st == OK)
        st = check_word(file, "kv_type", of->kv_type, why);
    if (st == OK)
        st = read_budgets(file, "shares", into, into->share, why);
    if (st == OK && json_object_get(file, "follow")) // an older profile has none
        st = read_budgets(file, "follow", into, into->follow, why);
    into->whole = json_is_true(json_object_get(file, "whole"));
    return st == OK ? read_changes(file, into, why) : st;
}

enum status kv_shares_read(struct kv_shares *out, const struct kv_shares_id *of, const char *text,
                           size_t len, struct note *why)
{
    json_t *file = NULL;
    struct kv_shares read = { 0 };
    enum status st = kv_shares_open(&read, out->n_layer, out->n_kv_head);
    if (st == OK)
        st = json_from_text(&file, text, len, why);
    if (st == OK)
        st = read_profile(file, of, &read, why);
    if (st == OK) {
        const size_t n = (size_t)out->n_layer * out->n_kv_head;
        memcpy(out->share[0], read.share[0], KV_SHARES_BUDGETS * n * sizeof **out->share);
        memcpy(out->follow[0], read.follow[0], KV_SHARES_BUDGETS * n * sizeof **out->follow);
        memcpy(out->change, read.change, out->n_layer * sizeof *out->change);
        out->whole = read.whole;
    }
    json_decref(file);
    kv_shares_close(&read);
    return st;
}
