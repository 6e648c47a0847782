#include "text/jinja_parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct jnode *parse_body(struct jparse *p, const char *const *ends);

/* ---- tokens ---- */

void jparse_fail(struct jparse *p, const char *format, ...)
{
    if (p->lex.st != OK)
        return;
    va_list ap;
    va_start(ap, format);
    note_set_v(p->lex.why, format, ap);
    va_end(ap);
    note_prefix(p->lex.why, "template line %u, column %u", p->now.line, p->now.column);
    p->lex.st = BAD_INPUT;
    p->now.kind = p->ahead.kind = JT_END;
}

void jparse_expected(struct jparse *p, const char *what)
{
    struct jtext found = p->now.text;
    if (p->now.kind == JT_END)
        jparse_fail(p, "the template ends here, expected %s", what);
    else if (p->now.kind == JT_DATA)
        jparse_fail(p, "found text, expected %s", what);
    else
        jparse_fail(p, "found '%.*s', expected %s", found.len > 60 ? 60 : (int)found.len,
                    found.bytes, what);
}

void jparse_step(struct jparse *p)
{
    p->now = p->ahead;
    p->ahead = jlex_next(&p->lex);
    if (p->lex.st != OK)
        p->now.kind = p->ahead.kind = JT_END;
}

bool jparse_enter(struct jparse *p)
{
    if (p->depth == JPARSE_DEPTH_MAX)
        jparse_fail(p, "nested more than %d levels deep", JPARSE_DEPTH_MAX);
    if (p->lex.st != OK)
        return false;
    p->depth++;
    return true;
}

void jparse_leave(struct jparse *p)
{
    p->depth--;
}

bool jparse_at_op(const struct jparse *p, int op)
{
    return p->now.kind == JT_OPERATOR && p->now.op == op;
}

bool jparse_at_word(const struct jparse *p, const char *word)
{
    return p->now.kind == JT_NAME && jtext_is(p->now.text, word);
}

bool jparse_skip_op(struct jparse *p, int op)
{
    if (!jparse_at_op(p, op))
        return false;
    jparse_step(p);
    return true;
}

bool jparse_skip_word(struct jparse *p, const char *word)
{
    if (!jparse_at_word(p, word))
        return false;
    jparse_step(p);
    return true;
}

void jparse_expect_op(struct jparse *p, int op, const char *what)
{
    if (!jparse_skip_op(p, op))
        jparse_expected(p, what);
}

static void expect_word(struct jparse *p, const char *word)
{
    if (!jparse_skip_word(p, word))
        jparse_expected(p, word);
}

static void expect_kind(struct jparse *p, enum jtoken_kind kind, const char *what)
{
    if (p->now.kind == kind)
        jparse_step(p);
    else
        jparse_expected(p, what);
}

const char *jparse_expect_name(struct jparse *p, const char *what)
{
    const char *name = p->t->loop; // any: the parser is stopping
    if (p->now.kind == JT_NAME)
        name = jparse_name(p, p->now.text);
    expect_kind(p, JT_NAME, what);
    return name;
}

/* ---- nodes ---- */

void jnode_list_add(struct jnode_list *l, struct jnode *n)
{
    if (l->last)
        l->last->next = n;
    else
        l->first = n;
    l->last = n;
}

static void out_of_memory(struct jparse *p)
{
    if (p->lex.st == OK) {
        note_set(p->lex.why, "no memory to compile the template");
        p->lex.st = FULL;
    }
    p->now.kind = p->ahead.kind = JT_END;
}

struct jnode *jnode_new(struct jparse *p, enum jnode_kind kind)
{
    struct jnode *n = p->lex.st == OK ? arena_new(&p->t->arena, 1, sizeof *n) : NULL;
    if (!n) { // or the parser is stopping already
        out_of_memory(p);
        n = &p->spare;
        *n = (struct jnode){ .kind = JN_CONST };
    }
    n->kind = kind;
    n->line = p->now.line;
    return n;
}

/* FNV-1a (Fowler, Noll, Vo). */
static uint32_t hash_of(struct jtext t)
{
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < t.len; i++)
        h = (h ^ (unsigned char)t.bytes[i]) * 16777619u;
    return h;
}

const char *jparse_name(struct jparse *p, struct jtext name)
{
    struct jname **list = &p->t->names[hash_of(name) % JNAME_LISTS];
    for (struct jname *known = *list; known; known = known->next) {
        if (known->len == name.len && memcmp(known->bytes, name.bytes, name.len) == 0)
            return known->bytes;
    }
    struct jname *fresh = arena_new(&p->t->arena, 1, sizeof *fresh);
    char *bytes = arena_copy_text(&p->t->arena, name.bytes, name.len);
    if (!fresh || !bytes) {
        out_of_memory(p);
        return "";
    }
    *fresh = (struct jname){ .bytes = bytes, .len = name.len, .next = *list };
    *list = fresh;
    return bytes;
}

