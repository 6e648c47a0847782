#include "kv/block_set.h"

#include <assert.h>

#include "base/mem.h"

enum { RUN_WORDS = 256, RUN_ENOUGH = 64 };

static uint32_t word_count(const struct block_set *s)
{
    return (s->n_max + 63) / 64;
}

enum status block_set_open(struct block_set *s, uint32_t n_max)
{
    *s = (struct block_set){ .n_max = n_max };
    s->bits = mem_new(word_count(s), sizeof *s->bits);
    return s->bits ? OK : FULL;
}

void block_set_close(struct block_set *s)
{
    mem_free(s->bits);
    *s = (struct block_set){ 0 };
}

bool block_set_has(const struct block_set *s, uint32_t i)
{
    return i < s->n_max && (s->bits[i / 64] >> i % 64 & 1);
}

void block_set_add(struct block_set *s, uint32_t i)
{
    assert(i < s->n_max);
    assert(!block_set_has(s, i));
    s->bits[i / 64] |= 1ull << i % 64;
    s->n++;
}

void block_set_remove(struct block_set *s, uint32_t i)
{
    assert(block_set_has(s, i));
    s->bits[i / 64] &= ~(1ull << i % 64);
    s->n--;
}

/* The run that starts at block i, which is in the set. */
static struct block_run run_at(const struct block_set *s, uint32_t i)
{
    struct block_run run = { .first = i };
    uint32_t n_word = word_count(s);
    for (uint32_t w = i / 64, bit = i % 64; w < n_word; w++, bit = 0) {
        uint64_t absent = ~s->bits[w] >> bit;
        uint32_t n = absent ? (uint32_t)__builtin_ctzll(absent) : 64 - bit;
        run.n += n;
        if (n < 64 - bit || run.n >= RUN_ENOUGH)
            break;
    }
    return run;
}

/* The longest run that starts in word w; one that began before it counts from the word on. */
static struct block_run run_in_word(const struct block_set *s, uint32_t w)
{
    struct block_run best = { 0 };
    uint64_t left = s->bits[w];
    while (left) {
        uint32_t bit = (uint32_t)__builtin_ctzll(left);
        struct block_run run = run_at(s, w * 64 + bit);
        if (run.n > best.n)
            best = run;
        if (run.n >= 64 - bit)
            break;
        left &= ~0ull << (bit + run.n);
    }
    return best;
}

struct block_run block_set_run(struct block_set *s)
{
    struct block_run best = { 0 };
    uint32_t n_word = word_count(s), n_look = 0;
    if (s->n == 0)
        return best;
    while (n_look < n_word && best.n < RUN_ENOUGH && (n_look < RUN_WORDS || best.n == 0)) {
        if (s->word >= n_word)
            s->word = 0;
        struct block_run run = run_in_word(s, s->word);
        if (run.n > best.n)
            best = run;
        s->word++;
        n_look++;
    }
    s->word = best.first / 64; // the next search finds the rest of this run first
    return best;
}

uint32_t block_set_any(struct block_set *s)
{
    const uint32_t n_word = word_count(s);
    assert(s->n > 0);
    if (s->word >= n_word)
        s->word = 0;
    while (!s->bits[s->word])
        s->word = s->word + 1 < n_word ? s->word + 1 : 0;
    return s->word * 64 + (uint32_t)__builtin_ctzll(s->bits[s->word]);
}
