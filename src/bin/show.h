/* bin/show.h - amounts as people read them, and names of strangers as a terminal may. */
#ifndef BIN_SHOW_H
#define BIN_SHOW_H

#include <stddef.h>
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

/* Puts '?' in place of every control character, in place: names come from files that strangers made,
 * and no byte of them may steer the terminal. */
void show_harmless(char *text, size_t len);

/* A line to standard error about a file: "akvifer: PATH: what is odd". */
void show_warning(const char *path, const char *text);

#endif
