/* OpenAI's two dialects: chat.completion and text_completion, whole or as chunks. */
#include <string.h>

#include "api/api.h"
#include "api/explain.h"
#include "api/job.h"

/* ---- what both have ---- */

static void add_head(const struct job *j, const char *object, struct buf *out)
{
    buf_addf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", j->id, object,
             j->created);
    buf_add_json_text(out, j->api->name, strlen(j->api->name));
    buf_addf(out, ",\"system_fingerprint\":\"akvifer-%s\"", akv_version());
}

static void add_usage(const struct job *j, struct buf *out)
{
    const struct akv_usage u = job_usage(j);
    buf_addf(out,
             "{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%u,"
             "\"prompt_tokens_details\":{\"cached_tokens\":%u},"
             "\"completion_tokens_details\":{\"reasoning_tokens\":0}}",
             u.n_prompt, u.n_generated, u.n_prompt + u.n_generated, u.n_cached);
}

static void add_ids(const struct job *j, const struct choice *c, struct buf *out)
{
    if (!j->request.return_ids)
        return;
    buf_add_text(out, ",\"token_ids\":[");
    for (size_t i = 0; i < c->ids.n; i++)
        buf_addf(out, "%s%d", i ? "," : "", c->ids.id[i]);
    buf_add_byte(out, ']');
}

static bool is_asked_for(const struct akv_request *r, int32_t id)
{
    for (uint32_t i = 0; i < r->n_stop_id; i++) {
        if (r->stop_id[i] == id)
            return true;
    }
    return false;
}

/* As vLLM: the stop text or the id of stop_token_ids that was met, null where the model ended. Ours are "context" and
 * "time": finish_reason has but one word for all that cuts an answer. */
static void add_stop_reason(const struct job *j, const struct choice *c, struct buf *out)
{
    const struct akv_request *r = &j->request.like;
    const char *text = c->stop == AKV_STOP_TEXT      ? r->stop[c->stop_text]
                       : c->stop == AKV_STOP_CONTEXT ? "context"
                       : c->stop == AKV_STOP_TIME    ? "time"
                                                     : NULL;
    buf_add_text(out, ",\"stop_reason\":");
    if (text)
        buf_add_json_text(out, text, strlen(text));
    else if (c->stop == AKV_STOP_END && is_asked_for(r, c->stop_id))
        buf_addf(out, "%d", c->stop_id);
    else
        buf_add_text(out, "null");
}

/* Why it ended, its ids, and the end of the choice. */
static void add_finish(const struct job *j, const struct choice *c, struct buf *out)
{
    if (c->done) {
        buf_addf(out, ",\"finish_reason\":\"%s\"", job_finish_reason(c->stop));
        add_stop_reason(j, c, out);
    } else {
        buf_add_text(out, ",\"finish_reason\":null");
    }
    add_ids(j, c, out);
    buf_add_byte(out, '}');
}

/* usage: null in all chunks but the last, where usage was asked for; vLLM can repeat it in each. What became of the KV
 * is told in the very last chunk, whichever that is. */
static void add_chunk_end(const struct job *j, struct buf *out)
{
    if (j->request.continuous_usage) {
        buf_add_text(out, "],\"usage\":");
        add_usage(j, out);
    } else {
        buf_add_text(out, j->request.include_usage ? "],\"usage\":null" : "]");
    }
    if (!j->request.include_usage && j->n_done == j->n_choice)
        cache_json(&j->choice[0].usage, out);
    buf_add_byte(out, '}');
}

static void usage_chunk(const struct job *j, const char *object, struct buf *out)
{
    add_head(j, object, out);
    buf_add_text(out, ",\"choices\":[],\"usage\":");
    add_usage(j, out);
    cache_json(&j->choice[0].usage, out);
    buf_add_byte(out, '}');
}

typedef void add_choice(const struct job *j, const struct choice *c, struct buf *out);

