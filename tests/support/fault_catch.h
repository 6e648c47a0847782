/* support/fault_catch.h - touches memory and says whether that was a fault (SIGSEGV, SIGBUS), and
 * survives it.
 *
 * Threads  one at a time: the handler is the process's, and is put back before returning. */
#ifndef SUPPORT_FAULT_CATCH_H
#define SUPPORT_FAULT_CATCH_H

#include <stdbool.h>

bool read_faults(const volatile char *at);
bool write_faults(volatile char *at); // writes back what it read, when it can

#endif
