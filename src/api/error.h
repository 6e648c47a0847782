/* api/error.h - what went wrong with a request, as every dialect tells it.
 *
 *   {"error": {"message": ..., "type": ..., "param": ... or null, "code": ... or null}}
 *
 * Source: OpenAI's error schema; type exceed_context_size_error with n_prompt_tokens and n_ctx is llama-server's. */
#ifndef API_ERROR_H
#define API_ERROR_H

#include "akvifer.h"
#include "base/buf.h"
#include "base/note.h"

enum api_kind {
    API_NONE,
    API_BAD,           // 400 invalid_request_error
    API_CONTEXT,       // 400 exceed_context_size_error
    API_NO_KEY,        // 401 authentication_error
    API_NOT_FOUND,     // 404 not_found_error
    API_METHOD,        // 405 invalid_request_error
    API_BUSY,          // 429 rate_limit_error, with Retry-After
    API_NOT_SUPPORTED, // 501 not_supported_error
    API_UNAVAILABLE,   // 503 unavailable_error
    API_BROKEN,        // 500 server_error
    API_KIND_N,
};

struct api_error {
    enum api_kind kind;
    struct note note;
    char param[64];                  // the field; empty: none
    uint32_t n_prompt_tokens, n_ctx; // API_CONTEXT
};

/* The first error stays. `param` may be NULL. */
void api_error_set(struct api_error *e, enum api_kind kind, const char *param, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));
/* What the engine said about a request. */
void api_error_from(struct api_error *e, enum akv_status st, const struct akv_note *why);

unsigned api_error_http(const struct api_error *e); // 400 ...
const char *api_error_type(const struct api_error *e);
void api_error_json(const struct api_error *e, struct buf *out);
/* For the HTTP layer's own refusals. */
void api_error_json_of(unsigned http, const char *message, struct buf *out);
const char *api_error_type_of(unsigned http);

#endif
