/* base/status.h - what a call may answer, sorted by what the caller can do about it.
 *
 *   OK         done
 *   FULL       no room (memory, blocks, a queue): nothing changed; wait, free something or shed
 *   NOT_FOUND  it is not there: recompute it, or tell who asked
 *   BAD_INPUT  the request, file or flag is wrong: tell the user; a retry gives the same
 *   CANCELED   somebody asked for it to stop
 *   IO_ERROR   the system refused: the note holds the errno's words
 *   CORRUPT    bytes are not what was written: distrust all of that source
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

enum status { OK = 0, FULL, NOT_FOUND, BAD_INPUT, CANCELED, IO_ERROR, CORRUPT };

#define must_use __attribute__((warn_unused_result))

#endif
