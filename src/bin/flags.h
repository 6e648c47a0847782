/* bin/flags.h - command-line flags: one row of a table each, and all else follows from the row.
 *
 *   row ---> parsing, bounds and the words of an error
 *       ---> --help                         akvifer VERB --help
 *       ---> the manual page                akvifer manual
 *       ---> environment aliases            AKV_ARG_CTX_SIZE=4096, LLAMA_ARG_CTX_SIZE=4096
 *       ---> lines of a file                ctx-size = 4096 (bin/config.h)
 *
 * F1  Values come from, strongest first: the command line, AKV_ARG_*, LLAMA_ARG_*, the row's own
 *     variable, a file of settings, its default.
 * F2  After flags_read gave true every field holds a value inside its bounds.
 * F3  Texts point into argv, the environment or the table: they live as long as the program.
 *
 * "--name value", "--name=value"; a switch is turned off by "--no-name"; "--" ends the flags. A
 * flag given twice keeps its last value, but FLAG_TEXTS keeps all. Threads  the main thread, at
 * start. */
#ifndef BIN_FLAGS_H
#define BIN_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"
#include "base/words.h"

enum flag_type { // and the field that `at` leads to
    FLAG_TEXT,   // const char *, NULL where there is no default
    FLAG_INT,    // int64_t
    FLAG_U64,    // uint64_t
    FLAG_FLOAT,  // double
    FLAG_SWITCH, // bool
    FLAG_SIZE,   // uint64_t bytes: 4096, 512K, 512M, 2G, 1T (powers of 1024)
    FLAG_ENUM,   // uint32_t: index of the word in `words`
    FLAG_TEXTS,  // struct flag_texts: the flag may be given many times
};

enum { FLAG_TEXTS_MAX = 32 };

struct flag_texts {
    const char *text[FLAG_TEXTS_MAX];
    uint32_t n;
};

struct flag {
    const char *names; // "-m --model": the last is long, and the one that errors and the manual use
    enum flag_type type;
    size_t at;          // offset of the field in the verb's options
    const char *unit;   // "PATH", "TOKENS": stands for the value in the help; NULL for a switch
    const char *preset; // the default, as it would be typed; NULL: 0, false or no text
    const char *shown;  // the default in words, where `preset` alone would not say it
    double least, most; // bounds of numbers (INFINITY: none above); equal: what the type holds
    const char *words;  // FLAG_ENUM: "f16 f32 int8"
    const char *env;    // one more environment variable, e.g. of another program
    const char *help;   // one sentence, without the default and the bounds: they are added
};

struct flag_table {
    const char *verb;
    const char *summary;  // a few words, lower case
    const char *operands; // "[NAME|URL|PATH]"; NULL: the verb takes none
    uint32_t n_operand_min, n_operand_max;
    const struct flag *flag;
    size_t n_flag;
    const char *const *examples; // of shell, NULL at the end; `akvifer --help` shows the first
};

#define FLAG_AT(options, field) offsetof(struct options, field)
#define FLAG_COUNT(rows) (sizeof(rows) / sizeof *(rows))

struct operands {
    char **text;
    uint32_t n;
};

/* Fills `options` (of the table's verb) from argv, argv[0] being the verb. BAD_INPUT: the note
 * names the flag, the value and the limit. CANCELED: --help or --version was asked for
 * instead, the note says which ("help", "version"); nothing is filled. */
must_use enum status flags_parse(const struct flag_table *t, void *options, int argc, char **argv,
                                 struct operands *out, struct note *why);

/* What a verb calls first. False: return *exit_code now (help was printed, or the error was).
 * `out` may be NULL where the verb takes no operands. */
must_use bool flags_read(const struct flag_table *t, void *options, int argc, char **argv,
                         struct operands *out, int *exit_code);

/* What a file says of a flag, and where in it. */
struct flag_setting {
    const char *name;  // without dashes in front
    const char *value; // NULL: a switch alone
    const char *path;
    uint32_t line;
    const char *section; // what it is for; NULL: everything
};

/* The same as the two above, with n settings of a file (F1). */
must_use enum status flags_parse_over(const struct flag_table *t, void *options,
                                      const struct flag_setting *setting, uint32_t n, int argc,
                                      char **argv, struct operands *out, struct note *why);
must_use bool flags_read_over(const struct flag_table *t, void *options,
                              const struct flag_setting *setting, uint32_t n, int argc, char **argv,
                              struct operands *out, int *exit_code);

void flags_help(const struct flag_table *t, struct buf *out); // as text
void flags_manual(const struct flag_table *t,
                  struct buf *out); // as a section of a man page (troff)

/* The name that errors, the environment and the manual use: the last of `names`. */
const char *flag_name(const struct flag *f);

/* The environment is read here and nowhere else. NULL: unset or empty. */
const char *flags_environment(const char *name);

#endif
