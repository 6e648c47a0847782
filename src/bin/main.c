#include <stdio.h>
#include <string.h>

#include "bin/bench_report.h"
#include "bin/verbs.h"

const struct verb verbs[] = {
    { verb_run, &flags_of_run },       { verb_serve, &flags_of_serve },
    { verb_tokenize, &flags_of_tokenize },
    { verb_render, &flags_of_render }, { verb_inspect, &flags_of_inspect },
    { verb_eval, &flags_of_eval },     { verb_bench, &flags_of_bench },
    { verb_pull, &flags_of_pull },     { verb_manual, &flags_of_manual },
};
const size_t n_verb = sizeof verbs / sizeof *verbs;

static void print_help(FILE *to)
{
    fputs("akvifer - run language models, with their KV cache as managed memory\n\n"
          "usage: akvifer VERB [flags]        akvifer VERB --help teaches one verb\n\n",
          to);
    for (size_t i = 0; i < n_verb; i++) {
        const struct flag_table *t = verbs[i].flags;
        fprintf(to, "  %-9s %s\n            $ %s\n", t->verb, t->summary, t->examples[0]);
    }
}

static int unknown_verb(const char *typed)
{
    struct nearest near = { .typed = typed };
    for (size_t i = 0; i < n_verb; i++)
        nearest_try(&near, verbs[i].flags->verb, strlen(verbs[i].flags->verb));
    fprintf(stderr, "akvifer: there is no verb '%s'; ", typed);
    if (near.best)
        fprintf(stderr, "did you mean %s?\n", near.best);
    else
        fputs("`akvifer --help` lists them\n", stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    program_build = (struct program_build){ AKV_COMMIT, AKV_COMMITS };
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(word, "--version") == 0) {
        puts("akvifer " AKV_VERSION);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < n_verb; i++)
        if (strcmp(word, verbs[i].flags->verb) == 0)
            return verbs[i].main(argc - 1, argv + 1);
    return unknown_verb(word);
}
