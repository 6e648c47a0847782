/* llama-server's own /completion. */
#include <string.h>

#include "api/api.h"
#include "api/explain.h"
#include "api/job.h"

static const char *stop_type(enum akv_stop stop)
{
    switch (stop) {
    case AKV_STOP_END:
        return "eos";
    case AKV_STOP_TEXT:
        return "word";
    case AKV_STOP_LENGTH:
    case AKV_STOP_CONTEXT:
    case AKV_STOP_TIME:
        return "limit";
    default:
        return "none";
    }
}

static void add_timings(const struct akv_usage *u, struct buf *out)
{
    const double prompt_ms = (double)u->prompt_ns / 1e6, ms = (double)u->generate_ns / 1e6;
    const uint32_t n_read = u->n_prompt - u->n_cached;
    buf_addf(out,
             ",\"timings\":{\"cache_n\":%u,\"prompt_n\":%u,\"prompt_ms\":%.3f,"
             "\"prompt_per_token_ms\":%.3f,\"prompt_per_second\":%.3f,\"predicted_n\":%u,"
             "\"predicted_ms\":%.3f,\"predicted_per_token_ms\":%.3f,\"predicted_per_second\":%.3f}",
             u->n_cached, n_read, prompt_ms, n_read ? prompt_ms / n_read : 0,
             prompt_ms > 0 ? n_read * 1e3 / prompt_ms : 0, u->n_generated, ms,
             u->n_generated ? ms / u->n_generated : 0, ms > 0 ? u->n_generated * 1e3 / ms : 0);
}

static void add_tokens(const struct job *j, const struct choice *c, struct buf *out)
{
    buf_add_text(out, ",\"tokens\":[");
    for (size_t i = 0; j->request.return_ids && i < c->ids.n; i++)
        buf_addf(out, "%s%d", i ? "," : "", c->ids.id[i]);
    buf_add_byte(out, ']');
    if (j->request.want_logprobs)
        buf_addf(out, ",\"completion_probabilities\":[%s]", buf_text(&c->logprobs));
}

static void add_head(const struct job *j, const struct choice *c, bool stop, struct buf *out)
{
    buf_addf(out, "{\"index\":%u,\"content\":", c->index);
    buf_add_json_text(out, buf_text(&c->text), c->text.len);
    add_tokens(j, c, out);
    buf_addf(out, ",\"stop\":%s,\"id_slot\":-1", stop ? "true" : "false");
}

static void chunk(const struct job *j, const struct choice *c, struct buf *out)
{
    add_head(j, c, false, out);
    buf_add_byte(out, '}');
}

static const char *stopping_word(const struct job *j, const struct choice *c)
{
    return c->stop == AKV_STOP_TEXT ? j->request.like.stop[c->stop_text] : "";
}

static void end(const struct job *j, const struct choice *c, struct buf *out)
{
    const struct akv_usage *u = &c->usage;
    const char *word = stopping_word(j, c);
    add_head(j, c, true, out);
    buf_add_text(out, ",\"model\":");
    buf_add_json_text(out, j->api->name, strlen(j->api->name));
    buf_addf(out,
             ",\"tokens_predicted\":%u,\"tokens_evaluated\":%u,\"tokens_cached\":%u,"
             "\"truncated\":%s,\"stop_type\":\"%s\",\"stopping_word\":",
             u->n_generated, u->n_prompt, u->n_cached,
             c->stop == AKV_STOP_CONTEXT ? "true" : "false", stop_type(c->stop));
    buf_add_json_text(out, word, strlen(word));
    add_timings(u, out);
    cache_json(u, out);
    buf_add_byte(out, '}');
}

/* One prompt: its object; several: an array of them, as llama-server does. */
static void answer(const struct job *j, struct buf *out)
{
    buf_add_text(out, j->n_choice > 1 ? "[" : "");
    for (uint32_t i = 0; i < j->n_choice; i++) {
        buf_add_text(out, i ? "," : "");
        end(j, &j->choice[i], out);
    }
    buf_add_text(out, j->n_choice > 1 ? "]" : "");
}

const struct dialect llama_completion = {
    .id_prefix = "cmpl-",
    .chunk = chunk,
    .end = end,
    .answer = answer,
};
