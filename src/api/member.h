/* api/member.h - every member of a request's JSON that this server knows: it is read by its row, and shown by it.
 *
 *   row ---> field_number, field_int, ...   its type, its bounds, the words of a 400         (api/field.h)
 *       ---> members_refuse                 501, where it asks for what is not there yet     (api/request.c)
 *       ---> GET /openapi.json              name, type, bounds, sentence                     (api/openapi.c)
 *
 * M1  A member without a row is ignored: it means something to another server. One with a row is honoured, refused, or
 *     its sentence says why it changes nothing.
 *
 * Sources: OpenAI's chat and completion objects, the extras of vLLM, llama-server's schema of /completion.
 * Lifetime  constant. Threads  any. Cost  a lookup walks the table. */
#ifndef API_MEMBER_H
#define API_MEMBER_H

#include <jansson.h>
#include <stddef.h>

#include "api/error.h"

enum member_type {
    MEMBER_NUMBER,
    MEMBER_INT,
    MEMBER_BOOL,
    MEMBER_TEXT,
    MEMBER_OTHER,  // `schema` says what it may be
    MEMBER_ABSENT, // not there yet: refused, unless it is off
    MEMBER_IDLE,   // understood, and changes nothing: `help` says why
};

/* What a row is a member of. */
enum member_in {
    IN_CHAT = 1,
    IN_TEXT = 2,  // OpenAI's completions
    IN_LLAMA = 4, // llama-server's
    IN_GENERATE = IN_CHAT | IN_TEXT | IN_LLAMA,
    IN_STREAM_OPTIONS = 8,
    IN_TOKENIZE = 16,
    IN_DETOKENIZE = 32,
    IN_TEMPLATE = 64,
};

struct member {
    const char *names; // "a|b": the first that is there counts
    enum member_type type;
    unsigned in;        // of enum member_in
    double least, most; // of numbers; equal: no bounds but the type's
    const char
        *schema;      // OTHER: JSON Schema, with {n_vocab} for the largest id, {model} for its name
    const char *off;  // ABSENT: one more value that asks for nothing, as JSON text
    bool needed;      // 400 without it
    bool zero_asks;   // ABSENT: 0 asks for something
    const char *help; // a sentence
};

extern const struct member members[];
extern const size_t n_member;

/* The row of these names in such an object; there is one. */
const struct member *member_of(const char *names, unsigned in);

/* Refuses what is not there yet: null, false, 0, "", [] and the row's own `off` ask for nothing. */
void members_refuse(const json_t *object, unsigned in, struct api_error *error);

#endif
