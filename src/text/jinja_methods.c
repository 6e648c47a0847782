/* Methods of lists, dicts, loops and cyclers, as Python and jinja2 have them. */
#include <string.h>

#include "text/jinja_exec.h"

/* ---- lists ---- */

static struct jvalue list_append(struct jrun *r, const struct jcall *c)
{
    jlist_push(r, c->self.list, c->arg[0]);
    return jnone();
}

static struct jvalue list_extend(struct jrun *r, const struct jcall *c)
{
    const struct jlist *more = jvalue_items(r, &c->arg[0]);
    for (uint32_t i = 0, n = more->n; i < n && jrun_step(r, 1); i++) // may be the list itself
        jlist_push(r, c->self.list, more->item[i]);
    return jnone();
}

/* A position from the end if negative, clipped to 0..n. */
static uint32_t clipped(int64_t at, uint32_t n)
{
    at = at < 0 ? at + n : at;
    return at < 0 ? 0 : at > n ? n : (uint32_t)at;
}

static struct jvalue list_insert(struct jrun *r, const struct jcall *c)
{
    jlist_insert(r, c->self.list, clipped(jarg_int(r, c, 0, 0), c->self.list->n), c->arg[1]);
    return jnone();
}

static struct jvalue list_pop(struct jrun *r, const struct jcall *c)
{
    int64_t at = jarg_int(r, c, 0, -1), n = c->self.list->n;
    at = at < 0 ? at + n : at;
    if (at < 0 || at >= n) {
        jrun_fail(r, "pop: the list has %lld items, there is none at this index", (long long)n);
        return jnothing();
    }
    return jlist_remove(r, c->self.list, (uint32_t)at);
}

static int64_t list_find(struct jrun *r, const struct jlist *l, const struct jvalue *v)
{
    for (uint32_t i = 0; i < l->n && jrun_step(r, 1); i++) {
        if (jvalue_equal(r, &l->item[i], v))
            return i;
    }
    jrun_fail(r, "the list does not hold this value");
    return 0;
}

static struct jvalue list_index(struct jrun *r, const struct jcall *c)
{
    return jint(list_find(r, c->self.list, &c->arg[0]));
}

static struct jvalue list_remove(struct jrun *r, const struct jcall *c)
{
    int64_t at = list_find(r, c->self.list, &c->arg[0]);
    if (jrun_ok(r))
        jlist_remove(r, c->self.list, (uint32_t)at);
    return jnone();
}

static struct jvalue list_count(struct jrun *r, const struct jcall *c)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < c->self.list->n && jrun_step(r, 1); i++)
        n += jvalue_equal(r, &c->self.list->item[i], &c->arg[0]);
    return jint(n);
}

static struct jvalue list_copy(struct jrun *r, const struct jcall *c)
{
    struct jvalue none = jnone(), all[3] = { none, none, none };
    return jop_slice(r, &c->self, all);
}

static struct jvalue list_clear(struct jrun *r, const struct jcall *c)
{
    (void)r;
    c->self.list->n = 0;
    return jnone();
}

static struct jvalue list_reverse(struct jrun *r, const struct jcall *c)
{
    struct jlist *l = c->self.list;
    (void)r;
    for (uint32_t i = 0; i < l->n / 2; i++) {
        struct jvalue swap = l->item[i];
        l->item[i] = l->item[l->n - 1 - i];
        l->item[l->n - 1 - i] = swap;
    }
    return jnone();
}

static struct jvalue list_sort(struct jrun *r, const struct jcall *c)
{
    struct jvalue keys = list_copy(r, c);
    if (jrun_ok(r))
        jlist_sort(r, c->self.list, keys.list->item, jarg_truth(c, 0, false));
    return jnone();
}

static const struct jbuiltin list_rows[] = {
    { "append", list_append, "object", 1 },
    { "clear", list_clear, "", 0 },
    { "copy", list_copy, "", 0 },
    { "count", list_count, "value", 1 },
    { "extend", list_extend, "iterable", 1 },
    { "index", list_index, "value", 1 },
    { "insert", list_insert, "index object", 2 },
    { "pop", list_pop, "index", 0 },
    { "remove", list_remove, "value", 1 },
    { "reverse", list_reverse, "", 0 },
    { "sort", list_sort, "reverse", 0 },
};

static const struct jbuiltin tuple_rows[] = {
    { "count", list_count, "value", 1 },
    { "index", list_index, "value", 1 },
};

/* ---- dicts ---- */

static struct jvalue dict_get(struct jrun *r, const struct jcall *c)
{
    const struct jvalue *v = jdict_find(r, c->self.dict, &c->arg[0]);
    return v ? *v : jarg_given(c, 1) ? c->arg[1] : jnone();
}

static struct jvalue view(struct jrun *r, const struct jcall *c, enum jdict_view what)
{
    struct jvalue v = jdict_list(r, c->self.dict, what);
    v.trusted = c->self.trusted;
    return v;
}

static struct jvalue dict_items(struct jrun *r, const struct jcall *c)
{
    return view(r, c, JDICT_ITEMS);
}

static struct jvalue dict_keys(struct jrun *r, const struct jcall *c)
{
    return view(r, c, JDICT_KEYS);
}

