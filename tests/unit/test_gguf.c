/* gguf: what a right file gives, how each wrong one is refused, and that no truncation slips through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "os/file.h"
#include "os/pages.h"
#include "support/gguf_writer.h"
#include "support/temp_dir.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

/* A file with something of everything: 2 tensors, arrays, and every scalar type. */
static void write_sample(struct gguf_writer *w, uint32_t version)
{
    static const char *const words[] = { "", "hello", "w\xc3\xb6rld" };
    static const int64_t numbers[] = { -3, 0, 70000 };
    static const double floats[] = { 0.5, -1e6 };
    static const int64_t flags[] = { 1, 0 };
    float rows[2][4] = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } };
    uint8_t packed[18] = { 9, 8, 7 };

    gguf_writer_open(w, version);
    gguf_write_text(w, "general.architecture", "llama");
    gguf_write_int(w, "u8", GGUF_U8, 200);
    gguf_write_int(w, "i8", GGUF_I8, -100);
    gguf_write_int(w, "u16", GGUF_U16, 60000);
    gguf_write_int(w, "i16", GGUF_I16, -30000);
    gguf_write_int(w, "u32", GGUF_U32, 4000000000);
    gguf_write_int(w, "i32", GGUF_I32, -2000000000);
    gguf_write_int(w, "u64", GGUF_U64, 5000000000);
    gguf_write_int(w, "i64", GGUF_I64, -5000000000);
    gguf_write_int(w, "yes", GGUF_BOOL, 1);
    gguf_write_float(w, "f32", GGUF_F32, 0.25);
    gguf_write_float(w, "f64", GGUF_F64, 1e300);
    gguf_write_texts(w, "words", words, 3);
    gguf_write_ints(w, "numbers", GGUF_I32, numbers, 3);
    gguf_write_floats(w, "floats", GGUF_F32, floats, 2);
    gguf_write_ints(w, "flags", GGUF_BOOL, flags, 2);
    gguf_write_texts(w, "nothing", NULL, 0);
    gguf_write_tensor(w, "rows", DT_F32, 2, (uint64_t[]){ 4, 2 }, rows, sizeof rows);
    gguf_write_tensor(w, "packed", DT_Q4_0, 1, (uint64_t[]){ 32 }, packed, sizeof packed);
}

static void expect_texts(const struct gguf *g)
{
    const struct gguf_value *v = gguf_find(g, "words");
    const void *cursor = v->data;
    assert_true(v->is_array && v->type == GGUF_STRING && v->n == 3);
    assert_int_equal(gguf_value_next_text(&cursor).len, 0);
    struct gguf_text hello = gguf_value_next_text(&cursor);
    assert_int_equal(hello.len, 5);
    assert_memory_equal(hello.bytes, "hello", 5);
    assert_int_equal(gguf_value_next_text(&cursor).len, 6);
    assert_int_equal(gguf_find(g, "nothing")->n, 0);
}

static void expect_scalars(const struct gguf *g)
{
    static const struct {
        const char *key;
        int64_t value;
    } ints[] = { { "u8", 200 },         { "i8", -100 },         { "u16", 60000 },
                 { "i16", -30000 },     { "u32", 4000000000 },  { "i32", -2000000000 },
                 { "u64", 5000000000 }, { "i64", -5000000000 }, { "yes", 1 } };
    struct gguf_text text;
    float f = 0;
    bool b = false;

    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        assert_int_equal(gguf_value_int(gguf_find(g, ints[i].key), 0), ints[i].value);
    assert_int_equal(gguf_get_text(g, "general.architecture", &text, NULL), OK);
    assert_memory_equal(text.bytes, "llama", 5);
    assert_int_equal(gguf_get_f32(g, "f32", &f, NULL), OK);
    assert_true(f == 0.25f);
    assert_int_equal(gguf_get_bool(g, "yes", &b, NULL), OK);
    assert_true(b);
    assert_true(gguf_value_float(gguf_find(g, "f64"), 0) == 1e300);
    assert_true(gguf_value_float(gguf_find(g, "floats"), 1) == -1e6);
    assert_int_equal(gguf_value_int(gguf_find(g, "numbers"), 2), 70000);
    assert_int_equal(gguf_value_int(gguf_find(g, "flags"), 0), 1);
}

