#include "text/jinja_value.h"

#include <math.h>
#include <string.h>

#include "text/jinja_run.h"

struct jvalue jundefined(struct jtext name)
{
    return (struct jvalue){ .kind = J_UNDEFINED, .trusted = true, .text = name };
}

struct jvalue jnothing(void)
{
    return jundefined(JTEXT("a value"));
}

struct jvalue jnone(void)
{
    return (struct jvalue){ .kind = J_NONE, .trusted = true };
}

struct jvalue jbool(bool b)
{
    return (struct jvalue){ .kind = J_BOOL, .trusted = true, .truth = b };
}

struct jvalue jint(int64_t i)
{
    return (struct jvalue){ .kind = J_INT, .trusted = true, .whole = i };
}

struct jvalue jfloat(double d)
{
    return (struct jvalue){ .kind = J_FLOAT, .trusted = true, .real = d };
}

struct jvalue jtextv(struct jtext t)
{
    return (struct jvalue){ .kind = J_TEXT, .trusted = true, .text = t };
}

struct jvalue jword(const char *zero_terminated)
{
    return jtextv(jtext_of(zero_terminated));
}

bool jvalue_is_list(const struct jvalue *v)
{
    return v->kind >= J_LIST && v->kind <= J_GENERATOR;
}

bool jvalue_is_number(const struct jvalue *v)
{
    return v->kind == J_BOOL || v->kind == J_INT || v->kind == J_FLOAT;
}

bool jvalue_is_whole(const struct jvalue *v)
{
    return v->kind == J_BOOL || v->kind == J_INT;
}

int64_t jvalue_whole(const struct jvalue *v)
{
    return v->kind == J_INT ? v->whole : v->kind == J_BOOL && v->truth;
}

double jvalue_real(const struct jvalue *v)
{
    return v->kind == J_FLOAT ? v->real : (double)jvalue_whole(v);
}

const char *jvalue_type(const struct jvalue *v)
{
    static const char *const names[] = {
        [J_UNDEFINED] = "undefined", [J_NONE] = "NoneType",
        [J_BOOL] = "bool",           [J_INT] = "int",
        [J_FLOAT] = "float",         [J_TEXT] = "str",
        [J_LIST] = "list",           [J_TUPLE] = "tuple",
        [J_RANGE] = "range",         [J_VIEW] = "view of a dict",
        [J_GENERATOR] = "generator", [J_DICT] = "dict",
        [J_NAMESPACE] = "namespace", [J_LOOP] = "loop",
        [J_MACRO] = "macro",         [J_FUNCTION] = "function",
        [J_CYCLER] = "cycler",       [J_ABSENT] = "nothing",
    };
    return names[v->kind];
}

/* ---- lists ---- */

struct jvalue jlist_new(struct jrun *r, enum jkind kind)
{
    struct jlist *l = jrun_new(r, 1, sizeof *l);
    return (struct jvalue){ .kind = kind, .trusted = true, .list = l ? l : &r->spare_list };
}

/* Room for one more item. */
static bool list_grow(struct jrun *r, struct jlist *l)
{
    if (l->n < l->room)
        return true;
    uint32_t room = l->room ? l->room * 2 : 8;
    struct jvalue *item = jrun_new(r, room, sizeof *item);
    if (!item)
        return false;
    if (l->n > 0)
        memcpy(item, l->item, l->n * sizeof *item);
    l->item = item;
    l->room = room;
    return true;
}

void jlist_push(struct jrun *r, struct jlist *l, struct jvalue v)
{
    if (list_grow(r, l))
        l->item[l->n++] = v;
}

void jlist_insert(struct jrun *r, struct jlist *l, uint32_t at, struct jvalue v)
{
    if (!list_grow(r, l))
        return;
    jrun_charge(r, (l->n - at) * sizeof *l->item);
    memmove(l->item + at + 1, l->item + at, (l->n - at) * sizeof *l->item);
    l->item[at] = v;
    l->n++;
}

