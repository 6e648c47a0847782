#include "bin/answer.h"

#include <errno.h>
#include <string.h>

#include "bin/progress.h"
#include "bin/terminal.h"

enum { POLL_MS = 50 }; // how long Ctrl-C may go unnoticed while nothing comes

/* How far the prompt is: it may take long before the first word comes. */
struct reading {
    struct progress bar;
    uint64_t n_before; // tokens of prompts that the engine had read or reused before
};

static uint64_t n_prompt_token(akv_engine *engine)
{
    struct akv_stats s;
    akv_stats(engine, &s);
    return s.n_token_prompt + s.n_token_cached;
}

static void reading_at(struct reading *r, akv_engine *engine)
{
    if (r->bar.on)
        progress_at(&r->bar, n_prompt_token(engine) - r->n_before);
}

/* Words that cannot be written are wanted by nobody: the first time, the request is canceled. */
static void write_text(struct answer *out, akv_engine *engine, const struct akv_event *e,
                       FILE *words)
{
    if (e->text_len == 0 || out->write_error)
        return;
    if (fwrite(e->text, 1, e->text_len, words) == e->text_len && fflush(words) == 0)
        return;
    out->write_error = errno;
    akv_cancel(engine, e->id);
}

static enum status finish(const struct answer *a, const struct akv_event *e, struct note *why)
{
    if (a->write_error) {
        note_set(why, "cannot write the answer: %s", strerror(a->write_error));
        return IO_ERROR;
    }
    if (e->stop == AKV_STOP_ERROR) {
        note_set(why, "%s", e->message);
        return (enum status)e->status;
    }
    if (a->text.failed || a->ids.failed) {
        note_set(why, "no memory for an answer of %u tokens", e->usage.n_generated);
        return FULL;
    }
    return OK;
}

enum status answer_get(struct answer *out, akv_engine *engine, const struct akv_request *request,
                       FILE *words, struct note *why)
{
    struct akv_note refused;
    struct reading reading = { .n_before = n_prompt_token(engine) };
    uint64_t id;
    *out = (struct answer){ 0 };
    enum akv_status st = akv_submit(engine, request, &id, &refused);
    if (st != AKV_OK) {
        note_set(why, "%s", refused.text);
        return (enum status)st;
    }
    progress_begin(&reading.bar, "reading", PROGRESS_COUNT, 0, request->n_id);
    for (;;) {
        struct akv_event e;
        if (terminal_interrupted())
            akv_cancel(engine, id);
        reading_at(&reading, engine);
        if (akv_next_event(engine, &e, POLL_MS) != AKV_OK || e.id != id)
            continue;
        progress_end(&reading.bar);
        buf_add(&out->text, e.text, e.text_len);
        if (words)
            write_text(out, engine, &e, words);
        if (e.kind == AKV_EVENT_DONE) {
            out->stop = e.stop;
            out->usage = e.usage;
            return finish(out, &e, why);
        }
        ids_add(&out->ids, e.token);
    }
}

void answer_close(struct answer *a)
{
    buf_close(&a->text);
    ids_close(&a->ids);
}

const char *answer_stop_name(enum akv_stop stop)
{
    static const char *const name[] = {
        [AKV_STOP_END] = "end",         [AKV_STOP_TEXT] = "text", [AKV_STOP_LENGTH] = "length",
        [AKV_STOP_CONTEXT] = "context", [AKV_STOP_TIME] = "time", [AKV_STOP_CANCELED] = "canceled",
        [AKV_STOP_ERROR] = "error",
    };
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
