#include "engine/pace.h"

#include <stdbool.h>

enum { FIRST_ROWS = 8, YOUNG = 5 };
static const double FORGET = 0.8;

/* Steps with prompts from one measurement of answers to the next: 2, 4, 8, 16, 32. */
static uint32_t probe_after(const struct pace *p)
{
    return 1u << (p->n_measured < YOUNG ? p->n_measured : YOUNG);
}

/* Whether answer_ns speaks for so many answers: a quarter more or less changes little. */
static bool speaks_for(const struct pace *p, uint32_t n_answer)
{
    const uint32_t more = n_answer > p->n_answer ? n_answer - p->n_answer : p->n_answer - n_answer;
    return p->answer_ns > 0 && 4 * more <= p->n_answer;
}

uint32_t pace_rows(const struct pace *p, uint32_t n_answer, uint32_t most)
{
    if (p->stretch <= 0 || n_answer == 0)
        return most;
    if (!speaks_for(p, n_answer) || p->n_since >= probe_after(p))
        return 0;
    const double least = p->n_last ? p->n_last : FIRST_ROWS / 2;
    double n = p->row_ns > 0 ? (p->stretch - 1) * p->answer_ns / p->row_ns : FIRST_ROWS;
    n = n < 2 * least ? n : 2 * least; /* T2 */
    return n < 1 ? 1 : n < most ? (uint32_t)n : most;
}

/* Towards `to`, by a share of `at` at most: what one step took is noise as much as news. */
static double approach(double at, double to, double share)
{
    const double way = to - at, most = share * at;
    return at + (way > most ? most : way < -most ? -most : way) / 2;
}

static void measure_answers(struct pace *p, uint32_t n_answer, double ns)
{
    if (speaks_for(p, n_answer)) {
        p->answer_ns = approach(p->answer_ns, ns, p->n_measured < YOUNG ? 1 : 0.25);
        p->n_measured += p->n_measured < YOUNG;
    } else {
        p->answer_ns = ns;
        p->n_measured = 1;
    }
    p->n_answer = n_answer;
    p->n_since = 0;
}

void pace_measured(struct pace *p, uint32_t n_answer, uint32_t n_prompt, uint64_t ns)
{
    const double took = (double)ns;
    if (n_answer == 0) {
        if (n_prompt && p->row_ns == 0) /* better than nothing, until there are answers beside */
            p->row_ns = took / n_prompt;
        return;
    }
    if (n_prompt <= 1) {
        const double rest = took - n_prompt * p->row_ns, least = 0.75 * took;
        measure_answers(p, n_answer, rest > least ? rest : least); /* one more row is cheap */
        p->row_ns *= n_prompt ? FORGET : 1;                        /* T3 */
        return;
    }
    const double beside = took > p->answer_ns ? took - p->answer_ns : took / 2;
    const double row = beside / n_prompt;
    p->row_ns = p->row_ns > 0 ? approach(p->row_ns, row, 1) : row;
    p->n_last = n_prompt;
    p->n_since++;
}