struct jvalue jlist_remove(struct jrun *r, struct jlist *l, uint32_t at)
{
    struct jvalue v = l->item[at];
    l->n--;
    jrun_charge(r, (l->n - at) * sizeof *l->item);
    memmove(l->item + at, l->item + at + 1, (l->n - at) * sizeof *l->item);
    return v;
}

/* ---- dicts ---- */

struct jvalue jdict_new(struct jrun *r)
{
    struct jdict *d = jrun_new(r, 1, sizeof *d);
    return (struct jvalue){ .kind = J_DICT, .trusted = true, .dict = d ? d : &r->spare_dict };
}

struct jvalue *jdict_find(struct jrun *r, const struct jdict *d, const struct jvalue *key)
{
    for (uint32_t i = 0; i < d->n && jrun_step(r, i & 1); i++) {
        if (jvalue_equal(r, &d->pair[i].key, key))
            return &d->pair[i].value;
    }
    return NULL;
}

struct jvalue *jdict_find_word(struct jrun *r, const struct jdict *d, struct jtext key)
{
    for (uint32_t i = 0; i < d->n && jrun_step(r, i & 1); i++) {
        if (d->pair[i].key.kind == J_TEXT && jtext_equal(d->pair[i].key.text, key))
            return &d->pair[i].value;
    }
    return NULL;
}

/* Appends a pair whose key is known to be new. */
static void dict_push(struct jrun *r, struct jdict *d, struct jvalue key, struct jvalue value)
{
    if (d->n == d->room) {
        uint32_t room = d->room ? d->room * 2 : 4;
        struct jpair *pair = jrun_new(r, room, sizeof *pair);
        if (!pair)
            return;
        if (d->n > 0)
            memcpy(pair, d->pair, d->n * sizeof *pair);
        d->pair = pair;
        d->room = room;
    }
    d->pair[d->n++] = (struct jpair){ .key = key, .value = value };
}

static bool can_be_key(struct jrun *r, const struct jvalue *v)
{
    if (v->kind != J_TUPLE)
        return v->kind < J_LIST;
    if (!jrun_enter(r))
        return false;
    bool can = true;
    for (uint32_t i = 0; can && i < v->list->n; i++)
        can = can_be_key(r, &v->list->item[i]);
    jrun_leave(r);
    return can;
}

void jdict_set(struct jrun *r, struct jdict *d, struct jvalue key, struct jvalue value)
{
    if (!can_be_key(r, &key)) {
        jrun_fail(r, "a %s cannot be the key of a dict", jvalue_type(&key));
        return;
    }
    struct jvalue *old = jdict_find(r, d, &key);
    if (old)
        *old = value;
    else if (jrun_ok(r))
        dict_push(r, d, key, value);
}

bool jdict_remove(struct jrun *r, struct jdict *d, const struct jvalue *key)
{
    struct jvalue *found = jdict_find(r, d, key);
    if (!found)
        return false;
    size_t at =
        (size_t)((struct jpair *)(void *)((char *)found - offsetof(struct jpair, value)) - d->pair);
    d->n--;
    memmove(d->pair + at, d->pair + at + 1, (d->n - at) * sizeof *d->pair);
    return true;
}

/* (key, value) as a tuple. */
static struct jvalue pair_tuple(struct jrun *r, const struct jpair *p)
{
    struct jvalue t = jlist_new(r, J_TUPLE);
    jlist_push(r, t.list, p->key);
    jlist_push(r, t.list, p->value);
    return t;
}

struct jvalue jdict_list(struct jrun *r, const struct jdict *d, enum jdict_view what)
{
    static const char *const word[] = { "dict_keys", "dict_values", "dict_items" };
    struct jvalue l = jlist_new(r, J_VIEW);
    l.list->word = word[what];
    for (uint32_t i = 0; i < d->n && jrun_step(r, 1); i++) {
        const struct jpair *p = &d->pair[i];
        jlist_push(r, l.list,
                   what == JDICT_KEYS     ? p->key
                   : what == JDICT_VALUES ? p->value
                                          : pair_tuple(r, p));
    }
    return l;
}