/* ---- statements ---- */

/* Statements up to {% end %}; with its words skipped, standing before %}. */
static struct jnode *parse_block(struct jparse *p, const char *end)
{
    const char *const ends[] = { end, NULL };
    struct jnode *body = parse_body(p, ends);
    jparse_step(p);
    return body;
}

static struct jnode *body_node(struct jparse *p, const char *end)
{
    struct jnode *n = jnode_new(p, JN_BODY);
    n->body = parse_block(p, end);
    return n;
}

static struct jnode *parse_if(struct jparse *p)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL }, *const last[] = { "endif",
                                                                                           NULL };
    struct jnode *first = NULL, **end = &first;
    do {
        struct jnode *n = *end = jnode_new(p, JN_IF);
        end = &n->choice.no;
        jparse_step(p); // if, elif
        n->choice.test = jparse_exprs(p, false, NULL);
        n->choice.yes = parse_body(p, ends);
    } while (jparse_at_word(p, "elif"));
    if (jparse_skip_word(p, "else")) {
        struct jnode *n = *end = jnode_new(p, JN_IF);
        n->choice.yes = parse_body(p, last);
    }
    expect_word(p, "endif");
    return first;
}

static struct jnode *parse_for(struct jparse *p)
{
    static const char *const ends[] = { "else", "endfor", NULL };
    struct jnode *n = jnode_new(p, JN_FOR);
    jparse_step(p);
    n->loop.target = jparse_target(p, true, false);
    expect_word(p, "in");
    n->loop.iter = jparse_exprs(p, false, "recursive");
    if (jparse_skip_word(p, "if"))
        n->loop.test = jparse_expr(p, true);
    n->loop.recursive = jparse_skip_word(p, "recursive");
    p->n_loop++;
    n->loop.body = parse_body(p, ends);
    p->n_loop--;
    if (jparse_skip_word(p, "else"))
        n->loop.otherwise = parse_block(p, "endfor");
    else
        expect_word(p, "endfor");
    return n;
}

static struct jnode *parse_set(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_SET);
    jparse_step(p);
    n->set.target = jparse_target(p, true, true);
    if (jparse_skip_op(p, '=')) {
        n->set.value = jparse_exprs(p, true, NULL);
        return n;
    }
    struct jnode *body = jnode_new(p, JN_BODY);
    n->set.value = jparse_skip_op(p, '|') ? jparse_filters(p, body) : body;
    body->body = parse_block(p, "endset");
    return n;
}

static void parse_params(struct jparse *p, struct jnode_macro *m)
{
    struct jnode_list params = { 0 };
    jparse_expect_op(p, '(', "( and parameters");
    while (p->now.kind != JT_END && !jparse_at_op(p, ')')) {
        struct jnode *param = jparse_target(p, false, false);
        if (jparse_skip_op(p, '='))
            param->fallback = jparse_expr(p, true);
        else if (params.last && params.last->fallback)
            jparse_fail(p, "a parameter without default follows one that has a default");
        jnode_list_add(&params, param);
        if (!jparse_at_op(p, ')'))
            jparse_expect_op(p, ',', ", or )");
    }
    jparse_expect_op(p, ')', ")");
    m->params = params.first;
}

/* The body of a macro: it sees no loop to leave, and the special names it uses are noted. */
static void parse_macro_body(struct jparse *p, struct jnode_macro *m, const char *end)
{
    struct jnode_macro *outer = p->macro;
    uint32_t n_loop = p->n_loop;
    p->macro = m;
    p->n_loop = 0;
    m->body = parse_block(p, end);
    p->macro = outer;
    p->n_loop = n_loop;
}

static struct jnode *parse_macro(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_MACRO);
    jparse_step(p);
    n->macro.name = jparse_expect_name(p, "the name of the macro");
    parse_params(p, &n->macro);
    parse_macro_body(p, &n->macro, "endmacro");
    return n;
}

static struct jnode *parse_call_block(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_CALL_BLOCK);
    jparse_step(p);
    n->block.caller.name = p->t->caller;
    if (jparse_at_op(p, '('))
        parse_params(p, &n->block.caller);
    n->block.call = jparse_expr(p, true);
    if (n->block.call->kind != JN_CALL)
        jparse_fail(p, "a call block needs the call of a macro");
    parse_macro_body(p, &n->block.caller, "endcall");
    return n;
}

