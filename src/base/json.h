/* base/json.h - JSON text read strictly, with an error that says where. Values are jansson's.
 *
 * RFC 8259, UTF-8, no key twice in one object, at most 2048 levels; \u0000 is a character like
 * others, so strings have a length (json_string_length). Threads  any. Cost  linear. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

/* One value, free it with json_decref. BAD_INPUT: where and what was wrong. FULL: no memory. */
must_use enum status json_from_text(json_t **out, const char *text, size_t len, struct note *why);

/* Appends the value as text without spaces; sets out->failed without memory. */
void json_to_text(const json_t *value, struct buf *out);

#endif