/* ---- from JSON ---- */

/* A role decides the shape of the prompt, so templates build control tokens of it ("<|" + role +
 * "|>"). The words of this closed list can do no harm, so they are trusted; any other role is the
 * caller's text. */
static bool is_role(const char *key, struct jtext word)
{
    static const char *const roles[] = {
        "system", "developer", "user", "assistant", "tool", "function", "ipython", "model",
    };
    if (strcmp(key, "role") != 0)
        return false;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (jtext_is(word, roles[i]))
            return true;
    }
    return false;
}

static struct jtext json_text(const char *bytes, size_t len, bool trusted)
{
    return (struct jtext){ .bytes = bytes, .len = (uint32_t)len, .trusted = trusted };
}

static struct jvalue list_of_json(struct jrun *r, const json_t *j, bool trusted)
{
    struct jvalue l = jlist_new(r, J_LIST);
    l.trusted = trusted;
    for (size_t i = 0; i < json_array_size(j) && jrun_step(r, 1); i++)
        jlist_push(r, l.list, jvalue_of_json(r, json_array_get(j, i), trusted));
    return l;
}

static struct jvalue dict_of_json(struct jrun *r, const json_t *j, bool trusted)
{
    struct jvalue d = jdict_new(r);
    d.trusted = trusted;
    void *it = json_object_iter((json_t *)j);
    for (; it && jrun_step(r, 1); it = json_object_iter_next((json_t *)j, it)) {
        const char *key = json_object_iter_key(it);
        struct jvalue v = jvalue_of_json(r, json_object_iter_value(it), trusted);
        if (v.kind == J_TEXT && is_role(key, v.text))
            v.text.trusted = true;
        dict_push(r, d.dict, jtextv(json_text(key, json_object_iter_key_len(it), trusted)), v);
    }
    return d;
}

static struct jvalue simple_of_json(struct jrun *r, const json_t *j, bool trusted)
{
    switch (json_typeof(j)) {
    case JSON_STRING:
        if (json_string_length(j) <= JRUN_TEXT_MAX)
            return jtextv(json_text(json_string_value(j), json_string_length(j), trusted));
        jrun_fail(r, "a string of %zu bytes; the bound is %d", json_string_length(j),
                  JRUN_TEXT_MAX);
        return jnothing();
    case JSON_INTEGER:
        return jint(json_integer_value(j));
    case JSON_REAL:
        return jfloat(json_real_value(j));
    case JSON_TRUE:
    case JSON_FALSE:
        return jbool(json_is_true(j));
    default:
        return jnone();
    }
}

struct jvalue jvalue_of_json(struct jrun *r, const json_t *j, bool trusted)
{
    struct jvalue v = jnothing();
    if (!jrun_enter(r))
        return v;
    if (json_is_array(j))
        v = list_of_json(r, j, trusted);
    else if (json_is_object(j))
        v = dict_of_json(r, j, trusted);
    else
        v = simple_of_json(r, j, trusted);
    v.trusted = trusted;
    jrun_leave(r);
    return jrun_ok(r) ? v : jnothing();
}

/* ---- truth, equality, order ---- */

bool jvalue_truth(const struct jvalue *v)
{
    switch (v->kind) {
    case J_UNDEFINED:
    case J_NONE:
    case J_ABSENT:
        return false;
    case J_BOOL:
        return v->truth;
    case J_INT:
        return v->whole != 0;
    case J_FLOAT:
        return v->real != 0;
    case J_TEXT:
        return v->text.len > 0;
    case J_LIST:
    case J_TUPLE:
    case J_RANGE:
    case J_VIEW:
        return v->list->n > 0;
    case J_DICT:
        return v->dict->n > 0;
    default:
        return true;
    }
}

