#include "text/jinja_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- failing, memory, bounds ---- */

void jrun_fail(struct jrun *r, const char *format, ...)
{
    if (r->st != OK)
        return;
    va_list ap;
    va_start(ap, format);
    note_set_v(r->why, format, ap);
    va_end(ap);
    note_prefix(r->why, "template line %u", r->line);
    r->st = BAD_INPUT;
}

void jrun_fail_undefined(struct jrun *r, const struct jvalue *v, const char *cannot)
{
    jrun_fail(r, "'%.*s' is undefined, it %s", (int)v->text.len, v->text.bytes, cannot);
}

bool jrun_ok(const struct jrun *r)
{
    return r->st == OK;
}

void *jrun_new(struct jrun *r, size_t n, size_t size)
{
    if (r->st != OK)
        return NULL;
    size_t bytes;
    bool too_much = __builtin_mul_overflow(n, size, &bytes) || bytes > JRUN_MEMORY_MAX ||
                    r->arena.bytes_held + bytes > JRUN_MEMORY_MAX;
    void *p = arena_new(&r->arena, n, size);
    if (p)
        return p;
    if (too_much) {
        jrun_fail(r, "the values take more than %d bytes, the bound of memory", JRUN_MEMORY_MAX);
    } else {
        note_set(r->why, "no memory to render the template");
        r->st = FULL;
    }
    return NULL;
}

bool jrun_step(struct jrun *r, uint64_t n)
{
    r->steps += n;
    if (r->steps > JRUN_STEPS_MAX)
        jrun_fail(r, "the template takes more than %d steps, the bound of work", JRUN_STEPS_MAX);
    return r->st == OK;
}

void jrun_charge(struct jrun *r, uint64_t bytes)
{
    jrun_step(r, bytes / 64);
}

bool jrun_enter(struct jrun *r)
{
    if (r->depth == JRUN_DEPTH_MAX)
        jrun_fail(r, "nested deeper than %d, the bound of recursion", JRUN_DEPTH_MAX);
    if (!jrun_step(r, 1))
        return false;
    r->depth++;
    return true;
}

void jrun_leave(struct jrun *r)
{
    r->depth--;
}

/* ---- binding arguments ---- */

const struct jbuiltin *jbuiltin_find(const struct jbuiltin_table *table, struct jtext name)
{
    for (size_t i = 0; i < table->n; i++) {
        if (jtext_is(name, table->row[i].name))
            return &table->row[i];
    }
    return NULL;
}

/* The parameter that starts at *at of "a b c"; *at moves behind it. */
static struct jtext next_param(const char *params, size_t *at)
{
    size_t from = *at, to = from + strcspn(params + from, " ");
    *at = to + (params[to] == ' ');
    return (struct jtext){ .bytes = params + from, .len = (uint32_t)(to - from) };
}

static size_t n_param(const char *params)
{
    size_t n = 0, at = 0;
    while (params[at]) {
        next_param(params, &at);
        n++;
    }
    return n;
}

/* Which parameter has this name, or n when none has. */
static size_t param_index(const char *params, struct jtext name, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (jtext_equal(next_param(params, &at), name))
            return i;
    }
    return n;
}

static bool bind(struct jrun *r, const struct jbuiltin *row, const struct jargs *args,
                 struct jcall *c)
{
    size_t n = n_param(row->params);
    for (size_t i = 0; i < JCALL_PARAMS_MAX; i++)
        c->arg[i] = (struct jvalue){ .kind = J_ABSENT };
    if (args->n_pos > n) {
        jrun_fail(r, "%s takes at most %zu arguments, here are %zu", row->name, n, args->n_pos);
        return false;
    }
    for (size_t i = 0; i < args->n_pos; i++)
        c->arg[i] = args->pos[i];
    for (size_t i = 0; i < args->n_named; i++) {
        struct jtext name = args->named[i].name;
        size_t k = param_index(row->params, name, n);
        if (k == n || c->arg[k].kind != J_ABSENT) {
            jrun_fail(r, "%s: argument '%.*s' %s", row->name, (int)name.len, name.bytes,
                      k == n ? "is unknown" : "is given twice");
            return false;
        }
        c->arg[k] = args->named[i].value;
    }
    for (size_t i = 0; i < row->n_required; i++) {
        if (c->arg[i].kind == J_ABSENT) {
            jrun_fail(r, "%s needs at least %u arguments: %s", row->name, row->n_required,
                      row->params);
            return false;
        }
    }
    return true;
}

struct jvalue jbuiltin_call(struct jrun *r, const struct jbuiltin *row, const struct jvalue *self,
                            const struct jargs *args)
{
    struct jvalue result = jnothing();
    struct jcall c = { .self = *self, .all = args };
    if (!jrun_enter(r))
        return result;
    if (self->kind == J_TEXT)
        jrun_charge(r, self->text.len);
    if (jrun_ok(r) && (!row->params || bind(r, row, args, &c)))
        result = row->call(r, &c);
    jrun_leave(r);
    return jrun_ok(r) ? result : jnothing();
}

struct jvalue jfunction(struct jrun *r, const struct jbuiltin *row, const struct jvalue *self)
{
    struct jbound *bound = jrun_new(r, 1, sizeof *bound);
    if (!bound)
        return jnothing();
    *bound = (struct jbound){ .row = row, .self = *self };
    return (struct jvalue){ .kind = J_FUNCTION, .trusted = true, .bound = bound };
}

/* ---- arguments by kind ---- */

bool jarg_given(const struct jcall *c, int i)
{
    return c->arg[i].kind != J_ABSENT;
}

int64_t jarg_int(struct jrun *r, const struct jcall *c, int i, int64_t otherwise)
{
    const struct jvalue *v = &c->arg[i];
    if (v->kind == J_ABSENT)
        return otherwise;
    if (jvalue_is_whole(v))
        return jvalue_whole(v);
    jrun_fail(r, "argument %d must be an integer, it is a %s", i + 1, jvalue_type(v));
    return otherwise;
}

bool jarg_truth(const struct jcall *c, int i, bool otherwise)
{
    return jarg_given(c, i) ? jvalue_truth(&c->arg[i]) : otherwise;
}

struct jtext jarg_text(struct jrun *r, const struct jcall *c, int i, struct jtext otherwise)
{
    const struct jvalue *v = &c->arg[i];
    if (v->kind == J_TEXT)
        return v->text;
    if (v->kind != J_ABSENT)
        jrun_fail(r, "argument %d must be a string, it is a %s", i + 1, jvalue_type(v));
    return otherwise;
}
