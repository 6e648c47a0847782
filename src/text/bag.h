/* text/bag.h - a text as a bag of words, hashed into so many places.
 *
 *   "Booked two seats, booked!"  -->  book 2, two 1, seat 1  -->  count[hash(word) % BAG_PLACES] +- 1
 *
 * Words are runs of letters and digits, in lower case where they are ASCII, without the commonest English endings; a
 * character of a script that is written without spaces is a word. Deterministic: the same on every machine and in every
 * process.
 *
 * Source: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning" (the sign). Threads  any. */
#ifndef TEXT_BAG_H
#define TEXT_BAG_H

#include <stddef.h>
#include <stdint.h>

enum { BAG_PLACES = 4096 };

/* count [BAG_PLACES] += the words of the text. */
void bag_add(float *count, const char *text, size_t len);

#endif