static void expect_tensors(const struct gguf *g)
{
    float last;
    const struct gguf_tensor *rows = gguf_tensor_find(g, "rows");
    const struct gguf_tensor *packed = gguf_tensor_find(g, "packed");

    assert_non_null(rows);
    assert_int_equal(rows->n_dim, 2);
    assert_int_equal(rows->dim[0], 4);
    assert_int_equal(rows->dim[1], 2);
    assert_int_equal(rows->dim[2], 1);
    assert_int_equal(rows->bytes, 32);
    memcpy(&last, (const char *)rows->data + 28, 4);
    assert_true(last == 8);
    assert_int_equal(packed->type, DT_Q4_0);
    assert_int_equal(packed->bytes, 18);
    assert_int_equal(((const uint8_t *)packed->data)[2], 7);
    assert_null(gguf_tensor_find(g, "row"));
    assert_null(gguf_tensor_find(g, ""));
}

static void expect_sample(const struct gguf *g)
{
    assert_int_equal(gguf_n_tensor(g), 2);
    expect_scalars(g);
    expect_texts(g);
    expect_tensors(g);
    assert_null(gguf_find(g, "absent"));
}

static void reads_versions_2_and_3(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct gguf_writer w;
        struct note why = { "" };
        struct gguf *g;
        write_sample(&w, version);
        gguf_writer_save(&w, in_dir("sample.gguf"));
        gguf_writer_close(&w);

        assert_int_equal(gguf_open(&g, in_dir("sample.gguf"), &why), OK);
        assert_int_equal(gguf_version(g), version);
        assert_int_equal(gguf_n_part(g), 1);
        assert_int_equal(gguf_n_pair(g), 17);
        assert_int_equal(gguf_pair_at(g, 1)->key.len, 2);
        assert_string_equal(gguf_type_name(gguf_pair_at(g, 16)->value.type), "string");
        expect_sample(g);
        gguf_close(g);
    }
}

static void getters_say_what_does_not_fit(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct buf file = { 0 };
    struct gguf *g;
    struct note why = { "" };
    struct gguf_text text;
    uint32_t u = 7;
    float f = 7;
    bool b = true;

    write_sample(&w, 3);
    gguf_write_int(&w, "huge", GGUF_U64, -1);
    gguf_writer_finish(&w, &file);
    assert_int_equal(gguf_open_bytes(&g, file.bytes, file.len, &why), OK);

    assert_int_equal(gguf_get_u32(g, "absent", &u, &why), NOT_FOUND);
    assert_string_equal(why.text, "");
    assert_int_equal(gguf_get_u32(g, "i8", &u, &why), BAD_INPUT);
    assert_string_equal(why.text, "key 'i8' is -100; the limit is 0..4294967295");
    assert_int_equal(gguf_get_u32(g, "u64", &u, &why), BAD_INPUT);
    assert_int_equal(gguf_get_u32(g, "huge", &u, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "18446744073709551615"));
    assert_int_equal(gguf_get_u32(g, "f32", &u, &why), BAD_INPUT);
    assert_string_equal(why.text, "key 'f32' is f32; an integer is needed");
    assert_int_equal(gguf_get_u32(g, "numbers", &u, &why), BAD_INPUT);
    assert_string_equal(why.text, "key 'numbers' is an array of i32; an integer is needed");
    assert_int_equal(gguf_get_u32(g, "yes", &u, &why), BAD_INPUT);
    assert_int_equal(u, 7);
    assert_int_equal(gguf_get_u32(g, "u32", &u, &why), OK);
    assert_int_equal(u, 4000000000);

    assert_int_equal(gguf_get_f32(g, "f64", &f, &why), BAD_INPUT);
    assert_int_equal(gguf_get_f32(g, "words", &f, &why), BAD_INPUT);
    assert_true(f == 7);
    assert_int_equal(gguf_get_f32(g, "i16", &f, &why), OK);
    assert_true(f == -30000);
    assert_int_equal(gguf_get_f32(g, "huge", &f, &why), OK);
    assert_true(f == 0x1p64f);
    assert_int_equal(gguf_get_bool(g, "u8", &b, &why), BAD_INPUT);
    assert_int_equal(gguf_get_text(g, "u8", &text, &why), BAD_INPUT);
    assert_int_equal(gguf_get_text(g, "words", &text, &why), BAD_INPUT);

    gguf_close(g);
    buf_close(&file);
    gguf_writer_close(&w);
}

