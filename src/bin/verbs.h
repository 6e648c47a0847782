/* bin/verbs.h - what the program can do: a verb is a file, its flags, and a row in main.c's table.
 *
 *   main(argc, argv) -> the row named argv[1] -> its main(argc - 1, argv + 1) -> exit status
 *
 * Exit status: 0 done; 1 it failed, and standard error says why; 2 the command line was wrong. */
#ifndef BIN_VERBS_H
#define BIN_VERBS_H

#include "bin/flags.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct verb {
    int (*main)(int argc, char **argv); // argv[0] is the verb's name
    const struct flag_table *flags;     // name, summary and examples are there
};

extern const struct verb verbs[]; // in the order of the help
extern const size_t n_verb;

int verb_run(int argc, char **argv);
int verb_tokenize(int argc, char **argv);
int verb_render(int argc, char **argv);
int verb_eval(int argc, char **argv);
int verb_serve(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_load(int argc, char **argv);
int verb_profile(int argc, char **argv);
int verb_inspect(int argc, char **argv);
int verb_pull(int argc, char **argv);
int verb_manual(int argc, char **argv);

extern const struct flag_table flags_of_run, flags_of_tokenize, flags_of_render, flags_of_eval,
    flags_of_serve, flags_of_bench, flags_of_load, flags_of_profile, flags_of_inspect,
    flags_of_pull, flags_of_manual;

/* Prints "akvifer VERB: the note" to standard error and gives EXIT_FAILED. */
int verb_fails(const struct flag_table *t, const struct note *why);

/* The same for flags that make no sense together: gives EXIT_USAGE. */
int verb_misused(const struct flag_table *t, const char *what);

#endif
