/* quest - the pages of rows whose keys may match the query best, chosen anew by every query.
 *
 *   page     16 positions: the least and the largest of each element of their keys
 *   bound    sum over elements of max(q * least, q * largest): no key of the page scores higher
 *
 * Source: Tang et al. 2024, "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference". One choice a
 * kv_head: of the bounds of its group's heads the largest counts; or one a head, as in the paper, which has no groups.
 * Sinks and recent rows are read besides (the paper's page in progress is). */
#include "kv/policy/all.h"
#include "kv/policy/units.h"

enum { HEADS_SUM, HEADS_MAX, HEADS_EACH };

struct quest_options {
    struct kv_common common;
    uint32_t page, dense, heads, address;
};

#define AT(field) offsetof(struct quest_options, field)

static const struct kv_option options[] = {
    { "page", KV_OPTION_COUNT, AT(page), "rows", "16", NULL, 4, 1024, NULL,
      "positions that are read or left together" },
    { "dense", KV_OPTION_COUNT, AT(dense), "layers", "2", NULL, 0, 1024, NULL,
      "first layers that read everything" },
    { "heads", KV_OPTION_WORD, AT(heads), NULL, "each", "max", 0, 0, "sum max each",
      "over the heads that share a kv_head; each: every head chooses for itself" },
    { "address", KV_OPTION_WORD, AT(address), NULL, "bounds", NULL, 0, 0, "mean spread bounds",
      "what a page is found by" },
};

static struct units_kind pages_of(const struct quest_options *o)
{
    return (struct units_kind){ .page = o->page, .address = (enum units_address)o->address };
}

static bool quest_apart(const void *opt)
{
    return ((const struct quest_options *)opt)->heads == HEADS_EACH;
}

static size_t quest_bytes(const void *opt, uint32_t n_position, uint32_t d, uint32_t n_asker,
                          float share)
{
    (void)n_asker, (void)share;
    const struct units_kind kind = pages_of(opt);
    return units_bytes(&kind, n_position, d);
}

static void quest_enter(const void *opt, void *book, const struct kv_select_in *in, uint32_t from,
                        uint32_t to)
{
    const struct quest_options *o = opt;
    const struct units_kind kind = pages_of(o);
    if (in->layer >= o->dense)
        units_enter(&kind, book, in, from, to);
}

static bool quest_select(const void *opt, void *book, const struct kv_select_in *in, uint64_t *mask)
{
    const struct quest_options *o = opt;
    const struct units_kind kind = pages_of(o);
    if (in->layer < o->dense)
        return false;
    units_score(&kind, book, in, in->q, in->group, o->heads == HEADS_SUM ? UNITS_SUM : UNITS_MAX,
                false);
    units_take(&kind, book, in, mask);
    return true;
}

static const struct kv_select_policy quest = {
    .book_bytes = quest_bytes, .enter = quest_enter, .select = quest_select, .apart = quest_apart
};

const struct kv_policy kv_policy_quest = {
    .name = "quest",
    .source = "Tang et al. 2024, \"Quest: Query-Aware Sparsity for Efficient Long-Context LLM "
              "Inference\"",
    .summary = "keeps every row; a query reads the pages that may match it best",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .options_bytes = sizeof(struct quest_options),
    .tuned = { .recent = "16" },
    .select = &quest,
};
