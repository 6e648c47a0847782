#include "http/target.h"

#include <string.h>

#include "base/utf8.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* What RFC 3986 lets stand as it is in a path or query; '%' is looked at elsewhere. Some clients leave
 * the brackets, bars and quotes of JSON alone, so these may stand too. */
static bool may_stand(char c)
{
    return c > ' ' && c < 0x7f && c != '#' && c != '<' && c != '>' && c != '\\';
}

/* Appends what [s, end) means. Plus: '+' is a space. */
static enum status add_decoded(struct buf *out, const char *s, const char *end, bool plus,
                               struct note *why)
{
    while (s < end) {
        char c = *s++;
        if (c == '%') {
            int high = end - s >= 2 ? hex_value(s[0]) : -1;
            int low = high >= 0 ? hex_value(s[1]) : -1;
            if (low < 0 || (high == 0 && low == 0)) {
                note_set(why,
                         "the request's address holds '%%%.*s': '%%' stands before two "
                         "hexadecimal digits, and not before 00",
                         (int)(end - s < 2 ? end - s : 2), s);
                return BAD_INPUT;
            }
            c = (char)(high * 16 + low);
            s += 2;
        } else if (!may_stand(c)) {
            note_set(why,
                     "the request's address holds the byte 0x%02x, which must be "
                     "percent-encoded",
                     (unsigned char)c);
            return BAD_INPUT;
        } else if (plus && c == '+') {
            c = ' ';
        }
        buf_add_byte(out, c);
    }
    buf_add_byte(out, 0);
    return out->failed ? FULL : OK;
}

/* RFC 9112 3.2.2: a server has to take "http://host/path" as well. */
static const char *behind_authority(const char *target)
{
    static const char *const scheme[] = { "http://", "https://" };
    for (int i = 0; i < 2; i++) {
        size_t len = strlen(scheme[i]);
        if (strncasecmp(target, scheme[i], len) == 0)
            return target + len + strcspn(target + len, "/?");
    }
    return target;
}

static bool has_dot_segment(const char *path)
{
    for (const char *s = path; *s == '/'; s += 1 + strcspn(s + 1, "/")) {
        size_t len = strcspn(s + 1, "/");
        if ((len == 1 && s[1] == '.') || (len == 2 && s[1] == '.' && s[2] == '.'))
            return true;
    }
    return false;
}

static enum status check_path(const char *path, struct note *why)
{
    if (path[0] != '/' && strcmp(path, "*") != 0) {
        note_set(why, "the request's address must start with '/'");
        return BAD_INPUT;
    }
    if (!utf8_valid(path, strlen(path))) {
        note_set(why, "the request's path is not valid UTF-8");
        return BAD_INPUT;
    }
    for (const char *s = path; *s; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f) {
            note_set(why, "the request's path holds the control character 0x%02x", *s);
            return BAD_INPUT;
        }
    }
    if (has_dot_segment(path)) {
        note_set(why, "the request's path holds a segment '.' or '..'");
        return BAD_INPUT;
    }
    return OK;
}

static enum status add_pair(struct http_target *t, const char *s, const char *end, struct note *why)
{
    if (t->n_query == HTTP_QUERY_MAX) {
        note_set(why, "the request's query has more than %d parameters", HTTP_QUERY_MAX);
        return BAD_INPUT;
    }
    const char *equals = memchr(s, '=', (size_t)(end - s));
    t->name_at[t->n_query] = (uint32_t)t->text.len;
    enum status st = add_decoded(&t->text, s, equals ? equals : end, true, why);
    if (st != OK)
        return st;
    t->value_at[t->n_query] = (uint32_t)t->text.len;
    t->n_query++;
    return add_decoded(&t->text, equals ? equals + 1 : end, end, true, why);
}

enum status http_target_open(struct http_target *t, const char *target, struct note *why)
{
    *t = (struct http_target){ .n_query = 0 };
    const char *path = behind_authority(target);
    const char *s = path + strcspn(path, "?");
    enum status st = OK;
    if (path == s && path != target)
        buf_add(&t->text, "/", 2); // "http://host" means its root
    else
        st = add_decoded(&t->text, path, s, false, why);
    if (st == OK)
        st = t->text.failed ? FULL : check_path(http_target_path(t), why);
    while (st == OK && *s) {
        const char *end = s + 1 + strcspn(s + 1, "&");
        if (end > s + 1)
            st = add_pair(t, s + 1, end, why);
        s = end;
    }
    return st;
}

void http_target_close(struct http_target *t)
{
    buf_close(&t->text);
    t->n_query = 0;
}

const char *http_target_path(const struct http_target *t)
{
    return buf_text(&t->text);
}

const char *http_target_query(const struct http_target *t, const char *name)
{
    for (uint32_t i = 0; i < t->n_query; i++) {
        if (strcmp(t->text.bytes + t->name_at[i], name) == 0)
            return t->text.bytes + t->value_at[i];
    }
    return NULL;
}
