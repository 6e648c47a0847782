/* os/tiles.h - the processor's tile registers (AMX), which a process must ask the system for before it uses them.
 *
 * Threads  any. Cost  one system call. Source: Linux, Documentation/arch/x86/xstate.rst. */
#ifndef OS_TILES_H
#define OS_TILES_H

#include <stdbool.h>

/* Whether all threads of this process may use them from now on; asking again is harmless. */
bool os_tiles_allowed(void);

#endif
