#include "bin/answer.h"

#include "bin/terminal.h"

enum { POLL_MS = 50 }; // how long Ctrl-C may go unnoticed while nothing comes

static void take_text(struct answer *out, const struct akv_event *e, FILE *words)
{
    buf_add(&out->text, e->text, e->text_len);
    if (!words || e->text_len == 0)
        return;
    fwrite(e->text, 1, e->text_len, words);
    fflush(words);
}

static enum status finish(struct answer *out, const struct akv_event *e, FILE *words,
                          struct note *why)
{
    take_text(out, e, words);
    out->stop = e->stop;
    out->usage = e->usage;
    if (e->stop == AKV_STOP_ERROR) {
        note_set(why, "%s", e->message);
        return (enum status)e->status;
    }
    if (out->text.failed || out->ids.failed) {
        note_set(why, "no memory for an answer of %u tokens", e->usage.n_generated);
        return FULL;
    }
    if (words && ferror(words)) {
        note_set(why, "cannot write the answer: %m");
        return IO_ERROR;
    }
    return OK;
}

enum status answer_get(struct answer *out, akv_engine *engine, const struct akv_request *request,
                       FILE *words, struct note *why)
{
    struct akv_note refused;
    uint64_t id;
    *out = (struct answer){ 0 };
    enum akv_status st = akv_submit(engine, request, &id, &refused);
    if (st != AKV_OK) {
        note_set(why, "%s", refused.text);
        return (enum status)st;
    }
    for (;;) {
        struct akv_event e;
        if (terminal_interrupted())
            akv_cancel(engine, id);
        if (akv_next_event(engine, &e, POLL_MS) != AKV_OK || e.id != id)
            continue;
        if (e.kind == AKV_EVENT_DONE)
            return finish(out, &e, words, why);
        ids_add(&out->ids, e.token);
        take_text(out, &e, words);
    }
}

void answer_close(struct answer *a)
{
    buf_close(&a->text);
    ids_close(&a->ids);
}

const char *answer_stop_name(enum akv_stop stop)
{
    static const char *const name[] = { "end", "text", "length", "context", "canceled", "error" };
    return name[stop];
}

static double per_second(uint32_t n, uint64_t ns)
{
    return ns ? n * 1e9 / (double)ns : 0;
}

struct answer_speed answer_speed(const struct akv_usage *u)
{
    return (struct answer_speed){
        .prompt_ms = (double)u->prompt_ns / 1e6,
        .prompt_per_s = per_second(u->n_prompt - u->n_cached, u->prompt_ns),
        .generate_ms = (double)u->generate_ns / 1e6,
        .generate_per_s = per_second(u->n_generated, u->generate_ns),
    };
}
