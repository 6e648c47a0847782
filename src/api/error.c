#include "api/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    unsigned http;
    const char *type, *code;
} kinds[API_KIND_N] = {
    [API_NONE] = { 200, "", NULL },
    [API_BAD] = { 400, "invalid_request_error", NULL },
    [API_CONTEXT] = { 400, "exceed_context_size_error", "context_length_exceeded" },
    [API_NO_KEY] = { 401, "authentication_error", "invalid_api_key" },
    [API_NOT_FOUND] = { 404, "not_found_error", NULL },
    [API_METHOD] = { 405, "invalid_request_error", "method_not_allowed" },
    [API_BUSY] = { 429, "rate_limit_error", "queue_full" },
    [API_NOT_SUPPORTED] = { 501, "not_supported_error", NULL },
    [API_UNAVAILABLE] = { 503, "unavailable_error", NULL },
    [API_BROKEN] = { 500, "server_error", NULL },
};

void api_error_set(struct api_error *e, enum api_kind kind, const char *param, const char *format,
                   ...)
{
    va_list args;
    if (e->kind != API_NONE)
        return;
    e->kind = kind;
    snprintf(e->param, sizeof e->param, "%s", param ? param : "");
    va_start(args, format);
    note_set_v(&e->note, format, args);
    va_end(args);
}

void api_error_from(struct api_error *e, enum akv_status st, const struct akv_note *why)
{
    const enum api_kind kind = st == AKV_FULL        ? API_BUSY
                               : st == AKV_BAD_INPUT ? API_BAD
                               : st == AKV_NOT_FOUND ? API_NOT_SUPPORTED
                                                     : API_BROKEN;
    api_error_set(e, kind, NULL, "%s", why->text);
}

unsigned api_error_http(const struct api_error *e)
{
    return kinds[e->kind].http;
}

const char *api_error_type(const struct api_error *e)
{
    return kinds[e->kind].type;
}

const char *api_error_type_of(unsigned http)
{
    return http < 500 ? "invalid_request_error" : "server_error";
}

static void add_text_or_null(struct buf *out, const char *text)
{
    if (text && *text)
        buf_add_json_text(out, text, strlen(text));
    else
        buf_add_text(out, "null");
}

static void add_error(struct buf *out, const char *message, const char *type, const char *param,
                      const char *code)
{
    buf_add_text(out, "{\"error\":{\"message\":");
    buf_add_json_text(out, message, strlen(message));
    buf_add_text(out, ",\"type\":");
    add_text_or_null(out, type);
    buf_add_text(out, ",\"param\":");
    add_text_or_null(out, param);
    buf_add_text(out, ",\"code\":");
    add_text_or_null(out, code);
}

void api_error_json(const struct api_error *e, struct buf *out)
{
    add_error(out, e->note.text, kinds[e->kind].type, e->param, kinds[e->kind].code);
    if (e->kind == API_CONTEXT)
        buf_addf(out, ",\"n_prompt_tokens\":%u,\"n_ctx\":%u", e->n_prompt_tokens, e->n_ctx);
    buf_add_text(out, "}}");
}

void api_error_json_of(unsigned http, const char *message, struct buf *out)
{
    add_error(out, message, api_error_type_of(http), NULL, NULL);
    buf_add_text(out, "}}");
}
