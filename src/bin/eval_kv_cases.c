#include "bin/eval_kv_cases.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

void eval_cases_close(struct eval_cases *cs)
{
    ids_close(&cs->ids);
    mem_free(cs->context);
    mem_free(cs->item);
    mem_free(cs->tail);
    *cs = (struct eval_cases){ 0 };
}

/* The array with room for one more than n; NULL: no memory, and the old one is as it was. */
static void *with_room(void *array, uint32_t n, uint32_t *room, size_t size)
{
    if (n < *room)
        return array;
    const uint32_t more = *room ? 2 * *room : 16;
    void *larger = mem_resize(array, more, size);
    if (larger)
        *room = more;
    return larger;
}

void eval_cases_add_context(struct eval_cases *cs, const struct ids *context)
{
    void *p = with_room(cs->context, cs->n_context, &cs->context_room, sizeof *cs->context);
    cs->failed |= !p || context->failed || context->n == 0;
    if (cs->failed)
        return;
    cs->context = p;
    cs->context[cs->n_context++] =
        (struct eval_context){ .at = cs->ids.n, .n = (uint32_t)context->n };
    ids_add_all(&cs->ids, context->id, context->n);
}

void eval_cases_add(struct eval_cases *cs, uint32_t length, uint32_t percent)
{
    void *p = with_room(cs->item, cs->n_item, &cs->item_room, sizeof *cs->item);
    cs->failed |= !p || cs->n_context == 0;
    if (cs->failed)
        return;
    cs->item = p;
    cs->item[cs->n_item++] = (struct eval_case){
        .context = cs->n_context - 1,
        .tail = cs->n_tail,
        .length = length ? length : cs->context[cs->n_context - 1].n,
        .percent = percent,
    };
}

void eval_cases_add_tail(struct eval_cases *cs, const struct ids *given, const struct ids *scored)
{
    void *p = with_room(cs->tail, cs->n_tail, &cs->tail_room, sizeof *cs->tail);
    cs->failed |=
        !p || cs->n_item == 0 || given->failed || scored->failed || given->n == 0 || scored->n == 0;
    if (cs->failed)
        return;
    cs->tail = p;
    cs->tail[cs->n_tail++] = (struct eval_tail){
        .at = cs->ids.n,
        .n = (uint32_t)(given->n + scored->n),
        .n_given = (uint32_t)given->n,
        .score = cs->n_scored,
    };
    cs->item[cs->n_item - 1].n_tail++;
    cs->n_scored += scored->n;
    ids_add_all(&cs->ids, given->id, given->n);
    ids_add_all(&cs->ids, scored->id, scored->n);
}

enum status eval_cases_check(const struct eval_cases *cs, uint32_t n_ctx, struct note *why)
{
    uint32_t longest = 0;
    if (cs->failed || cs->ids.failed) {
        note_set(why, "no memory for more than %u cases", cs->n_item);
        return FULL;
    }
    for (uint32_t i = 0; i < cs->n_item; i++) {
        const struct eval_case *c = &cs->item[i];
        for (uint32_t t = c->tail; t < c->tail + c->n_tail; t++)
            if (cs->context[c->context].n + cs->tail[t].n > longest)
                longest = cs->context[c->context].n + cs->tail[t].n;
    }
    if (longest > 0 && longest <= n_ctx)
        return OK;
    if (longest == 0)
        note_set(why, "there is nothing to ask: items must be at least 1");
    else
        note_set(why, "a case has %u tokens, and the context of a request is %u (-c)", longest,
                 n_ctx);
    return BAD_INPUT;
}

void eval_tokens(struct ids *out, const akv_model *model, const char *text, size_t len, bool bos)
{
    int32_t few[256];
    size_t n = sizeof few / sizeof *few;
    int32_t *id = few;
    enum akv_status st = akv_tokenize(model, text, len, false, bos, id, &n, NULL);
    if (st == AKV_FULL) {
        id = mem_new(n, sizeof *id);
        st = id ? akv_tokenize(model, text, len, false, bos, id, &n, NULL) : AKV_FULL;
    }
    if (st == AKV_OK)
        ids_add_all(out, id, n);
    else
        out->failed = true;
    if (id != few)
        mem_free(id);
}

void eval_tokensf(struct ids *out, const akv_model *model, const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    const int n = vsnprintf(NULL, 0, format, ap);
    char *text = n < 0 ? NULL : mem_new((size_t)n + 1, 1);
    if (text) {
        vsnprintf(text, (size_t)n + 1, format, again);
        eval_tokens(out, model, text, (size_t)n, false);
    }
    out->failed |= !text;
    mem_free(text);
    va_end(again);
    va_end(ap);
}
