/* model/chat_template.h - a model's chat template over its vocabulary: conversations to ids.
 *
 *   {"messages": [...], "tools": [...], "add_generation_prompt": true, ...}
 *     -> a copy: checked, tool-call arguments parsed, bos_token and eos_token set
 *     -> the template (its tool_use variant where there are tools and the file has one)
 *     -> spans of text, the template's own trusted -> ids
 *
 * C1  Text of a request never becomes a control token: only the template's own text and the names
 *     of BOS and EOS are trusted (J1, V1). A request cannot bring a template, nor another
 *     bos_token.
 *
 * Lifetime  the vocabulary must outlive it; the file may be closed. Threads  any, once built. */
#ifndef MODEL_CHAT_TEMPLATE_H
#define MODEL_CHAT_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"
#include "gguf/gguf.h"
#include "text/jinja.h"
#include "text/vocab.h"

struct chat_template;

/* Compiles `source`, or where it is NULL the file's: tokenizer.chat_template, and
 * tokenizer.chat_template.tool_use. NOT_FOUND: the file has none. BAD_INPUT: it is no valid
 * template; the note names line and column. */
must_use enum status chat_template_new(struct chat_template **out, const struct gguf *g,
                                       const struct vocab *v, const char *source, size_t len,
                                       struct note *why);
void chat_template_free(struct chat_template *t);

/* The text that the usual template was compiled from. */
const char *chat_template_source(const struct chat_template *t);

/* Renders a conversation. All members of `request` are variables of the template; "tools" is none
 * and "add_generation_prompt" is `prompt_after` where they are absent. A tool call's arguments
 * that are the text of a JSON object become that object, since templates write them out again.
 * `now` (seconds since 1970, UTC) is what strftime_now formats. BAD_INPUT: which member is wrong,
 * or what the template objected to. */
must_use enum status chat_template_render(const struct chat_template *t, const json_t *request,
                                          bool prompt_after, long long now,
                                          struct jinja_output *out, struct note *why);

/* Appends the ids of what was rendered. `bos`: as a model is to read it, with the BOS in front if
 * the model wants one and the template did not write it. */
must_use enum status chat_template_ids(const struct chat_template *t,
                                       const struct jinja_output *rendered, bool bos,
                                       struct ids *out, struct note *why);

#endif
