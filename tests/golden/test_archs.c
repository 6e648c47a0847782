/* Every architecture against Hugging Face's: tiny models in F32 whose logits that program computed in float64
 * (its angles in float32; tools/model_goldens.py). Ours differ by roundings alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "support/gguf_writer.h"
#include "support/runner.h"

/* Logits are about 1 to 10 in size. The largest difference of all is 7.5e-5 (62 layers; angles are float32 there), and
 * a window one position too wide makes 4. */
static const double ERROR_MAX = 1.5e-4;

/* Twin of `weight` in tools/model_goldens.py: 24 hashed bits of a name and an index. */
static float weight(uint64_t seed, uint64_t i, double middle, double spread)
{
    uint64_t x = seed + i * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return (float)(middle + spread * ((double)(x >> 40) * 0x1p-24 - 0.5));
}

static uint64_t name_seed(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u; // FNV-1a
    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    return h;
}

static void add_key(struct gguf_writer *w, const char *arch, const char *name, const json_t *value)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", arch, name);
    if (json_is_string(value)) {
        gguf_write_text(w, key, json_string_value(value));
    } else if (json_is_integer(value)) {
        gguf_write_int(w, key, GGUF_U32, json_integer_value(value));
    } else if (json_is_real(value)) {
        gguf_write_float(w, key, GGUF_F32, json_real_value(value));
    } else {
        int64_t flag[64];
        const size_t n = json_array_size(value);
        assert_true(n > 0 && n <= 64);
        for (size_t i = 0; i < n; i++)
            flag[i] = json_is_true(json_array_get(value, i));
        gguf_write_ints(w, key, GGUF_BOOL, flag, n);
    }
}

/* [name, dims, middle, spread], or [name, values]. */
static void add_tensor(struct gguf_writer *w, const json_t *t)
{
    const char *name = json_string_value(json_array_get(t, 0));
    const json_t *list = json_array_get(t, 1);
    const bool stored = json_array_size(t) == 2;
    const uint32_t n_dim = stored ? 1 : (uint32_t)json_array_size(list);
    uint64_t dim[2] = { json_array_size(list), 1 };
    for (uint32_t i = 0; i < n_dim && !stored; i++)
        dim[i] = (uint64_t)json_integer_value(json_array_get(list, i));
    const size_t n = dim[0] * dim[1];
    float *x = mem_new(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = stored ? (float)json_number_value(json_array_get(list, i))
                      : weight(name_seed(name), i, json_number_value(json_array_get(t, 2)),
                               json_number_value(json_array_get(t, 3)));
    gguf_write_tensor(w, name, DT_F32, n_dim, dim, x, n * sizeof *x);
    mem_free(x);
}

static void save_model(const json_t *c, const char *path)
{
    struct gguf_writer w;
    const char *arch = json_string_value(json_object_get(c, "arch")), *key;
    json_t *value;
    size_t i;
    gguf_writer_open(&w, 3);
    gguf_write_text(&w, "general.architecture", arch);
    json_object_foreach(json_object_get(c, "keys"), key, value)
    {
        add_key(&w, arch, key, value);
    }
    json_array_foreach(json_object_get(c, "tensors"), i, value)
    {
        add_tensor(&w, value);
    }
    gguf_writer_save(&w, path);
    gguf_writer_close(&w);
}

/* The largest difference from the expected logits, over the stored positions. */
static double worst(const json_t *c, const float *logits, uint32_t n_vocab)
{
    const char *position;
    json_t *row;
    double most = 0;
    json_object_foreach(json_object_get(c, "logits"), position, row)
    {
        const float *got = logits + (size_t)atoi(position) * n_vocab;
        assert_int_equal(json_array_size(row), n_vocab);
        for (uint32_t i = 0; i < n_vocab; i++) {
            const double off = fabs((double)got[i] - json_number_value(json_array_get(row, i)));
            if (!(off <= most))
                most = off; // a NaN stays
        }
    }
    return most;
}

static double run_case(const json_t *c)
{
    char path[64];
    struct runner r;
    const json_t *list = json_object_get(c, "ids");
    const uint32_t n = (uint32_t)json_array_size(list);
    int32_t *ids = mem_new(n, sizeof *ids);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    snprintf(path, sizeof path, "/tmp/akvifer-archs-%d.gguf", (int)getpid());
    save_model(c, path);
    runner_open(&r,
                &(struct runner_config){ .path = path, .n_position_max = 512, .kv_type = KV_F32 });
    float *logits = mem_new((size_t)n * r.n_vocab, sizeof *logits);
    run_all(&r, ids, n, 512, logits);
    const double most = worst(c, logits, r.n_vocab);
    mem_free(logits);
    mem_free(ids);
    runner_close(&r);
    unlink(path);
    return most;
}

static void architectures_agree(void **state)
{
    char line[65536];
    uint32_t n = 0, n_wrong = 0;
    (void)state;
    FILE *f = fopen("tests/data/golden/archs.jsonl", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        json_t *c = json_loads(line, 0, NULL);
        assert_non_null(c);
        const double most = run_case(c);
        print_message("%-40s largest difference %.2e\n",
                      json_string_value(json_object_get(c, "name")), most);
        n_wrong += !(most <= ERROR_MAX);
        n++;
        json_decref(c);
    }
    fclose(f);
    assert_int_equal(n, 18);
    assert_int_equal(n_wrong, 0);
}

/* A file that says its frequencies are scaled, but lacks the tensor that says how, would be another model. */
static void llama3_needs_its_factors(void **state)
{
    char path[64], line[65536];
    struct note why = { "" };
    struct model *m;
    (void)state;
    FILE *f = fopen("tests/data/golden/archs.jsonl", "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f)); // llama, without factors
    fclose(f);
    json_t *c = json_loads(line, 0, NULL);
    json_object_set_new(json_object_get(c, "keys"), "rope.scaling.type", json_string("llama3"));
    snprintf(path, sizeof path, "/tmp/akvifer-archs-%d.gguf", (int)getpid());
    save_model(c, path);
    assert_int_equal(model_open(&m, &(struct model_params){ .path = path }, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "lacks the tensor 'rope_freqs.weight'"));
    unlink(path);
    json_decref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(architectures_agree),
        cmocka_unit_test(llama3_needs_its_factors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
