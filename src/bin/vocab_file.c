#include "bin/vocab_file.h"

#include "bin/models.h"
#include "bin/show.h"
#include "model/vocab_load.h"

enum status vocab_file_open(struct vocab_file *out, const char *model, struct note *why)
{
    struct buf path = { 0 };
    struct note warning = { "" };
    *out = (struct vocab_file){ 0 };
    enum status st = model_path_resolve(&path, model, why);
    if (st == OK)
        st = gguf_open(&out->file, buf_text(&path), why);
    if (st == OK)
        st = model_vocab_load(&out->vocab, out->file, &warning);
    if (st == OK && warning.text[0])
        show_warning(buf_text(&path), warning.text);
    else if (warning.text[0])
        note_set(why, "%s: %s", buf_text(&path), warning.text);
    buf_close(&path);
    if (st != OK)
        vocab_file_close(out);
    return st;
}

void vocab_file_close(struct vocab_file *f)
{
    vocab_free(f->vocab);
    gguf_close(f->file);
    *f = (struct vocab_file){ 0 };
}
