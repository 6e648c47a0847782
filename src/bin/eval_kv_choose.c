#include "bin/eval_kv_choose.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv/policy.h"

/* ---- lists ---- */

static bool continues(const char *piece, size_t len)
{
    return memchr(piece, '=', len) && !memchr(piece, ':', len);
}

enum status eval_split(struct eval_pieces *out, const char *list, struct note *why)
{
    out->n = 0;
    for (const char *at = list;; at++) {
        const size_t len = strcspn(at, ",");
        const bool more = out->n > 0 && continues(at, len);
        if (len == 0 || (!more && out->n == EVAL_PIECES)) {
            note_set(why, len ? "'%s' has more than %d parts" : "'%s' has an empty part", list,
                     EVAL_PIECES);
            return BAD_INPUT;
        }
        if (!more)
            out->text[out->n++][0] = 0;
        char *text = out->text[out->n - 1];
        const size_t old = strlen(text);
        if (old + len + 2 > EVAL_PIECE) {
            note_set(why, "a part of '%s' is longer than %d characters", list, EVAL_PIECE - 2);
            return BAD_INPUT;
        }
        snprintf(text + old, EVAL_PIECE - old, "%s%.*s", more ? "," : "", (int)len, at);
        at += len;
        if (!*at)
            return OK;
    }
}

/* ---- tasks ---- */

/* One number of a list, whose end is at a slash or `stop`. */
static const char *read_number(uint32_t *out, const char *text, const struct eval_task_option *o,
                               const char *stop)
{
    char *end;
    errno = 0;
    const unsigned long x = strtoul(text, &end, 10);
    const bool whole = text[0] >= '0' && text[0] <= '9' && (end == stop || *end == '/');
    *out = (uint32_t)x;
    return whole && errno == 0 && x >= o->least && x <= o->most ? end : NULL;
}

static enum status read_list(struct eval_list *out, const struct eval_task_option *o,
                             const char *text, size_t len, struct note *why)
{
    const char *at = text, *stop = text + len;
    struct eval_list list = { 0 };
    do {
        at = list.n < EVAL_LIST ? read_number(&list.x[list.n++], at, o, stop) : NULL;
        if (!at) {
            note_set(why,
                     "%s=%.*s: it must be up to %d whole numbers from %u to %u, with / between",
                     o->name, (int)len, text, EVAL_LIST, o->least, o->most);
            return BAD_INPUT;
        }
    } while (at++ != stop);
    *out = list;
    return OK;
}

static enum status find_task(const struct eval_task **out, const char *name, size_t len,
                             struct note *why)
{
    struct buf all = { 0 };
    for (uint32_t i = 0; i < n_eval_task; i++) {
        const struct eval_task *t = eval_tasks[i];
        if (strlen(t->name) == len && memcmp(t->name, name, len) == 0) {
            *out = t;
            buf_close(&all);
            return OK;
        }
        buf_addf(&all, "%s%s", i ? ", " : "", t->name);
    }
    note_set(why, "there is no task '%.*s'; there are %s", (int)len, name, buf_text(&all));
    buf_close(&all);
    return BAD_INPUT;
}

static enum status set_option(struct eval_task_choice *c, const char *text, size_t len,
                              struct note *why)
{
    const char *value = memchr(text, '=', len);
    const size_t n_name = value ? (size_t)(value - text) : len;
    struct buf all = { 0 };
    for (uint32_t i = 0; i < c->task->n_option; i++) {
        const struct eval_task_option *o = &c->task->option[i];
        if (value && strlen(o->name) == n_name && memcmp(o->name, text, n_name) == 0) {
            buf_close(&all);
            return read_list(&c->option[i], o, value + 1, len - n_name - 1, why);
        }
        buf_addf(&all, "%s%s=%s", i ? ", " : "", o->name, o->preset);
    }
    note_set(why, "%s has no option '%.*s'; it has %s", c->task->name, (int)n_name, text,
             buf_text(&all));
    buf_close(&all);
    return BAD_INPUT;
}

