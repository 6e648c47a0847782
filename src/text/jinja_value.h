/* text/jinja_value.h - what a template computes with: Python's values, as templates see them.
 *
 *   jvalue { kind, trusted, ... } --> jlist: items            list, tuple, range, view, generator
 *                                 --> jdict: (key, value)*    dict, namespace; in order set
 *
 * Small values are held in place and copied; lists and dicts are shared by pointer, so that append
 * and namespaces work as in Python. `trusted` tells whether the value is of the template's own
 * making: it decides the mark of the characters a number or a container prints as (texts carry
 * their own marks).
 *
 * V1  Integers are 64 bits; what does not fit fails the render, it never wraps.
 * V2  Keys of a dict are unique under jvalue_equal: 1, 1.0 and true are one key, as in Python.
 * V3  Every function takes every value: what makes no sense fails the run and gives undefined.
 *     jlist_new and jdict_new never give NULL: after a failure, an empty one that stays empty.
 *
 * Lifetime  the arena of one render (constants: of the template). Threads  one render at a time.
 * Cost  look-ups scan the dict; the steps they take are charged to the run. */
#ifndef TEXT_JINJA_VALUE_H
#define TEXT_JINJA_VALUE_H

#include <jansson.h>

#include "text/jinja_text.h"

enum jkind {
    J_UNDEFINED,
    J_NONE,
    J_BOOL,
    J_INT,
    J_FLOAT,
    J_TEXT,
    J_LIST,
    J_TUPLE,
    J_RANGE,
    J_VIEW,      // what keys(), values() and items() give
    J_GENERATOR, // can be walked once
    J_DICT,
    J_NAMESPACE,
    J_LOOP,
    J_MACRO,
    J_FUNCTION, // built in, with or without a receiver
    J_CYCLER,   // a list that remembers where it is
    J_ABSENT,   // only for arguments that were not given
};

struct jlist;
struct jdict;
struct jloop;
struct jmacro;
struct jbound;

struct jvalue {
    enum jkind kind;
    bool trusted;
    union {
        bool truth;
        int64_t whole;
        double real;
        struct jtext text; // undefined: what it was asked for as, for the error message
        struct jlist *list;
        struct jdict *dict;
        struct jloop *loop;
        struct jmacro *macro;
        struct jbound *bound;
    };
};

struct jlist {
    struct jvalue *item;
    uint32_t n, room;
    uint32_t taken;   // generator: items already walked over; cycler: the current one
    const char *word; // view: "dict_items"; tuple of groupby: "group"; range(3): "range(0, 3)"
};

struct jpair {
    struct jvalue key, value;
};

struct jdict {
    struct jpair *pair;
    uint32_t n, room;
};

struct jvalue jundefined(struct jtext name);
struct jvalue jnothing(void); // undefined without a name: what functions give after a failure
struct jvalue jnone(void);
struct jvalue jbool(bool b);
struct jvalue jint(int64_t i);
struct jvalue jfloat(double d);
struct jvalue jtextv(struct jtext t);
struct jvalue jword(const char *zero_terminated);

struct jvalue jlist_new(struct jrun *r, enum jkind kind);
void jlist_push(struct jrun *r, struct jlist *l, struct jvalue v);
void jlist_insert(struct jrun *r, struct jlist *l, uint32_t at, struct jvalue v);
struct jvalue jlist_remove(struct jrun *r, struct jlist *l, uint32_t at);
bool jvalue_is_list(const struct jvalue *v);   // anything held by a jlist
bool jvalue_is_number(const struct jvalue *v); // booleans are numbers
bool jvalue_is_whole(const struct jvalue *v);  // an integer or a boolean
int64_t jvalue_whole(const struct jvalue *v);  // of a whole number; else 0
double jvalue_real(const struct jvalue *v);    // of a number; else 0

struct jvalue jdict_new(struct jrun *r);
struct jvalue *jdict_find(struct jrun *r, const struct jdict *d,
                          const struct jvalue *key); // or NULL
struct jvalue *jdict_find_word(struct jrun *r, const struct jdict *d, struct jtext key);
void jdict_set(struct jrun *r, struct jdict *d, struct jvalue key, struct jvalue value);
bool jdict_remove(struct jrun *r, struct jdict *d, const struct jvalue *key);
enum jdict_view { JDICT_KEYS, JDICT_VALUES, JDICT_ITEMS };
struct jvalue jdict_list(struct jrun *r, const struct jdict *d, enum jdict_view what);

/* A caller's JSON; its strings stay where they are. `trusted`: of everything inside. */
struct jvalue jvalue_of_json(struct jrun *r, const json_t *j, bool trusted);

bool jvalue_truth(const struct jvalue *v);
bool jvalue_equal(struct jrun *r, const struct jvalue *a, const struct jvalue *b);
/* Negative, 0, positive, or JVALUE_UNORDERED (NaN); values that have no order fail the run. */
enum { JVALUE_UNORDERED = 1000 };
int jvalue_compare(struct jrun *r, const struct jvalue *a, const struct jvalue *b);
bool jvalue_contains(struct jrun *r, const struct jvalue *box, const struct jvalue *item);
const char *jvalue_type(const struct jvalue *v); // Python's name for it: "str", "dict", ...

/* What walking over a value gives (items, keys of a dict, characters of a text; undefined: nothing;
 * a generator: what it has left, and it has nothing then). A list comes back as itself. Other
 * values fail the run. */
const struct jlist *jvalue_items(struct jrun *r, const struct jvalue *v);
/* Python's len(); fails the run for what has none. */
int64_t jvalue_length(struct jrun *r, const struct jvalue *v);

/* Sorts l by key[i] of item i (both are moved); stable, also in reverse. */
void jlist_sort(struct jrun *r, struct jlist *l, struct jvalue *key, bool reverse);

#endif
