#include "text/special.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int by_text(const void *left, const void *right)
{
    const struct special_token *a = left, *b = right;
    size_t shorter = a->text.len < b->text.len ? a->text.len : b->text.len;
    int order = memcmp(a->text.bytes, b->text.bytes, shorter);
    if (order)
        return order;
    if (a->text.len != b->text.len)
        return a->text.len < b->text.len ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static int by_turn(const void *left, const void *right)
{
    const struct special_token *a = *(const struct special_token *const *)left;
    const struct special_token *b = *(const struct special_token *const *)right;
    if (a->text.len != b->text.len)
        return a->text.len > b->text.len ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static enum status order_turns(struct special *s, struct note *why)
{
    const struct special_token **sorted = mem_new(s->n, sizeof *sorted);
    s->by_turn = mem_new(s->n, sizeof *s->by_turn);
    if (!sorted || !s->by_turn) {
        mem_free(sorted);
        note_set(why, "out of memory for %u special tokens", s->n);
        return FULL;
    }
    for (uint32_t i = 0; i < s->n; i++)
        sorted[i] = &s->token[i];
    qsort(sorted, s->n, sizeof *sorted, by_turn);
    for (uint32_t turn = 0; turn < s->n; turn++) {
        s->by_turn[turn] = (uint32_t)(sorted[turn] - s->token);
        s->token[s->by_turn[turn]].turn = turn;
    }
    mem_free(sorted);
    return OK;
}

enum status special_open(struct special *s, struct special_token *token, uint32_t n,
                         struct note *why)
{
    *s = (struct special){ .token = token, .n = n };
    if (n)
        qsort(token, n, sizeof *token, by_text);
    for (uint32_t i = 0; i < n; i++)
        s->begins[(unsigned char)token[i].text.bytes[0]] = true;
    enum status st = order_turns(s, why);
    if (st != OK)
        special_close(s);
    return st;
}

void special_close(struct special *s)
{
    mem_free(s->token);
    mem_free(s->by_turn);
    *s = (struct special){ 0 };
}

/* One search: what is known of the text so far. */
struct search {
    const struct special *s;
    const char *text;
    size_t len;
    const struct special_range *trusted;
    size_t n_trusted;
    uint8_t *gone;      // [len] bytes that were cut out
    struct heap offers; // order: turn, then position
    struct heap found;  // order: position; value: turn
};

/* How many bytes from `at` on are trusted without a break. */
static size_t trusted_room(const struct search *q, size_t at)
{
    size_t low = 0, high = q->n_trusted; // the first range that ends behind `at`
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (q->trusted[mid].to > at)
            high = mid;
        else
            low = mid + 1;
    }
    return low < q->n_trusted && q->trusted[low].from <= at ? q->trusted[low].to - at : 0;
}

/* The first token in [low, high), all longer than `depth`, whose byte there is at least c. */
static uint32_t lower_bound(const struct special *s, uint32_t low, uint32_t high, size_t depth,
                            int c)
{
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if ((unsigned char)s->token[mid].text.bytes[depth] >= c)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* Of the tokens [low, high), equal in their first `depth` bytes, keeps those that go on with byte
 * c. */
static void narrow(const struct special *s, uint32_t *low, uint32_t *high, size_t depth, int c)
{
    while (*low < *high && s->token[*low].text.len == depth)
        ++*low;
    if (*low == *high)
        return;
    // Runs of one character have tokens that all go on alike: then nothing needs to be searched.
    if ((unsigned char)s->token[*low].text.bytes[depth] != c)
        *low = lower_bound(s, *low, *high, depth, c);
    if (*low < *high && (unsigned char)s->token[*high - 1].text.bytes[depth] != c)
        *high = lower_bound(s, *low, *high, depth, c + 1);
}

/* The longest token that begins at `at` and fits into `room` bytes (control: into the trusted
 * ones), or NULL. */
static const struct special_token *longest_at(const struct search *q, size_t at, size_t room)
{
    const struct special *s = q->s;
    const struct special_token *best = NULL;
    size_t trusted = trusted_room(q, at);
    uint32_t low = 0, high = s->n;
    for (size_t depth = 0; depth < room && low < high; depth++) {
        int c = (unsigned char)q->text[at + depth];
        narrow(s, &low, &high, depth, c);
        // Of equal texts the lowest id is first; it may be a control token and the next one not.
        for (uint32_t i = low; i < high && s->token[i].text.len == depth + 1; i++) {
            if (s->token[i].control && depth + 1 > trusted)
                continue;
            best = &s->token[i];
            break;
        }
    }
    return best;
}

static bool offer(struct search *q, size_t at, size_t room)
{
    const struct special_token *t = longest_at(q, at, room);
    if (!t)
        return true;
    if (!heap_reserve(&q->offers, q->offers.n + 1))
        return false;
    heap_push(&q->offers, (struct heap_item){ .order = (uint64_t)t->turn << 32 | at });
    return true;
}

/* Takes the best offer, or replaces it by one that fits. */
static bool settle(struct search *q)
{
    struct heap_item best = heap_pop(&q->offers);
    uint32_t turn = (uint32_t)(best.order >> 32);
    size_t at = (uint32_t)best.order, len = q->s->token[q->s->by_turn[turn]].text.len;
    const uint8_t *taken = memchr(q->gone + at, 1, len);
    if (taken)
        return offer(q, at, (size_t)(taken - (q->gone + at)));
    if (!heap_reserve(&q->found, q->found.n + 1))
        return false;
    memset(q->gone + at, 1, len);
    heap_push(&q->found, (struct heap_item){ .order = at, .value = turn });
    return true;
}

static bool list_found(struct search *q, struct special_cuts *out)
{
    struct special_cut *cut = mem_new(q->found.n, sizeof *cut);
    if (!cut)
        return false;
    for (out->n = 0; q->found.n; out->n++) {
        struct heap_item next = heap_pop(&q->found);
        const struct special_token *t = &q->s->token[q->s->by_turn[next.value]];
        cut[out->n] = (struct special_cut){ .at = next.order, .len = t->text.len, .id = t->id };
    }
    out->cut = cut;
    return true;
}

enum status special_find(const struct special *s, const char *text, size_t len,
                         const struct special_range *trusted, size_t n_trusted,
                         struct special_cuts *out, struct note *why)
{
    struct search q = {
        .s = s, .text = text, .len = len, .trusted = trusted, .n_trusted = n_trusted
    };
    enum status st = FULL;
    *out = (struct special_cuts){ 0 };
    for (size_t at = 0; at < len; at++) {
        if (s->begins[(unsigned char)text[at]] && !offer(&q, at, len - at))
            goto done;
    }
    if (q.offers.n == 0) {
        st = OK;
        goto done;
    }
    q.gone = mem_new(len, 1);
    if (!q.gone)
        goto done;
    while (q.offers.n) {
        if (!settle(&q))
            goto done;
    }
    if (list_found(&q, out))
        st = OK;
done:
    if (st != OK)
        note_set(why, "out of memory while looking for special tokens in %zu bytes", len);
    mem_free(q.gone);
    heap_close(&q.offers);
    heap_close(&q.found);
    return st;
}

void special_cuts_close(struct special_cuts *c)
{
    mem_free(c->cut);
    *c = (struct special_cuts){ 0 };
}
