/* api/logprobs.h - log-probabilities as the dialects show them. */
#ifndef API_LOGPROBS_H
#define API_LOGPROBS_H

#include "akvifer.h"
#include "base/buf.h"

/* The text of a token as a JSON string: its bytes where they are UTF-8, else "bytes:\xe2\x80" (OpenAI's legacy
 * form). */
void token_json(struct buf *out, const akv_model *model, int32_t id);

/* {"token": ..., "logprob": ..., "bytes": [...], "top_logprobs": [...]} (chat). */
void logprob_chat(struct buf *out, const akv_model *model, int32_t id, float logprob,
                  const struct akv_logprob *top, uint32_t n_top);

/* The legacy form, four lists that grow token by token. */
struct legacy_logprobs {
    struct buf tokens, logprobs, top, offsets; // elements with commas between
    uint32_t n, n_char;                        // tokens; characters before the next one
};

/* NAN for a logprob: null, and no alternatives (a prompt's first token). */
void legacy_add(struct legacy_logprobs *l, const akv_model *model, int32_t id, float logprob,
                const struct akv_logprob *top, uint32_t n_top);
void legacy_json(const struct legacy_logprobs *l, struct buf *out);
void legacy_clear(struct legacy_logprobs *l); // keeps the offset
void legacy_close(struct legacy_logprobs *l);

#endif
