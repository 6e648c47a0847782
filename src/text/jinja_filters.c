/* Filters of lists and dicts. What they answer is what jinja2's filters.py answers; filters that
 * give generators there are evaluated at once here, but can be walked only once all the same. */
#include <string.h>

#include "text/jinja_ops.h"

static struct jvalue lower_if_text(struct jrun *r, struct jvalue v, bool exact)
{
    return v.kind == J_TEXT && !exact ? jtextv(jtext_cased(r, v.text, JTEXT_LOWER)) : v;
}

/* The attribute of an item that argument i names; the item itself when there is no such
 * argument. */
static struct jvalue attribute(struct jrun *r, const struct jcall *c, int i,
                               const struct jvalue *item)
{
    return jarg_given(c, i) && c->arg[i].kind != J_NONE ? jop_path(r, item, &c->arg[i], NULL)
                                                        : *item;
}

static struct jvalue list_copy(struct jrun *r, const struct jvalue *v)
{
    const struct jlist *items = jvalue_items(r, v);
    struct jvalue copy = jlist_new(r, J_LIST);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++)
        jlist_push(r, copy.list, items->item[i]);
    return copy;
}

/* ---- single values ---- */

static struct jvalue filter_default(struct jrun *r, const struct jcall *c)
{
    (void)r;
    bool missing =
        c->self.kind == J_UNDEFINED || (jarg_truth(c, 1, false) && !jvalue_truth(&c->self));
    if (!missing)
        return c->self;
    return jarg_given(c, 0) ? c->arg[0] : jtextv(JTEXT(""));
}

static struct jvalue filter_attr(struct jrun *r, const struct jcall *c)
{
    struct jtext name = jarg_text(r, c, 0, JTEXT(""));
    if (c->self.kind == J_DICT) {
        const struct jbuiltin *method = jmethod_find(J_DICT, name);
        return method ? jfunction(r, method, &c->self) : jundefined(JTEXT("an attribute"));
    }
    return jop_attr(r, &c->self, name);
}

/* ---- JSON ---- */

static void read_separators(struct jrun *r, const struct jvalue *v, struct jjson_style *style)
{
    if (v->kind == J_ABSENT || v->kind == J_NONE)
        return;
    bool pair = (v->kind == J_TUPLE || v->kind == J_LIST) && v->list->n == 2 &&
                v->list->item[0].kind == J_TEXT && v->list->item[1].kind == J_TEXT;
    if (!pair) {
        jrun_fail(r, "tojson: separators are two strings, between items and after keys");
        return;
    }
    style->comma = v->list->item[0].text;
    style->colon = v->list->item[1].text;
}

static void read_indent(struct jrun *r, const struct jvalue *v, struct jjson_style *style)
{
    if (v->kind == J_ABSENT || v->kind == J_NONE)
        return;
    style->pretty = true;
    style->comma = JTEXT(",");
    if (v->kind == J_TEXT)
        style->indent = v->text;
    else if (jvalue_is_whole(v))
        style->indent = jtext_repeat(r, JTEXT(" "), jvalue_whole(v));
    else
        jrun_fail(r, "tojson: indent is an integer or a string, not a %s", jvalue_type(v));
}

/* As transformers defines it: json.dumps without ASCII escapes, keys in the order given. */
static struct jvalue filter_tojson(struct jrun *r, const struct jcall *c)
{
    struct jjson_style style = { .comma = JTEXT(", "), .colon = JTEXT(": "), .indent = JTEXT("") };
    style.ascii_only = jarg_truth(c, 0, false);
    style.sort_keys = jarg_truth(c, 3, false);
    read_indent(r, &c->arg[1], &style);
    read_separators(r, &c->arg[2], &style);
    return jtextv(jshow_json(r, &c->self, &style));
}

/* ---- lists ---- */

static struct jvalue filter_length(struct jrun *r, const struct jcall *c)
{
    return jint(jvalue_length(r, &c->self));
}

static struct jvalue filter_list(struct jrun *r, const struct jcall *c)
{
    return list_copy(r, &c->self);
}

