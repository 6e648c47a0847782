/* kv/shape.h - what one model's KV looks like: groups of layers, and the layout inside a block.
 *
 *   block of a group = [layer of the group][K parts: kv_head 0.. | V parts: kv_head 0..], rounded
 *   up to pages
 *
 * Layers with the same reach share a group: one group for most models, two for those with sliding
 * windows. */
#ifndef KV_SHAPE_H
#define KV_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kv_rows.h"

enum { KV_GROUP_MAX = 3, KV_CLASS_MAX = KV_GROUP_MAX + 1, KV_LAYER_MAX = 512 };

struct kv_group {
    uint32_t n_layer;   // layers in it
    uint32_t n_kv_head; // a layer
    uint32_t d_k, d_v;  // elements a row
    uint32_t window;    // positions a query sees, itself included; 0: all
};

struct kv_shape {
    enum kv_type type;
    uint32_t n_group;
    struct kv_group group[KV_GROUP_MAX];
    uint32_t n_layer;                   // of the model
    uint8_t layer_group[KV_LAYER_MAX];  // model layer -> group
    uint16_t layer_index[KV_LAYER_MAX]; // model layer -> index inside its group
};

size_t kv_layer_bytes(const struct kv_shape *s, uint32_t group); // one layer of one block
size_t kv_block_bytes(const struct kv_shape *s, uint32_t group); // rounded up to pages
size_t kv_bytes_per_position(const struct kv_shape *s);          // all groups, without rounding

/* Blocks of the pool come in classes: one for each group, and behind them that of excerpts: 64 slots of one kv_head of
 * the group without a window, [K part][V part], rounded up to pages (kv/excerpt.h). A shape whose layers are all
 * windowed has no such class: kv_excerpt_class is then kv_n_class. */
uint32_t kv_excerpt_class(const struct kv_shape *s);
uint32_t kv_windowed_layers(const struct kv_shape *s);
uint32_t
kv_whole_group(const struct kv_shape *s); // the group without a window; n_group: there is none
uint32_t kv_n_class(const struct kv_shape *s);
size_t kv_class_bytes(const struct kv_shape *s, uint32_t class);

/* Most bytes that one sequence of n positions holds at once, when at most n_step positions are
 * added a step: whole blocks of every group, windowed groups holding their window, the step's rows
 * and the block in progress. */
size_t kv_sequence_bytes(const struct kv_shape *s, uint32_t n_position, uint32_t n_step);

/* The first block of the group that a query at position n sees. */
uint32_t kv_first_seen(const struct kv_shape *s, uint32_t group, uint32_t n_position);

const char *kv_type_name(enum kv_type t);

/* The type that has the name. False: none has it, *out is as it was. */
bool kv_type_of_name(const char *name, enum kv_type *out);

/* The names in the order of enum kv_type, as flags take them. */
#define KV_TYPE_NAMES "f16 f32 int8"

#endif
