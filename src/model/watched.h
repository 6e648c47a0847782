/* model/watched.h - the kernels as ThreadSanitizer sees them.
 *
 *   pass, attend ---> watched table ---> the processor's table
 *                       | says what the call reads and writes, range by range, as the contracts have it
 *                       '-> ThreadSanitizer's shadow
 *
 * Under SAN=thread the loops of kernels/{ref,avx2,avx512,amx} are compiled without instrumentation: one by one, their
 * loads and stores make a step of a real model thirty times slower, and say no more than the ranges do. A
 * race between two kernels, or a kernel and a caller, is reported at the kernels' boundary, where threads split
 * the work. In every other build this is nothing.
 *
 * Threads  any. One table at a time is watched: the last one asked for, which all models of the process then
 * run. All tables give the same bits. */
#ifndef MODEL_WATCHED_H
#define MODEL_WATCHED_H

#include "kernels/kernels.h"

#ifdef __SANITIZE_THREAD__
const struct kernels *kernels_watched(const struct kernels *real);
#else
static inline const struct kernels *kernels_watched(const struct kernels *real)
{
    return real;
}
#endif

#endif