static void whole_answer(const struct job *j, const char *object, add_choice *add, struct buf *out)
{
    add_head(j, object, out);
    buf_add_text(out, ",\"choices\":[");
    for (uint32_t i = 0; i < j->n_choice; i++) {
        buf_add_text(out, i ? "," : "");
        add(j, &j->choice[i], out);
    }
    buf_add_text(out, "],\"usage\":");
    add_usage(j, out);
    cache_json(&j->choice[0].usage, out);
    buf_add_byte(out, '}');
}

/* ---- chat ---- */

static void add_chat_logprobs(const struct job *j, const struct choice *c, struct buf *out)
{
    if (j->request.want_logprobs)
        buf_addf(out, ",\"logprobs\":{\"content\":[%s],\"refusal\":null}", buf_text(&c->logprobs));
    else
        buf_add_text(out, ",\"logprobs\":null");
}

static void chat_chunk_of(const struct job *j, const struct choice *c, const char *delta_begin,
                          const struct buf *text, struct buf *out)
{
    add_head(j, "chat.completion.chunk", out);
    buf_addf(out, ",\"choices\":[{\"index\":%u,\"delta\":{%s", c->index, delta_begin);
    if (text) {
        buf_add_text(out, "\"content\":");
        buf_add_json_text(out, buf_text(text), text->len);
    }
    buf_add_byte(out, '}');
    add_chat_logprobs(j, c, out);
    add_finish(j, c, out);
    add_chunk_end(j, out);
}

static void chat_begin(const struct job *j, const struct choice *c, struct buf *out)
{
    const struct buf none = { 0 };
    chat_chunk_of(j, c, "\"role\":\"assistant\",", &none, out);
}

static void chat_chunk(const struct job *j, const struct choice *c, struct buf *out)
{
    chat_chunk_of(j, c, "", &c->text, out);
}

static void chat_end(const struct job *j, const struct choice *c, struct buf *out)
{
    chat_chunk_of(j, c, "", c->text.len ? &c->text : NULL, out);
}

static void chat_usage(const struct job *j, struct buf *out)
{
    usage_chunk(j, "chat.completion.chunk", out);
}

static void add_chat_choice(const struct job *j, const struct choice *c, struct buf *out)
{
    buf_addf(out, "{\"index\":%u,\"message\":{\"role\":\"assistant\",\"content\":", c->index);
    buf_add_json_text(out, buf_text(&c->text), c->text.len);
    buf_add_text(out, ",\"refusal\":null}");
    add_chat_logprobs(j, c, out);
    add_finish(j, c, out);
}

static void chat_answer(const struct job *j, struct buf *out)
{
    whole_answer(j, "chat.completion", add_chat_choice, out);
}

const struct dialect openai_chat = {
    .id_prefix = "chatcmpl-",
    .begin = chat_begin,
    .chunk = chat_chunk,
    .end = chat_end,
    .usage = chat_usage,
    .answer = chat_answer,
    .last = "[DONE]",
};

/* ---- text ---- */

static void add_text_choice(const struct job *j, const struct choice *c, struct buf *out)
{
    buf_addf(out, "{\"index\":%u,\"text\":", c->index);
    buf_add_json_text(out, buf_text(&c->text), c->text.len);
    buf_add_text(out, ",\"logprobs\":");
    if (j->request.want_logprobs)
        legacy_json(&c->legacy, out);
    else
        buf_add_text(out, "null");
    add_finish(j, c, out);
}

static void text_chunk(const struct job *j, const struct choice *c, struct buf *out)
{
    add_head(j, "text_completion", out);
    buf_add_text(out, ",\"choices\":[");
    add_text_choice(j, c, out);
    add_chunk_end(j, out);
}

static void text_usage(const struct job *j, struct buf *out)
{
    usage_chunk(j, "text_completion", out);
}

static void text_answer(const struct job *j, struct buf *out)
{
    whole_answer(j, "text_completion", add_text_choice, out);
}

const struct dialect openai_text = {
    .id_prefix = "cmpl-",
    .chunk = text_chunk,
    .end = text_chunk,
    .usage = text_usage,
    .answer = text_answer,
    .last = "[DONE]",
};