static struct jvalue filter_items(struct jrun *r, const struct jcall *c)
{
    if (c->self.kind == J_UNDEFINED)
        return jlist_new(r, J_GENERATOR);
    if (c->self.kind != J_DICT) {
        jrun_fail(r, "items: a %s is no dict", jvalue_type(&c->self));
        return jnothing();
    }
    struct jvalue items = jdict_list(r, c->self.dict, JDICT_ITEMS);
    items.kind = J_GENERATOR;
    return items;
}

static struct jvalue filter_first(struct jrun *r, const struct jcall *c)
{
    if (c->self.kind == J_GENERATOR) { // takes one, leaves the rest
        struct jlist *l = c->self.list;
        return l->taken < l->n ? l->item[l->taken++] : jundefined(JTEXT("first of nothing"));
    }
    const struct jlist *items = jvalue_items(r, &c->self);
    return items->n > 0 ? items->item[0] : jundefined(JTEXT("first of nothing"));
}

static struct jvalue filter_last(struct jrun *r, const struct jcall *c)
{
    struct jvalue end = jint(-1);
    if (c->self.kind == J_GENERATOR)
        jrun_fail(r, "last: a generator has no end to begin from; make a list of it");
    if (c->self.kind == J_TEXT)
        return jop_item(r, &c->self, &end);
    const struct jlist *items = jvalue_items(r, &c->self);
    return items->n > 0 ? items->item[items->n - 1] : jundefined(JTEXT("last of nothing"));
}

static struct jvalue filter_reverse(struct jrun *r, const struct jcall *c)
{
    struct jvalue step = jint(-1), bound[3] = { jnone(), jnone(), step };
    if (c->self.kind == J_TEXT)
        return jop_slice(r, &c->self, bound);
    struct jvalue out = list_copy(r, &c->self);
    for (uint32_t i = 0, n = out.list->n; i < n / 2; i++) {
        struct jvalue swap = out.list->item[i];
        out.list->item[i] = out.list->item[n - 1 - i];
        out.list->item[n - 1 - i] = swap;
    }
    out.kind = c->self.kind == J_GENERATOR ? J_LIST : J_GENERATOR;
    return out;
}

static struct jvalue filter_join(struct jrun *r, const struct jcall *c)
{
    struct jtext between = jarg_given(c, 0) ? jshow_text(r, &c->arg[0]) : JTEXT("");
    const struct jlist *items = jvalue_items(r, &c->self);
    struct jbuild out;
    jbuild_open(&out, r);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        struct jvalue v = attribute(r, c, 1, &items->item[i]);
        if (i > 0)
            jbuild_add(&out, between);
        jbuild_add(&out, jshow_text(r, &v));
    }
    return jtextv(jbuild_text(&out));
}

static struct jvalue filter_sum(struct jrun *r, const struct jcall *c)
{
    const struct jlist *items = jvalue_items(r, &c->self);
    struct jvalue sum = jarg_given(c, 1) ? c->arg[1] : jint(0);
    if (sum.kind == J_TEXT)
        jrun_fail(r, "sum: strings are joined, not summed");
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        struct jvalue v = attribute(r, c, 0, &items->item[i]);
        sum = jop_binary(r, JOP_ADD, &sum, &v);
    }
    return sum;
}

static struct jvalue extreme(struct jrun *r, const struct jcall *c, int sign)
{
    const struct jlist *items = jvalue_items(r, &c->self);
    struct jvalue best = jundefined(JTEXT("the extreme of nothing")), best_key = best;
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        struct jvalue key =
            lower_if_text(r, attribute(r, c, 1, &items->item[i]), jarg_truth(c, 0, false));
        if (i > 0 && jvalue_compare(r, &key, &best_key) * sign <= 0)
            continue;
        best = items->item[i];
        best_key = key;
    }
    return best;
}

static struct jvalue filter_min(struct jrun *r, const struct jcall *c)
{
    return extreme(r, c, -1);
}

static struct jvalue filter_max(struct jrun *r, const struct jcall *c)
{
    return extreme(r, c, 1);
}

/* ---- order and groups ---- */

/* The key of an item by "a.b,c": a list of what each path gives. Without paths a list of the item,
 * because lists can be compared when their items are equal, even if those have no order. */
