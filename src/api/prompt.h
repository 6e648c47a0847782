/* api/prompt.h - the prompt of a request, in all its forms, to ids. */
#ifndef API_PROMPT_H
#define API_PROMPT_H

#include "api/request.h"

/* Fills r->prompt. Chat: messages through the template, where text of the user never becomes a control token. Others:
 * text, ids, or a list of either; text may name control tokens, as with llama-server and vLLM. */
void prompt_read(struct gen_request *r, const struct fields *f, const struct request_defaults *d);

bool prompt_is_many(const json_t *prompt); // a list of prompts, rather than one

/* One text to ids, with the model's BOS. False: *error says why. */
bool prompt_text(struct ids *out, const akv_model *model, const char *text, size_t len,
                 bool special, bool bos, struct api_error *error);
/* {"messages": [...], ...} to ids; f->error says what was wrong. */
void prompt_conversation(struct ids *out, const akv_model *model, const struct fields *f);

#endif
