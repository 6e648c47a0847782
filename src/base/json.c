#include "base/json.h"

enum status json_from_text(json_t **out, const char *text, size_t len, struct note *why)
{
    json_error_t error;
    json_t *value =
        json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (value) {
        *out = value;
        return OK;
    }
    if (json_error_code(&error) == json_error_out_of_memory) {
        note_set(why, "no memory for %zu bytes of JSON", len);
        return FULL;
    }
    if (error.line > 1)
        note_set(why, "JSON, line %d, column %d: %s", error.line, error.column, error.text);
    else
        note_set(why, "JSON, column %d: %s", error.column, error.text);
    return BAD_INPUT;
}

static int add_bytes(const char *bytes, size_t len, void *out)
{
    buf_add(out, bytes, len);
    return 0;
}

void json_to_text(const json_t *value, struct buf *out)
{
    if (json_dump_callback(value, add_bytes, out, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        out->failed = true;
}
