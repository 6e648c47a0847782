/* api/field.h - the fields of a JSON request, read by their rows of api/member.h.
 *
 *     struct fields f = { object, IN_CHAT, &error };
 *     temperature = field_number(&f, "temperature", 0.8);
 *     n = field_int(&f, "n", 1);
 *     if (error.kind) ...
 *
 * F1  Absent and null are the default. A value of another type or out of bounds is a 400 that names the field, the
 *     value and the bounds; the first one stays, and the reader answers the default.
 * F2  Names are tried in the order given, separated by bars ("max_completion_tokens|max_tokens"), as in the row.
 *     The first that is there counts; a number must be right under each of them.
 *
 * Lifetime  texts live as long as the object. Threads  any. */
#ifndef API_FIELD_H
#define API_FIELD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/error.h"
#include "api/member.h"

struct fields {
    const json_t *object;
    unsigned in; // of enum member_in: whose members these are
    struct api_error *error;
};

/* The value and, where `found` is not NULL, the name it had. NULL: absent or null. */
const json_t *field_find(const struct fields *f, const char *names, char found[64]);

/* 3 and 3.0 are whole numbers, as in JSON Schema; 3.5, 1e30 and "3" are none. */
bool field_whole(const json_t *value, int64_t *out);

double field_number(const struct fields *f, const char *names, double by_default);
int64_t field_int(const struct fields *f, const char *names, int64_t by_default);
bool field_bool(const struct fields *f, const char *names, bool by_default);
const char *field_text(const struct fields *f, const char *names, size_t *len); // NULL: absent

/* A text or an array of at most `most` texts, none empty: pointers into the object, *n of them. The caller frees the
 * array with mem_free. NULL and *n = 0: absent. */
const char **field_texts(const struct fields *f, const char *names, uint32_t most, uint32_t *n);

#endif
