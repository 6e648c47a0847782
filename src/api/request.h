/* api/request.h - what is to be generated, whatever dialect asked: the one internal request.
 *
 *   chat        {"messages": [...]}           --template--> ids
 *   text        {"prompt": text | ids | lists of either} --> ids, one prompt each
 *   completion  llama-server's own            --> ids
 *
 * R1  What a request may say and we do not do yet is refused by name (501 or 400), never ignored (api/member.h M1).
 * R2  After request_read succeeded the JSON is not needed any more, and every akv_request of it passes the engine's
 *     checks, but for those that need its limits.
 *
 * Sources: OpenAI's chat and completion objects; the sampling extras of vLLM; llama-server's /completion.
 * Lifetime  opened by request_read, closed by request_close in any state. Threads  one at a time. */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include "akvifer.h"
#include "api/field.h"
#include "base/buf.h"

enum { PROMPTS_MAX = 256, STOPS_MAX = 64, BIAS_MAX = 1024 };

enum request_kind { REQUEST_CHAT, REQUEST_TEXT, REQUEST_LLAMA };

struct gen_request {
    enum request_kind kind;
    struct ids *prompt; // [n_prompt]
    uint32_t n_prompt;
    uint32_t *n_public; // [n_prompt] ids of each that everybody may share; NULL: none
    uint32_t n;         // answers to each prompt
    bool stream, include_usage, continuous_usage, echo, return_ids;
    bool want_logprobs;
    uint32_t n_top;          // alternatives to show beside each token
    int32_t ping_s;          // of silence in a stream; 0 or less: none
    struct akv_request like; // what every answer has in common; its arrays are ours
    char *salt, *kv_policy;
    char **stop;
    int32_t *stop_id, *bias_id;
    float *bias;
};

/* What a request means where it does not say. */
struct request_defaults {
    const akv_model *model;
    const char *name; // the served model's
    uint32_t n_vocab, n_ctx;
    uint32_t n_answer_max; // of one request, over all its prompts
    struct akv_sampling sampling;
    int32_t n_predict;  // -1: until the end
    int32_t ping_s;     // as in gen_request
    const char *tenant; // salts of requests begin with it
};

unsigned request_members(enum request_kind kind); // of enum member_in

/* False: *error says why. `body` is the request's JSON text. */
bool request_read(struct gen_request *r, enum request_kind kind, const json_t *body,
                  const struct request_defaults *by_default, struct api_error *error);
void request_close(struct gen_request *r);

/* Answer i of prompt p, ready to be submitted; `user` comes back with its events. */
struct akv_request request_of(const struct gen_request *r, uint32_t p, uint32_t i, void *user);

#endif
