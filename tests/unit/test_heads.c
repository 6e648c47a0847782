/* Where the shares of a model's heads are looked for: in the file that is named, in that beside the model, in the
 * program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "engine/heads.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

static struct model *model;
static struct kv_shape shape;

static void open_model(const char *path)
{
    const struct model_params params = { .path = path, .n_thread = 1 };
    struct note why = { "" };
    if (model_open(&model, &params, &why) != OK)
        fail_msg("%s", why.text);
    hparams_kv_shape(model_hparams(model), KV_F16, &shape);
}

/* A tiny model, tiny.gguf of the test's folder. */
static int open_tiny(void **state)
{
    const struct tiny_model tiny = tiny_model_of("llama", DT_Q8_0);
    temp_dir_make(state);
    tiny_model_save(&tiny, in_dir("tiny.gguf"));
    open_model(in_dir("tiny.gguf"));
    return 0;
}

static int close_tiny(void **state)
{
    model_close(model);
    return temp_dir_remove(state);
}

/* Shares that no other file has, of the model or of one that is not it. */
static void put_profile(const char *name, const char *of_model, float share)
{
    const struct kv_group *g = &shape.group[kv_whole_group(&shape)];
    const struct kv_shares_id of = { of_model, "f16" };
    struct kv_shares s = { 0 };
    struct buf text = { 0 };
    assert_int_equal(kv_shares_open(&s, g->n_layer, g->n_kv_head), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < g->n_layer * g->n_kv_head; i++)
            s.share[b][i] = share;
    kv_shares_write(&s, &of, &text);
    temp_dir_put(name, buf_text(&text));
    buf_close(&text);
    kv_shares_close(&s);
}

static enum status look(struct heads *h, const char *named, struct note *why)
{
    return heads_open(h, model, &shape, named, in_dir("tiny.gguf"), why);
}

static void none_is_no_error(void **state)
{
    struct heads h;
    struct note why = { "" };
    (void)state;
    assert_int_equal(look(&h, NULL, &why), OK);
    assert_false(h.there);
    assert_string_equal(h.told.text, "none: `akvifer profile -m MODEL` measures one");
    heads_close(&h);
}

static void the_one_beside_the_model_is_found(void **state)
{
    char name[HEADS_MODEL];
    struct heads h;
    struct note why = { "" };
    (void)state;
    put_profile("tiny.gguf.kv.json", heads_model_name(model, name), 0.25F);
    assert_int_equal(look(&h, NULL, &why), OK);
    assert_true(h.there && h.shares.share[0][0] == 0.25F);
    assert_non_null(strstr(h.told.text, "tiny.gguf.kv.json"));
    heads_close(&h);

    put_profile("other.json", name, 0.5F);
    assert_int_equal(look(&h, in_dir("other.json"), &why), OK);
    assert_true(h.there && h.shares.share[0][0] == 0.5F); // what is named comes first
    heads_close(&h);
}

static void of_another_model_is_told(void **state)
{
    struct heads h;
    struct note why = { "" };
    (void)state;
    put_profile("tiny.gguf.kv.json", "0123", 0.25F);
    assert_int_equal(look(&h, NULL, &why), OK);
    assert_false(h.there);
    assert_non_null(strstr(h.told.text, "0123"));
    heads_close(&h);
    assert_int_equal(look(&h, in_dir("tiny.gguf.kv.json"), &why), NOT_FOUND);
    assert_int_equal(look(&h, in_dir("none.json"), &why), NOT_FOUND);
    temp_dir_put("text.json", "{\"akvifer_profile\": 9}");
    assert_int_equal(look(&h, in_dir("text.json"), &why), BAD_INPUT);
    unlink(in_dir("tiny.gguf.kv.json"));
}

/* The program has those of the models that it is measured on, with the changes of their layers. */
static void the_programs_own(const char *path)
{
    struct heads h;
    struct note why = { "" };
    if (access(path, R_OK) != 0)
        skip();
    open_model(path);
    assert_int_equal(heads_open(&h, model, &shape, NULL, NULL, &why), OK);
    assert_true(h.there);
    assert_string_equal(h.told.text, "the program's own");
    assert_true(kv_shares_has_layers(&h.shares));
    assert_true(kv_shares_half(&h.shares, 2) < h.shares.n_layer * h.shares.n_kv_head / 4);
    heads_close(&h);
    model_close(model);
}

static void own_of_smollm2(void **state)
{
    (void)state;
    the_programs_own(SMOLLM2);
}

static void one_that_does_not_fit_is_told_beside_the_programs_own(void **state)
{
    struct heads h;
    struct note why = { "" };
    if (access(SMOLLM2, R_OK) != 0)
        skip();
    temp_dir_make(state);
    temp_dir_put("it.gguf.kv.json", "nonsense");
    open_model(SMOLLM2);
    assert_int_equal(heads_open(&h, model, &shape, NULL, in_dir("it.gguf"), &why), OK);
    assert_true(h.there);
    assert_non_null(strstr(h.told.text, "the program's own; '"));
    assert_non_null(strstr(h.told.text, "it.gguf.kv.json"));
    heads_close(&h);
    model_close(model);
    temp_dir_remove(state);
}

static void own_of_qwen2(void **state)
{
    (void)state;
    the_programs_own("models/qwen2.5-coder-0.5b-q4_k_m.gguf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(none_is_no_error, open_tiny, close_tiny),
        cmocka_unit_test_setup_teardown(the_one_beside_the_model_is_found, open_tiny, close_tiny),
        cmocka_unit_test_setup_teardown(of_another_model_is_told, open_tiny, close_tiny),
        cmocka_unit_test(own_of_smollm2),
        cmocka_unit_test(own_of_qwen2),
        cmocka_unit_test(one_that_does_not_fit_is_told_beside_the_programs_own),
    };
    return cmocka_run_group_tests_name("profiles of heads", tests, NULL, NULL);
}
