/* bin/vocab_file.h - what verbs about text need of a model file: its vocabulary, no weights. */
#ifndef BIN_VOCAB_FILE_H
#define BIN_VOCAB_FILE_H

#include "base/note.h"
#include "base/status.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

struct vocab_file {
    struct gguf *file;
    struct vocab *vocab;
};

/* `model`: a path or a short name. A note with OK is a warning, printed already. */
must_use enum status vocab_file_open(struct vocab_file *out, const char *model, struct note *why);
void vocab_file_close(struct vocab_file *f);

#endif
