/* engine/pace.h - how many rows of prompts a step carries while answers stream.
 *
 *     a step takes    answer_ns + n * row_ns                   n rows of prompts beside the answers' rows
 *     it may take     stretch * answer_ns                      so n = (stretch - 1) * answer_ns / row_ns
 *
 * Whoever reads an answer waits for whole steps, so a long prompt beside it is read in pieces that make no step longer
 * than `stretch` times one without prompts. Both times are measured as steps go by: row_ns by every step with prompts,
 * answer_ns by those that carry one row of them at most. Such steps come by themselves, and are made where the number
 * of answers has changed, or prompts never end: then less and less often, down to one in 32.
 *
 * T1  No row only in a step that measures, and the caller gives one where its oldest reads a prompt: that one always
 *     goes on. Without answers, or with stretch 0: as many as there is room for.
 * T2  A wrong measurement costs little: n at most doubles from one step with prompts to the next.
 * T3  A disturbed measurement starves nobody: where only one row fits, which measures no rows, their time is believed a
 *     little less with every step, until two are tried again.
 *
 * Pure: it knows neither the engine nor a clock. What it decides changes when rows are computed, never their bits. */
#ifndef ENGINE_PACE_H
#define ENGINE_PACE_H

#include <stdint.h>

struct pace {
    double stretch;           // 0: no bound
    double answer_ns, row_ns; // 0: not measured yet
    uint32_t n_answer;        // answer_ns is that of so many,
    uint32_t n_measured;      //   measured so often,
    uint32_t n_since;         //   the last time so many steps with prompts ago
    uint32_t n_last;          // rows of prompts in the last of them
};

/* Rows of prompts, up to `most`, for a step with so many answers. */
uint32_t pace_rows(const struct pace *p, uint32_t n_answer, uint32_t most);

/* A step with so many rows of either kind took ns. */
void pace_measured(struct pace *p, uint32_t n_answer, uint32_t n_prompt, uint64_t ns);

#endif
