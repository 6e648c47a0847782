/* Any bytes as a model file: its numbers and its vocabulary are read, or refused with a note that says why; so is
 * a sentence encoder, which then reads three ids. */
#include <assert.h>
#include <math.h>
#include <stdint.h>

#include "base/mem.h"
#include "model/encoder_in.h"
#include "model/model.h"
#include "model/rope.h"
#include "model/vocab_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void describe(const struct gguf *g)
{
    struct hparams h;
    const char *arch = NULL;
    struct note why = { "" };
    enum status st = model_describe(&h, &arch, g, &why);
    if (st != OK) {
        assert(why.text[0]);
        return;
    }
    assert(arch && h.n_layer > 0 && h.n_layer <= KV_LAYER_MAX);
    assert(h.n_head > 0 && h.n_kv_head > 0 && h.n_head % h.n_kv_head == 0);
    struct rope rope;
    float cs[2 * ROPE_PAIRS_MAX];
    rope_init(&rope, &h.rope, h.n_rot, NULL);
    rope_angles(&rope, h.n_ctx - 1, cs);
    for (uint32_t i = 0; i < 2 * rope.n_pair; i++)
        assert(isfinite(cs[i]));
    rope_init(&rope, &h.rope_local, h.n_rot, NULL);
    rope_angles(&rope, 1, cs);
    for (uint32_t i = 0; h.window && i < 2 * rope.n_pair; i++)
        assert(isfinite(cs[i]));
}

static void load_vocab(const struct gguf *g)
{
    struct vocab *v = NULL;
    struct ids ids = { 0 };
    struct note why = { "" };
    if (model_vocab_load(&v, g, &why) != OK) {
        assert(!v && why.text[0]);
        return;
    }
    if (vocab_encode(v, "Hello, w\xc3\xb6rld \xff", 15, VOCAB_BOS | VOCAB_SPECIAL, &ids, &why) ==
        OK) {
        for (size_t i = 0; i < ids.n; i++)
            assert(ids.id[i] >= 0 && (uint32_t)ids.id[i] < vocab_n_token(v));
    }
    ids_close(&ids);
    vocab_free(v);
}

static void load_encoder(const struct gguf *g)
{
    const struct kernels *kern[1];
    struct encoder_net net;
    struct note why = { "" };
    const uint32_t n = kernels_available(kern, 1);
    assert(n > 0);
    if (encoder_load(&net, g, kern[0], &why) != OK) {
        assert(why.text[0]);
        return;
    }
    const int32_t ids[] = { net.cls, 0, net.sep };
    float *sum = mem_new(net.n_embd, sizeof *sum);
    if (sum)
        encoder_run(&net, ids, 3, sum);
    mem_free(sum);
    encoder_unload(&net);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct gguf *g = NULL;
    struct note why = { "" };
    if (gguf_open_bytes(&g, bytes, len, &why) != OK)
        return 0;
    describe(g);
    load_vocab(g);
    load_encoder(g);
    gguf_close(g);
    return 0;
}
