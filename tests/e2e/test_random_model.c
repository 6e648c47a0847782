/* tools/random_model.py: models of random weights that open, and shapes that a type does not fit, which are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "support/program.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

/* A random model of a type, its shape that of a small llama: written, or refused with these words. */
static void make(uint32_t n_embd, uint32_t n_ff, const char *multiple, const char *type,
                 const char *refusal)
{
    struct tiny_model like = tiny_model_of("llama", DT_F32);
    struct program_end end;
    like.n_embd = n_embd;
    like.d_head = n_embd / like.n_head;
    like.n_ff = n_ff;
    tiny_model_save(&like, in_dir("like.gguf"));
    program_run(&end,
                WORDS("tools/random_model.py", "--like", in_dir("like.gguf"), "--type", type,
                      "--multiple", multiple, in_dir("out.gguf")),
                NULL, 0);
    assert_int_equal(end.exit_code, refusal ? 1 : 0);
    if (refusal)
        assert_non_null(strstr(buf_text(&end.err), refusal));
    assert_int_equal(access(in_dir("out.gguf"), F_OK), refusal ? -1 : 0);
    program_end_close(&end);
}

static void what_it_writes_opens(void **state)
{
    static const char *const types[] = { "F16", "Q8_0", "Q4_K", "IQ4_XS" };
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        make(128, 768, "256", types[i], NULL);
        program_expect(WORDS("akvifer", "inspect", "-m", in_dir("out.gguf")), NULL, 0, types[i],
                       NULL);
        unlink(in_dir("out.gguf"));
    }
}

static void rows_of_no_whole_blocks_are_refused(void **state)
{
    (void)state;
    make(256, 672, "256", "Q4_K", "rows of 'blk.0.ffn_down.weight' have 672 elements");
    make(192, 768, "64", "Q4_K", "have 192 elements, no multiple of Q4_K's block of 256");
    make(256, 680, "256", "Q8_0", "have 680 elements, no multiple of Q8_0's block of 32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_writes_opens),
        cmocka_unit_test(rows_of_no_whole_blocks_are_refused),
    };
    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
