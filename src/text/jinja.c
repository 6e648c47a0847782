#include "text/jinja.h"

#include <string.h>

#include "base/mem.h"
#include "text/jinja_chars.h"
#include "text/jinja_exec.h"

enum status jinja_new(struct jinja **out, const char *source, size_t len, struct note *why)
{
    struct jinja *t = mem_new(1, sizeof *t);
    if (!t) {
        note_set(why, "no memory to compile the template");
        return FULL;
    }
    enum status st = jparse(t, source, len, why);
    if (st != OK) {
        jinja_free(t);
        return st;
    }
    *out = t;
    return OK;
}

void jinja_free(struct jinja *t)
{
    if (!t)
        return;
    arena_close(&t->arena);
    mem_free(t);
}

void jinja_output_close(struct jinja_output *o)
{
    buf_close(&o->text);
    mem_free(o->span);
    *o = (struct jinja_output){ 0 };
}

/* Where the run of equal marks that begins at `from` ends. */
static uint32_t run_end(struct jtext t, uint32_t from)
{
    if (!t.mark)
        return t.len;
    const uint8_t *end = memchr(t.mark + from, !t.mark[from], t.len - from);
    return end ? (uint32_t)(end - t.mark) : t.len;
}

static enum status give(struct jtext t, struct jinja_output *out)
{
    size_t n = 0;
    for (uint32_t at = 0; at < t.len; at = run_end(t, at))
        n++;
    buf_add(&out->text, t.bytes, t.len);
    out->span = mem_new(n, sizeof *out->span);
    if (out->text.failed || !out->span)
        return FULL;
    for (uint32_t at = 0; at < t.len; at = run_end(t, at))
        out->span[out->n_span++] = (struct vocab_span){ .bytes = out->text.bytes + at,
                                                        .len = run_end(t, at) - at,
                                                        .trusted = jtext_trusted_at(t, at) };
    return OK;
}

enum status jinja_render(const struct jinja *t, const json_t *vars,
                         const char *const *trusted_names, long long now, struct jinja_output *out,
                         struct note *why)
{
    struct jbuild text;
    struct jrun run = { .program = t,
                        .vars = vars,
                        .trusted_names = trusted_names,
                        .now = now,
                        .why = why,
                        .out = &text };
    arena_open(&run.arena, JRUN_MEMORY_MAX);
    jbuild_open(&text, &run);
    run.scope = jscope_new(&run, NULL);
    if (run.scope)
        jexec(&run, t->body);
    struct jinja_output made = { 0 };
    if (run.st == OK) {
        run.st = give(jbuild_text(&text), &made);
        if (run.st != OK)
            note_set(why, "no memory for the rendered text");
    }
    jchars_free(run.chars);
    arena_close(&run.arena);
    if (run.st == OK)
        *out = made;
    else
        jinja_output_close(&made);
    return run.st;
}