static struct jnode *parse_filter_block(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_PRINT), *body = jnode_new(p, JN_BODY);
    jparse_step(p);
    n->expr = jparse_filters(p, body);
    body->body = parse_block(p, "endfilter");
    return n;
}

/* {% generation %}: marks an assistant's words for training; here they are words as any other. */
static struct jnode *parse_generation(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_PRINT);
    jparse_step(p);
    n->expr = body_node(p, "endgeneration");
    return n;
}

static struct jnode *parse_with(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_WITH);
    struct jnode_list pairs = { 0 };
    jparse_step(p);
    while (p->now.kind == JT_NAME) {
        jnode_list_add(&pairs, jparse_target(p, true, false));
        jparse_expect_op(p, '=', "= and a value");
        jnode_list_add(&pairs, jparse_expr(p, true));
        if (!jparse_skip_op(p, ','))
            break;
    }
    n->with.pairs = pairs.first;
    n->with.body = parse_block(p, "endwith");
    return n;
}

static struct jnode *parse_jump(struct jparse *p)
{
    struct jnode *n = jnode_new(p, jparse_at_word(p, "break") ? JN_BREAK : JN_CONTINUE);
    if (p->n_loop == 0)
        jparse_fail(p, "'%.*s' outside of a loop", (int)p->now.text.len, p->now.text.bytes);
    jparse_step(p);
    return n;
}

static struct jnode *parse_print_statement(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_PRINT);
    struct jnode_list parts = { 0 };
    n->expr = jnode_new(p, JN_CONCAT);
    do {
        jparse_step(p); // print, or a comma
        jnode_list_add(&parts, jparse_expr(p, true));
    } while (jparse_at_op(p, ','));
    n->expr->list = parts.first;
    return n;
}

static struct jnode *parse_statement(struct jparse *p)
{
    static const struct {
        const char *word;
        struct jnode *(*parse)(struct jparse *p);
    } statements[] = {
        { "if", parse_if },
        { "for", parse_for },
        { "set", parse_set },
        { "macro", parse_macro },
        { "call", parse_call_block },
        { "filter", parse_filter_block },
        { "generation", parse_generation },
        { "with", parse_with },
        { "break", parse_jump },
        { "continue", parse_jump },
        { "print", parse_print_statement },
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (jparse_at_word(p, statements[i].word))
            return statements[i].parse(p);
    }
    jparse_expected(
        p, "if, for, set, macro, call, filter, generation, with, break, continue or print");
    return NULL;
}

static bool at_one_of(const struct jparse *p, const char *const *words)
{
    for (; words && *words; words++) {
        if (jparse_at_word(p, *words))
            return true;
    }
    return false;
}

static struct jnode *parse_print(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_PRINT);
    jparse_step(p);
    n->expr = jparse_exprs(p, true, NULL);
    expect_kind(p, JT_PRINT_END, "}}");
    return n;
}

static struct jnode *parse_data(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_DATA);
    n->data = p->now.text;
    jparse_step(p);
    return n;
}

/* Everything up to a {% word %} that is one of `ends` (NULL: up to the end of the template). */
static struct jnode *parse_until(struct jparse *p, const char *const *ends)
{
    struct jnode_list body = { 0 };
    while (p->now.kind != JT_END) {
        if (p->now.kind == JT_DATA) {
            jnode_list_add(&body, parse_data(p));
        } else if (p->now.kind == JT_PRINT_BEGIN) {
            jnode_list_add(&body, parse_print(p));
        } else {
            jparse_step(p); // {%
            if (at_one_of(p, ends))
                return body.first;
            struct jnode *n = parse_statement(p);
            if (n)
                jnode_list_add(&body, n);
            expect_kind(p, JT_BLOCK_END, "%}");
        }
    }
    if (ends)
        jparse_expected(p, *ends);
    return body.first;
}

static struct jnode *parse_body(struct jparse *p, const char *const *ends)
{
    if (!jparse_enter(p))
        return NULL;
    jparse_skip_op(p, ':');
    expect_kind(p, JT_BLOCK_END, "%}");
    struct jnode *body = parse_until(p, ends);
    jparse_leave(p);
    return body;
}

enum status jparse(struct jinja *t, const char *source, size_t len, struct note *why)
{
    struct jparse p = { .t = t };
    enum status st = jlex_open(&p.lex, &t->arena, source, len, why);
    if (st != OK)
        return st;
    t->loop = jparse_name(&p, JTEXT("loop"));
    t->caller = jparse_name(&p, JTEXT("caller"));
    t->varargs = jparse_name(&p, JTEXT("varargs"));
    t->kwargs = jparse_name(&p, JTEXT("kwargs"));
    jparse_step(&p);
    jparse_step(&p);
    t->body = parse_until(&p, NULL);
    return p.lex.st;
}
