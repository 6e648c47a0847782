/* shape: bytes of layers, blocks and positions, and what a sequence holds at most, step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "kv/shape.h"

static struct kv_shape smollm2(enum kv_type type)
{
    return (struct kv_shape){
        .type = type,
        .n_group = 1,
        .group = { { .n_layer = 30, .n_kv_head = 3, .d_k = 64, .d_v = 64 } },
        .n_layer = 30,
    };
}

/* 3 layers see everything, 15 the last 512 positions. */
static struct kv_shape gemma3(void)
{
    return (struct kv_shape){
        .type = KV_F16,
        .n_group = 2,
        .group = { { .n_layer = 3, .n_kv_head = 1, .d_k = 256, .d_v = 256 },
                   { .n_layer = 15, .n_kv_head = 1, .d_k = 256, .d_v = 256, .window = 512 } },
        .n_layer = 18,
    };
}

static void bytes_of_one_group(void **state)
{
    (void)state;
    struct kv_shape f16 = smollm2(KV_F16), f32 = smollm2(KV_F32), int8 = smollm2(KV_INT8);
    assert_int_equal(kv_layer_bytes(&f16, 0), 48 << 10);
    assert_int_equal(kv_block_bytes(&f16, 0), 30 * 48 << 10);
    assert_int_equal(kv_bytes_per_position(&f16), 30 * 3 * 2 * 64 * 2);
    assert_int_equal(kv_layer_bytes(&f32, 0), 96 << 10);
    assert_int_equal(kv_bytes_per_position(&int8), 30 * 3 * 2 * (64 + 4));
    assert_int_equal(kv_layer_bytes(&int8, 0), 3 * 2 * (64 * 64 + 256));
}

/* Behind the groups comes the class of excerpts: 64 slots of one kv_head; where all layers are windowed there is
 * none. */
static void excerpts_have_a_class_of_their_own(void **state)
{
    (void)state;
    struct kv_shape one = smollm2(KV_F16), two = gemma3();
    assert_int_equal(kv_excerpt_class(&one), 1);
    assert_int_equal(kv_n_class(&one), 2);
    assert_int_equal(kv_class_bytes(&one, 0), kv_block_bytes(&one, 0));
    assert_int_equal(kv_class_bytes(&one, 1), 16 << 10);
    assert_int_equal(kv_n_class(&two), 3);
    assert_int_equal(kv_class_bytes(&two, 2), 64 << 10);
    assert_int_equal(kv_whole_group(&two), 0);
    two.group[0].window = 512;
    assert_int_equal(kv_whole_group(&two), 2);
    assert_int_equal(kv_n_class(&two), 2);
}

static void blocks_are_whole_pages(void **state)
{
    (void)state;
    struct kv_shape tiny = { .type = KV_INT8,
                             .n_group = 1,
                             .n_layer = 1,
                             .group = { { .n_layer = 1, .n_kv_head = 1, .d_k = 8, .d_v = 16 } } };
    assert_int_equal(kv_layer_bytes(&tiny, 0), 64 * 8 + 256 + 64 * 16 + 256);
    assert_int_equal(kv_block_bytes(&tiny, 0), 4096);
    tiny.group[0].n_layer = 3;
    assert_int_equal(kv_block_bytes(&tiny, 0), 8192);
}

static void bytes_of_a_sequence(void **state)
{
    (void)state;
    struct kv_shape one = smollm2(KV_F16), two = gemma3();
    size_t block = kv_block_bytes(&one, 0);
    assert_int_equal(kv_sequence_bytes(&one, 0, 1), 0);
    assert_int_equal(kv_sequence_bytes(&one, 1, 1), block);
    assert_int_equal(kv_sequence_bytes(&one, 64, 64), block);
    assert_int_equal(kv_sequence_bytes(&one, 65, 1), 2 * block);
    assert_int_equal(kv_sequence_bytes(&one, UINT32_MAX, 1), ((uint64_t)1 << 26) * block);
    size_t all = kv_block_bytes(&two, 0), windowed = kv_block_bytes(&two, 1);
    assert_int_equal(kv_sequence_bytes(&two, 200, 1), 4 * all + 4 * windowed);
    assert_int_equal(kv_sequence_bytes(&two, 8192, 1), 128 * all + 9 * windowed);
    assert_int_equal(kv_sequence_bytes(&two, 8192, 512), 128 * all + 17 * windowed);
    assert_int_equal(kv_sequence_bytes(&two, 8192, 0), kv_sequence_bytes(&two, 8192, 1));
}

/* Most blocks of a window held at once, counted position by position over all ways to step. */
static uint32_t most_blocks(uint32_t n_position, uint32_t n_step, uint32_t window)
{
    uint32_t most = 0;
    for (uint32_t committed = 0; committed < n_position; committed++) {
        for (uint32_t step = 1; step <= n_step && committed + step <= n_position; step++) {
            uint32_t oldest = committed + 1 > window ? committed + 1 - window : 0;
            uint32_t n = (committed + step - 1) / KV_BLOCK - oldest / KV_BLOCK + 1;
            most = n > most ? n : most;
        }
    }
    return most;
}

static void a_window_holds_what_counting_says(void **state)
{
    (void)state;
    const uint32_t windows[] = { 1, 2, 63, 64, 65, 66, 100, 128, 129 },
                   steps[] = { 1, 2, 63, 64, 65, 100 };
    struct kv_shape s = { .type = KV_F16,
                          .n_group = 1,
                          .n_layer = 1,
                          .group = { { .n_layer = 1, .n_kv_head = 1, .d_k = 32, .d_v = 32 } } };
    for (uint32_t w = 0; w < sizeof windows / sizeof *windows; w++) {
        for (uint32_t k = 0; k < sizeof steps / sizeof *steps; k++) {
            s.group[0].window = windows[w];
            uint32_t want = most_blocks(1000, steps[k], windows[w]);
            assert_int_equal(kv_sequence_bytes(&s, 1000, steps[k]) / kv_block_bytes(&s, 0), want);
        }
    }
}

static void types_have_names(void **state)
{
    (void)state;
    assert_string_equal(kv_type_name(KV_F16), "f16");
    assert_string_equal(kv_type_name(KV_F32), "f32");
    assert_string_equal(kv_type_name(KV_INT8), "int8");

    char all[64] = "";
    for (enum kv_type t = KV_F16, found; kv_type_name(t)[0] != '?'; t++) {
        assert_true(kv_type_of_name(kv_type_name(t), &found) && found == t);
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", all[0] ? " " : "",
                 kv_type_name(t));
    }
    assert_string_equal(all, KV_TYPE_NAMES);
    assert_false(kv_type_of_name("int4", &(enum kv_type){ KV_F16 }));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_one_group),
        cmocka_unit_test(excerpts_have_a_class_of_their_own),
        cmocka_unit_test(blocks_are_whole_pages),
        cmocka_unit_test(bytes_of_a_sequence),
        cmocka_unit_test(a_window_holds_what_counting_says),
        cmocka_unit_test(types_have_names),
    };
    return cmocka_run_group_tests_name("kv_shape", tests, NULL, NULL);
}