static struct jvalue sort_key(struct jrun *r, const struct jcall *c, const struct jvalue *item,
                              bool exact)
{
    const struct jvalue *path = &c->arg[2];
    struct jvalue key = jlist_new(r, J_LIST);
    if (path->kind != J_TEXT) {
        jlist_push(r, key.list, lower_if_text(r, attribute(r, c, 2, item), exact));
        return key;
    }
    for (size_t from = 0; from <= path->text.len && jrun_step(r, 1);) {
        ptrdiff_t comma = jtext_find(path->text, JTEXT(","), from);
        size_t to = comma < 0 ? path->text.len : (size_t)comma;
        struct jvalue one = jtextv(jtext_slice(path->text, from, to));
        jlist_push(r, key.list, lower_if_text(r, jop_path(r, item, &one, NULL), exact));
        from = to + 1;
    }
    return key;
}

static struct jvalue filter_sort(struct jrun *r, const struct jcall *c)
{
    struct jvalue out = list_copy(r, &c->self), keys = jlist_new(r, J_LIST);
    for (uint32_t i = 0; i < out.list->n && jrun_step(r, 1); i++)
        jlist_push(r, keys.list, sort_key(r, c, &out.list->item[i], jarg_truth(c, 1, false)));
    if (jrun_ok(r))
        jlist_sort(r, out.list, keys.list->item, jarg_truth(c, 0, false));
    return out;
}

static struct jvalue filter_dictsort(struct jrun *r, const struct jcall *c)
{
    struct jtext by = jarg_text(r, c, 1, JTEXT("key"));
    if (c->self.kind != J_DICT) {
        jrun_fail(r, "dictsort: a %s is no dict", jvalue_type(&c->self));
        return jnothing();
    }
    if (!jtext_is(by, "key") && !jtext_is(by, "value"))
        jrun_fail(r, "dictsort: sorts by key or value, not by '%.*s'", (int)by.len, by.bytes);
    struct jvalue out = jdict_list(r, c->self.dict, JDICT_ITEMS), keys = jlist_new(r, J_LIST);
    for (uint32_t i = 0; i < out.list->n && jrun_step(r, 1); i++) {
        struct jvalue key = out.list->item[i].list->item[jtext_is(by, "value")];
        jlist_push(r, keys.list, lower_if_text(r, key, jarg_truth(c, 0, false)));
    }
    if (jrun_ok(r))
        jlist_sort(r, out.list, keys.list->item, jarg_truth(c, 2, false));
    out.kind = J_LIST;
    return out;
}

static struct jvalue filter_unique(struct jrun *r, const struct jcall *c)
{
    const struct jlist *items = jvalue_items(r, &c->self);
    struct jvalue out = jlist_new(r, J_GENERATOR), seen = jdict_new(r);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        struct jvalue key =
            lower_if_text(r, attribute(r, c, 1, &items->item[i]), jarg_truth(c, 0, false));
        uint32_t before = seen.dict->n;
        jdict_set(r, seen.dict, key, jnone());
        if (seen.dict->n > before)
            jlist_push(r, out.list, items->item[i]);
    }
    return out;
}

/* A (grouper, list) tuple with room for what belongs to it. */
static struct jvalue group_new(struct jrun *r, struct jvalue grouper)
{
    struct jvalue group = jlist_new(r, J_TUPLE);
    jlist_push(r, group.list, grouper);
    jlist_push(r, group.list, jlist_new(r, J_LIST));
    if (jrun_ok(r))
        group.list->word = "group";
    return group;
}

static struct jvalue grouper_of(struct jrun *r, const struct jcall *c, const struct jvalue *item)
{
    return jop_path(r, item, &c->arg[0], jarg_given(c, 1) ? &c->arg[1] : NULL);
}

