/* text/jinja_exec.h - walking the tree: jinja_eval.c expressions, jinja_exec.c statements.
 *
 *   root scope  <---- body of a for (anew for each item)  <---- body of a nested for
 *     ^   \           body of a macro: stands on the scope where the macro was defined
 *     |    `- then the caller's variables, then the built-in functions
 *
 * X1  `set` writes the innermost scope, so it does not leave a for, a macro or a captured
 *     block; `if` makes no scope.
 * X2  A scope that a macro was defined in is never reused for the next item. */
#ifndef TEXT_JINJA_EXEC_H
#define TEXT_JINJA_EXEC_H

#include "text/jinja_tree.h"

struct jvar {
    const char *name; // interned
    struct jvalue value;
};

struct jscope {
    struct jscope *parent;
    struct jvar *var;
    uint32_t n, room;
    bool captured; // by a macro
};

struct jloop {
    const struct jnode *node;
    struct jscope *outer;
    const struct jlist *items;
    uint32_t index;     // from 0
    uint32_t depth;     // from 1
    bool finished;      // a pass came to the end of the body
    struct jvalue seen; // by changed(); J_ABSENT at first
};

struct jmacro {
    const struct jnode_macro *def;
    struct jscope *scope; // where it was defined
};

struct jscope *jscope_new(struct jrun *r, struct jscope *parent); // NULL fails the run
struct jvalue jscope_get(struct jrun *r, const char *name);

struct jvalue jeval(struct jrun *r, const struct jnode *n);
/* The call n, with one more argument by the name `caller` (NULL: without). */
struct jvalue jeval_call(struct jrun *r, const struct jnode *n, const struct jvalue *caller);

void jexec(struct jrun *r, const struct jnode *first);
/* What the statements print when they run in `scope`. */
struct jvalue jexec_capture(struct jrun *r, const struct jnode *first, struct jscope *scope);

struct jvalue jmacro_call(struct jrun *r, const struct jmacro *m, const struct jargs *args);
struct jvalue jloop_call(struct jrun *r, const struct jloop *l,
                         const struct jargs *args); // recursive

#endif