/* What the writer holds is refused with a note that contains `word`. */
static void expect_refused(struct gguf_writer *w, const char *word)
{
    struct buf file = { 0 };
    struct note why = { "" };
    struct gguf *g = NULL;
    gguf_writer_finish(w, &file);
    assert_int_equal(gguf_open_bytes(&g, file.bytes, file.len, &why), BAD_INPUT);
    assert_null(g);
    if (!strstr(why.text, word))
        fail_msg("'%s' is not in the note '%s'", word, why.text);
    buf_close(&file);
    gguf_writer_close(w);
}

static void refuses_wrong_headers(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct note why = { "" };
    struct gguf *g = NULL;

    gguf_writer_open(&w, 1);
    expect_refused(&w, "version 1 is not supported; versions 2 and 3 are");
    gguf_writer_open(&w, 4);
    expect_refused(&w, "version 4 ");
    gguf_writer_open(&w, 0x03000000);
    expect_refused(&w, "big-endian GGUF file (version 3)");

    assert_int_equal(gguf_open_bytes(&g, "PK\3\4 a zip", 10, &why), BAD_INPUT);
    assert_string_equal(why.text, "not a GGUF file: it begins with 'PK?\?', not 'GGUF'");

    static const uint8_t lies[2][24] = {
        { 'G', 'G', 'U', 'F', 3, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 127 },
        { 'G', 'G', 'U', 'F', 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 127 },
    };
    assert_int_equal(gguf_open_bytes(&g, lies[0], 24, &why), BAD_INPUT);
    assert_string_equal(why.text, "the number of tensors is 9223372036854775807, "
                                  "but only 8 bytes follow it");
    assert_int_equal(gguf_open_bytes(&g, lies[1], 24, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "the number of metadata pairs is 2147483647"));
}

