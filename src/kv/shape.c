#include "kv/shape.h"

#include <string.h>

#include "os/pages.h"

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static uint64_t ceil_div(uint64_t n, uint64_t by)
{
    return (n + by - 1) / by;
}

size_t kv_layer_bytes(const struct kv_shape *s, uint32_t group)
{
    const struct kv_group *g = &s->group[group];
    return g->n_kv_head * (kv_part_bytes(s->type, g->d_k) + kv_part_bytes(s->type, g->d_v));
}

size_t kv_block_bytes(const struct kv_shape *s, uint32_t group)
{
    return round_up(s->group[group].n_layer * kv_layer_bytes(s, group), os_page_bytes());
}

size_t kv_bytes_per_position(const struct kv_shape *s)
{
    size_t bytes = 0;
    for (uint32_t g = 0; g < s->n_group; g++)
        bytes += s->group[g].n_layer * kv_layer_bytes(s, g) / KV_BLOCK;
    return bytes;
}

uint32_t kv_whole_group(const struct kv_shape *s)
{
    uint32_t g = 0;
    while (g < s->n_group && s->group[g].window)
        g++;
    return g;
}

uint32_t kv_windowed_layers(const struct kv_shape *s)
{
    const uint32_t g = kv_whole_group(s);
    return s->n_layer - (g < s->n_group ? s->group[g].n_layer : 0);
}

uint32_t kv_excerpt_class(const struct kv_shape *s)
{
    return s->n_group;
}

uint32_t kv_n_class(const struct kv_shape *s)
{
    return kv_whole_group(s) < s->n_group ? s->n_group + 1 : s->n_group;
}

size_t kv_class_bytes(const struct kv_shape *s, uint32_t class)
{
    if (class < s->n_group)
        return kv_block_bytes(s, class);
    const struct kv_group *g = &s->group[kv_whole_group(s)];
    return round_up(kv_part_bytes(s->type, g->d_k) + kv_part_bytes(s->type, g->d_v),
                    os_page_bytes());
}

/* Blocks of a windowed group in the worst step: it sees window - 1 rows of the past and adds
 * n_step, and a run of L rows touches at most ceil((L - 1) / 64) + 1 blocks. */
static uint64_t window_blocks(uint32_t window, uint64_t n_step)
{
    uint64_t n_row = window - 1 + n_step;
    return ceil_div(n_row - 1, KV_BLOCK) + 1;
}

size_t kv_sequence_bytes(const struct kv_shape *s, uint32_t n_position, uint32_t n_step)
{
    size_t bytes = 0;
    for (uint32_t g = 0; g < s->n_group; g++) {
        uint64_t n = ceil_div(n_position, KV_BLOCK);
        if (s->group[g].window) {
            uint64_t most = window_blocks(s->group[g].window, n_step ? n_step : 1);
            n = n < most ? n : most;
        }
        bytes += n * kv_block_bytes(s, g);
    }
    return bytes;
}

static const char *const type_names[] = {
    [KV_F16] = "f16",
    [KV_F32] = "f32",
    [KV_INT8] = "int8",
};
enum { N_TYPE = sizeof type_names / sizeof *type_names };

uint32_t kv_first_seen(const struct kv_shape *s, uint32_t group, uint32_t n_position)
{
    const uint32_t window = s->group[group].window;
    return window && n_position >= window ? (n_position + 1 - window) / KV_BLOCK : 0;
}

const char *kv_type_name(enum kv_type t)
{
    return (unsigned)t < N_TYPE ? type_names[t] : "?";
}

bool kv_type_of_name(const char *name, enum kv_type *out)
{
    for (unsigned i = 0; i < N_TYPE; i++) {
        if (strcmp(name, type_names[i]) == 0) {
            *out = (enum kv_type)i;
            return true;
        }
    }
    return false;
}
