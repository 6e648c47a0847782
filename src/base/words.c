#include "base/words.h"

#include <string.h>

enum { WORD_MAX = 40 }; // longer words are not compared

bool word_next(const char **list, const char **word, size_t *len)
{
    const char *at = *list;
    if (!at || !*at)
        return false;
    *word = at;
    *len = strcspn(at, " ");
    *list = at + *len + (at[*len] == ' ');
    return true;
}

/* Levenshtein's distance: letters to insert, delete or replace. */
static unsigned distance(const char *a, size_t n, const char *b, size_t m)
{
    unsigned row[WORD_MAX + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned above = row[j];
            unsigned least = above < row[j - 1] ? above : row[j - 1];
            unsigned swap = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = least + 1 < swap ? least + 1 : swap;
            diagonal = above;
        }
    }
    return row[m];
}

/* One begins with the other, as --temp and --temperature do. */
static bool extends(const char *a, size_t n, const char *b, size_t m)
{
    size_t common = n < m ? n : m;
    return n != m && common >= 3 && strncmp(a, b, common) == 0;
}

void nearest_try(struct nearest *n, const char *word, size_t len)
{
    const char *typed = n->typed + strspn(n->typed, "-");
    size_t dashes = strspn(word, "-");
    const char *letters = word + dashes;
    size_t n_typed = strlen(typed), n_letter = len - dashes;
    bool is_short = dashes == 1; // -f is no more like -fa than any other flag is
    if (is_short || n_typed < 3 || n_typed > WORD_MAX || n_letter > WORD_MAX)
        return;
    unsigned d = extends(typed, n_typed, letters, n_letter)
                     ? 1
                     : distance(typed, n_typed, letters, n_letter);
    if (d > n_typed / 3 + 1 || d >= n_typed || (n->best && d >= n->distance))
        return;
    *n = (struct nearest){ .typed = n->typed, .best = word, .best_len = len, .distance = d };
}