static void refuses_wrong_pairs(void **state)
{
    (void)state;
    static const uint8_t nested[12] = { 9, 0, 0, 0, 1 };
    static const uint8_t odd_elements[12] = { 13, 0, 0, 0, 1 };
    static const uint8_t long_array[12] = { 4, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255 };
    static const uint8_t long_texts[12] = { 8, 0, 0, 0, 3 };
    static const uint8_t long_text[8] = { 255, 255, 255, 255, 255, 255, 255, 255 };
    static const uint8_t two = 2;
    struct gguf_writer w;

    gguf_writer_open(&w, 3);
    gguf_write_int(&w, "twice", GGUF_U32, 1);
    gguf_write_int(&w, "once", GGUF_U32, 1);
    gguf_write_int(&w, "twice", GGUF_U32, 1);
    expect_refused(&w, "duplicate key 'twice'");

    gguf_writer_open(&w, 3);
    gguf_write_raw(&w, "deep", GGUF_ARRAY, nested, sizeof nested);
    expect_refused(&w, "key 'deep': an array of arrays is not supported");

    gguf_writer_open(&w, 3);
    gguf_write_raw(&w, "odd", 13, nested, sizeof nested);
    expect_refused(&w, "key 'odd': value type 13 is unknown");

    gguf_writer_open(&w, 3);
    gguf_write_raw(&w, "odd", GGUF_ARRAY, odd_elements, sizeof odd_elements);
    expect_refused(&w, "key 'odd': value type 13 is unknown");

    gguf_writer_open(&w, 3);
    gguf_write_raw(&w, "long", GGUF_ARRAY, long_array, sizeof long_array);
    expect_refused(&w, "key 'long': the array's length is 18446744073709551615");

    gguf_writer_open(&w, 3);
    gguf_write_raw(&w, "long", GGUF_ARRAY, long_texts, sizeof long_texts);
    expect_refused(&w, "key 'long': the array's length is 3");

    gguf_writer_open(&w, 3);
    gguf_write_raw(&w, "long", GGUF_STRING, long_text, sizeof long_text);
    expect_refused(&w, "key 'long': the length of a string is 18446744073709551615");

    gguf_writer_open(&w, 3);
    gguf_write_raw(&w, "maybe", GGUF_BOOL, &two, 1);
    expect_refused(&w, "key 'maybe': bool 0 is 2; a bool is 0 or 1");

    gguf_writer_open(&w, 3);
    gguf_write_int(&w, "general.alignment", GGUF_U32, 48);
    expect_refused(&w, "key 'general.alignment' is 48; a power of two is needed");

    gguf_writer_open(&w, 3);
    gguf_write_text(&w, "general.alignment", "32");
    expect_refused(&w, "key 'general.alignment' is string; an integer is needed");

    gguf_writer_open(&w, 3);
    gguf_write_int(&w, "split.count", GGUF_U16, 2);
    expect_refused(&w, "no key 'split.no'");

    gguf_writer_open(&w, 3);
    gguf_write_int(&w, "split.count", GGUF_U16, 2);
    gguf_write_int(&w, "split.no", GGUF_U16, 0);
    expect_refused(&w, "part 1 of 2; open it by its path");

    gguf_writer_open(&w, 3);
    gguf_write_int(&w, "split.tensors.count", GGUF_I32, 5);
    expect_refused(&w, "key 'split.tensors.count' is 5, but the 1 parts hold 0 tensors");
}

/* One tensor with these fields is refused. */
static void expect_tensor_refused(uint32_t dtype, uint32_t n_dim, const uint64_t *dim,
                                  const char *word)
{
    struct gguf_writer w;
    uint8_t data[64] = { 0 };
    gguf_writer_open(&w, 3);
    gguf_write_tensor(&w, "blk.0.x", dtype, n_dim, dim, data, sizeof data);
    expect_refused(&w, word);
}

static void refuses_wrong_tensors(void **state)
{
    (void)state;
    static const uint8_t data[64];
    const uint64_t four[] = { 4, 1, 1, 1 };
    struct gguf_writer w;

    expect_tensor_refused(16, 1, four,
                          "tensor 'blk.0.x': type IQ2_XXS (number 16) is not supported");
    expect_tensor_refused(34, 1, four, "tensor 'blk.0.x': type TQ1_0 (number 34) is not supported");
    expect_tensor_refused(39, 1, four, "tensor 'blk.0.x': type MXFP4 (number 39) is not supported");
    expect_tensor_refused(40, 1, four, "tensor 'blk.0.x': type NVFP4 (number 40) is not supported");
    expect_tensor_refused(99, 1, four, "tensor 'blk.0.x': type unknown (number 99)");
    expect_tensor_refused(DT_F32, 0, four, "tensor 'blk.0.x': 0 dimensions; the limit is 1..4");
    expect_tensor_refused(DT_F32, 5, four, "5 dimensions; the limit is 1..4");
    expect_tensor_refused(DT_F32, 2, (uint64_t[]){ 4, 0 }, "dimension 1 is 0");
    expect_tensor_refused(DT_Q4_K, 1, four, "rows of 4 elements do not fit type Q4_K");
    expect_tensor_refused(DT_F32, 2, (uint64_t[]){ 1ull << 33, 1ull << 33 }, "overflow 64 bits");
    expect_tensor_refused(DT_F32, 2, (uint64_t[]){ 1ull << 62, 1 }, "overflow 64 bits");
    expect_tensor_refused(DT_F32, 1, (uint64_t[]){ 17 },
                          "has 68 bytes at offset 0, but the data "
                          "section has 64: the file is cut short");

    gguf_writer_open(&w, 3);
    gguf_write_tensor(&w, "same", DT_F32, 1, four, data, 16);
    gguf_write_tensor(&w, "same", DT_F32, 1, four, data, 16);
    expect_refused(&w, "duplicate tensor 'same'");

    gguf_writer_open(&w, 3);
    gguf_write_tensor(&w, "skew", DT_F32, 1, four, data, 64);
    gguf_write_offset(&w, 8);
    expect_refused(&w, "tensor 'skew' has offset 8, no multiple of the alignment 32");

    gguf_writer_open(&w, 3);
    gguf_write_tensor(&w, "far", DT_F32, 1, four, data, 16);
    gguf_write_offset(&w, -32ull);
    expect_refused(&w, "tensor 'far' has 16 bytes at offset 18446744073709551584");

    gguf_writer_open(&w, 3);
    gguf_write_tensor(&w, "a", DT_F32, 1, (uint64_t[]){ 16 }, data, 64);
    gguf_write_tensor(&w, "b", DT_F32, 1, four, data, 16);
    gguf_write_offset(&w, 32);
    expect_refused(&w, "tensors 'a' and 'b' overlap");
}

