/* text/turns.h - a conversation's ids cut into what was said.
 *
 *   chat    <|im_start|>user\nHi.<|im_end|>\n | <|im_start|>assistant\nHello.<|im_end|>\n | <|im_start|>assistant\n
 *   text    User: Hi.\n | Assistant: Hello.\n | ..
 *
 * N1  Turns follow each other without a gap, and cover all ids.
 * N2  Of a chat (it has tokens that end turns) a turn is what ends with such a token, and white space behind it; what
 *     stands behind the last one is the header of the answer to come.
 * N3  Of a text a turn is a line with something in it, empty ones before the next included.
 * N4  One that is longer than TURN_LONG ids is cut behind sentences into turns of the same speech.
 *
 * Threads  any. */
#ifndef TEXT_TURNS_H
#define TEXT_TURNS_H

#include "text/vocab.h"

enum { TURN_LONG = 128 };

struct turn {
    uint32_t first, end; // ids [first, end)
    uint32_t speech;     // pieces of one message have the same number
    bool answers;        // begins as the answer to come will: the model said it
};

struct turns {
    struct turn *turn; // [n]
    uint32_t n, n_room;
    uint32_t
        header; // ids from here on are the header of the answer to come; all of them: there is none
    bool is_chat;
};

/* FULL: no memory. */
must_use enum status turns_cut(struct turns *out, const struct vocab *v, const int32_t *ids,
                               uint32_t n, struct note *why);
void turns_close(struct turns *t); // a zeroed one too

#endif
