/* support/temp_dir.h - a directory of the test's own, removed with all that is in it.
 *
 * Lifetime  from temp_dir_make to temp_dir_remove, which are setups and teardowns of cmocka; one at a
 *           time. Threads  one. */
#ifndef SUPPORT_TEMP_DIR_H
#define SUPPORT_TEMP_DIR_H

int temp_dir_make(void **state);
int temp_dir_remove(void **state);

const char *temp_dir(void);

/* The path of `name` in it; four paths are remembered. */
const char *in_dir(const char *name);

/* Writes a file, and the directories above it. */
void temp_dir_put(const char *name, const char *text);

#endif
