/* text/jinja_tree.h - a compiled template: what the parser makes and the run walks.
 *
 *   {% for m in messages %}...{% endfor %}      FOR -- target: NAME m
 *                                                |--- iter:   NAME messages
 *                                                `--- body:   DATA -> PRINT -> IF -> ...  (next)
 *
 * Names are interned: equal names are equal pointers. Blocks that capture text (set, filter,
 * generation) are an expression BODY, so that filters stand around it as around any other.
 *
 * Lifetime  the arena of the template. Threads  read only once parsed. */
#ifndef TEXT_JINJA_TREE_H
#define TEXT_JINJA_TREE_H

#include "text/jinja_ops.h"

enum jnode_kind {
    // expressions
    JN_CONST,
    JN_NAME,
    JN_LIST,
    JN_TUPLE,
    JN_DICT,
    JN_ATTR,
    JN_ITEM,
    JN_SLICE,
    JN_CALL,
    JN_FILTER,
    JN_TEST,
    JN_NOT,
    JN_NEGATE,
    JN_PLUS,
    JN_AND,
    JN_OR,
    JN_COMPARE,
    JN_BINARY,
    JN_CONCAT,
    JN_CHOICE,
    JN_BODY,
    // statements
    JN_DATA,
    JN_PRINT,
    JN_IF,
    JN_FOR,
    JN_SET,
    JN_MACRO,
    JN_CALL_BLOCK,
    JN_WITH,
    JN_BREAK,
    JN_CONTINUE,
};

enum jcompare { JCMP_EQ, JCMP_NE, JCMP_LT, JCMP_LE, JCMP_GT, JCMP_GE, JCMP_IN, JCMP_NOT_IN };

struct jnode_call {
    struct jnode *of;           // who is called; what is filtered or tested
    const char *name;           // of the filter or test
    const struct jbuiltin *row; // of that name; NULL: there is none
    struct jnode *args;         // in order: by position, then by name (those have a `key`)
    struct jnode *star, *star_star;
};

struct jnode_macro {
    const char *name;     // "caller" for a call block
    struct jnode *params; // NAMEs; `fallback` is the default
    struct jnode *body;
    bool wants_varargs, wants_kwargs, wants_caller; // the body names them
};

struct jnode {
    enum jnode_kind kind;
    uint32_t line;
    struct jnode *next;
    const char *key;
    struct jnode *fallback;
    union {
        struct jvalue value; // CONST
        struct jtext data;   // DATA
        const char *name;    // NAME
        struct jnode *list;  // LIST, TUPLE, CONCAT; DICT: key, value, key, value, ...
        struct jnode *expr;  // NOT, NEGATE, PLUS, PRINT
        struct jnode *body;  // BODY
        struct {
            struct jnode *of;
            const char *name;
        } attr;
        struct {
            struct jnode *of, *key;
        } item;
        struct {
            struct jnode *of, *bound[3];
        } slice;
        struct {
            struct jnode *left, *right;
            enum jop op; // BINARY
        } pair;          // BINARY, AND, OR
        struct {
            enum jcompare op; // against the one before in the list
            struct jnode *operand;
        } compare; // COMPARE: a list by `fallback`; the first has no op
        struct {
            struct jnode *test, *yes, *no;
        } choice; // CHOICE: no may be NULL. IF: yes is the body, no the next; else has no test
        struct jnode_call call; // CALL, FILTER, TEST
        struct {
            struct jnode *target, *iter, *test, *body, *otherwise;
            bool recursive;
        } loop;
        struct {
            struct jnode *target, *value; // target: NAME, TUPLE, or ATTR of a namespace
        } set;
        struct jnode_macro macro;
        struct {
            struct jnode_macro caller;
            struct jnode *call;
        } block;
        struct {
            struct jnode *pairs, *body; // target, value, target, value, ...
        } with;
    };
};

struct jname {
    const char *bytes;
    uint32_t len;
    struct jname *next;
};

enum { JNAME_LISTS = 256 };

struct jinja {
    struct arena arena;
    struct jnode *body;
    struct jname *names[JNAME_LISTS]; // every name the source has, once; by a hash of its bytes
    const char *loop, *caller, *varargs, *kwargs;
};

/* Parses len bytes into t, whose arena is open.
 * BAD_INPUT: line and column, what was found, what was expected. */
must_use enum status jparse(struct jinja *t, const char *source, size_t len, struct note *why);

#endif
