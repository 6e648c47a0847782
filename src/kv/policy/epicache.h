/* kv/policy/epicache.h - the options of epicache, for who makes its episodes (engine/episodes.h). */
#ifndef KV_POLICY_EPICACHE_H
#define KV_POLICY_EPICACHE_H

#include "kv/policy.h"

enum epicache_embed { EPICACHE_TFIDF, EPICACHE_SELF, EPICACHE_MINILM };
enum epicache_embed_of { EPICACHE_TEXT, EPICACHE_ASKED };
enum epicache_support { EPICACHE_PAST, EPICACHE_ALL };
enum epicache_ranks { EPICACHE_MASS, EPICACHE_MASS_EXPECTED };
enum epicache_park { EPICACHE_OFF, EPICACHE_RAM };
enum epicache_route { EPICACHE_NEAREST, EPICACHE_RANDOM };

struct epicache_options {
    struct kv_common common;
    uint32_t n_episode; // 0: by silhouette
    uint32_t n_turn;    // of a segment
    uint32_t n_rep;     // segments that stand for an episode
    uint32_t ranks;     // enum epicache_ranks
    uint32_t embed;     // enum epicache_embed
    uint32_t embed_of;  // enum epicache_embed_of
    uint32_t support;   // enum epicache_support
    uint32_t route;     // enum epicache_route
    uint32_t park;      // enum epicache_park
    float embed_layer;  // part of the layers that embed=self reads
    float blur;         // part of its neighbours in a segment's vector
    float new_below;    // similarity; 0: no turn begins an episode of its own
    float stay;         // gain in similarity from which on a turn leaves its predecessor's episode
};

#endif
