/* The program: which verb runs, on standard streams that are there, and whether what it printed arrived. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bin/bench_report.h"
#include "bin/verbs.h"
#include "os/file.h"

const struct verb verbs[] = {
    { verb_run, &flags_of_run },           { verb_serve, &flags_of_serve },
    { verb_tokenize, &flags_of_tokenize }, { verb_render, &flags_of_render },
    { verb_profile, &flags_of_profile },   { verb_inspect, &flags_of_inspect },
    { verb_eval, &flags_of_eval },         { verb_bench, &flags_of_bench },
    { verb_load, &flags_of_load },         { verb_pull, &flags_of_pull },
    { verb_manual, &flags_of_manual },
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

/* A closed standard stream would be the number of the next file that opens: answers would be written
 * into the KV cache's memory. /dev/null takes its place, opened the other way round: using it fails
 * as it did before. */
static bool fill_closed_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

static int run(int argc, char **argv)
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

int main(int argc, char **argv)
{
    if (!fill_closed_streams()) {
        fputs("akvifer: a standard stream is closed, and /dev/null cannot be opened for it\n",
              stderr);
        return EXIT_FAILED;
    }
    file_explain_faults();
    int exit_code = run(argc, argv);
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    if (exit_code == EXIT_DONE) // a verb that failed has said why
        fprintf(stderr, "akvifer: cannot write to standard output%s%s\n", errno ? ": " : "",
                errno ? strerror(errno) : "");
    return exit_code == EXIT_DONE ? EXIT_FAILED : exit_code;
}
