#include "bin/load_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "bin/show.h"

static double n_sent(const struct load_tally *t)
{
    return (double)(t->n_good + t->n_failed);
}

/* Of an amount each second of the run; 0 where nothing was begun. */
static double per_second(const struct load_tally *t, double amount)
{
    return t->seconds > 0 ? amount / t->seconds : 0;
}

static bool has_slo(const struct load_tally *t)
{
    return t->slo.ttft_ms > 0 || t->slo.itl_ms > 0;
}

/* ---- the table ---- */

static void print_name(const char *text)
{
    char name[256];
    snprintf(name, sizeof name, "%s", text);
    show_harmless(name, strlen(name));
    fputs(name, stdout);
}

static void print_plan(const struct load_report *r)
{
    const struct load_plan *p = r->plan;
    print_name(p->url);
    fputs(", model ", stdout);
    print_name(r->model);
    if (p->shape.trace)
        printf("; %u requests of a trace, %g times as fast, at most %u under way",
               p->shape.trace->n, p->trace_speed, p->concurrency);
    else if (p->rate > 0)
        printf("; open loop, %g requests/s (%s), at most %u under way", p->rate,
               p->poisson ? "Poisson" : "constant", p->concurrency);
    else
        printf("; closed loop, %u client%s", p->concurrency, p->concurrency == 1 ? "" : "s");
    if (p->shape.prefix_tokens)
        printf("; %u prefix%s of %u tokens", p->shape.n_prefix, p->shape.n_prefix == 1 ? "" : "es",
               p->shape.prefix_tokens);
    printf("; seed %llu\n", (unsigned long long)p->shape.seed);
}

static void print_totals(const struct load_tally *t)
{
    const double n = (double)t->n_good;
    printf("%.0f requests, %llu failed, in %.2f s: %.2f requests/s, %.1f generated tokens/s\n",
           n_sent(t), (unsigned long long)t->n_failed, t->seconds, per_second(t, n),
           per_second(t, (double)t->n_output));
    if (load_was_stopped())
        printf("stopped by hand: %llu requests were under way, and count nowhere\n",
               (unsigned long long)t->n_dropped);
    if (t->n_good == 0)
        return;
    printf("tokens a request: %.1f of prompt", (double)t->n_prompt / n);
    if (t->cached_known)
        printf(", %.1f of them cached", (double)t->n_cached / n);
    printf("; %.1f generated\n", (double)t->n_output / n);
    if (t->n_without_usage)
        printf("%llu answers without usage: a token is counted for each event, none for prompts\n",
               (unsigned long long)t->n_without_usage);
}

static void print_series(const char *name, struct load_series *s)
{
    if (s->n == 0)
        return;
    printf("| %-19s | %9.2f | %9.2f | %9.2f | %9.2f | %9.2f |\n", name, load_series_mean(s),
           load_series_quantile(s, 0.5), load_series_quantile(s, 0.9),
           load_series_quantile(s, 0.99), load_series_quantile(s, 1));
}

static void print_times(struct load_tally *t)
{
    puts("\n| ms                  |      mean |       p50 |       p90 |       p99 |       max |\n"
         "| ------------------- | --------: | --------: | --------: | --------: | --------: |");
    print_series("time to first token", &t->first);
    print_series("inter-token", &t->gap);
    print_series("per output token", &t->token);
    print_series("end to end", &t->whole);
}

static void print_goodput(const struct load_tally *t)
{
    const char *between = "";
    fputs("\ngoodput (", stdout);
    if (t->slo.ttft_ms > 0) {
        printf("first token within %g ms", t->slo.ttft_ms);
        between = ", ";
    }
    if (t->slo.itl_ms > 0)
        printf("%seach next within %g ms on average", between, t->slo.itl_ms);
    printf("): %llu of %.0f requests (%.1f %%), %.2f requests/s\n", (unsigned long long)t->n_in_slo,
           n_sent(t), 100 * (double)t->n_in_slo / n_sent(t), per_second(t, (double)t->n_in_slo));
}

static void print_faults(const struct load_tally *t)
{
    if (t->n_fault)
        puts("\n| failed | why                 | for instance |\n"
             "| -----: | ------------------- | ------------ |");
    for (uint32_t i = 0; i < t->n_fault; i++)
        printf("| %6llu | %-19s | %s |\n", (unsigned long long)t->fault[i].n, t->fault[i].label,
               t->fault[i].example.text);
}

