#include "bin/conversation.h"

#include <string.h>

#include "base/mem.h"

void conversation_close(struct conversation *c)
{
    buf_close(&c->body);
}

void conversation_say(struct conversation *c, const char *role, const char *text, size_t len)
{
    struct buf *body = &c->body;
    if (c->raw) {
        if (body->len > 0 && body->bytes[body->len - 1] != '\n' && strcmp(role, "user") == 0)
            buf_add_byte(body, '\n');
        buf_add(body, text, len);
        return;
    }
    buf_addf(body, "%s{\"role\": \"%s\", \"content\": ", body->len ? ", " : "", role);
    buf_add_json_text(body, text, len);
    buf_add_byte(body, '}');
}

void conversation_cut(struct conversation *c, size_t mark)
{
    c->body.failed = false;
    if (c->body.len <= mark)
        return;
    c->body.len = mark;
    c->body.bytes[mark] = 0;
}

static enum akv_status encode(const struct conversation *c, const akv_model *model,
                              const struct buf *text, int32_t *id, size_t *n, struct akv_note *why)
{
    if (c->raw)
        return akv_tokenize(model, text->bytes, text->len, false, true, id, n, why);
    return akv_render_chat(model, text->bytes, text->len, id, n, why);
}

enum status conversation_ids(const struct conversation *c, const akv_model *model, struct ids *out,
                             struct note *why)
{
    struct akv_note said = { "" };
    struct buf text = { 0 };
    buf_addf(&text, c->raw ? "" : "{\"messages\": [");
    buf_add(&text, buf_text(&c->body), c->body.len);
    buf_add_text(&text, c->raw ? "" : "]}");
    if (text.failed || c->body.failed) {
        note_set(why, "no memory for a conversation of %zu bytes", c->body.len);
        buf_close(&text);
        return FULL;
    }

    size_t room = text.len / 2 + 256, n = room;
    int32_t *id = mem_new(n, sizeof *id);
    enum akv_status st = id ? encode(c, model, &text, id, &n, &said) : AKV_FULL;
    if (st == AKV_FULL && n > room) { // now it is known how many there are
        mem_free(id);
        id = mem_new(n, sizeof *id);
        st = id ? encode(c, model, &text, id, &n, &said) : AKV_FULL;
    }
    if (st == AKV_OK)
        ids_add_all(out, id, n);
    else
        note_set(why, "%s", id ? said.text : "no memory for the ids of a conversation");
    mem_free(id);
    buf_close(&text);
    return (enum status)st;
}
