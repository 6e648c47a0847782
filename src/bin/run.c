/* akvifer run - talk to a model: a conversation on a terminal, or one answer. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/explain.h"
#include "bin/answer.h"
#include "bin/chat.h"
#include "bin/conversation.h"
#include "bin/engine_flags.h"
#include "bin/lines.h"
#include "bin/sampling_flags.h"
#include "bin/terminal.h"
#include "bin/verbs.h"
#include "kv/shape.h"

enum { RAW_N_PREDICT = 256 };
static const int64_t UNTIL_END = -1, NOT_SAID = -2;

struct run_options {
    struct engine_flags engine;
    struct sampling_flags sampling;
    const char *prompt, *file, *system, *template_file;
    int64_t n_predict;
    bool raw, json, ignore_eos;
    struct flag_texts stop;
};

static const struct flag rows[] = {
    ENGINE_FLAGS(run_options, engine),
    { .names = "-p --prompt",
      .type = FLAG_TEXT,
      .at = FLAG_AT(run_options, prompt),
      .unit = "TEXT",
      .shown = "a conversation on a terminal, else standard input",
      .help = "Answers this and exits." },
    { .names = "-f --file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(run_options, file),
      .unit = "FILE",
      .help = "Answers what is in the file and exits; one line break at its end is left out." },
    { .names = "-sys --system-prompt",
      .type = FLAG_TEXT,
      .at = FLAG_AT(run_options, system),
      .unit = "TEXT",
      .shown = "the template's own",
      .help = "The system prompt." },
    { .names = "-n --n-predict --predict",
      .type = FLAG_INT,
      .at = FLAG_AT(run_options, n_predict),
      .unit = "TOKENS",
      .least = -1,
      .most = 1 << 30,
      .shown = "-1, but 256 for plain text",
      .help = "Most tokens of an answer; -1 is until it ends or the context is full." },
    { .names = "--raw",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(run_options, raw),
      .help = "Continues the text instead of answering it: no chat template." },
    { .names = "--json",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(run_options, json),
      .help =
          "Prints one JSON object at the end: model, text, ids, stop, seed, usage, timings, and "
          "what became of the KV." },
    { .names = "--chat-template-file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(run_options, template_file),
      .unit = "FILE",
      .shown = "the model's",
      .help = "A Jinja chat template to use." },
    { .names = "-r --stop --reverse-prompt",
      .type = FLAG_TEXTS,
      .at = FLAG_AT(run_options, stop),
      .unit = "TEXT",
      .help = "Ends the answer where this text would begin. May be given many times." },
    { .names = "--ignore-eos",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(run_options, ignore_eos),
      .help = "Goes on where the model would end." },
    SAMPLING_FLAGS(run_options, sampling),
};

static const char *const examples[] = {
    "akvifer run                                  # a conversation with smollm2",
    "akvifer run -m qwen2 -p 'Reverse a string in C' --temp 0",
    "akvifer run -m qwen2 -sys 'Answer in French.' -f question.txt -s 42 --json",
    "echo 'Once upon a time' | akvifer run --raw -n 64",
    NULL,
};

const struct flag_table flags_of_run = {
    .verb = "run",
    .summary = "talk to a model, or get one answer",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

/* ---- what was asked ---- */

/* The one message there is to answer, from -p, -f or standard input. False: return *exit_code. */
static bool read_prompt(const struct run_options *o, struct buf *out, int *exit_code)
{
    struct note why = { "" };
    enum status st = read_given(o->prompt, o->file, out, &why);
    if (st != OK && (o->file || st == FULL)) {
        *exit_code = verb_fails(&flags_of_run, &why);
        return false;
    }
    if (!o->prompt && out->len > 0 && out->bytes[out->len - 1] == '\n')
        out->bytes[--out->len] = 0;
    if (out->len > 0)
        return true;
    const char *from = o->prompt ? "the prompt" : o->file ? "the file" : "standard input";
    fprintf(stderr,
            "akvifer run: nothing to answer: %s is empty; give a text with -p TEXT, -f FILE or "
            "a pipe, or start it on a terminal for a conversation\n",
            from);
    *exit_code = EXIT_USAGE;
    return false;
}

