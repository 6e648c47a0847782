/* model/fingerprint.h - names what KV depends on besides the ids, in 128 bits, without reading all weights: XXH3-128 of
 * the file's metadata, its tensors' names, types and places, and 64 bytes from the middle of each. */
#ifndef MODEL_FINGERPRINT_H
#define MODEL_FINGERPRINT_H

#include "gguf/gguf.h"
#include "kv/index.h"

/* To be asked before the weights are packed: it touches a page of each tensor, and packing lets them go. IO_ERROR: as
 * gguf_fetch. */
must_use enum status fingerprint_of(struct kv_key *out, const struct gguf *g, struct note *why);

#endif