static struct jvalue filter_groupby(struct jrun *r, const struct jcall *c)
{
    struct jvalue items = list_copy(r, &c->self), keys = jlist_new(r, J_LIST),
                  out = jlist_new(r, J_LIST);
    bool exact = jarg_truth(c, 2, false);
    for (uint32_t i = 0; i < items.list->n && jrun_step(r, 1); i++)
        jlist_push(r, keys.list, lower_if_text(r, grouper_of(r, c, &items.list->item[i]), exact));
    if (!jrun_ok(r))
        return out;
    jlist_sort(r, items.list, keys.list->item, false);
    for (uint32_t i = 0; i < items.list->n && jrun_step(r, 1); i++) {
        const struct jvalue *item = &items.list->item[i], *key = keys.list->item;
        if (i == 0 || !jvalue_equal(r, &key[i - 1], &key[i]))
            jlist_push(r, out.list, group_new(r, grouper_of(r, c, item)));
        if (jrun_ok(r))
            jlist_push(r, out.list->item[out.list->n - 1].list->item[1].list, *item);
    }
    return out;
}

static struct jvalue filter_batch(struct jrun *r, const struct jcall *c)
{
    const struct jlist *items = jvalue_items(r, &c->self);
    int64_t size = jarg_int(r, c, 0, 1);
    struct jvalue out = jlist_new(r, J_GENERATOR), row = jlist_new(r, J_LIST);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        if (row.list->n == size) {
            jlist_push(r, out.list, row);
            row = jlist_new(r, J_LIST);
        }
        jlist_push(r, row.list, items->item[i]);
    }
    if (row.list->n == 0)
        return out;
    if (jarg_given(c, 1) && c->arg[1].kind != J_NONE) {
        while (row.list->n < size && jrun_step(r, 1))
            jlist_push(r, row.list, c->arg[1]);
    }
    jlist_push(r, out.list, row);
    return out;
}

static struct jvalue filter_slice(struct jrun *r, const struct jcall *c)
{
    const struct jlist *items = jvalue_items(r, &c->self);
    int64_t n_slice = jarg_int(r, c, 0, 1);
    struct jvalue out = jlist_new(r, J_GENERATOR);
    if (n_slice == 0)
        jrun_fail(r, "slice: into 0 slices");
    uint32_t at = 0;
    for (int64_t k = 0; k < n_slice && jrun_step(r, 1); k++) {
        struct jvalue row = jlist_new(r, J_LIST);
        bool longer = k < items->n % n_slice;
        for (int64_t i = 0; i < items->n / n_slice + longer && jrun_step(r, 1); i++)
            jlist_push(r, row.list, items->item[at++]);
        if (!longer && jarg_given(c, 1) && c->arg[1].kind != J_NONE)
            jlist_push(r, row.list, c->arg[1]);
        jlist_push(r, out.list, row);
    }
    return out;
}

/* ---- filters that apply filters and tests ---- */

static const struct jvalue *named_arg(const struct jargs *a, const char *name)
{
    for (size_t i = 0; i < a->n_named; i++) {
        if (jtext_is(a->named[i].name, name))
            return &a->named[i].value;
    }
    return NULL;
}

/* The arguments behind the first `skip`. */
static struct jargs args_rest(const struct jargs *a, size_t skip)
{
    struct jargs rest = *a;
    skip = skip < a->n_pos ? skip : a->n_pos;
    rest.pos = a->pos ? a->pos + skip : NULL;
    rest.n_pos -= skip;
    return rest;
}

/* The row that argument i names in the table of filters or tests. */
static const struct jbuiltin *named_row(struct jrun *r, const struct jargs *a, size_t i,
                                        bool filter)
{
    struct jtext name = a->pos[i].kind == J_TEXT ? a->pos[i].text : JTEXT("");
    const struct jbuiltin *row = filter ? jfilter_find(name) : jtest_find(name);
    if (!row)
        jrun_fail(r, "there is no %s named '%.*s'", filter ? "filter" : "test", (int)name.len,
                  name.bytes);
    return row;
}

static struct jvalue map_attribute(struct jrun *r, const struct jcall *c, const struct jvalue *path)
{
    const struct jvalue *otherwise = named_arg(c->all, "default");
    const struct jlist *items = jvalue_items(r, &c->self);
    struct jvalue out = jlist_new(r, J_GENERATOR);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        jlist_push(r, out.list, jop_path(r, &items->item[i], path, otherwise));
    }
    return out;
}