void load_report_md(const struct load_report *r)
{
    print_plan(r);
    print_totals(r->tally);
    if (r->tally->n_good)
        print_times(r->tally);
    if (has_slo(r->tally) && n_sent(r->tally) > 0)
        print_goodput(r->tally);
    print_faults(r->tally);
}

/* ---- JSON ---- */

/* JSON has no NAN: what there is none of is null. */
static void add_real(json_t *to, const char *name, double x)
{
    json_object_set_new(to, name, isfinite(x) ? json_real(x) : json_null());
}

static void add_count(json_t *to, const char *name, uint64_t n)
{
    json_object_set_new(to, name, json_integer((json_int_t)n));
}

static void add_series(json_t *to, const char *name, struct load_series *s)
{
    static const struct {
        const char *name;
        double q;
    } quantiles[] = { { "median", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "max", 1 } };
    char key[40];
    snprintf(key, sizeof key, "mean_%s_ms", name);
    add_real(to, key, load_series_mean(s));
    snprintf(key, sizeof key, "std_%s_ms", name);
    add_real(to, key, load_series_deviation(s));
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        snprintf(key, sizeof key, "%s_%s_ms", quantiles[i].name, name);
        add_real(to, key, load_series_quantile(s, quantiles[i].q));
    }
}

static void add_plan(json_t *to, const struct load_report *r)
{
    const struct load_plan *p = r->plan;
    char date[32];
    const time_t now = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    json_object_set_new(to, "date", json_string(date));
    json_object_set_new(to, "base_url", json_string(p->url));
    json_object_set_new(to, "model_id", json_string(r->model));
    json_object_set_new(to, "endpoint_type", json_string(p->shape.text ? "openai" : "openai-chat"));
    json_object_set_new(to, "request_rate", p->rate > 0 ? json_real(p->rate) : json_string("inf"));
    add_count(to, "max_concurrency", p->concurrency);
    add_count(to, "seed", p->shape.seed);
    add_count(to, "prefix_tokens", p->shape.prefix_tokens);
    add_count(to, "prefixes", p->shape.n_prefix);
}

static void add_totals(json_t *to, const struct load_tally *t)
{
    add_real(to, "duration", t->seconds);
    add_count(to, "num_prompts", t->n_good + t->n_failed);
    add_count(to, "completed", t->n_good);
    add_count(to, "failed", t->n_failed);
    add_count(to, "total_input_tokens", (uint64_t)t->n_prompt);
    add_count(to, "total_output_tokens", (uint64_t)t->n_output);
    json_object_set_new(to, "total_cached_tokens",
                        t->cached_known ? json_integer(t->n_cached) : json_null());
    add_count(to, "without_usage", t->n_without_usage);
    add_count(to, "dropped", t->n_dropped);
    add_real(to, "request_throughput", per_second(t, (double)t->n_good));
    add_real(to, "output_throughput", per_second(t, (double)t->n_output));
    add_real(to, "total_token_throughput", per_second(t, (double)(t->n_output + t->n_prompt)));
    add_real(to, "request_goodput", has_slo(t) ? per_second(t, (double)t->n_in_slo) : NAN);
    add_real(to, "goodput_share", has_slo(t) ? (double)t->n_in_slo / n_sent(t) : NAN);
}

static void add_faults(json_t *to, const struct load_tally *t)
{
    json_t *all = json_object();
    for (uint32_t i = 0; i < t->n_fault; i++)
        json_object_set_new(all, t->fault[i].label,
                            json_pack("{sI ss}", "count", (json_int_t)t->fault[i].n, "example",
                                      t->fault[i].example.text));
    json_object_set_new(to, "errors", all);
}

void load_report_json(const struct load_report *r)
{
    json_t *all = json_object();
    add_plan(all, r);
    add_totals(all, r->tally);
    add_series(all, "ttft", &r->tally->first);
    add_series(all, "tpot", &r->tally->token);
    add_series(all, "itl", &r->tally->gap);
    add_series(all, "e2el", &r->tally->whole);
    add_faults(all, r->tally);
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(all);
}
