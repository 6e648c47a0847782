#include "model/chat_template.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

struct chat_template {
    const struct vocab *vocab;
    struct jinja *usual;
    struct jinja *with_tools; // NULL: the usual one
    char *source;             // of the usual one
};

/* ---- which template ---- */

/* The usual template. */
static enum status compile(struct chat_template *t, const char *source, size_t len,
                           struct note *why)
{
    t->source = mem_copy_text(source, len);
    if (t->source)
        return jinja_new(&t->usual, source, len, why);
    note_set(why, "no memory for a chat template");
    return FULL;
}

/* Compiles the template at `key`, the usual one or that with tools; OK and nothing where the file lacks it. */
static enum status load(struct chat_template *t, bool usual, const struct gguf *g, const char *key,
                        struct note *why)
{
    struct gguf_text source;
    enum status st = gguf_get_text(g, key, &source, why);
    if (st == NOT_FOUND)
        return OK;
    if (st == OK)
        st = usual ? compile(t, source.bytes, source.len, why)
                   : jinja_new(&t->with_tools, source.bytes, source.len, why);
    if (st != OK)
        note_prefix(why, "%s", key);
    return st;
}

static enum status load_all(struct chat_template *t, const struct gguf *g, struct note *why)
{
    enum status st = load(t, true, g, "tokenizer.chat_template", why);
    if (st == OK && !t->usual)
        st = load(t, true, g, "tokenizer.chat_template.default", why);
    if (st != OK)
        return st;
    if (!t->usual) {
        note_set(why, "the model has no chat template (tokenizer.chat_template): give one with "
                      "--chat-template-file, or let it complete plain text");
        return NOT_FOUND;
    }
    return load(t, false, g, "tokenizer.chat_template.tool_use", why);
}

enum status chat_template_new(struct chat_template **out, const struct gguf *g,
                              const struct vocab *v, const char *source, size_t len,
                              struct note *why)
{
    struct chat_template *t = mem_new(1, sizeof *t);
    if (!t) {
        note_set(why, "no memory for a chat template");
        return FULL;
    }
    t->vocab = v;
    enum status st = source ? compile(t, source, len, why) : load_all(t, g, why);
    if (st != OK) {
        chat_template_free(t);
        return st;
    }
    *out = t;
    return OK;
}

void chat_template_free(struct chat_template *t)
{
    if (!t)
        return;
    jinja_free(t->usual);
    jinja_free(t->with_tools);
    mem_free(t->source);
    mem_free(t);
}

const char *chat_template_source(const struct chat_template *t)
{
    return t->source;
}

/* ---- the variables ---- */

static enum status wrong(struct note *why, const char *what)
{
    note_set(why, "%s", what);
    return BAD_INPUT;
}

static enum status check_request(const json_t *request, struct note *why)
{
    if (!json_is_object(request))
        return wrong(why, "a conversation is a JSON object with \"messages\"");
    const json_t *messages = json_object_get(request, "messages");
    if (!json_is_array(messages))
        return wrong(why, "\"messages\" must be an array of {\"role\", \"content\"}");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        if (json_is_object(message) && json_is_string(json_object_get(message, "role")))
            continue;
        note_set(why, "messages[%zu] must be an object with a \"role\" that is a string", i);
        return BAD_INPUT;
    }
    const json_t *tools = json_object_get(request, "tools");
    if (tools && !json_is_array(tools) && !json_is_null(tools))
        return wrong(why, "\"tools\" must be an array");
    const json_t *prompt = json_object_get(request, "add_generation_prompt");
    if (prompt && !json_is_boolean(prompt))
        return wrong(why, "\"add_generation_prompt\" must be true or false");
    return OK;
}

/* Arguments that are no JSON object (a model may have written anything) stay a text. */
static enum status parse_arguments(json_t *function, struct note *why)
{
    const json_t *text = json_object_get(function, "arguments");
    json_t *parsed = NULL;
    if (!json_is_string(text))
        return OK;
    enum status st =
        json_from_text(&parsed, json_string_value(text), json_string_length(text), NULL);
    if (st == OK && json_is_object(parsed) && json_object_set(function, "arguments", parsed) != 0)
        st = FULL;
    json_decref(parsed);
    if (st != FULL)
        return OK;
    note_set(why, "no memory for the arguments of a tool call");
    return FULL;
}

static enum status parse_tool_calls(json_t *messages, struct note *why)
{
    size_t i, k;
    json_t *message, *call;
    json_array_foreach(messages, i, message)
    {
        json_array_foreach(json_object_get(message, "tool_calls"), k, call)
        {
            enum status st = parse_arguments(json_object_get(call, "function"), why);
            if (st != OK)
                return st;
        }
    }
    return OK;
}

static json_t *token_text(const struct vocab *v, int32_t id)
{
    struct text_span piece = { "", 0 };
    if (id >= 0)
        piece = vocab_piece(v, id, true);
    return json_stringn_nocheck(piece.bytes, piece.len);
}

static enum status make_vars(const struct chat_template *t, const json_t *request,
                             bool prompt_after, json_t **out, struct note *why)
{
    enum status st = check_request(request, why);
    if (st != OK)
        return st;
    json_t *vars = json_deep_copy(request); // NULL is passed on by all the calls below
    const struct vocab *v = t->vocab;
    int failed = json_object_set_new(vars, "bos_token", token_text(v, vocab_bos(v)));
    failed |= json_object_set_new(vars, "eos_token", token_text(v, vocab_eos(v)));
    if (!json_object_get(vars, "tools"))
        failed |= json_object_set_new(vars, "tools", json_null());
    if (!json_object_get(vars, "add_generation_prompt"))
        failed |= json_object_set_new(vars, "add_generation_prompt", json_boolean(prompt_after));
    if (failed) {
        note_set(why, "no memory for a conversation of %zu messages",
                 json_array_size(json_object_get(request, "messages")));
        st = FULL;
    }
    if (st == OK)
        st = parse_tool_calls(json_object_get(vars, "messages"), why);
    if (st == OK)
        *out = vars;
    else
        json_decref(vars);
    return st;
}

/* ---- text and ids ---- */

enum status chat_template_render(const struct chat_template *t, const json_t *request,
                                 bool prompt_after, long long now, struct jinja_output *out,
                                 struct note *why)
{
    static const char *const trusted[] = { "bos_token", "eos_token", NULL };
    json_t *vars = NULL;
    enum status st = make_vars(t, request, prompt_after, &vars, why);
    if (st != OK)
        return st;
    bool has_tools = json_array_size(json_object_get(vars, "tools")) > 0;
    const struct jinja *source = has_tools && t->with_tools ? t->with_tools : t->usual;
    st = jinja_render(source, vars, trusted, now, out, why);
    json_decref(vars);
    return st;
}

enum status chat_template_ids(const struct chat_template *t, const struct jinja_output *rendered,
                              bool bos, struct ids *out, struct note *why)
{
    size_t start = out->n;
    enum status st = vocab_encode_spans(t->vocab, rendered->span, rendered->n_span, bos, out, why);
    if (st != OK || !bos || !vocab_adds_bos(t->vocab))
        return st;
    int32_t *id = out->id + start;
    size_t n = out->n - start;
    if (n >= 2 && id[0] == id[1] && id[1] == vocab_bos(t->vocab)) { // the template wrote one too
        memmove(id, id + 1, (n - 1) * sizeof *id);
        out->n--;
    }
    return OK;
}