static struct jvalue dict_values(struct jrun *r, const struct jcall *c)
{
    return view(r, c, JDICT_VALUES);
}

static struct jvalue dict_pop(struct jrun *r, const struct jcall *c)
{
    const struct jvalue *found = jdict_find(r, c->self.dict, &c->arg[0]);
    if (!found && !jarg_given(c, 1))
        jrun_fail(r, "pop: the dict has no such key");
    if (!found)
        return c->arg[1];
    struct jvalue v = *found;
    jdict_remove(r, c->self.dict, &c->arg[0]);
    return v;
}

static struct jvalue dict_popitem(struct jrun *r, const struct jcall *c)
{
    struct jvalue pair = jlist_new(r, J_TUPLE);
    struct jdict *d = c->self.dict;
    if (d->n == 0) {
        jrun_fail(r, "popitem: the dict is empty");
        return pair;
    }
    d->n--;
    jlist_push(r, pair.list, d->pair[d->n].key);
    jlist_push(r, pair.list, d->pair[d->n].value);
    return pair;
}

static struct jvalue dict_setdefault(struct jrun *r, const struct jcall *c)
{
    const struct jvalue *found = jdict_find(r, c->self.dict, &c->arg[0]);
    if (found)
        return *found;
    struct jvalue v = jarg_given(c, 1) ? c->arg[1] : jnone();
    jdict_set(r, c->self.dict, c->arg[0], v);
    return v;
}

static struct jvalue dict_update(struct jrun *r, const struct jcall *c)
{
    jdict_update(r, c->self.dict, c->all);
    return jnone();
}

static struct jvalue dict_copy(struct jrun *r, const struct jcall *c)
{
    struct jvalue copy = jdict_new(r);
    struct jargs self = { .pos = &c->self, .n_pos = 1 };
    jdict_update(r, copy.dict, &self);
    copy.trusted = c->self.trusted;
    return copy;
}

static struct jvalue dict_clear(struct jrun *r, const struct jcall *c)
{
    (void)r;
    c->self.dict->n = 0;
    return jnone();
}

static const struct jbuiltin dict_rows[] = {
    { "clear", dict_clear, "", 0 },        { "copy", dict_copy, "", 0 },
    { "get", dict_get, "key default", 1 }, { "items", dict_items, "", 0 },
    { "keys", dict_keys, "", 0 },          { "pop", dict_pop, "key default", 1 },
    { "popitem", dict_popitem, "", 0 },    { "setdefault", dict_setdefault, "key default", 1 },
    { "update", dict_update, NULL, 0 },    { "values", dict_values, "", 0 },
};

/* ---- loops and cyclers ---- */

static struct jvalue loop_cycle(struct jrun *r, const struct jcall *c)
{
    if (c->all->n_pos > 0)
        return c->all->pos[c->self.loop->index % c->all->n_pos];
    jrun_fail(r, "loop.cycle needs values to cycle through");
    return jnothing();
}

static struct jvalue loop_changed(struct jrun *r, const struct jcall *c)
{
    struct jloop *l = c->self.loop;
    struct jvalue now = jlist_new(r, J_TUPLE);
    for (size_t i = 0; i < c->all->n_pos; i++)
        jlist_push(r, now.list, c->all->pos[i]);
    bool changed = l->seen.kind == J_ABSENT || !jvalue_equal(r, &l->seen, &now);
    l->seen = now;
    return jbool(changed);
}

static const struct jbuiltin loop_rows[] = {
    { "changed", loop_changed, NULL, 0 },
    { "cycle", loop_cycle, NULL, 0 },
};

static struct jvalue cycler_next(struct jrun *r, const struct jcall *c)
{
    struct jlist *l = c->self.list;
    struct jvalue v = l->item[l->taken];
    (void)r;
    l->taken = (l->taken + 1) % l->n;
    return v;
}

static struct jvalue cycler_reset(struct jrun *r, const struct jcall *c)
{
    (void)r;
    c->self.list->taken = 0;
    return jnone();
}

static const struct jbuiltin cycler_rows[] = {
    { "next", cycler_next, "", 0 },
    { "reset", cycler_reset, "", 0 },
};

const struct jbuiltin *jmethod_find(enum jkind kind, struct jtext name)
{
    static const struct jbuiltin_table of_list = JBUILTIN_TABLE(list_rows),
                                       of_tuple = JBUILTIN_TABLE(tuple_rows),
                                       of_dict = JBUILTIN_TABLE(dict_rows),
                                       of_loop = JBUILTIN_TABLE(loop_rows),
                                       of_cycler = JBUILTIN_TABLE(cycler_rows);
    static const struct jbuiltin_table *const tables[J_ABSENT] = {
        [J_TEXT] = &jmethods_of_text, [J_LIST] = &of_list, [J_TUPLE] = &of_tuple,
        [J_RANGE] = &of_tuple,        [J_DICT] = &of_dict, [J_LOOP] = &of_loop,
        [J_CYCLER] = &of_cycler,
    };
    return kind < J_ABSENT && tables[kind] ? jbuiltin_find(tables[kind], name) : NULL;
}
