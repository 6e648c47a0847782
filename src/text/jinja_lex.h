/* text/jinja_lex.h - template source to tokens, with jinja2's rules for white space.
 *
 *   Hello {%- if x %}      DATA "Hello"  BLOCK_BEGIN  NAME if  NAME x  BLOCK_END
 *     a                    DATA "  a"        after %} one newline is dropped; "-" drops all space
 *     {% endif %}          BLOCK_BEGIN ...   before a {% alone on its line its indent is dropped
 *
 * L1  Tokens come in order; the lexer holds one position and no state beyond struct jlex.
 * L2  After an error or the end, every further token is END.
 *
 * Source: the lexer of jinja2 3.1 with trim_blocks and lstrip_blocks, without the last newline. */
#ifndef TEXT_JINJA_LEX_H
#define TEXT_JINJA_LEX_H

#include "base/arena.h"
#include "base/note.h"
#include "base/status.h"
#include "text/jinja_text.h"

enum jtoken_kind {
    JT_END,
    JT_DATA,
    JT_PRINT_BEGIN,
    JT_PRINT_END,
    JT_BLOCK_BEGIN,
    JT_BLOCK_END,
    JT_NAME,
    JT_STRING,
    JT_INT,
    JT_FLOAT,
    JT_OPERATOR,
};

#define JOP2(a, b) ((a) << 8 | (b))

struct jtoken {
    enum jtoken_kind kind;
    uint32_t line, column; // from 1
    struct jtext text;     // DATA and STRING: what they mean; others: as in the source
    int64_t whole;
    double real;
    int op; // OPERATOR: '+', JOP2('=', '='), ...
};

enum {
    JLEX_SOURCE_MAX = 1 << 20, // bytes of a template; the largest known have 40 thousand
    JLEX_OPEN_MAX = 256,       // brackets
};

struct jlex {
    const char *src; // newlines are \n, the last one is gone
    size_t len, pos;
    struct arena *arena; // for strings with escapes
    struct note *why;
    enum status st;
    enum { JLEX_TEXT, JLEX_BLOCK, JLEX_PRINT } mode;
    bool line_start;          // what came before ended in a newline, or nothing came before
    char open[JLEX_OPEN_MAX]; // the brackets to be closed
    uint32_t n_open;
    size_t counted, line_begin; // `line` holds at byte `counted`
    uint32_t line;
};

must_use enum status jlex_open(struct jlex *lx, struct arena *arena, const char *source, size_t len,
                               struct note *why);
struct jtoken jlex_next(struct jlex *lx);
void jlex_fail(struct jlex *lx, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void jlex_place(struct jlex *lx, size_t at, uint32_t *line, uint32_t *column);

#endif
