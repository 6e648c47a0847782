/* text/jinja_parse.h - what the halves of the parser share: jinja_parse.c reads statements,
 * jinja_parse_expr.c expressions.
 *
 * Recursive descent with one token of look-ahead. After the first error every token is END, so all
 * loops stop, and new nodes are written to `spare`: only the entry point looks at the status.
 * Source: the grammar in jinja2 3.1's parser.py and the template designer documentation. */
#ifndef TEXT_JINJA_PARSE_H
#define TEXT_JINJA_PARSE_H

#include "text/jinja_lex.h"
#include "text/jinja_tree.h"

enum { JPARSE_DEPTH_MAX = 200 }; // nested brackets, operators and blocks

struct jparse {
    struct jlex lex;
    struct jtoken now, ahead;
    struct jinja *t;
    struct jnode spare;
    struct jnode_macro *macro; // whose body is being read; NULL: none
    uint32_t depth, n_loop;    // n_loop: open loops that a break may leave
};

/* A list under construction, in order. */
struct jnode_list {
    struct jnode *first, *last;
};
void jnode_list_add(struct jnode_list *l, struct jnode *n);

struct jnode *jnode_new(struct jparse *p, enum jnode_kind kind);
const char *jparse_name(struct jparse *p, struct jtext name); // interned
void jparse_fail(struct jparse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void jparse_expected(struct jparse *p, const char *what); // "found X, expected what"
void jparse_step(struct jparse *p);
bool jparse_enter(struct jparse *p);
void jparse_leave(struct jparse *p);

bool jparse_at_op(const struct jparse *p, int op);
bool jparse_at_word(const struct jparse *p, const char *word);
bool jparse_skip_op(struct jparse *p, int op);
bool jparse_skip_word(struct jparse *p, const char *word);
void jparse_expect_op(struct jparse *p, int op, const char *what);
const char *jparse_expect_name(struct jparse *p, const char *what);

/* An expression; without `choice` an `if` ends it. */
struct jnode *jparse_expr(struct jparse *p, bool choice);
/* One or more of them with commas, then a tuple. `end_word`: a name that ends it; NULL: none. */
struct jnode *jparse_exprs(struct jparse *p, bool choice, const char *end_word);
/* A name, several with commas or in parentheses, or with `fields` ns.name. */
struct jnode *jparse_target(struct jparse *p, bool several, bool fields);
/* "name(args) | name ..." around `of`. */
struct jnode *jparse_filters(struct jparse *p, struct jnode *of);

#endif
