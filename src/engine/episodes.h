/* engine/episodes.h - what of a conversation's history a question reads: the topics of the history, and the one asked
 * about.
 *
 *   ids    [ turns of the history .............. | turns since .................. | question, header ]
 *          [ 0 .................... n_base       | skipped | kept | skipped | ..  |                  ]
 *          segments of it --embed, k-means--> episodes --nearest to the question--> one of them
 *          its cache: block by block, with its own text read over each (engine/replay.h)
 *
 * A conversation grows, and its episodes with it: they are made once the history is longer than the budget and a block,
 * of what there is then (n_base); each later turn goes to the nearest episode, whose cache it is appended to; when one
 * has grown by more than a block, all are made anew of all there is. A question that is far from every one begins its
 * own. All this is computed from the request's ids, so nothing need be remembered from one request to the next, and who
 * finds a cache of the same kept (engine/frozen.h) goes on from there.
 *
 * Z1  The same ids, choice and model give the same episodes, bit for bit: a cache found and one made anew are the same.
 * Z2  A text without turns, a given context, and a prompt whose rows are told: n_base is all of the history.
 * Z3  Models with windowed layers skip nothing: those layers have only their window's rows, and need them.
 *
 * Source: Kim et al. 2025, "EpiCache: Episodic KV Cache Management for Long Conversational Question Answering", stages
 * 1, 3.
 * Lifetime  of its request. Threads  built by the submitting thread, constant from then on.
 * Cost      of 8k tokens: some 0.2 s each time that episodes are made; with an encoder or hidden states
 *           seconds, once for each text. */
#ifndef ENGINE_EPISODES_H
#define ENGINE_EPISODES_H

#include "engine/embed.h"
#include "kv/keep.h"

struct episodes {
    uint32_t
        n_base; // positions that the episodes were made of; 0: nothing is dropped of what is read
    uint32_t n_episode, episode; // there are, and the question's
    float similarity;            // of the question to it
    int32_t *text;               // [n_text] its own: what stands for questions about it
    uint32_t n_text;
    struct stretch *skip; // [n_skip] positions of others, behind n_base: never read
    uint32_t n_skip;
};

/* What is asked. */
struct episodes_in {
    struct embed_from from;
    const struct kv_shape *shape;
    const struct kv_choice *choice; // of epicache
    const int32_t *ids;
    uint32_t n_prompt;
    uint32_t n_context;  // the history; 0: all but the last turn
    uint32_t n_question; // ids behind the context that are the question; 0: all
    bool once;           // Z2: no turn is skipped
};

/* BAD_INPUT: the choice asks for a sentence encoder, and there is none; the note says how to get one. */
must_use enum status episodes_check(const struct kv_choice *choice, const struct encoder *encoder,
                                    struct note *why);

/* FULL: no memory; BAD_INPUT as above; others are the encoder's (model/encoder.h). */
must_use enum status episodes_make(struct episodes *out, const struct episodes_in *in,
                                   struct note *why);
void episodes_close(struct episodes *e); // a zeroed one too

/* Most ids of an episode's text: no more than a block, so that what it takes beside the budget is bounded. */
uint32_t episodes_text_max(const struct kv_choice *choice);

#endif
