/* bin/vocab_file.h - what verbs about text need of a model file: its vocabulary, no weights. */
#ifndef BIN_VOCAB_FILE_H
#define BIN_VOCAB_FILE_H

#include "base/note.h"
#include "base/status.h"
#include "bin/flags.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

/* The row of the file's flag, for a field of a verb's options. */
#define VOCAB_FLAG(S, F)                                                                           \
    {                                                                                              \
        .names = "-m --model", .type = FLAG_TEXT, .at = FLAG_AT(S, F), .unit = "MODEL",            \
        .preset = "smollm2",                                                                       \
        .help = "A GGUF file, or the short name of a model that `akvifer pull` fetched."           \
    }

struct vocab_file {
    struct gguf *file;
    struct vocab *vocab;
};

/* `model`: a path or a short name. A note with OK is a warning, printed already. */
must_use enum status vocab_file_open(struct vocab_file *out, const char *model, struct note *why);
void vocab_file_close(struct vocab_file *f);

#endif
