/* kv/shares.h - how a budget is dealt to the heads of a model: shares measured once, stored beside the model.
 *
 *     {"akvifer_profile": 1, "model": "<fingerprint>", "kv_type": "f16", "shares": {"5": [[..] a layer], "10": .., "20": .., "50": ..}}
 *
 * A share is a head's rows by the mean rows of a head, at a budget of so many percent; between two budgets it is
 * interpolated. Source: papers KVzip (2505.23416), AdaKV (2407.11550), DuoAttention (2410.10819); docs/POLICIES.md.
 * Lifetime  loaded at start, constant. */
#ifndef KV_SHARES_H
#define KV_SHARES_H

#include "base/note.h"
#include "base/status.h"
#include "kv/shape.h"

enum { KV_SHARES_BUDGETS = 4 };
extern const uint32_t kv_shares_percent[KV_SHARES_BUDGETS]; // 5, 10, 20, 50

struct kv_shares {
    uint32_t n_layer, n_kv_head;     // layers without a window, in order
    float *share[KV_SHARES_BUDGETS]; // [n_layer][n_kv_head]
};

/* rows [n_layer][n_kv_head]: what a budget of `budget` rows a head on average gives each, over n rows: between `least` and n,
 * all together n_layer * n_kv_head * budget, as near as whole rows allow. shares NULL: equal. */
void kv_shares_deal(const struct kv_shares *shares, uint32_t n_layer, uint32_t n_kv_head,
                    uint32_t budget, uint32_t n, uint32_t least, uint32_t *rows);

#endif
