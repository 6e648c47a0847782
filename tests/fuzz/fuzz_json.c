/* Any bytes as JSON of a stranger, and as a line of JSON: it is read whole or refused with a note
 * that fits its line; what was read can be written by buf_add_json_text in one line of valid UTF-8
 * and means the same when read again. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void write_value(struct buf *out, const json_t *value);

static void write_object(struct buf *out, const json_t *value)
{
    const char *key, *before = "";
    json_t *item;
    buf_add_byte(out, '{');
    json_object_foreach((json_t *)value, key, item) // no key holds a zero byte: jansson refuses it
    {
        buf_add_text(out, before);
        buf_add_json_text(out, key, strlen(key));
        buf_add_byte(out, ':');
        write_value(out, item);
        before = ",";
    }
    buf_add_byte(out, '}');
}

static void write_array(struct buf *out, const json_t *value)
{
    buf_add_byte(out, '[');
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i)
            buf_add_byte(out, ',');
        write_value(out, json_array_get(value, i));
    }
    buf_add_byte(out, ']');
}

static void write_value(struct buf *out, const json_t *value)
{
    if (json_is_object(value))
        write_object(out, value);
    else if (json_is_array(value))
        write_array(out, value);
    else if (json_is_string(value))
        buf_add_json_text(out, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        buf_addf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        buf_addf(out, "%.17e", json_real_value(value));
    else
        buf_add_text(out, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
}

/* Nothing that some readers take for the end of a line. */
static void expect_one_line(const char *text, size_t len)
{
    assert(utf8_valid(text, len));
    for (size_t i = 0; i < len;) {
        uint32_t c;
        i += utf8_read(text + i, len - i, &c);
        assert(c >= 0x20 && c != 0x7f && c != 0x85 && c != 0x2028 && c != 0x2029);
    }
}

static void expect_same_again(const json_t *value)
{
    struct buf out = { 0 };
    struct note why = { "" };
    json_t *again = NULL;
    write_value(&out, value);
    assert(!out.failed);
    expect_one_line(buf_text(&out), out.len);
    assert(json_from_text(&again, buf_text(&out), out.len, &why) == OK);
    assert(json_equal((json_t *)value, again));
    json_decref(again);
    buf_close(&out);
}

/* Any bytes, whether they are text or not, become a JSON string. */
static void expect_quotable(const char *bytes, size_t len)
{
    struct buf out = { 0 };
    json_t *value = NULL;
    buf_add_json_text(&out, bytes, len);
    expect_one_line(buf_text(&out), out.len);
    assert(json_from_text(&value, out.bytes, out.len, NULL) == OK && json_is_string(value));
    if (utf8_valid(bytes, len))
        assert(json_string_length(value) == len &&
               memcmp(json_string_value(value), bytes, len) == 0);
    json_decref(value);
    buf_close(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *text = (const char *)bytes;
    struct note why = { "" };
    json_t *value = NULL;
    enum status st = json_from_text(&value, len ? text : "", len, &why);
    if (st == OK) {
        expect_same_again(value);
        json_decref(value);
    } else {
        assert(st == BAD_INPUT && !value && why.text[0]);
        assert(json_from_text(&value, len ? text : "", len, NULL) == BAD_INPUT);
    }
    expect_quotable(len ? text : "", len);
    return 0;
}
