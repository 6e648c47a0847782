#include <stdio.h>

#include "bin/bench_attn.h"
#include "bin/bench_kv.h"
#include "bin/bench_probe.h"
#include "bin/bench_steps.h"
#include "bin/bench_stream.h"
#include "bin/bench_taps.h"
#include "bin/verbs.h"

static const char *const examples[] = {
    "akvifer manual | man -l -",
    "akvifer manual > /usr/local/share/man/man1/akvifer.1",
    NULL,
};

const struct flag_table flags_of_manual = {
    .verb = "manual",
    .summary = "print the manual page, made from the flag tables of all verbs",
    .examples = examples,
};

static const char head[] =
    ".TH AKVIFER 1 \"\" \"akvifer " AKV_VERSION "\"\n"
    ".SH NAME\nakvifer \\- run language models, with their KV cache as managed memory\n"
    ".SH SYNOPSIS\n.B akvifer\n.I VERB\n[flags]\n"
    ".SH DESCRIPTION\n"
    "One program, a verb for each task. Models are GGUF files, named by path or by a short name "
    "that\n"
    ".B akvifer pull\nhas fetched.\n"
    ".SH ENVIRONMENT\n"
    "Every flag \\-\\-some\\-name can be set by AKV_ARG_SOME_NAME, or by LLAMA_ARG_SOME_NAME; the "
    "command\n"
    "line wins. AKV_MODELS is the folder of models that have short names.\n"
    ".SH \"EXIT STATUS\"\n0 done; 1 it failed, and standard error says why; 2 the command line was "
    "wrong.\n";

int verb_manual(int argc, char **argv)
{
    struct buf page = { 0 };
    int exit_code;
    if (!flags_read(&flags_of_manual, NULL, argc, argv, NULL, &exit_code))
        return exit_code;
    buf_add_text(&page, head);
    for (size_t i = 0; i < n_verb; i++)
        flags_manual(verbs[i].flags, &page);
    flags_manual(&flags_of_bench_kv, &page);
    flags_manual(&flags_of_bench_attention, &page);
    flags_manual(&flags_of_bench_roof, &page);
    flags_manual(&flags_of_bench_steps, &page);
    flags_manual(&flags_of_bench_stream, &page);
    flags_manual(&flags_of_bench_taps, &page);
    struct note why = { "no memory for the manual page" };
    exit_code = page.failed ? verb_fails(&flags_of_manual, &why) : EXIT_DONE;
    if (exit_code == EXIT_DONE)
        fputs(page.bytes, stdout);
    buf_close(&page);
    return exit_code;
}