static void shows_strange_names_safely(void **state)
{
    (void)state;
    char name[200];
    struct gguf_writer w;
    memset(name, 'n', sizeof name);
    name[0] = '\033';
    name[199] = 0;
    gguf_writer_open(&w, 3);
    gguf_write_tensor(&w, name, 99, 1, (uint64_t[]){ 1 }, "", 0);
    expect_refused(&w, "tensor '?nnnnnn");
}

static void keeps_the_file_s_alignment(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct buf file = { 0 };
    struct gguf *g;
    float x[2] = { 1, 2 };

    gguf_writer_open(&w, 3);
    w.alignment = 8;
    gguf_write_int(&w, "general.alignment", GGUF_U32, 8);
    gguf_write_tensor(&w, "a", DT_F32, 1, (uint64_t[]){ 1 }, &x[0], 4);
    gguf_write_tensor(&w, "b", DT_F32, 1, (uint64_t[]){ 1 }, &x[1], 4);
    gguf_writer_finish(&w, &file);
    assert_int_equal(gguf_open_bytes(&g, file.bytes, file.len, NULL), OK);
    const char *a = gguf_tensor_at(g, 0)->data, *b = gguf_tensor_at(g, 1)->data;
    assert_int_equal(b - a, 8);
    assert_memory_equal(b, &x[1], 4);
    gguf_close(g);
    buf_close(&file);
    gguf_writer_close(&w);
}

/* Cut after n bytes, in memory of exactly n bytes (the sanitizer sees a read behind them). */
static void every_truncation_is_noticed(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct buf file = { 0 };
    size_t n_opened = 0;

    write_sample(&w, 3);
    gguf_writer_finish(&w, &file);
    size_t last_data = file.len - 32 + 18; // the last tensor fills 18 of its 32 aligned bytes
    for (size_t n = 0; n <= file.len; n++) {
        struct note why = { "" };
        struct gguf *g = NULL;
        char *cut = mem_new(n, 1);
        assert_non_null(cut);
        memcpy(cut, file.bytes, n);
        enum status st = gguf_open_bytes(&g, cut, n, &why);
        if (st == OK)
            expect_sample(g);
        else
            assert_true(why.text[0] && !g);
        assert_int_equal(st, n >= last_data ? OK : BAD_INPUT);
        n_opened += st == OK;
        gguf_close(g);
        mem_free(cut);
    }
    assert_int_equal(n_opened, 15);
    buf_close(&file);
    gguf_writer_close(&w);
}

