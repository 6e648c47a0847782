#include "api/prompt.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

/* ---- text ---- */

static bool room_for(struct ids *out, size_t n, struct api_error *error)
{
    int32_t *id = mem_resize(out->id, n ? n : 1, sizeof *id);
    if (!id) {
        api_error_set(error, API_BUSY, NULL, "no memory for %zu tokens", n);
        return false;
    }
    out->id = id;
    out->room = n;
    return true;
}

bool prompt_text(struct ids *out, const akv_model *model, const char *text, size_t len,
                 bool special, bool bos, struct api_error *error)
{
    struct akv_note why = { "" };
    size_t n = len / 3 + 16; /* enough for most; else the answer says how many */
    for (;;) {
        if (!room_for(out, n, error))
            return false;
        const size_t room = n;
        const enum akv_status st = akv_tokenize(model, text, len, special, bos, out->id, &n, &why);
        if (st == AKV_OK) {
            out->n = n;
            return true;
        }
        if (st != AKV_FULL || n <= room) {
            api_error_from(error, st, &why);
            return false;
        }
    }
}

/* ---- chat ---- */

static void render(struct ids *out, const akv_model *model, const json_t *body,
                   struct api_error *error)
{
    struct akv_note why = { "" };
    struct buf text = { 0 };
    enum akv_status st = AKV_FULL;
    json_to_text(body, &text);
    for (size_t n = text.len / 3 + 64, room = 0; !text.failed && st == AKV_FULL && n > room;) {
        room = n;
        if (!room_for(out, n, error))
            break;
        st = akv_render_chat(model, buf_text(&text), text.len, out->id, &n, &why);
        out->n = st == AKV_OK ? n : 0;
    }
    if (text.failed)
        api_error_set(error, API_BUSY, NULL, "no memory for the messages");
    buf_close(&text);
    if (st == AKV_BAD_INPUT)
        api_error_set(error, API_BAD, "messages", "%s", why.text);
    else if (st != AKV_OK)
        api_error_from(error, st, &why);
}

/* "content": [{"type": "text", "text": ...}, ...] becomes one text; other kinds of parts are refused. */
static json_t *flat_content(const json_t *parts, size_t message, struct api_error *error)
{
    struct buf text = { 0 };
    size_t i;
    const json_t *part;
    json_array_foreach(parts, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *t = json_object_get(part, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(t)) {
            api_error_set(error, type ? API_NOT_SUPPORTED : API_BAD, "messages",
                          "messages[%zu].content[%zu] is of type '%.40s'; only text is supported",
                          message, i, type ? type : "none");
            break;
        }
        buf_add(&text, json_string_value(t), json_string_length(t));
    }
    json_t *flat = text.failed ? NULL : json_stringn(buf_text(&text), text.len);
    buf_close(&text);
    if (!flat && error->kind == API_NONE)
        api_error_set(error, API_BAD, "messages", "messages[%zu].content is no UTF-8 text",
                      message);
    return flat;
}

/* Text as a template may add it to others: no content is an empty one, as where an assistant only called a tool. */
static json_t *plain_content(const json_t *message, size_t i, struct api_error *error)
{
    json_t *content = json_object_get(message, "content");
    const bool may_lack = content || json_object_get(message, "tool_calls");
    if (json_is_array(content))
        return flat_content(content, i, error);
    if (may_lack && (!content || json_is_null(content)))
        return json_string("");
    if (!json_is_string(content))
        api_error_set(error, API_BAD, "messages",
                      "messages[%zu].content must be a text, an array of parts, or null", i);
    return json_incref(content);
}

/* A copy of the messages with plain content. NULL: *error. */
static json_t *flat_messages(const json_t *messages, struct api_error *error)
{
    json_t *flat = json_array();
    size_t i;
    const json_t *m;
    json_array_foreach(messages, i, m)
    {
        json_t *copy = json_is_object(m) ? json_copy((json_t *)m) : NULL;
        if (!json_is_string(json_object_get(copy, "role")))
            api_error_set(error, API_BAD, "messages",
                          "messages[%zu] must be an object with a role that is a string", i);
        else
            json_object_set_new(copy, "content", plain_content(m, i, error));
        json_array_append_new(flat, copy);
        if (error->kind) {
            json_decref(flat);
            return NULL;
        }
    }
    return flat;
}

/* A member for the template. */
static void pass_on(json_t *body, const struct fields *f, const char *name, json_type type,
                    const char *kind)
{
    const json_t *v = field_find(f, name, NULL);
    if (v && json_typeof(v) != type)
        api_error_set(f->error, API_BAD, name, "%s must be %s", name, kind);
    else if (v)
        json_object_set(body, name, (json_t *)v);
}

/* Whether the template begins an answer: what its own variables say goes before the member beside them, as in vLLM. Its
 * opposite, an answer that goes on with the last message, is refused wherever it is asked for. */