enum status eval_task_choose(struct eval_task_choice *out, const char *text, uint32_t n_item,
                             struct note *why)
{
    struct eval_task_choice c = { 0 };
    const size_t n_name = strcspn(text, ":");
    enum status st = find_task(&c.task, text, n_name, why);
    for (uint32_t i = 0; st == OK && i < c.task->n_option; i++) {
        const struct eval_task_option *o = &c.task->option[i];
        st = read_list(&c.option[i], o, o->preset, strlen(o->preset), why);
    }
    if (st == OK && n_item)
        c.option[0] = (struct eval_list){ .n = 1, .x = { n_item } };
    for (const char *at = text + n_name; st == OK && *at;) {
        const size_t len = strcspn(++at, ",");
        st = set_option(&c, at, len, why);
        at += len;
    }
    if (st == OK)
        *out = c;
    return st;
}

void eval_tasks_print(struct buf *out)
{
    for (uint32_t i = 0; i < n_eval_task; i++) {
        const struct eval_task *t = eval_tasks[i];
        buf_addf(out, "%s%s - %s\n  source: %s\n", i ? "\n" : "", t->name, t->summary, t->source);
        for (uint32_t k = 0; k < t->n_measure; k++)
            buf_addf(out, "  %-10s  %s\n", t->measure[k].name, t->measure[k].help);
        for (uint32_t k = 0; k < t->n_option; k++)
            buf_addf(out, "  %s=%s (%s, %u to %u): %s\n", t->option[k].name, t->option[k].preset,
                     t->option[k].unit, t->option[k].least, t->option[k].most, t->option[k].help);
    }
}

/* ---- policies ---- */

static enum status add_policy(struct eval_policies *out, const char *name, const char *budget,
                              struct note *why)
{
    if (out->n == EVAL_POLICIES) {
        note_set(why, "there are more than %d pairs of a policy and a budget", EVAL_POLICIES);
        return BAD_INPUT;
    }
    struct eval_policy *p = &out->policy[out->n++];
    struct kv_choice choice;
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(p->budget, sizeof p->budget, "%s", budget);
    snprintf(p->text, sizeof p->text, budget[0] ? "%s%cbudget=%s" : "%s", name,
             strchr(name, ':') ? ',' : ':', budget);
    return kv_choice_parse(&choice, p->text, why);
}

static bool states_budget(const char *policy)
{
    return strstr(policy, ":budget=") || strstr(policy, ",budget=");
}

static enum status add_budgets(struct eval_policies *out, const char *policy,
                               const struct eval_pieces *budget, struct note *why)
{
    if (states_budget(policy))
        return add_policy(out, policy, "", why);
    enum status st = OK;
    for (uint32_t i = 0; st == OK && i < budget->n; i++)
        st = add_policy(out, policy, budget->text[i], why);
    return st;
}

static bool is_named(const struct eval_pieces *policy, const char *name)
{
    const size_t len = strlen(name);
    for (uint32_t i = 0; i < policy->n; i++)
        if (strcspn(policy->text[i], ":") == len && memcmp(policy->text[i], name, len) == 0)
            return true;
    return false;
}

enum status eval_policies_choose(struct eval_policies *out, const char *policies,
                                 const char *budgets, bool controls, struct note *why)
{
    static const char *const control[] = { "window", "random" };
    struct eval_pieces policy, budget;
    out->n = 0;
    enum status st = eval_split(&policy, policies, why);
    if (st == OK)
        st = eval_split(&budget, budgets, why);
    for (uint32_t i = 0; st == OK && i < budget.n; i++)
        if (strlen(budget.text[i]) >= sizeof out->policy->budget) {
            note_set(why, "'%s' is no budget", budget.text[i]);
            st = BAD_INPUT;
        }
    if (st == OK)
        st = add_policy(out, "full", "", why);
    for (uint32_t i = 0; st == OK && i < policy.n; i++)
        if (strcmp(policy.text[i], "full") != 0)
            st = add_budgets(out, policy.text[i], &budget, why);
    for (uint32_t i = 0; st == OK && controls && i < 2; i++)
        if (!is_named(&policy, control[i]))
            st = add_budgets(out, control[i], &budget, why);
    return st;
}
