/* akvifer render - conversations through a chat template: what a model would read. */
#include <time.h>
#include <unistd.h>

#include "bin/lines.h"
#include "bin/verbs.h"
#include "bin/vocab_file.h"
#include "model/chat_template.h"

struct options {
    const char *model, *file;
};

static const struct flag rows[] = {
    VOCAB_FLAG(options, model),
    { .names = "--template --chat-template-file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, file),
      .unit = "FILE",
      .shown = "the model's",
      .help = "A Jinja template to use." },
};

static const char *const examples[] = {
    "echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"add_generation_prompt\": "
    "true}' | akvifer render",
    "akvifer render -m qwen2 < conversations.jsonl",
    "akvifer render --template mine.jinja < conversations.jsonl",
    NULL,
};

const struct flag_table flags_of_render = {
    .verb = "render",
    .summary = "conversations, a JSON object a line, to text and ids",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

static enum status answer(void *arg, const json_t *in, struct buf *out, struct note *why)
{
    const struct chat_template *t = arg;
    struct jinja_output text = { 0 };
    struct ids ids = { 0 };
    enum status st = chat_template_render(t, in, false, time(NULL), &text, why);
    if (st == OK)
        st = chat_template_ids(t, &text, false, &ids, why);
    if (st == OK) {
        buf_add_text(out, "{\"rendered\": ");
        buf_add_json_text(out, buf_text(&text.text), text.text.len);
        buf_add_text(out, ", \"ids\": ");
        add_json_ids(out, &ids);
        buf_add_byte(out, '}');
    }
    jinja_output_close(&text);
    ids_close(&ids);
    return st;
}

static enum status open_template(struct chat_template **out, const struct vocab_file *f,
                                 const char *path, struct note *why)
{
    struct buf source = { 0 };
    if (!path)
        return chat_template_new(out, f->file, f->vocab, NULL, 0, why);
    enum status st = read_path(path, &source, why);
    if (st == OK) {
        st = chat_template_new(out, f->file, f->vocab, buf_text(&source), source.len, why);
        if (st != OK)
            note_prefix(why, "%s", path);
    }
    buf_close(&source);
    return st;
}

int verb_render(int argc, char **argv)
{
    struct options o = { 0 };
    struct vocab_file f = { 0 };
    struct chat_template *t = NULL;
    struct note why = { "" };
    int exit_code;
    if (!flags_read(&flags_of_render, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    enum status st = vocab_file_open(&f, o.model, &why);
    if (st == OK)
        st = open_template(&t, &f, o.file, &why);
    exit_code = st == OK ? answer_lines(&flags_of_render, STDIN_FILENO, answer, t)
                         : verb_fails(&flags_of_render, &why);
    chat_template_free(t);
    vocab_file_close(&f);
    return exit_code;
}