/* Exact for integers and floats of any size. */
static int compare_numbers(const struct jvalue *a, const struct jvalue *b)
{
    if (a->kind != J_FLOAT && b->kind != J_FLOAT) {
        int64_t x = jvalue_whole(a), y = jvalue_whole(b);
        return (x > y) - (x < y);
    }
    double x = jvalue_real(a), y = jvalue_real(b);
    if (isnan(x) || isnan(y))
        return JVALUE_UNORDERED;
    if (x == y && a->kind != b->kind &&
        fabs(x) < 0x1p63) { // beyond 2^53 two integers share a float
        int64_t i = a->kind == J_FLOAT ? (int64_t)x : jvalue_whole(a);
        int64_t k = b->kind == J_FLOAT ? (int64_t)y : jvalue_whole(b);
        return (i > k) - (i < k);
    }
    return (x > y) - (x < y);
}

static bool lists_equal(struct jrun *r, const struct jlist *a, const struct jlist *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n && jrun_step(r, 1); i++)
        same = jvalue_equal(r, &a->item[i], &b->item[i]);
    return same;
}

static bool dicts_equal(struct jrun *r, const struct jdict *a, const struct jdict *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n && jrun_step(r, 1); i++) {
        const struct jvalue *other = jdict_find(r, b, &a->pair[i].key);
        same = other && jvalue_equal(r, &a->pair[i].value, other);
    }
    return same;
}

bool jvalue_equal(struct jrun *r, const struct jvalue *a, const struct jvalue *b)
{
    bool same = false;
    if (jvalue_is_number(a) && jvalue_is_number(b))
        return compare_numbers(a, b) == 0;
    if (a->kind != b->kind)
        return false;
    if (a->kind == J_TEXT) {
        jrun_charge(r, a->text.len == b->text.len ? a->text.len : 0);
        return jtext_equal(a->text, b->text);
    }
    if (a->kind == J_NONE || a->kind == J_UNDEFINED)
        return true;
    if (a->kind != J_LIST && a->kind != J_TUPLE && a->kind != J_RANGE && a->kind != J_DICT)
        return a->list == b->list; // the same object
    if (!jrun_enter(r))
        return false;
    if (a->kind == J_DICT)
        same = dicts_equal(r, a->dict, b->dict);
    else
        same = lists_equal(r, a->list, b->list);
    jrun_leave(r);
    return same;
}

static int compare_lists(struct jrun *r, const struct jlist *a, const struct jlist *b)
{
    for (uint32_t i = 0; i < a->n && i < b->n && jrun_step(r, 1); i++) {
        if (!jvalue_equal(r, &a->item[i], &b->item[i]))
            return jvalue_compare(r, &a->item[i], &b->item[i]);
    }
    return (a->n > b->n) - (a->n < b->n);
}

int jvalue_compare(struct jrun *r, const struct jvalue *a, const struct jvalue *b)
{
    int order = 0;
    if (jvalue_is_number(a) && jvalue_is_number(b))
        return compare_numbers(a, b);
    if (a->kind == J_TEXT && b->kind == J_TEXT) {
        jrun_charge(r, a->text.len < b->text.len ? a->text.len : b->text.len);
        return jtext_compare(a->text, b->text);
    }
    if (a->kind != b->kind || (a->kind != J_LIST && a->kind != J_TUPLE)) {
        jrun_fail(r, "%s and %s have no order", jvalue_type(a), jvalue_type(b));
        return 0;
    }
    if (jrun_enter(r)) {
        order = compare_lists(r, a->list, b->list);
        jrun_leave(r);
    }
    return order;
}

bool jvalue_contains(struct jrun *r, const struct jvalue *box, const struct jvalue *item)
{
    if (box->kind == J_DICT) {
        if (!can_be_key(r, item))
            jrun_fail(r, "a %s cannot be the key of a dict", jvalue_type(item));
        return jdict_find(r, box->dict, item) != NULL;
    }
    if (box->kind == J_TEXT && item->kind == J_TEXT) {
        jrun_charge(r, box->text.len);
        return jtext_find(box->text, item->text, 0) >= 0;
    }
    if (box->kind == J_TEXT || (box->kind != J_UNDEFINED && !jvalue_is_list(box))) {
        jrun_fail(r, "'in' cannot look for a %s in a %s", jvalue_type(item), jvalue_type(box));
        return false;
    }
    const struct jlist *l = jvalue_items(r, box);
    for (uint32_t i = 0; i < l->n && jrun_step(r, 1); i++) {
        if (jvalue_equal(r, &l->item[i], item))
            return true;
    }
    return false;
}

