#include "api/logprobs.h"

#include <math.h>
#include <string.h>

#include "base/utf8.h"

/* No JSON number is -inf; OpenAI gives -9999 for what is as good as impossible. */
static void add_number(struct buf *out, float logprob)
{
    buf_addf(out, "%.9g", isfinite(logprob) ? (double)logprob : -9999.0);
}

void token_json(struct buf *out, const akv_model *model, int32_t id)
{
    size_t len;
    const char *bytes = akv_token_bytes(model, id, true, &len);
    if (utf8_valid(bytes, len)) {
        buf_add_json_text(out, bytes, len);
        return;
    }
    buf_add_text(out, "\"bytes:");
    for (size_t i = 0; i < len; i++)
        buf_addf(out, "\\\\x%02x", (unsigned char)bytes[i]);
    buf_add_byte(out, '"');
}

static void add_chat_token(struct buf *out, const akv_model *model, int32_t id, float logprob)
{
    size_t len;
    const char *bytes = akv_token_bytes(model, id, true, &len);
    buf_add_text(out, "{\"token\":");
    buf_add_json_text(out, bytes, len);
    buf_add_text(out, ",\"logprob\":");
    add_number(out, logprob);
    buf_add_text(out, ",\"bytes\":[");
    for (size_t i = 0; i < len; i++)
        buf_addf(out, "%s%u", i ? "," : "", (unsigned char)bytes[i]);
    buf_add_byte(out, ']');
}

void logprob_chat(struct buf *out, const akv_model *model, int32_t id, float logprob,
                  const struct akv_logprob *top, uint32_t n_top)
{
    add_chat_token(out, model, id, logprob);
    buf_add_text(out, ",\"top_logprobs\":[");
    for (uint32_t i = 0; i < n_top; i++) {
        buf_add_text(out, i ? "," : "");
        add_chat_token(out, model, top[i].id, top[i].logprob);
        buf_add_byte(out, '}');
    }
    buf_add_text(out, "]}");
}

static uint32_t n_char_of(const char *bytes, size_t len)
{
    uint32_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)bytes[i] & 0xc0) != 0x80;
    return n;
}

static bool same_text(const akv_model *model, int32_t a, int32_t b)
{
    size_t n, m;
    const char *x = akv_token_bytes(model, a, true, &n), *y = akv_token_bytes(model, b, true, &m);
    return n == m && memcmp(x, y, n) == 0;
}

/* {"text": logprob, ...}: the alternatives, and the token itself where it is none of them; no text twice. */
static void add_legacy_top(struct buf *out, const akv_model *model, int32_t id, float logprob,
                           const struct akv_logprob *top, uint32_t n_top)
{
    bool has_it = false;
    const size_t open = out->len + 1;
    buf_add_byte(out, '{');
    for (uint32_t i = 0; i < n_top; i++) {
        bool twice = false;
        for (uint32_t j = 0; j < i; j++)
            twice |= same_text(model, top[i].id, top[j].id);
        has_it |= same_text(model, top[i].id, id);
        if (twice)
            continue;
        buf_add_text(out, out->len > open ? "," : "");
        token_json(out, model, top[i].id);
        buf_add_byte(out, ':');
        add_number(out, top[i].logprob);
    }
    if (!has_it) {
        buf_add_text(out, out->len > open ? "," : "");
        token_json(out, model, id);
        buf_add_byte(out, ':');
        add_number(out, logprob);
    }
    buf_add_byte(out, '}');
}

void legacy_add(struct legacy_logprobs *l, const akv_model *model, int32_t id, float logprob,
                const struct akv_logprob *top, uint32_t n_top)
{
    const char *comma = l->n++ ? "," : "";
    size_t len;
    const char *bytes = akv_token_bytes(model, id, true, &len);
    buf_add_text(&l->tokens, comma);
    token_json(&l->tokens, model, id);
    buf_add_text(&l->logprobs, comma);
    buf_add_text(&l->top, comma);
    if (isnan(logprob)) {
        buf_add_text(&l->logprobs, "null");
        buf_add_text(&l->top, "null");
    } else {
        add_number(&l->logprobs, logprob);
        add_legacy_top(&l->top, model, id, logprob, top, n_top);
    }
    buf_addf(&l->offsets, "%s%u", comma, l->n_char);
    l->n_char += n_char_of(bytes, len);
}

void legacy_json(const struct legacy_logprobs *l, struct buf *out)
{
    buf_addf(out,
             "{\"tokens\":[%s],\"token_logprobs\":[%s],\"top_logprobs\":[%s],"
             "\"text_offset\":[%s]}",
             buf_text(&l->tokens), buf_text(&l->logprobs), buf_text(&l->top),
             buf_text(&l->offsets));
}

void legacy_clear(struct legacy_logprobs *l)
{
    buf_clear(&l->tokens);
    buf_clear(&l->logprobs);
    buf_clear(&l->top);
    buf_clear(&l->offsets);
    l->n = 0;
}

void legacy_close(struct legacy_logprobs *l)
{
    buf_close(&l->tokens);
    buf_close(&l->logprobs);
    buf_close(&l->top);
    buf_close(&l->offsets);
}