static struct akv_request request_of(const struct run_options *o, const struct akv_sampling *s,
                                     bool raw)
{
    int64_t n = o->n_predict;
    if (n == NOT_SAID)
        n = raw ? RAW_N_PREDICT : UNTIL_END;
    return (struct akv_request){
        .n_predict = n == UNTIL_END ? UINT32_MAX : (uint32_t)n,
        .sampling = *s,
        .ignore_eos = o->ignore_eos,
        .stop = o->stop.text,
        .n_stop = o->stop.n,
    };
}

/* ---- one answer ---- */

static void add_usage(struct buf *out, const struct akv_usage *u)
{
    struct answer_speed s = answer_speed(u);
    buf_addf(out,
             "\"usage\": {\"prompt_tokens\": %u, \"completion_tokens\": %u, \"total_tokens\": %u, "
             "\"prompt_tokens_details\": {\"cached_tokens\": %u}, \"kv_bytes_peak\": %zu}, ",
             u->n_prompt, u->n_generated, u->n_prompt + u->n_generated, u->n_cached,
             u->kv_bytes_peak);
    buf_addf(out,
             "\"timings\": {\"cache_n\": %u, \"prompt_n\": %u, \"prompt_ms\": %.3f, "
             "\"prompt_per_second\": %.2f, \"predicted_n\": %u, \"predicted_ms\": %.3f, "
             "\"predicted_per_second\": %.2f}",
             u->n_cached, u->n_prompt - u->n_cached, s.prompt_ms, s.prompt_per_s, u->n_generated,
             s.generate_ms, s.generate_per_s);
    cache_json(u, out);
}

static enum status print_json(const struct answer *a, const char *model, uint64_t seed,
                              struct note *why)
{
    struct buf out = { 0 };
    buf_add_text(&out, "{\"model\": ");
    buf_add_json_text(&out, model, strlen(model));
    buf_add_text(&out, ", \"text\": ");
    buf_add_json_text(&out, buf_text(&a->text), a->text.len);
    buf_add_text(&out, ", \"ids\": ");
    add_json_ids(&out, &a->ids);
    buf_addf(&out, ", \"stop\": \"%s\", \"seed\": %llu, ", answer_stop_name(a->stop),
             (unsigned long long)seed);
    add_usage(&out, &a->usage);
    buf_add_text(&out, "}\n");
    enum status st = out.failed ? FULL : OK;
    if (st == OK && (fwrite(out.bytes, 1, out.len, stdout) < out.len || fflush(stdout)))
        st = IO_ERROR;
    if (st != OK)
        note_set(why, st == FULL ? "no memory for the JSON" : "cannot write the answer: %m");
    buf_close(&out);
    return st;
}

/* An answer that is no whole one says so. */
static void remark_cut(const struct answer *a)
{
    const struct akv_usage *u = &a->usage;
    if (a->stop == AKV_STOP_LENGTH)
        terminal_remark("(cut after %u token%s: -n gives it more, -1 as many as it wants)",
                        u->n_generated, u->n_generated == 1 ? "" : "s");
    if (a->stop == AKV_STOP_CONTEXT)
        terminal_remark("(cut: the context of %u tokens is full; -c makes it longer where the "
                        "model allows)",
                        u->n_prompt + u->n_generated);
}

