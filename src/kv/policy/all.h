/* kv/policy/all.h - the policies that exist, one a file of this folder: a new one is a line here and in kv/policy.c. */
#ifndef KV_POLICY_ALL_H
#define KV_POLICY_ALL_H

#include "kv/policy.h"

extern const struct kv_policy kv_policy_window, kv_policy_random, kv_policy_h2o,
    kv_policy_h2o_chunked, kv_policy_snapkv, kv_policy_tova, kv_policy_keydiff, kv_policy_expected,
    kv_policy_auto, kv_policy_kvzip, kv_policy_epicache, kv_policy_quest, kv_policy_sentencekv;

#endif
