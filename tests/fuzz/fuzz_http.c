/* Any bytes as a request's head, and as the text of an event: what the guard, the target and the events promise
 * holds for whatever they let through. The input's lines are method, target, version, then headers. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "http/guard.h"
#include "http/router.h"
#include "http/sse.h"
#include "http/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { BODY_MAX = 1 << 20, FIELDS = HTTP_FIELDS_MAX + 20 };

/* The next line, its end overwritten with a zero byte. */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    *at = end ? end + 1 : line + strlen(line);
    if (end)
        *end = 0;
    return line;
}

static void check_route(const char *path)
{
    static const char *const pattern[] = { "/", "/v1/{id}", "/v1/{id}/cancel", "/v1/models/{m*}" };
    for (int i = 0; i < 4; i++) {
        const char *name;
        size_t len;
        if (!http_route_fits(pattern[i], path, &name, &len))
            continue;
        assert((len > 0) == (strchr(pattern[i], '{') != NULL));
        assert(len == 0 || (name > path && name + len <= path + strlen(path)));
        assert(strchr(pattern[i], '*') || len == 0 || !memchr(name, '/', len));
    }
}

static void check_target(const char *target)
{
    struct http_target t;
    enum status st = http_target_open(&t, target, NULL);
    const char *path = http_target_path(&t);
    if (st == OK) { // T1
        assert(*path == '/' || strcmp(path, "*") == 0);
        assert(utf8_valid(path, strlen(path)));
        assert(!strstr(path, "/../") && !strstr(path, "/./"));
        for (const char *s = path; *s; s++)
            assert((unsigned char)*s >= ' ' && *s != 0x7f);
        for (uint32_t i = 0; i < t.n_query; i++)
            assert(http_target_query(&t, t.text.bytes + t.name_at[i]));
        check_route(path);
    }
    http_target_close(&t);
}

static uint32_t count(const struct http_head *head, const char *name)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < head->n_field; i++)
        n += strcasecmp(head->field[i].name, name) == 0;
    return n;
}

static void check_head(char *text)
{
    static struct http_field field[FIELDS];
    struct http_head head = { .field = field };
    struct note why = { "" };
    head.method = next_line(&text);
    head.target = next_line(&text);
    head.version = next_line(&text);
    while (*text && head.n_field < FIELDS) {
        char *line = next_line(&text), *colon = strchr(line, ':');
        if (!colon)
            continue;
        *colon = 0;
        field[head.n_field++] = (struct http_field){ line, colon + 1 };
    }
    unsigned status = http_guard_head(&head, BODY_MAX, &why);
    assert((status != 0) == (why.text[0] != 0));
    if (status == 0) {
        uint32_t n_length = count(&head, "content-length"),
                 n_coding = count(&head, "transfer-encoding");
        assert(n_length + n_coding <= 1);                                           // G1
        assert(count(&head, "host") == 1 || strcmp(head.version, "HTTP/1.0") == 0); // G2
        if (n_length)
            assert(strtoull(http_field_find(field, head.n_field, "Content-Length"), NULL, 10) <=
                   BODY_MAX);
    }
    check_target(head.target);
}

/* Nothing in an event's text makes a line of its own kind, or ends it early. */
static void check_event(const char *text, size_t len)
{
    struct buf out = { 0 };
    sse_add_event(&out, NULL, text, len);
    assert(out.len >= 8 && memcmp(out.bytes + out.len - 2, "\n\n", 2) == 0);
    assert(!memchr(out.bytes, '\r', out.len));
    const char *end = out.bytes + out.len - 1;
    for (const char *line = out.bytes; line < end;
         line = (const char *)memchr(line, 10, (size_t)(out.bytes + out.len - line)) + 1)
        assert(memcmp(line, "data: ", 6) == 0);
    buf_close(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char *text = malloc(len + 1);
    memcpy(text, bytes, len);
    text[len] = 0;
    check_event(text, len);
    check_head(text);
    free(text);
    return 0;
}