static enum status answer_once(const struct run_options *o, const struct engine_opened *e,
                               struct akv_request request, const struct conversation *talk,
                               struct note *why)
{
    struct ids ids = { 0 };
    struct answer a = { 0 };
    enum status st = conversation_ids(talk, e->model, &ids, why);
    if (st == OK) {
        request.ids = ids.id;
        request.n_id = ids.n;
        st = answer_get(&a, e->engine, &request, o->json ? NULL : stdout, why);
    }
    if (st == OK && o->json)
        st = print_json(&a, e->info.name, request.sampling.seed, why);
    if (!o->json && a.text.len > 0 && a.text.bytes[a.text.len - 1] != '\n')
        putchar('\n');
    fflush(stdout);
    if (st == OK && !o->engine.quiet)
        remark_cut(&a);
    answer_close(&a);
    ids_close(&ids);
    return st;
}

static int run_once(const struct run_options *o, const struct engine_opened *e,
                    const struct akv_request *request, const struct buf *prompt, bool raw)
{
    struct conversation talk = { .raw = raw };
    struct note why = { "" };
    if (o->system)
        conversation_say(&talk, "system", o->system, strlen(o->system));
    conversation_say(&talk, "user", prompt->bytes, prompt->len);
    enum status st = answer_once(o, e, *request, &talk, &why);
    conversation_close(&talk);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_run, &why);
}

/* ---- the verb ---- */

static int talk(const struct run_options *o, const struct akv_sampling *sampling,
                const struct engine_opened *e, const struct buf *prompt, bool interactive)
{
    bool raw = o->raw || !e->info.has_chat_template;
    if (raw && o->system)
        return verb_misused(
            &flags_of_run,
            "--system-prompt needs a chat template; plain text has no system prompt");
    if (raw && !o->raw && !interactive && !o->engine.quiet)
        fprintf(stderr,
                "akvifer run: %s has no chat template: it continues the text instead of "
                "answering it\n",
                e->info.name);
    struct akv_request request = request_of(o, sampling, raw);
    if (!interactive)
        return run_once(o, e, &request, prompt, raw);
    const struct chat_setup setup = { .opened = e,
                                      .request = request,
                                      .system = o->system,
                                      .kv_type = kv_type_name((enum kv_type)o->engine.kv_type),
                                      .raw = raw };
    return chat_run(&setup);
}

/* The model, with the template that was asked for instead of its own. */
static enum status open_engine(struct engine_opened *out, struct run_options *o, struct note *why)
{
    struct buf source = { 0 };
    enum status st = OK;
    if (o->template_file) {
        st = read_path(o->template_file, &source, why);
        o->engine.chat_template = buf_text(&source);
    }
    if (st == OK)
        st = engine_open(out, &o->engine, why);
    buf_close(&source);
    return st;
}

int verb_run(int argc, char **argv)
{
    struct run_options o = { .n_predict = NOT_SAID };
    struct sampling_bias bias;
    struct akv_sampling sampling;
    struct engine_opened opened = { 0 };
    struct buf prompt = { 0 };
    struct note why = { "" };
    int exit_code;
    if (!flags_read(&flags_of_run, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    engine_answer_help(&o.engine);
    if (o.n_predict == 0)
        return verb_misused(
            &flags_of_run, "--predict: 0 tokens are no answer; give 1 or more, or -1 for an answer "
                           "without a limit");
    if (sampling_from_flags(&sampling, &bias, &o.sampling, &why) != OK)
        return verb_misused(&flags_of_run, why.text);
    bool interactive = !o.prompt && !o.file && terminal_is_there();
    if (interactive && o.json)
        return verb_misused(&flags_of_run,
                            "--json prints one answer: give -p TEXT, -f FILE or a pipe");
    if (!interactive && !read_prompt(&o, &prompt, &exit_code))
        goto done;
    o.engine.quiet |= interactive; // its first screen says the same in a line
    if (open_engine(&opened, &o, &why) == OK)
        exit_code = talk(&o, &sampling, &opened, &prompt, interactive);
    else
        exit_code = verb_fails(&flags_of_run, &why);
done:
    engine_close(&opened);
    buf_close(&prompt);
    return exit_code;
}
