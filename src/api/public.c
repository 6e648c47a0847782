#include "api/public.h"

#include <string.h>

#include "base/mem.h"

static uint32_t same_ids(const struct ids *a, const struct ids *b)
{
    const size_t n = a->n < b->n ? a->n : b->n;
    uint32_t i = 0;
    while (i < n && a->id[i] == b->id[i])
        i++;
    return i;
}

/* ---- chat ---- */

/* The conversation, where messages from n on say `words` alone. */
static json_t *with_words(const json_t *conversation, size_t n, const char *words)
{
    json_t *copy = json_copy((json_t *)conversation), *messages = json_array();
    size_t i;
    const json_t *m;
    json_array_foreach(json_object_get(conversation, "messages"), i, m)
    {
        json_t *role = json_object_get(m, "role");
        json_array_append_new(messages,
                              i < n ? json_deep_copy(m)
                                    : json_pack("{s:O?, s:s}", "role", role, "content", words));
    }
    json_object_set_new(copy, "messages", messages);
    return copy;
}

static void render_with(struct ids *out, const struct fields *f, size_t n, const char *words,
                        const akv_model *model)
{
    json_t *other = with_words(f->object, n, words);
    const struct fields g = { other, f->in, f->error };
    prompt_conversation(out, model, &g);
    json_decref(other);
}

/* U1: two others, which begin differently, so that even what they have in common is no word of theirs. */
static uint32_t of_messages(const struct ids *prompt, const struct fields *f,
                            const struct request_defaults *d)
{
    struct ids one = { 0 }, two = { 0 };
    const size_t n = (size_t)field_int(f, "cache_public", 0);
    const size_t n_message = json_array_size(json_object_get(f->object, "messages"));
    uint32_t same = 0;
    if (n > n_message)
        api_error_set(f->error, API_BAD, "cache_public",
                      "cache_public is %zu; there are %zu messages", n, n_message);
    if (n == 0 || f->error->kind)
        return 0;
    if (n == n_message)
        return (uint32_t)prompt->n;
    render_with(&one, f, n, "a", d->model);
    render_with(&two, f, n, "8", d->model);
    if (f->error->kind == API_NONE) {
        const uint32_t a = same_ids(prompt, &one), b = same_ids(&one, &two);
        same = a < b ? a : b;
    }
    ids_close(&one);
    ids_close(&two);
    return same;
}

/* ---- text and ids ---- */

static uint32_t of_text(const struct ids *prompt, const json_t *text, const json_t *public,
                        const struct fields *f, const struct request_defaults *d)
{
    const char *all = json_string_value(text), *begin = json_string_value(public);
    const size_t len = json_string_length(public);
    struct ids own = { 0 };
    if (!all || json_string_length(text) < len || memcmp(all, begin, len) != 0) {
        api_error_set(f->error, API_BAD, "cache_public",
                      all ? "the prompt does not begin with cache_public"
                          : "cache_public is a text, and the prompt is none; give the number of "
                            "its first tokens");
        return 0;
    }
    prompt_text(&own, d->model, begin, len, true, field_bool(f, "add_special_tokens", true),
                f->error);
    const uint32_t n = same_ids(prompt, &own);
    ids_close(&own);
    return n;
}

static uint32_t of_ids(const struct ids *prompt, const json_t *text, const json_t *public,
                       const struct fields *f)
{
    int64_t n = 0;
    if (json_is_string(text))
        api_error_set(f->error, API_BAD, "cache_public",
                      "cache_public is a number, and the prompt a text; give the text's beginning");
    else if (!field_whole(public, &n) || n < 0 || (size_t)n > prompt->n)
        api_error_set(f->error, API_BAD, "cache_public",
                      "cache_public must be a text, or 0 to %zu, the prompt's tokens", prompt->n);
    return f->error->kind ? 0 : (uint32_t)n;
}

void public_read(struct gen_request *r, const struct fields *f, const struct request_defaults *d)
{
    const json_t *public = field_find(f, "cache_public", NULL);
    if (!public)
        return;
    r->n_public = mem_new(r->n_prompt, sizeof *r->n_public);
    if (!r->n_public) {
        api_error_set(f->error, API_BUSY, NULL, "no memory for %u prompts", r->n_prompt);
        return;
    }
    if (r->kind == REQUEST_CHAT) {
        r->n_public[0] = of_messages(&r->prompt[0], f, d);
        return;
    }
    const json_t *prompt = field_find(f, "prompt", NULL);
    const bool many = prompt_is_many(prompt);
    for (uint32_t i = 0; i < r->n_prompt && f->error->kind == API_NONE; i++) {
        const json_t *one = many ? json_array_get(prompt, i) : prompt;
        r->n_public[i] = json_is_string(public) ? of_text(&r->prompt[i], one, public, f, d)
                                                : of_ids(&r->prompt[i], one, public, f);
    }
}
