#include "model/fingerprint.h"

#include <xxhash.h>

enum { SAMPLE = 64 }; // bytes from the middle of each tensor

/* Where the part's first tensor begins: metadata, names, types and places are before it. */
static size_t header_bytes(const struct gguf *g, uint32_t part, const char *base, size_t len)
{
    for (size_t i = 0; i < gguf_n_tensor(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        const size_t at = t->part == part ? (size_t)((const char *)t->data - base) : len;
        len = at < len ? at : len;
    }
    return len;
}

enum status fingerprint_of(struct kv_key *out, const struct gguf *g, struct note *why)
{
    uint64_t seed = 0;
    XXH128_hash_t h = { 0 };
    for (uint32_t part = 0; part < gguf_n_part(g); part++) {
        const void *base;
        size_t len;
        gguf_part_range(g, part, &base, &len);
        h = XXH3_128bits_withSeed(base, header_bytes(g, part, base, len), seed);
        seed = h.low64 ^ h.high64;
    }
    for (size_t i = 0; i < gguf_n_tensor(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        const size_t n = t->bytes < SAMPLE ? t->bytes : SAMPLE, at = (t->bytes - n) / 2;
        enum status st = gguf_fetch(g, t, at, n, why);
        if (st != OK)
            return st;
        h = XXH3_128bits_withSeed((const char *)t->data + at, n, seed);
        seed = h.low64 ^ h.high64;
    }
    *out = (struct kv_key){ h.low64, h.high64 };
    return OK;
}
