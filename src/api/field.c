#include "api/field.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

/* Walks *names on, behind the next one that is there. */
static const json_t *next_found(const struct fields *f, const char **names, char found[64])
{
    for (const char *at = *names, *end; *at; at = *names) {
        end = strchrnul(at, '|');
        *names = *end ? end + 1 : end;
        const json_t *value = json_object_getn(f->object, at, (size_t)(end - at));
        if (!value || json_is_null(value))
            continue;
        memcpy(found, at, (size_t)(end - at));
        found[end - at] = '\0';
        return value;
    }
    return NULL;
}

const json_t *field_find(const struct fields *f, const char *names, char found[64])
{
    char name[64];
    return next_found(f, &names, found ? found : name);
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    default:
        return "true or false";
    }
}

bool field_whole(const json_t *v, int64_t *out)
{
    const double real = json_is_real(v) ? json_real_value(v) : 0.5;
    if (!json_is_integer(v) && !(fabs(real) < 9e15 && real == floor(real)))
        return false;
    *out = json_is_integer(v) ? json_integer_value(v) : (int64_t)real;
    return true;
}

static bool read_number(const struct fields *f, const struct member *m, const char *name,
                        const json_t *v, double *x)
{
    if (!json_is_number(v)) {
        api_error_set(f->error, API_BAD, name, "%s is %s; it must be a number", name, type_name(v));
        return false;
    }
    *x = json_number_value(v);
    if (*x >= m->least && *x <= m->most)
        return true;
    api_error_set(f->error, API_BAD, name, "%s is %g; it must be from %g to %g", name, *x, m->least,
                  m->most);
    return false;
}

static bool read_int(const struct fields *f, const struct member *m, const char *name,
                     const json_t *v, int64_t *x)
{
    if (!field_whole(v, x)) {
        api_error_set(f->error, API_BAD, name, "%s is %s; it must be an integer", name,
                      type_name(v));
        return false;
    }
    if (m->least >= m->most || (*x >= (int64_t)m->least && *x <= (int64_t)m->most))
        return true;
    api_error_set(f->error, API_BAD, name, "%s is %lld; it must be from %.0f to %.0f", name,
                  (long long)*x, m->least, m->most);
    return false;
}

double field_number(const struct fields *f, const char *names, double by_default)
{
    const struct member *m = member_of(names, f->in);
    const json_t *v;
    char name[64];
    double first = by_default, x;
    for (bool found = false; (v = next_found(f, &names, name)); found = true) {
        if (!read_number(f, m, name, v, &x))
            return by_default;
        first = found ? first : x;
    }
    return first;
}

int64_t field_int(const struct fields *f, const char *names, int64_t by_default)
{
    const struct member *m = member_of(names, f->in);
    const json_t *v;
    char name[64];
    int64_t first = by_default, x;
    for (bool found = false; (v = next_found(f, &names, name)); found = true) {
        if (!read_int(f, m, name, v, &x))
            return by_default;
        first = found ? first : x;
    }
    return first;
}

bool field_bool(const struct fields *f, const char *names, bool by_default)
{
    assert(member_of(names, f->in)->type == MEMBER_BOOL);
    char name[64];
    const json_t *v = field_find(f, names, name);
    if (v && !json_is_boolean(v))
        api_error_set(f->error, API_BAD, name, "%s is %s; it must be true or false", name,
                      type_name(v));
    return v && json_is_boolean(v) ? json_is_true(v) : by_default;
}

const char *field_text(const struct fields *f, const char *names, size_t *len)
{
    char name[64];
    const json_t *v = field_find(f, names, name);
    if (!v)
        return NULL;
    if (!json_is_string(v)) {
        api_error_set(f->error, API_BAD, name, "%s is %s; it must be a string", name, type_name(v));
        return NULL;
    }
    *len = json_string_length(v);
    return json_string_value(v);
}

/* A text without zero bytes, for those who take zero-terminated ones. */
static const char *plain_text(const struct fields *f, const char *name, const json_t *v)
{
    if (!json_is_string(v))
        api_error_set(f->error, API_BAD, name, "%s holds %s; it must hold strings", name,
                      type_name(v));
    else if (json_string_length(v) == 0 || strlen(json_string_value(v)) < json_string_length(v))
        api_error_set(f->error, API_BAD, name,
                      "%s holds an empty string, or one with a zero character", name);
    else
        return json_string_value(v);
    return NULL;
}

const char **field_texts(const struct fields *f, const char *names, uint32_t most, uint32_t *n)
{
    char name[64];
    const json_t *v = field_find(f, names, name);
    *n = 0;
    if (!v)
        return NULL;
    const size_t n_text = json_is_array(v) ? json_array_size(v) : 1;
    if (n_text > most) {
        api_error_set(f->error, API_BAD, name, "%s holds %zu strings; it may hold %u", name, n_text,
                      most);
        return NULL;
    }
    const char **text = mem_new(n_text, sizeof *text);
    if (!text) {
        api_error_set(f->error, API_BUSY, name, "no memory for %zu strings", n_text);
        return NULL;
    }
    for (size_t i = 0; i < n_text; i++) {
        text[i] = plain_text(f, name, json_is_array(v) ? json_array_get(v, i) : v);
        if (!text[i]) {
            mem_free(text);
            return NULL;
        }
    }
    *n = (uint32_t)n_text;
    return text;
}