static void every_flipped_byte_is_survived(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct buf file = { 0 };
    write_sample(&w, 3);
    gguf_writer_finish(&w, &file);
    for (size_t i = 0; i < file.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct gguf *g = NULL;
            file.bytes[i] ^= (char)(1 << bit);
            if (gguf_open_bytes(&g, file.bytes, file.len, NULL) == OK)
                gguf_close(g);
            file.bytes[i] ^= (char)(1 << bit);
        }
    }
    buf_close(&file);
    gguf_writer_close(&w);
}

static void joins_a_split_set_from_any_part(void **state)
{
    (void)state;
    static const char *const parts[] = { "set-00001-of-00003.gguf", "set-00002-of-00003.gguf",
                                         "set-00003-of-00003.gguf" };
    struct gguf_writer w;
    struct note why = { "" };
    size_t bytes = 0;

    write_sample(&w, 3);
    gguf_writer_save_split(&w, in_dir("set"), 3); // 0, 1 and 1 tensors
    gguf_writer_close(&w);
    for (size_t i = 0; i < 3; i++) {
        struct stat s;
        assert_int_equal(stat(in_dir(parts[i]), &s), 0);
        bytes += (size_t)s.st_size;
    }
    for (size_t i = 0; i < 3; i++) {
        struct gguf *g;
        const void *base;
        size_t len;
        assert_int_equal(gguf_open(&g, in_dir(parts[i]), &why), OK);
        assert_int_equal(gguf_n_part(g), 3);
        assert_int_equal(gguf_file_bytes(g), bytes);
        expect_sample(g);
        const struct gguf_tensor *packed = gguf_tensor_find(g, "packed");
        assert_int_equal(packed->part, 2);
        gguf_part_range(g, 2, &base, &len);
        assert_true(packed->data > base);
        assert_true((const char *)packed->data + packed->bytes <= (const char *)base + len);
        gguf_close(g);
    }
}

static void copy_file(const char *from, const char *to)
{
    char command[600];
    snprintf(command, sizeof command, "cp '%s' '%s'", in_dir(from), in_dir(to));
    assert_int_equal(system(command), 0);
}

static void expect_open_fails(const char *name, enum status wanted, const char *word)
{
    struct note why = { "" };
    struct gguf *g = NULL;
    assert_int_equal(gguf_open(&g, in_dir(name), &why), wanted);
    assert_null(g);
    if (!strstr(why.text, word))
        fail_msg("'%s' is not in the note '%s'", word, why.text);
}

static void refuses_broken_split_sets(void **state)
{
    (void)state;
    struct gguf_writer w;
    write_sample(&w, 3);
    gguf_writer_save_split(&w, in_dir("s"), 2);
    gguf_writer_save(&w, in_dir("whole.gguf"));
    gguf_writer_close(&w);

    copy_file("s-00001-of-00002.gguf", "alone.gguf");
    expect_open_fails("alone.gguf", BAD_INPUT, "part 1 of 2, and needs the name");
    copy_file("s-00001-of-00002.gguf", "t-00001-of-00002.gguf");
    expect_open_fails("t-00001-of-00002.gguf", NOT_FOUND, "part 2 of 2: cannot open");
    copy_file("s-00001-of-00002.gguf", "t-00002-of-00002.gguf");
    expect_open_fails("t-00001-of-00002.gguf", BAD_INPUT,
                      "part 2 of 2: it is named part 2 of 2 but its header says part 1 of 2");
    expect_open_fails("t-00002-of-00002.gguf", BAD_INPUT, "header says part 1 of 2");
    copy_file("whole.gguf", "t-00002-of-00002.gguf");
    expect_open_fails("t-00001-of-00002.gguf", BAD_INPUT, "header says part 1 of 1");
    copy_file("whole.gguf", "one-00001-of-00001.gguf");
    struct gguf *g;
    assert_int_equal(gguf_open(&g, in_dir("one-00001-of-00001.gguf"), NULL), OK);
    gguf_close(g);
    copy_file("whole.gguf", "two-00003-of-00002.gguf"); // no part of a set: just a name
    assert_int_equal(gguf_open(&g, in_dir("two-00003-of-00002.gguf"), NULL), OK);
    gguf_close(g);
}

