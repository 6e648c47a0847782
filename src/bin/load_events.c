#include "bin/load_events.h"

#include <string.h>

#include "base/json.h"
#include "bin/show.h"

/* ---- the stream ---- */

static void take_line(struct event_reader *r, event_fn *event, void *arg)
{
    const char *line = buf_text(&r->line);
    if (r->line.len == 0) {
        if (r->has_data)
            event(arg, buf_text(&r->data), r->data.len);
        buf_clear(&r->data);
        r->has_data = false;
    } else if (strncmp(line, "data", 4) == 0 && (line[4] == ':' || line[4] == 0)) {
        const size_t from = line[4] == 0 ? 4 : line[5] == ' ' ? 6 : 5;
        if (r->has_data)
            buf_add_byte(&r->data, '\n');
        buf_add(&r->data, line + from, r->line.len - from);
        r->has_data = true;
    }
    buf_clear(&r->line);
}

enum status event_reader_feed(struct event_reader *r, const char *bytes, size_t n, event_fn *event,
                              void *arg)
{
    const char *at = bytes, *const end = bytes + n;
    while (at < end) {
        if (r->after_cr && *at == '\n')
            at++;
        r->after_cr = false;
        const char *stop = at;
        while (stop < end && *stop != '\n' && *stop != '\r')
            stop++;
        buf_add(&r->line, at, (size_t)(stop - at));
        if (r->line.failed || r->data.failed || r->line.len + r->data.len > EVENT_BYTES_MAX)
            return FULL;
        if (stop == end)
            return OK;
        r->after_cr = *stop == '\r';
        take_line(r, event, arg);
        at = stop + 1;
    }
    return OK;
}

void event_reader_clear(struct event_reader *r)
{
    buf_clear(&r->line);
    buf_clear(&r->data);
    r->line.failed = r->data.failed = r->has_data = r->after_cr = false;
}

void event_reader_close(struct event_reader *r)
{
    buf_close(&r->line);
    buf_close(&r->data);
}

/* ---- its chunks ---- */

static bool has_text(const json_t *object, const char *name)
{
    return json_string_length(json_object_get(object, name)) > 0;
}

static void read_choice(struct load_chunk *c, const json_t *choice)
{
    const json_t *delta = json_object_get(choice, "delta");
    c->content |= has_text(choice, "text") || has_text(delta, "content") ||
                  has_text(delta, "reasoning_content") || has_text(delta, "reasoning") ||
                  json_array_size(json_object_get(delta, "tool_calls")) > 0;
    c->finished |= json_is_string(json_object_get(choice, "finish_reason"));
}

static void read_usage(struct load_chunk *c, const json_t *usage)
{
    const json_t *details = json_object_get(usage, "prompt_tokens_details");
    const json_t *cached = json_object_get(details, "cached_tokens");
    c->has_usage = json_is_object(usage);
    c->n_prompt = json_integer_value(json_object_get(usage, "prompt_tokens"));
    c->n_output = json_integer_value(json_object_get(usage, "completion_tokens"));
    c->n_cached = json_is_integer(cached) ? json_integer_value(cached) : -1;
}

/* {"error": {"message": "..."}}, and the ways of others to say it. */
static const char *error_of(const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");
    const json_t *message = json_object_get(error, "message");
    message = message ? message : json_is_string(error) ? error : json_object_get(answer, "detail");
    return json_is_string(message)         ? json_string_value(message)
           : error && !json_is_null(error) ? "an error without words"
                                           : NULL;
}

enum status load_chunk_read(struct load_chunk *out, const char *data, size_t len, struct note *why)
{
    json_t *json = NULL;
    const json_t *choice;
    size_t i;
    struct load_chunk c = { .n_cached = -1 };
    if (len == 6 && memcmp(data, "[DONE]", 6) == 0) {
        c.done = true;
        *out = c;
        return OK;
    }
    enum status st = json_from_text(&json, data, len, why);
    if (st != OK)
        return st;
    const char *error = error_of(json);
    if (error || !json_is_object(json)) {
        note_set(why, "%s", error ? error : "an event of the answer is no JSON object");
        st = BAD_INPUT;
    } else {
        json_array_foreach(json_object_get(json, "choices"), i, choice) read_choice(&c, choice);
        read_usage(&c, json_object_get(json, "usage"));
        *out = c;
    }
    json_decref(json);
    return st;
}

void load_error_read(const char *body, size_t len, struct note *out)
{
    json_t *json = NULL;
    const char *error = NULL;
    if (json_from_text(&json, body, len, NULL) == OK)
        error = error_of(json);
    if (error)
        note_set(out, "%s", error);
    else
        note_set(out, "%.*s", (int)(len < 200 ? len : 200), body);
    show_harmless(out->text, strlen(out->text));
    json_decref(json);
}
