#include "http/guard.h"

#include <stdbool.h>
#include <string.h>

/* tchar of RFC 9110 section 5.6.2. */
static bool is_token(const char *s)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    const char *p = s;
    while ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
           (*p && strchr(others, *p)))
        p++;
    return p > s && !*p;
}

/* The control character of a value, or 0. Bytes above 0x7f may stand (obs-text). */
static unsigned control_in(const char *value)
{
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        if ((*p < ' ' && *p != '\t') || *p == 0x7f)
            return *p;
    }
    return 0;
}

const char *http_field_find(const struct http_field *field, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (strcasecmp(field[i].name, name) == 0)
            return field[i].value;
    }
    return NULL;
}

/* How often a header stands there, and its first value. */
static uint32_t find(const struct http_head *head, const char *name, const char **value)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < head->n_field; i++) {
        if (strcasecmp(head->field[i].name, name) == 0 && n++ == 0)
            *value = head->field[i].value;
    }
    return n;
}

static unsigned check_line(const struct http_head *head, struct note *why)
{
    if (!is_token(head->method)) {
        note_set(why, "the request's method is no word of RFC 9110");
        return 400;
    }
    if (strcmp(head->version, "HTTP/1.1") != 0 && strcmp(head->version, "HTTP/1.0") != 0) {
        note_set(why, "this server speaks HTTP/1.1 and HTTP/1.0");
        return 505;
    }
    size_t len = strlen(head->target);
    if (len > HTTP_TARGET_MAX) {
        note_set(why, "the request's address has %zu bytes; the limit is %d", len, HTTP_TARGET_MAX);
        return 414;
    }
    if (strcmp(head->target, "*") == 0 && strcmp(head->method, "OPTIONS") != 0) {
        note_set(why, "the address '*' is for OPTIONS only");
        return 400;
    }
    return 0;
}

static unsigned check_fields(const struct http_head *head, struct note *why)
{
    size_t bytes = 0;
    if (head->n_field > HTTP_FIELDS_MAX) {
        note_set(why, "the request has %u headers; the limit is %d", head->n_field,
                 HTTP_FIELDS_MAX);
        return 431;
    }
    for (uint32_t i = 0; i < head->n_field; i++) {
        const struct http_field *f = &head->field[i];
        bytes += strlen(f->name) + strlen(f->value);
        if (!is_token(f->name)) {
            note_set(why, "the name of header %u is no word of RFC 9110", i + 1);
            return 400;
        }
        if (control_in(f->value)) {
            note_set(why, "the value of header '%.64s' holds the control character 0x%02x", f->name,
                     control_in(f->value));
            return 400;
        }
    }
    if (bytes > HTTP_HEAD_MAX) {
        note_set(why, "the request's headers have %zu bytes; the limit is %d", bytes,
                 HTTP_HEAD_MAX);
        return 431;
    }
    return 0;
}

static unsigned check_host(const struct http_head *head, struct note *why)
{
    const char *host = NULL;
    uint32_t n = find(head, "Host", &host);
    bool old = strcmp(head->version, "HTTP/1.0") == 0;
    if (n > 1 || (n == 0 && !old)) {
        note_set(why, "the request has %u Host headers; HTTP/1.1 wants exactly one", n);
        return 400;
    }
    // RFC 3986 3.2: what a name, an address, a port may be made of. Empty is allowed.
    if (host && host[strspn(host, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "-._~!$&'()*+,;=:[]%")]) {
        note_set(why, "the request's Host is no host name");
        return 400;
    }
    return 0;
}

static unsigned check_coding(const struct http_head *head, struct note *why)
{
    const char *coding = NULL;
    uint32_t n = find(head, "Transfer-Encoding", &coding);
    if (n == 0)
        return 0;
    if (strcmp(head->version, "HTTP/1.0") == 0) {
        note_set(why, "HTTP/1.0 has no Transfer-Encoding");
        return 400;
    }
    if (n > 1) {
        note_set(why, "the request has %u Transfer-Encoding headers; one is allowed", n);
        return 400;
    }
    if (strcasecmp(coding, "chunked") != 0) {
        note_set(why, "the request's Transfer-Encoding is not 'chunked', the one known here");
        return 501;
    }
    return 0;
}

/* A number of digits alone, below 10^19. */
static bool read_length(const char *text, uint64_t *out)
{
    size_t len = strlen(text);
    uint64_t v = 0;
    if (len == 0 || len > 19 || text[strspn(text, "0123456789")])
        return false;
    for (const char *p = text; *p; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    *out = v;
    return true;
}

static unsigned check_length(const struct http_head *head, uint64_t body_bytes_max,
                             struct note *why)
{
    const char *length = NULL, *coding = NULL;
    uint64_t bytes = 0;
    uint32_t n = find(head, "Content-Length", &length);
    if (n == 0)
        return 0;
    if (n > 1 || find(head, "Transfer-Encoding", &coding)) {
        note_set(why, "the request tells the length of its body twice");
        return 400;
    }
    if (!read_length(length, &bytes)) {
        note_set(why, "the request's Content-Length is not a number of bytes");
        return 400;
    }
    if (bytes > body_bytes_max) {
        note_set(why, "the request's body has %llu bytes; the limit is %llu",
                 (unsigned long long)bytes, (unsigned long long)body_bytes_max);
        return 413;
    }
    return 0;
}

/* RFC 9110 8.4. Nothing is unpacked here: a small body could become a large one. */
static unsigned check_content(const struct http_head *head, struct note *why)
{
    const char *coding = NULL;
    if (!find(head, "Content-Encoding", &coding) || !*coding || strcasecmp(coding, "identity") == 0)
        return 0;
    note_set(why, "the Content-Encoding of the request's body is '%.64s'; send it as it is",
             coding);
    return 415;
}

static unsigned check_expect(const struct http_head *head, struct note *why)
{
    const char *expect = NULL;
    if (find(head, "Expect", &expect) && strcasecmp(expect, "100-continue") != 0) {
        note_set(why, "the request expects something else than '100-continue'");
        return 417;
    }
    return 0;
}

unsigned http_guard_head(const struct http_head *head, uint64_t body_bytes_max, struct note *why)
{
    unsigned status = check_line(head, why);
    if (!status)
        status = check_fields(head, why);
    if (!status)
        status = check_host(head, why);
    if (!status)
        status = check_coding(head, why);
    if (!status)
        status = check_length(head, body_bytes_max, why);
    if (!status)
        status = check_content(head, why);
    if (!status)
        status = check_expect(head, why);
    return status;
}