static void says_why_a_path_does_not_open(void **state)
{
    (void)state;
    expect_open_fails("absent.gguf", NOT_FOUND, "No such file");
    expect_open_fails(".", BAD_INPUT, "is a directory");
    assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
    expect_open_fails("pipe", BAD_INPUT, "is a pipe or a device"); // and does not wait for a writer
    fclose(fopen(in_dir("empty.gguf"), "w"));
    expect_open_fails("empty.gguf", BAD_INPUT, "empty.gguf': the file ends in the magic");
}

static void reads_small_files_whole(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    struct note why = { "" };
    FILE *f = fopen(in_dir("small"), "w");
    fputs("twelve bytes", f);
    fclose(f);

    assert_int_equal(file_read(&text, &len, in_dir("small"), 12, &why), OK);
    assert_int_equal(len, 12);
    assert_string_equal(text, "twelve bytes");
    mem_free(text);
    assert_int_equal(file_read(&text, &len, in_dir("small"), 11, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "longer than 11 bytes"));
    assert_int_equal(file_read(&text, &len, in_dir("absent"), 11, &why), NOT_FOUND);
    assert_int_equal(file_read(&text, &len, temp_dir(), 11, &why), BAD_INPUT);
    fclose(fopen(in_dir("empty"), "w"));
    assert_int_equal(file_read(&text, &len, in_dir("empty"), 0, &why), OK);
    assert_int_equal(len, 0);
    assert_string_equal(text, "");
    mem_free(text);
    assert_true(os_page_bytes() >= 4096);
}

static void opens_the_default_model(void **state)
{
    (void)state;
    struct gguf *g;
    struct note why = { "" };
    struct gguf_text arch;
    uint32_t n_layer = 0, width = 0;

    if (gguf_open(&g, SMOLLM2, &why) != OK)
        fail_msg("%s", why.text);
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_file_bytes(g), 98362432);
    assert_int_equal(gguf_n_tensor(g), 272);
    assert_int_equal(gguf_get_text(g, "general.architecture", &arch, &why), OK);
    assert_int_equal(arch.len, 5);
    assert_memory_equal(arch.bytes, "llama", 5);
    assert_int_equal(gguf_get_u32(g, "llama.block_count", &n_layer, &why), OK);
    assert_int_equal(n_layer, 30);
    assert_int_equal(gguf_get_u32(g, "llama.embedding_length", &width, &why), OK);
    assert_int_equal(width, 576);

    const struct gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    assert_int_equal(tokens->n, 49152);
    const void *cursor = tokens->data;
    struct gguf_text first = gguf_value_next_text(&cursor);
    assert_int_equal(first.len, strlen("<|endoftext|>"));
    assert_memory_equal(first.bytes, "<|endoftext|>", first.len);

    const struct gguf_tensor *embd = gguf_tensor_find(g, "token_embd.weight");
    assert_int_equal(embd->type, DT_Q8_0);
    assert_int_equal(embd->dim[0], 576);
    assert_int_equal(embd->dim[1], 49152);
    gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_versions_2_and_3),
        cmocka_unit_test(getters_say_what_does_not_fit),
        cmocka_unit_test(refuses_wrong_headers),
        cmocka_unit_test(refuses_wrong_pairs),
        cmocka_unit_test(refuses_wrong_tensors),
        cmocka_unit_test(shows_strange_names_safely),
        cmocka_unit_test(keeps_the_file_s_alignment),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(every_flipped_byte_is_survived),
        cmocka_unit_test(joins_a_split_set_from_any_part),
        cmocka_unit_test(refuses_broken_split_sets),
        cmocka_unit_test(says_why_a_path_does_not_open),
        cmocka_unit_test(reads_small_files_whole),
        cmocka_unit_test(opens_the_default_model),
    };
    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
