/* Any bytes as a line of JSON that asks for a conversation (`akvifer render`, akv_render_chat): it
 * is refused with a note, or its ids are the rendered text exactly, and control tokens are the
 * template's alone. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "model/chat_template.h"
#include "support/small_vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char SOURCE[] =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments|tojson }}"
    "{% if c.function.arguments is mapping %}{% for k, v in c.function.arguments|items %}{{ k "
    "}}={{ v }}"
    "{% endfor %}{% endif %}{% endfor %}<|end|>{% endfor %}"
    "{% if tools %}{{ tools|tojson(indent=2) }}{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

static struct vocab *vocab;
static struct chat_template *chat;

static void make_once(void)
{
    static struct vocab_maker m;
    struct note why;
    if (chat)
        return;
    small_bpe(&m);
    vocab = maker_build(&m);
    enum status st = chat_template_new(&chat, NULL, vocab, SOURCE, strlen(SOURCE), &why);
    assert(st == OK);
}

static size_t n_control(const struct ids *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->n; i++)
        n += vocab_type(vocab, ids->id[i]) == TOKEN_CONTROL;
    return n;
}

/* A mark before and behind each message, and one for the answer. */
static size_t n_control_of(const json_t *request)
{
    return 2 * json_array_size(json_object_get(request, "messages")) +
           json_is_true(json_object_get(request, "add_generation_prompt"));
}

static void expect_ids(const json_t *request, const struct jinja_output *rendered)
{
    struct ids ids = { 0 };
    struct buf text = { 0 };
    enum status st = chat_template_ids(chat, rendered, false, &ids, NULL);
    assert(st == OK && n_control(&ids) == n_control_of(request));
    st = vocab_decode(vocab, ids.id, ids.n, true, &text, NULL);
    assert(st == OK && text.len == rendered->text.len);
    assert(memcmp(buf_text(&text), buf_text(&rendered->text), text.len) == 0);
    ids_close(&ids);
    buf_close(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct note why = { "" };
    struct jinja_output rendered = { 0 };
    json_t *request = NULL;
    make_once();
    if (json_from_text(&request, len ? (const char *)bytes : "", len, &why) != OK)
        return -1;
    enum status st = chat_template_render(chat, request, false, 1753351330, &rendered, &why);
    if (st == OK)
        expect_ids(request, &rendered);
    else
        assert(st == BAD_INPUT && why.text[0]);
    jinja_output_close(&rendered);
    json_decref(request);
    return 0;
}
