#include "model/recall.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

struct recall_trace {
    struct recall_key key;
    bool there;
};

enum status recall_open(struct recall *r, uint32_t dim, struct note *why)
{
    *r = (struct recall){
        .dim = dim,
        .trace = mem_new(RECALL_PLACES, sizeof *r->trace),
        .vector = mem_new((size_t)RECALL_PLACES * dim, sizeof *r->vector),
    };
    if (r->trace && r->vector)
        return OK;
    note_set(why, "no memory for %d vectors", RECALL_PLACES);
    recall_close(r);
    return FULL;
}

void recall_close(struct recall *r)
{
    mem_free(r->trace);
    mem_free(r->vector);
    *r = (struct recall){ 0 };
}

static uint64_t half_of(uint64_t seed, const char *salt, const void *bytes, size_t len)
{
    return hash_bytes(hash_bytes(seed, salt, strlen(salt)), bytes, len);
}

struct recall_key recall_key_of(const char *salt, uint32_t of, const void *bytes, size_t len)
{
    const uint64_t seed = hash_u64(hash_seed(), of);
    return (
        struct recall_key){ { half_of(seed, salt, bytes, len), half_of(~seed, salt, bytes, len) } };
}

static uint32_t place_of(struct recall_key key)
{
    return hash_place(key.hash[0], RECALL_PLACES);
}

bool recall_find(const struct recall *r, struct recall_key key, float *vector)
{
    const uint32_t at = place_of(key);
    if (!r->trace[at].there || memcmp(&r->trace[at].key, &key, sizeof key) != 0)
        return false;
    memcpy(vector, r->vector + (size_t)at * r->dim, r->dim * sizeof *vector);
    return true;
}

void recall_put(struct recall *r, struct recall_key key, const float *vector)
{
    const uint32_t at = place_of(key);
    memcpy(r->vector + (size_t)at * r->dim, vector, r->dim * sizeof *vector);
    r->trace[at] = (struct recall_trace){ .key = key, .there = true };
}
