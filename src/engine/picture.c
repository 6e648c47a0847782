#include "engine/picture.h"

#include <string.h>

#include "base/mem.h"
#include "engine/engine_in.h"

struct picture {
    struct akv_rows seen; // points into what follows
    uint32_t *window, *kept;
    char *salt;
    char policy[KV_CHOICE_TEXT];
};

void picture_free(struct akv_rows *rows)
{
    struct picture *p = (struct picture *)rows;
    _Static_assert(offsetof(struct picture, seen) == 0, "public rows begin a picture");
    if (!p)
        return;
    mem_free(p->window);
    mem_free(p->kept);
    mem_free(p->salt);
    mem_free(p);
}

static struct picture *picture_new(const struct hparams *h)
{
    struct picture *p = mem_new(1, sizeof *p);
    if (!p)
        return NULL;
    p->window = mem_new(h->n_layer, sizeof *p->window);
    p->kept = mem_new((size_t)h->n_layer * AKV_ROW_COLUMNS, sizeof *p->kept);
    if (p->window && p->kept)
        return p;
    picture_free(&p->seen);
    return NULL;
}

static void add_row(uint32_t *column, const struct akv_rows *r, uint32_t position)
{
    if (position < r->n_position)
        column[(uint64_t)position * r->n_column / r->n_position]++;
}

static void add_list(uint32_t *column, const struct akv_rows *r, const struct kv_list *list)
{
    const uint32_t n_block = (r->n_position + KV_BLOCK - 1) / KV_BLOCK;
    for (uint32_t b = 0; b < list->n_block; b++) {
        for (uint64_t left = list->live[b]; left; left &= left - 1)
            add_row(column, r, list->position[b * KV_BLOCK + (uint32_t)__builtin_ctzll(left)]);
    }
    for (uint32_t b = list->tail_first; b < n_block; b++) {
        for (uint64_t left = list->tail_live[b]; left; left &= left - 1)
            add_row(column, r, b * KV_BLOCK + (uint32_t)__builtin_ctzll(left));
    }
}

/* A layer that no policy touches has every row, or those of its window. */
static void add_all(uint32_t *column, const struct akv_rows *r, uint32_t window)
{
    const uint32_t first = window && window < r->n_position ? r->n_position - window : 0;
    for (uint32_t i = first; i < r->n_position; i++)
        column[(uint64_t)i * r->n_column / r->n_position] += r->n_kv_head;
}

static void draw(struct picture *p, const struct engine *e, const struct sequence *s)
{
    const struct kv_shape *shape = &e->limits.shape;
    const struct kv_excerpt *excerpt = s->keeper ? s->keeper->excerpt : NULL;
    struct akv_rows *r = &p->seen;
    r->n_layer = model_hparams(e->model)->n_layer;
    r->n_position = s->n_done;
    r->n_column = s->n_done < AKV_ROW_COLUMNS ? s->n_done : AKV_ROW_COLUMNS;
    r->n_kv_head = shape->group[0].n_kv_head;
    for (uint32_t i = 0; i < r->n_layer; i++) {
        const uint32_t window = shape->group[shape->layer_group[i]].window;
        uint32_t *column = p->kept + (size_t)i * r->n_column;
        p->window[i] = window;
        if (!excerpt || window) {
            add_all(column, r, window);
            continue;
        }
        for (uint32_t h = 0; h < r->n_kv_head; h++) {
            const struct kv_list list = kv_excerpt_list(excerpt, i, h);
            add_list(column, r, &list);
        }
    }
}

static enum status take(struct picture *p, const struct engine *e, const struct sequence *s)
{
    draw(p, e, s);
    memcpy(p->policy, s->keeper ? s->keeper->name : "full",
           s->keeper ? sizeof p->policy : sizeof "full");
    p->salt = mem_copy_text(s->salt, strlen(s->salt));
    p->seen.window = p->window;
    p->seen.kept = p->kept;
    p->seen.salt = p->salt;
    p->seen.policy = p->policy;
    return p->salt ? OK : FULL;
}

enum status picture_take(struct akv_rows **out, struct engine *e, uint64_t id, struct note *why)
{
    struct picture *p = picture_new(model_hparams(e->model));
    enum status st = p ? BAD_INPUT : FULL;
    if (p) {
        tables_look(&e->tables);
        for (uint32_t i = 0; i < e->n_running && st == BAD_INPUT; i++) {
            if (e->running[i]->id == id)
                st = take(p, e, e->running[i]);
        }
        tables_looked(&e->tables);
    }
    if (st == OK) {
        *out = &p->seen;
        return OK;
    }
    if (st == FULL)
        note_set(why, "no memory for a picture of the rows of request %llu",
                 (unsigned long long)id);
    else
        note_set(why, "no request %llu runs", (unsigned long long)id);
    picture_free(p ? &p->seen : NULL);
    return st;
}
