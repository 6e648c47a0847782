/* Any bytes as a KV policy with its options, and as a profile's file: read whole or refused with a note; a choice that
 * was read says of itself what reads the same, and a profile deals the whole budget. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "kv/keep.h"
#include "kv/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { LAYERS = 2, HEADS = 2, LISTS = LAYERS * HEADS, TEXT = 600 };

static const struct kv_shape SHAPE = {
    .type = KV_F16,
    .n_group = 1,
    .group = { { .n_layer = LAYERS, .n_kv_head = HEADS, .d_k = 8, .d_v = 8 } },
    .n_layer = LAYERS,
    .layer_index = { 0, 1 },
};

/* Whatever was chosen comes to rows that a keep can use. */
static void expect_dealt(const struct kv_choice *c, const struct kv_shares *shares)
{
    static const uint32_t whole[] = { 1, 64, 1000, 100000 };
    for (uint32_t i = 0; i < sizeof whole / sizeof *whole && c->policy->rank; i++) {
        uint32_t rows[LISTS];
        size_t most;
        kv_keep_deal(c, shares, &SHAPE, whole[i], whole[i], rows);
        for (uint32_t l = 0; l < LISTS; l++)
            assert(rows[l] <= whole[i]);
        assert(kv_keep_bytes(c, shares, &SHAPE, whole[i], whole[i], &most) == OK);
    }
}

static void read_choice(const char *text, const struct kv_shares *shares)
{
    struct kv_choice c, again;
    struct note why = { "" };
    char printed[TEXT];
    if (kv_choice_parse(&c, text, &why) != OK) {
        assert(why.text[0]);
        return;
    }
    assert(kv_choice_print(&c, printed, sizeof printed) < TEXT);
    assert(kv_choice_parse(&again, printed, &why) == OK);
    assert(again.policy == c.policy);
    assert(memcmp(&again.options, &c.options, sizeof c.options) == 0);
    expect_dealt(&c, shares);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const struct kv_shares_id id = { "ab", "f16" };
    char text[4096];
    struct kv_shares shares;
    struct kv_choice c;
    len = len < sizeof text ? len : sizeof text - 1;
    if (len)
        memcpy(text, bytes, len);
    text[len] = '\0';
    assert(kv_shares_open(&shares, LAYERS, HEADS) == OK);
    if (kv_shares_read(&shares, &id, text, len, NULL) == OK) {
        assert(kv_choice_of(&c, "auto", NULL) == OK);
        expect_dealt(&c, &shares);
    }
    read_choice(text, &shares);
    kv_shares_close(&shares);
    return 0;
}
