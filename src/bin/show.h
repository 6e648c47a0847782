/* bin/show.h - amounts as people read them. */
#ifndef BIN_SHOW_H
#define BIN_SHOW_H

#include <stdint.h>

struct shown_amount {
    char text[24];
};

/* 98362432 -> "93.8 MiB"; below 1,024 "512 B". */
struct shown_amount show_bytes(uint64_t bytes);

/* 134515008 -> "134.5 M"; below 1,000 "512". */
struct shown_amount show_count(uint64_t n);

/* 75 -> "1:15", 3675 -> "1:01:15". */
struct shown_amount show_seconds(uint64_t seconds);

#endif
