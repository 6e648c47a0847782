/* text/jinja.h - the template language of chat templates: a Jinja2 subset without Python.
 *
 *   source -> [lexer] -> tokens -> [parser] -> tree -> [run over values] -> spans with their origin
 *
 * J1  Bytes that came from the caller's values are marked untrusted, bytes of the template trusted;
 *     the mark survives every filter and method, so a user's text can never become a control token
 *     (vocab_encode_spans). A role that is a word of a closed list (user, assistant, tool, ...)
 *     counts as the template's: templates make control tokens of it.
 * J2  Rendering ends: steps, recursion, memory, output, ranges and integers are bounded (numbers
 *     in jinja_run.h), and the error names the bound.
 * J3  Same text as jinja2 3.1 (sandboxed, trim_blocks, lstrip_blocks, loop controls) with
 *     tojson = json.dumps(ensure_ascii=False), keys in given order. Not there: include, import,
 *     extends, block, autoescape, do, and the filters filesizeformat, pprint, random, striptags,
 *     urlize, wordwrap, xmlattr. An integer beyond 64 bits is an error.
 *
 * Lifetime  a template is compiled once and immutable; values live as long as one render.
 * Threads  any number may render one template at once; a render takes up to 512 KiB of stack.
 * Cost  linear in the template and the text.  Source: the Jinja template designer documentation. */
#ifndef TEXT_JINJA_H
#define TEXT_JINJA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"
#include "text/vocab.h"

struct jinja; // a compiled template

/* BAD_INPUT: line and column, what was found, what was expected. */
must_use enum status jinja_new(struct jinja **out, const char *source, size_t len,
                               struct note *why);
void jinja_free(struct jinja *t);

struct jinja_output {
    struct buf text;
    struct vocab_span *span; // into text.bytes, in order, covering it
    size_t n_span;
};
void jinja_output_close(struct jinja_output *o);

/* Renders with the variables of `vars`, a JSON object (messages, tools, ...).
 * Strings in vars are untrusted, but for the names in `trusted_names` (NULL-terminated list; NULL:
 * none), e.g. bos_token. `now` (seconds since 1970, UTC) is what strftime_now formats.
 * BAD_INPUT: an error of the template or raise_exception's words, with line; no `out`. */
must_use enum status jinja_render(const struct jinja *t, const json_t *vars,
                                  const char *const *trusted_names, long long now,
                                  struct jinja_output *out, struct note *why);

#endif
