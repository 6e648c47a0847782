/* text/jinja_run.h - one render under way: its memory, bounds, first error; and calls.
 *
 *   filter, test, method, function   jbuiltin row --jbuiltin_call--> bound arguments --> C function
 *   macro, caller, loop(...)         jrun_call -------------------> statements in a new scope
 *
 * R1  The first failure sticks: later ones do not replace it, evaluation then only unwinds, and
 *     every function here gives a value all the same (undefined, no text). So nobody checks after
 *     each call; loops do.
 * R2  Every loop charges steps, every recursion enters and leaves: J2 holds everywhere.
 *
 * Threads  one per render. */
#ifndef TEXT_JINJA_RUN_H
#define TEXT_JINJA_RUN_H

#include "base/arena.h"
#include "base/note.h"
#include "base/status.h"
#include "text/jinja_value.h"

enum {
    JRUN_STEPS_MAX = 8 * 1000 * 1000,
    JRUN_DEPTH_MAX = 600, // nested expressions, statements, calls and values
    JRUN_RANGE_MAX = 100000,
    JRUN_TEXT_MAX = 16 << 20,    // bytes of one text, so also of the output
    JRUN_MEMORY_MAX = 256 << 20, // bytes of all values
};

struct jchars;
struct jinja;
struct jscope;

enum jflow { JFLOW_ON, JFLOW_BREAK, JFLOW_CONTINUE };

struct jrun {
    struct arena arena;
    const struct jinja *program;
    const json_t *vars;
    const char *const *trusted_names;
    long long now;

    enum status st;
    struct note *why;
    uint32_t line; // of the statement under way
    uint64_t steps;
    uint32_t depth;

    struct jscope *scope;
    enum jflow flow;
    struct jbuild *out;

    struct jchars *chars;    // classes of characters, compiled when first needed
    struct jlist spare_list; // what jlist_new gives after a failure; always empty
    struct jdict spare_dict;
};

void jrun_fail(struct jrun *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "'name' is undefined, it " and what it cannot do. */
void jrun_fail_undefined(struct jrun *r, const struct jvalue *v, const char *cannot);
bool jrun_ok(const struct jrun *r);
void *jrun_new(struct jrun *r, size_t n, size_t size); // NULL fails the run

/* False: the run has failed, perhaps by this very step. */
bool jrun_step(struct jrun *r, uint64_t n);
/* Steps for looking at so many bytes: 64 of them are one step. */
void jrun_charge(struct jrun *r, uint64_t bytes);
bool jrun_enter(struct jrun *r); // on true, pair with jrun_leave
void jrun_leave(struct jrun *r);

struct jnamed {
    struct jtext name;
    struct jvalue value;
};

struct jargs {
    const struct jvalue *pos;
    size_t n_pos;
    const struct jnamed *named;
    size_t n_named;
};

enum { JCALL_PARAMS_MAX = 6 };

struct jcall {
    struct jvalue self;                  // what is filtered or tested, or whose method it is
    struct jvalue arg[JCALL_PARAMS_MAX]; // by position in `params`; J_ABSENT where not given
    const struct jargs *all;
};

typedef struct jvalue jbuiltin_fn(struct jrun *r, const struct jcall *c);

struct jbuiltin {
    const char *name;
    jbuiltin_fn *call;
    const char *params; // names, separated by spaces; NULL: takes whatever comes, in `all`
    uint8_t n_required;
};

struct jbuiltin_table {
    const struct jbuiltin *row;
    size_t n;
};
#define JBUILTIN_TABLE(rows)                                                                       \
    {                                                                                              \
        .row = (rows), .n = sizeof(rows) / sizeof *(rows)                                          \
    }

extern const struct jbuiltin_table jfilters_of_values, jfilters_of_text, jfilters_of_numbers;
extern const struct jbuiltin_table jmethods_of_text;

struct jbound { // J_FUNCTION
    const struct jbuiltin *row;
    struct jvalue self;
};

/* NULL: there is none of that name. */
const struct jbuiltin *jbuiltin_find(const struct jbuiltin_table *table, struct jtext name);
const struct jbuiltin *jfilter_find(struct jtext name);
const struct jbuiltin *jtest_find(struct jtext name);
const struct jbuiltin *jmethod_find(enum jkind kind, struct jtext name);
const struct jbuiltin *jglobal_find(struct jtext name);

struct jvalue jbuiltin_call(struct jrun *r, const struct jbuiltin *row, const struct jvalue *self,
                            const struct jargs *args);
struct jvalue jfunction(struct jrun *r, const struct jbuiltin *row, const struct jvalue *self);

/* Arguments of a bound call. A default stands for J_ABSENT; a wrong kind fails the run. */
bool jarg_given(const struct jcall *c, int i);
int64_t jarg_int(struct jrun *r, const struct jcall *c, int i, int64_t otherwise);
bool jarg_truth(const struct jcall *c, int i, bool otherwise);
struct jtext jarg_text(struct jrun *r, const struct jcall *c, int i, struct jtext otherwise);

/* Sets what dict(...) was given: a mapping or pairs, then names. */
void jdict_update(struct jrun *r, struct jdict *d, const struct jargs *args);

/* Calls anything callable; anything else fails the run. */
struct jvalue jrun_call(struct jrun *r, const struct jvalue *callee, const struct jargs *args);

#endif
