/* os/pages.h - large pieces of plain memory straight from the system, and fetching and
 * letting go of file pages.
 *
 * Fresh pages are zero and cost nothing until touched; huge pages are asked for. Threads  any. */
#ifndef OS_PAGES_H
#define OS_PAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/note.h"
#include "base/status.h"

/* `what` names the use in the note when memory is refused. */
must_use enum status pages_new(void **out, size_t bytes, const char *what, struct note *why);
void pages_free(void *p, size_t bytes); // NULL is allowed

/* This range of a read-only file mapping is not read soon: its whole pages leave the process. Read again, they come
 * back, as a rule from the system's cache. */
void pages_forget(const void *p, size_t bytes);

/* Brings the pages of this range of a read-only mapping into memory. False, with errno: reading them would be a
 * SIGBUS. Where the kernel (before 5.14) cannot say so: true. */
bool pages_fetch(const void *p, size_t bytes);

size_t os_page_bytes(void); // bytes of a memory page

#endif
