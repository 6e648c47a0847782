/* Functions that every template can call: those of jinja2, and what chat templates expect
 * besides. */
#include <string.h>

#include "text/jinja_exec.h"

static struct jvalue global_range(struct jrun *r, const struct jcall *c)
{
    int64_t first = jarg_int(r, c, 0, 0), end = jarg_int(r, c, 1, 0), step = jarg_int(r, c, 2, 1);
    struct jvalue out = jlist_new(r, J_RANGE);
    if (!jarg_given(c, 1)) {
        end = first;
        first = 0;
    }
    if (step == 0)
        jrun_fail(r, "range: the step is 0");
    out.list->word = jshow_range(r, first, end, step);
    for (int64_t i = first; (step > 0 ? i < end : i > end) && jrun_step(r, 1);) {
        if (out.list->n == JRUN_RANGE_MAX)
            jrun_fail(r, "range: more than %d numbers, the bound of ranges", JRUN_RANGE_MAX);
        jlist_push(r, out.list, jint(i));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return out;
}

static void update_from_pairs(struct jrun *r, struct jdict *d, const struct jvalue *v)
{
    const struct jlist *items = jvalue_items(r, v);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        const struct jlist *pair = jvalue_items(r, &items->item[i]);
        if (pair->n != 2)
            jrun_fail(r, "a dict is made of pairs, here is an item of %u", pair->n);
        else
            jdict_set(r, d, pair->item[0], pair->item[1]);
    }
}

void jdict_update(struct jrun *r, struct jdict *d, const struct jargs *args)
{
    if (args->n_pos > 1)
        jrun_fail(r, "a dict is made of one mapping at most, here are %zu", args->n_pos);
    if (args->n_pos == 1 && (args->pos[0].kind == J_DICT || args->pos[0].kind == J_NAMESPACE)) {
        const struct jdict *from = args->pos[0].dict;
        for (uint32_t i = 0; i < from->n && jrun_step(r, 1); i++)
            jdict_set(r, d, from->pair[i].key, from->pair[i].value);
    } else if (args->n_pos == 1) {
        update_from_pairs(r, d, &args->pos[0]);
    }
    for (size_t i = 0; i < args->n_named && jrun_step(r, 1); i++)
        jdict_set(r, d, jtextv(args->named[i].name), args->named[i].value);
}

static struct jvalue global_dict(struct jrun *r, const struct jcall *c)
{
    struct jvalue d = jdict_new(r);
    jdict_update(r, d.dict, c->all);
    return d;
}

static struct jvalue global_namespace(struct jrun *r, const struct jcall *c)
{
    struct jvalue ns = global_dict(r, c);
    ns.kind = J_NAMESPACE;
    return ns;
}

static struct jvalue global_cycler(struct jrun *r, const struct jcall *c)
{
    struct jvalue cycler = jlist_new(r, J_CYCLER);
    if (c->all->n_pos == 0)
        jrun_fail(r, "cycler needs values to cycle through");
    for (size_t i = 0; i < c->all->n_pos; i++)
        jlist_push(r, cycler.list, c->all->pos[i]);
    return jrun_ok(r) ? cycler : jnothing();
}

/* Nothing the first time, the separator from then on. */
static struct jvalue joiner_next(struct jrun *r, const struct jcall *c)
{
    struct jlist *l = c->self.list;
    (void)r;
    struct jvalue v = l->taken ? l->item[0] : jtextv(JTEXT(""));
    l->taken = 1;
    return v;
}

static struct jvalue global_joiner(struct jrun *r, const struct jcall *c)
{
    static const struct jbuiltin row = { "joiner", joiner_next, "", 0 };
    struct jvalue state = jlist_new(r, J_LIST);
    jlist_push(r, state.list, jarg_given(c, 0) ? c->arg[0] : jtextv(JTEXT(", ")));
    return jfunction(r, &row, &state);
}

static struct jvalue global_raise_exception(struct jrun *r, const struct jcall *c)
{
    struct jtext words = jshow_text(r, &c->arg[0]);
    jrun_fail(r, "%.*s", (int)words.len, words.bytes);
    return jnothing();
}

static struct jvalue global_strftime_now(struct jrun *r, const struct jcall *c)
{
    return jtextv(jformat_time(r, jarg_text(r, c, 0, JTEXT("")), r->now));
}

static const struct jbuiltin rows[] = {
    { "cycler", global_cycler, NULL, 0 },
    { "dict", global_dict, NULL, 0 },
    { "joiner", global_joiner, "sep", 0 },
    { "namespace", global_namespace, NULL, 0 },
    { "raise_exception", global_raise_exception, "message", 1 },
    { "range", global_range, "start stop step", 1 },
    { "strftime_now", global_strftime_now, "format", 1 },
};

const struct jbuiltin *jglobal_find(struct jtext name)
{
    static const struct jbuiltin_table globals = JBUILTIN_TABLE(rows);
    return jbuiltin_find(&globals, name);
}