static struct jvalue filter_map(struct jrun *r, const struct jcall *c)
{
    struct jvalue out = jlist_new(r, J_GENERATOR);
    const struct jvalue *path = named_arg(c->all, "attribute");
    if (!jvalue_truth(&c->self))
        return out;
    if (c->all->n_pos == 0 && path)
        return map_attribute(r, c, path);
    if (c->all->n_pos == 0) {
        jrun_fail(r, "map needs the name of a filter, or attribute=");
        return out;
    }
    const struct jbuiltin *row = named_row(r, c->all, 0, true);
    struct jargs rest = args_rest(c->all, 1);
    const struct jlist *items = jvalue_items(r, &c->self);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++)
        jlist_push(r, out.list, jbuiltin_call(r, row, &items->item[i], &rest));
    return out;
}

/* Keeps the items whose test answers `wanted`; by_attr: the test looks at an attribute, the first
 * argument. */
static struct jvalue choose(struct jrun *r, const struct jcall *c, bool wanted, bool by_attr)
{
    struct jvalue out = jlist_new(r, J_GENERATOR);
    if (!jvalue_truth(&c->self))
        return out;
    if (by_attr && c->all->n_pos == 0) {
        jrun_fail(r, "the name of the attribute is missing");
        return out;
    }
    const struct jbuiltin *row =
        c->all->n_pos > by_attr ? named_row(r, c->all, by_attr, false) : NULL;
    struct jargs rest = args_rest(c->all, (size_t)by_attr + 1);
    const struct jlist *items = jvalue_items(r, &c->self);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        struct jvalue v =
            by_attr ? jop_path(r, &items->item[i], &c->all->pos[0], NULL) : items->item[i];
        if (row)
            v = jbuiltin_call(r, row, &v, &rest);
        if (jvalue_truth(&v) == wanted)
            jlist_push(r, out.list, items->item[i]);
    }
    return out;
}

static struct jvalue filter_select(struct jrun *r, const struct jcall *c)
{
    return choose(r, c, true, false);
}

static struct jvalue filter_reject(struct jrun *r, const struct jcall *c)
{
    return choose(r, c, false, false);
}

static struct jvalue filter_selectattr(struct jrun *r, const struct jcall *c)
{
    return choose(r, c, true, true);
}

static struct jvalue filter_rejectattr(struct jrun *r, const struct jcall *c)
{
    return choose(r, c, false, true);
}

static const struct jbuiltin rows[] = {
    { "attr", filter_attr, "name", 1 },
    { "batch", filter_batch, "linecount fill_with", 1 },
    { "count", filter_length, "", 0 },
    { "d", filter_default, "default_value boolean", 0 },
    { "default", filter_default, "default_value boolean", 0 },
    { "dictsort", filter_dictsort, "case_sensitive by reverse", 0 },
    { "first", filter_first, "", 0 },
    { "groupby", filter_groupby, "attribute default case_sensitive", 1 },
    { "items", filter_items, "", 0 },
    { "join", filter_join, "d attribute", 0 },
    { "last", filter_last, "", 0 },
    { "length", filter_length, "", 0 },
    { "list", filter_list, "", 0 },
    { "map", filter_map, NULL, 0 },
    { "max", filter_max, "case_sensitive attribute", 0 },
    { "min", filter_min, "case_sensitive attribute", 0 },
    { "reject", filter_reject, NULL, 0 },
    { "rejectattr", filter_rejectattr, NULL, 0 },
    { "reverse", filter_reverse, "", 0 },
    { "select", filter_select, NULL, 0 },
    { "selectattr", filter_selectattr, NULL, 0 },
    { "slice", filter_slice, "slices fill_with", 1 },
    { "sort", filter_sort, "reverse case_sensitive attribute", 0 },
    { "sum", filter_sum, "attribute start", 0 },
    { "tojson", filter_tojson, "ensure_ascii indent separators sort_keys", 0 },
    { "unique", filter_unique, "case_sensitive attribute", 0 },
};

const struct jbuiltin_table jfilters_of_values = JBUILTIN_TABLE(rows);

const struct jbuiltin *jfilter_find(struct jtext name)
{
    static const struct jbuiltin_table *const tables[] = { &jfilters_of_values, &jfilters_of_text,
                                                           &jfilters_of_numbers };
    const struct jbuiltin *row = NULL;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && !row; i++)
        row = jbuiltin_find(tables[i], name);
    return row;
}