static void set_ending(json_t *body, const struct fields *f)
{
    const json_t *own = json_object_get(body, "add_generation_prompt");
    const json_t *goes_on = json_object_get(body, "continue_final_message");
    const bool beside = field_bool(f, "add_generation_prompt", true);
    if (goes_on && !json_is_null(goes_on) && !json_is_false(goes_on))
        api_error_set(f->error, API_NOT_SUPPORTED, "chat_template_kwargs",
                      "chat_template_kwargs.continue_final_message is not supported yet (going on "
                      "with the last message); leave it out");
    else if (!own || json_is_null(own))
        json_object_set_new(body, "add_generation_prompt", json_boolean(beside));
    else if (!json_is_boolean(own))
        api_error_set(f->error, API_BAD, "chat_template_kwargs",
                      "chat_template_kwargs.add_generation_prompt must be true or false");
}

void prompt_conversation(struct ids *out, const akv_model *model, const struct fields *f)
{
    const json_t *messages = field_find(f, "messages", NULL);
    const json_t *more = field_find(f, "chat_template_kwargs", NULL);
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        api_error_set(f->error, API_BAD, "messages",
                      "messages must be an array of at least one message");
    if (more && !json_is_object(more))
        api_error_set(f->error, API_BAD, "chat_template_kwargs",
                      "chat_template_kwargs must be an object");
    json_t *flat = f->error->kind ? NULL : flat_messages(messages, f->error);
    if (!flat)
        return;
    json_t *body = more ? json_copy((json_t *)more) : json_object();
    json_object_set_new(body, "messages", flat);
    set_ending(body, f);
    members_refuse(f->object, f->in, f->error);
    pass_on(body, f, "reasoning_effort", JSON_STRING, "a string");
    if (!(f->in & IN_CHAT)) /* a chat with tools was refused */
        pass_on(body, f, "tools", JSON_ARRAY, "an array");
    if (f->error->kind == API_NONE)
        render(out, model, body, f->error);
    json_decref(body);
}

/* ---- prompts ---- */

/* Ids; in llama-server's dialect texts may stand between them. */
static void read_ids(struct gen_request *r, struct ids *out, const json_t *list,
                     const struct fields *f, const struct request_defaults *d)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        int64_t x;
        struct ids piece = { 0 };
        if (field_whole(v, &x) && x >= 0 && x < d->n_vocab)
            ids_add(out, (int32_t)x);
        else if (json_is_string(v) && r->kind == REQUEST_LLAMA &&
                 prompt_text(&piece, d->model, json_string_value(v), json_string_length(v), true,
                             i == 0, f->error))
            ids_add_all(out, piece.id, piece.n);
        else
            api_error_set(f->error, API_BAD, "prompt",
                          "token %zu of the prompt is no id of the vocabulary, 0 to %u", i,
                          d->n_vocab - 1);
        ids_close(&piece);
        if (f->error->kind)
            return;
    }
    if (out->failed)
        api_error_set(f->error, API_BUSY, NULL, "no memory for the prompt");
}

/* A list with a number in it is one prompt; any other is a list of prompts. */
static bool is_ids(const json_t *v)
{
    size_t i;
    const json_t *one;
    json_array_foreach(v, i, one)
    {
        if (json_is_number(one))
            return true;
    }
    return false;
}

bool prompt_is_many(const json_t *prompt)
{
    return json_is_array(prompt) && !is_ids(prompt);
}

static void read_one(struct gen_request *r, const struct fields *f, const json_t *v,
                     const struct request_defaults *d)
{
    struct ids *out = &r->prompt[r->n_prompt++];
    if (json_is_string(v))
        prompt_text(out, d->model, json_string_value(v), json_string_length(v), true,
                    field_bool(f, "add_special_tokens", true), f->error);
    else if (is_ids(v))
        read_ids(r, out, v, f, d);
    else
        api_error_set(f->error, API_BAD, "prompt",
                      "prompt must be a text, an array of token ids, or an array of either");
    if (out->n == 0)
        api_error_set(f->error, API_BAD, "prompt", "the prompt has no tokens; give at least one");
}

void prompt_read(struct gen_request *r, const struct fields *f, const struct request_defaults *d)
{
    const json_t *v = r->kind == REQUEST_CHAT ? NULL : field_find(f, "prompt", NULL);
    const bool many = prompt_is_many(v);
    const size_t n = many ? json_array_size(v) : 1;
    if (n == 0 || n > PROMPTS_MAX) {
        api_error_set(f->error, API_BAD, "prompt", "prompt holds %zu prompts; 1 to %d may be given",
                      n, PROMPTS_MAX);
        return;
    }
    r->prompt = mem_new(n, sizeof *r->prompt);
    if (!r->prompt) {
        api_error_set(f->error, API_BUSY, NULL, "no memory for %zu prompts", n);
        return;
    }
    if (r->kind == REQUEST_CHAT)
        prompt_conversation(&r->prompt[r->n_prompt++], d->model, f);
    else if (!v)
        api_error_set(f->error, API_BAD, "prompt", "prompt is missing");
    for (size_t i = 0; v && i < n && f->error->kind == API_NONE; i++)
        read_one(r, f, many ? json_array_get(v, i) : v, d);
}
