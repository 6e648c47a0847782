/* What stands before a replayed text: the instruction, and what the model's chat template writes between a user's words
 * and an answer, so that the text comes as the answer. And the probe. */
#include <jansson.h>
#include <string.h>

#include "engine/replay.h"
#include "model/chat_template.h"

static const char PROBE[] = "\n\n";
const char replay_repeat[] = "\n\nRepeat the previous context exactly.";
const char replay_essential[] =
    "\n\nList the essential facts of this conversation: names, dates, places, amounts, plans, "
    "preferences and decisions.";
static const char WORDS[] =
    "Hello"; // of the user: what stands behind them in the rendered text is wanted

/* Appends what stands behind the user's words once `chat` is rendered. */
static enum status add_rendered(struct buf *text, const struct chat_template *t, const json_t *chat)
{
    struct jinja_output out = { 0 };
    const enum status st = chat_template_render(t, chat, true, 0, &out, NULL);
    if (st != OK)
        return st;
    const char *at = strstr(buf_text(&out.text), WORDS);
    buf_add_text(text, at ? at + strlen(WORDS) : "");
    jinja_output_close(&out);
    return text->failed ? FULL : OK;
}

/* Appends what a conversation's template writes behind the last of its user's words; nothing without a template that
 * works. */
static enum status add_turn(struct buf *text, const struct gguf *file, const struct vocab *v)
{
    struct chat_template *t;
    enum status st = chat_template_new(&t, file, v, NULL, 0, NULL);
    if (st != OK)
        return st == FULL ? FULL : OK;
    json_t *chat = json_pack("{s:[{s:s,s:s}]}", "messages", "role", "user", "content", WORDS);
    st = chat ? add_rendered(text, t, chat) : FULL;
    json_decref(chat);
    chat_template_free(t);
    return st == FULL ? FULL : OK;
}

/* The text's tokens, as many as there is room for. */
static enum status encode(struct replay_prefix *out, const struct vocab *v, const char *text,
                          size_t len, struct note *why)
{
    struct ids ids = { 0 };
    const enum status st = vocab_encode(v, text, len, VOCAB_SPECIAL, &ids, why);
    if (st == OK) {
        out->n = ids.n < REPLAY_PREFIX_MAX ? (uint32_t)ids.n : REPLAY_PREFIX_MAX;
        if (out->n > 0)
            memcpy(out->id, ids.id, out->n * sizeof *out->id);
    }
    ids_close(&ids);
    return st;
}

enum status replay_prefix_make(struct replay_prefix *out, const char *instruction,
                               const struct gguf *file, const struct vocab *v, struct note *why)
{
    struct buf text = { 0 };
    buf_add_text(&text, instruction);
    enum status st = add_turn(&text, file, v);
    if (st == OK)
        st = encode(out, v, buf_text(&text), text.len, why);
    else
        note_set(why, "no memory for the instruction of a replay");
    buf_close(&text);
    return st;
}

enum status replay_probe_make(struct replay_prefix *out, const struct vocab *v, struct note *why)
{
    struct replay_prefix all = { .n = 0 };
    const enum status st = encode(&all, v, PROBE, strlen(PROBE), why);
    if (st != OK)
        return st;
    out->n = all.n > 0;
    out->id[0] = all.n > 0 ? all.id[all.n - 1] : 0;
    return OK;
}
