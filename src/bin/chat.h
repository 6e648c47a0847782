/* bin/chat.h - a conversation on a terminal: messages, streamed answers, and /commands.
 *
 *   read -> /command, or: say -> ids -> answer -> say -> remark -> read ...
 *
 * The KV of what was said before is found and reused, not computed again. An answer that was stopped stays part of the
 * conversation; one that failed is taken back with its question. */
#ifndef BIN_CHAT_H
#define BIN_CHAT_H

#include "akvifer.h"
#include "bin/engine_flags.h"

struct chat_setup {
    const struct engine_opened *opened;
    struct akv_request request; // what every turn has in common; the seed of turn i is seed + i
    const char *system;         // NULL: none
    const char *kv_type;
    bool raw; // the model continues text instead of answering
};

/* Until /exit or the end of input. Gives the exit status. */
int chat_run(const struct chat_setup *setup);

#endif
