/* support/count_maps.h - how many mappings a process has, to see that none is left behind. */
#ifndef SUPPORT_COUNT_MAPS_H
#define SUPPORT_COUNT_MAPS_H

#include <stdint.h>

/* All mappings of this process; in a sanitized build those of a KV pool's file alone, since a
 * sanitizer's allocator and thread stacks come and go by themselves. */
uint32_t count_maps(void);

#endif
