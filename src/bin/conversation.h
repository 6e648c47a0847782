/* bin/conversation.h - what was said so far, as the model is to read it.
 *
 *   with a chat template   {"role": "user", "content": "Hi"}, {"role": ...   -> akv_render_chat
 *   without                Hi there, said the fox ...                        -> akv_tokenize
 *
 * Lifetime  the caller's; `(struct conversation){ 0 }` is an empty one. Threads  one at a time. */
#ifndef BIN_CONVERSATION_H
#define BIN_CONVERSATION_H

#include <stdbool.h>

#include "akvifer.h"
#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

struct conversation {
    bool raw;        // plain text: roles are not told apart
    struct buf body; // messages as JSON, or the text
};

void conversation_close(struct conversation *c);

/* Adds what `role` ("system", "user" or "assistant") said. Raw text is continued, on a new line
 * for the user. */
void conversation_say(struct conversation *c, const char *role, const char *text, size_t len);

/* Takes back all that was said since body.len was `mark`. */
void conversation_cut(struct conversation *c, size_t mark);

/* Appends the ids of the prompt: with the answer's beginning, or with BOS in front of raw text. */
must_use enum status conversation_ids(const struct conversation *c, const akv_model *model,
                                      struct ids *out, struct note *why);

#endif
