/* akvifer tokenize - text to the ids that a model reads, and back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bin/lines.h"
#include "bin/verbs.h"
#include "bin/vocab_file.h"

struct options {
    const char *model, *prompt, *file;
    bool jsonl, special, bos, detokenize, pieces;
};

static const struct flag rows[] = {
    VOCAB_FLAG(options, model),
    { .names = "-p --prompt",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, prompt),
      .unit = "TEXT",
      .shown = "standard input",
      .help = "The text." },
    { .names = "-f --file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, file),
      .unit = "FILE",
      .help = "Reads the text from a file." },
    { .names = "--jsonl",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, jsonl),
      .help = "The input has a line {\"text\": ...} for each text, and standard output a line "
              "{\"ids\": [...]} for it; with --detokenize it is the other way round." },
    { .names = "--special",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, special),
      .help = "Text may name control tokens such as <|im_end|>; with --detokenize their names are "
              "printed." },
    { .names = "--bos",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, bos),
      .help = "Puts the token in front that begins a text, if the model uses one." },
    { .names = "--detokenize",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, detokenize),
      .help = "Ids to text: the input is numbers, with or without brackets and commas." },
    { .names = "--pieces",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, pieces),
      .help = "Prints a line for each token: its id and its text as JSON." },
};

static const char *const examples[] = {
    "akvifer tokenize -p 'Hello, world!'",
    "akvifer tokenize --pieces < README.md",
    "akvifer tokenize -p 'Hello' | akvifer tokenize --detokenize",
    "echo '{\"text\": \"Hello\"}' | akvifer tokenize -m qwen2 --jsonl",
    NULL,
};

const struct flag_table flags_of_tokenize = {
    .verb = "tokenize",
    .summary = "text to token ids, and back",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

struct tokenize {
    struct options o;
    struct vocab_file f;
};

static enum status encode(const struct tokenize *t, const char *text, size_t len, struct ids *out,
                          struct note *why)
{
    unsigned flags = (t->o.special ? VOCAB_SPECIAL : 0) | (t->o.bos ? VOCAB_BOS : 0);
    return vocab_encode(t->f.vocab, text, len, flags, out, why);
}

/* ---- JSON lines ---- */

static enum status answer_text(void *arg, const json_t *in, struct buf *out, struct note *why)
{
    struct ids ids = { 0 };
    const json_t *text = json_object_get(in, "text");
    if (!json_is_string(text)) {
        note_set(why, "a line must be an object with a string \"text\"");
        return BAD_INPUT;
    }
    enum status st = encode(arg, json_string_value(text), json_string_length(text), &ids, why);
    if (st == OK) {
        buf_add_text(out, "{\"ids\": ");
        add_json_ids(out, &ids);
        buf_add_byte(out, '}');
    }
    ids_close(&ids);
    return st;
}

static enum status answer_ids(void *arg, const json_t *in, struct buf *out, struct note *why)
{
    const struct tokenize *t = arg;
    struct ids ids = { 0 };
    struct buf text = { 0 };
    enum status st = read_json_ids(in, &ids, why);
    if (st == OK)
        st = vocab_decode(t->f.vocab, ids.id, ids.n, t->o.special, &text, why);
    if (st == OK) {
        buf_add_text(out, "{\"text\": ");
        buf_add_json_text(out, buf_text(&text), text.len);
        buf_add_byte(out, '}');
    }
    ids_close(&ids);
    buf_close(&text);
    return st;
}

/* ---- one text ---- */

/* Numbers between any of "[], \t\r\n". */
static enum status read_plain_ids(const char *text, struct ids *out, struct note *why)
{
    static const char between[] = "[], \t\r\n";
    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        char *end;
        errno = 0;
        long x = strtol(text, &end, 10);
        if (end == text || errno || x < 0 || x > INT32_MAX || (*end && !strchr(between, *end))) {
            note_set(why, "'%.*s' is no token id; give numbers from 0 to %d",
                     (int)strcspn(text, between), text, INT32_MAX);
            return BAD_INPUT;
        }
        ids_add(out, (int32_t)x);
        text = end;
    }
    return check_ids(out, why);
}

static void show_ids(const struct tokenize *t, const struct ids *ids, struct buf *out)
{
    if (!t->o.pieces) {
        add_json_ids(out, ids);
        buf_add_byte(out, '\n');
        return;
    }
    for (size_t i = 0; i < ids->n; i++) {
        struct text_span piece = vocab_piece(t->f.vocab, ids->id[i], true);
        buf_addf(out, "%8d  ", ids->id[i]);
        buf_add_json_text(out, piece.bytes, piece.len);
        buf_add_byte(out, '\n');
    }
}

static enum status convert(const struct tokenize *t, const char *text, size_t len, struct buf *out,
                           struct note *why)
{
    struct ids ids = { 0 };
    enum status st;
    if (t->o.detokenize) {
        st = read_plain_ids(text, &ids, why);
        if (st == OK)
            st = vocab_decode(t->f.vocab, ids.id, ids.n, t->o.special, out, why);
    } else {
        st = encode(t, text, len, &ids, why);
        if (st == OK)
            show_ids(t, &ids, out);
    }
    if (st == OK && out->failed) {
        note_set(why, "no memory for the text of %zu tokens", ids.n);
        st = FULL;
    }
    ids_close(&ids);
    return st;
}

static int convert_one(const struct tokenize *t)
{
    struct buf in = { 0 }, out = { 0 };
    struct note why = { "" };
    enum status st = read_given(t->o.prompt, t->o.file, &in, &why);
    if (st == OK)
        st = convert(t, buf_text(&in), in.len, &out, &why);
    if (st == OK && (fwrite(buf_text(&out), 1, out.len, stdout) < out.len || fflush(stdout))) {
        note_set(&why, "cannot write the answer: %m");
        st = IO_ERROR;
    }
    buf_close(&in);
    buf_close(&out);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_tokenize, &why);
}

/* The lines of the file, or of standard input. */
static int convert_lines(struct tokenize *t)
{
    struct note why = { "" };
    int fd = STDIN_FILENO;
    if (t->o.file && open_path(&fd, t->o.file, &why) != OK)
        return verb_fails(&flags_of_tokenize, &why);
    int exit_code =
        answer_lines(&flags_of_tokenize, fd, t->o.detokenize ? answer_ids : answer_text, t);
    if (t->o.file)
        close(fd);
    return exit_code;
}

int verb_tokenize(int argc, char **argv)
{
    struct tokenize t = { 0 };
    struct note why = { "" };
    int exit_code;
    if (!flags_read(&flags_of_tokenize, &t.o, argc, argv, NULL, &exit_code))
        return exit_code;
    if (t.o.jsonl && t.o.prompt)
        return verb_misused(&flags_of_tokenize, "--jsonl reads lines of -f FILE or standard input, "
                                                "not of -p");
    if (vocab_file_open(&t.f, t.o.model, &why) != OK)
        return verb_fails(&flags_of_tokenize, &why);
    exit_code = t.o.jsonl ? convert_lines(&t) : convert_one(&t);
    vocab_file_close(&t.f);
    return exit_code;
}