/* ---- walking ---- */

static const struct jlist *characters(struct jrun *r, struct jtext t)
{
    struct jvalue l = jlist_new(r, J_LIST);
    t.safe = false;
    for (uint32_t i = 0; i < t.len && jrun_step(r, 1); i += jtext_char_len(t, i))
        jlist_push(r, l.list, jtextv(jtext_slice(t, i, i + jtext_char_len(t, i))));
    return l.list;
}

/* What a generator has left; it has nothing then. */
static const struct jlist *rest(struct jrun *r, struct jlist *generator)
{
    struct jvalue l = jlist_new(r, J_LIST);
    if (jrun_ok(r) && generator->taken < generator->n) {
        l.list->item = generator->item + generator->taken;
        l.list->n = l.list->room = generator->n - generator->taken;
        generator->taken = generator->n;
    }
    return l.list;
}

const struct jlist *jvalue_items(struct jrun *r, const struct jvalue *v)
{
    switch (v->kind) {
    case J_UNDEFINED:
        return &r->spare_list;
    case J_LIST:
    case J_TUPLE:
    case J_RANGE:
    case J_VIEW:
        return v->list;
    case J_GENERATOR:
        return rest(r, v->list);
    case J_TEXT:
        return characters(r, v->text);
    case J_DICT:
        return jdict_list(r, v->dict, JDICT_KEYS).list;
    default:
        jrun_fail(r, "a %s cannot be walked over", jvalue_type(v));
        return &r->spare_list;
    }
}

int64_t jvalue_length(struct jrun *r, const struct jvalue *v)
{
    if (v->kind == J_UNDEFINED)
        return 0;
    if (v->kind == J_TEXT) {
        jrun_charge(r, v->text.len);
        return jtext_n_char(v->text);
    }
    if (v->kind == J_DICT)
        return v->dict->n;
    if (jvalue_is_list(v) && v->kind != J_GENERATOR)
        return v->list->n;
    jrun_fail(r, "a %s has no length", jvalue_type(v));
    return 0;
}

/* ---- sorting ---- */

struct sorting {
    struct jrun *run;
    struct jvalue *item, *key;
    struct jvalue *item_room, *key_room;
    bool reverse;
};

static bool goes_first(const struct sorting *s, uint32_t right, uint32_t left)
{
    int order = jvalue_compare(s->run, &s->key[right], &s->key[left]);
    return s->reverse ? order > 0 : order < 0;
}

/* Merge sort of [from, to): the left one goes first where they are equal. */
static void sort_range(struct sorting *s, uint32_t from, uint32_t to)
{
    if (to - from < 2 || !jrun_step(s->run, to - from))
        return;
    uint32_t middle = from + (to - from) / 2, left = from, right = middle;
    sort_range(s, from, middle);
    sort_range(s, middle, to);
    for (uint32_t i = from; i < to; i++) {
        bool take_right = right < to && (left == middle || goes_first(s, right, left));
        uint32_t at = take_right ? right++ : left++;
        s->item_room[i] = s->item[at];
        s->key_room[i] = s->key[at];
    }
    memcpy(s->item + from, s->item_room + from, (to - from) * sizeof *s->item);
    memcpy(s->key + from, s->key_room + from, (to - from) * sizeof *s->key);
}

void jlist_sort(struct jrun *r, struct jlist *l, struct jvalue *key, bool reverse)
{
    struct sorting s = { .run = r, .item = l->item, .key = key, .reverse = reverse };
    s.item_room = jrun_new(r, l->n, sizeof *s.item_room);
    s.key_room = jrun_new(r, l->n, sizeof *s.key_room);
    if (s.item_room && s.key_room)
        sort_range(&s, 0, l->n);
}
