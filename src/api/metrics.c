#include "api/metrics.h"

#include <stdio.h>
#include <string.h>

/* The first is no miss. With one model, no adapters and one KV type a process, two stay 0: tools may ask for them. */
enum { MISS_COLD = 1, MISS_TENANT = 10 };
static const char *const misses[MISSES] = { "none",    "cold",    "diverged", "end",
                                            "evicted", "window",  "off",      "below_minimum",
                                            "salt",    "public",  "tenant",   "policy",
                                            "adapter", "kv_type", "other" };
static const char *const finished[] = {
    [AKV_STOP_END] = "stop",       [AKV_STOP_TEXT] = "stop",   [AKV_STOP_LENGTH] = "length",
    [AKV_STOP_CONTEXT] = "length", [AKV_STOP_TIME] = "length", [AKV_STOP_CANCELED] = "abort",
    [AKV_STOP_ERROR] = "error",
};

/* Bounds in seconds, and in tokens. */
static const double seconds[METRIC_BUCKETS] = { 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05,
                                                0.075, 0.1,   0.15,  0.2,  0.3,  0.5,  0.75,
                                                1,     2.5,   5,     10,   30,   60 };
static const double tokens[METRIC_BUCKETS] = { 1,    2,     4,    8,     16,    32,    64,
                                               128,  256,   512,  1024,  2048,  4096,  8192,
                                               12e3, 16384, 24e3, 32768, 65536, 131072 };

void metrics_open(struct metrics *m)
{
    *m = (struct metrics){ 0 };
    pthread_mutex_init(&m->lock, NULL);
}

void metrics_close(struct metrics *m)
{
    pthread_mutex_destroy(&m->lock);
}

static void observe(struct histogram *h, const double *bound, double x)
{
    uint32_t i = 0;
    while (i < METRIC_BUCKETS && x > bound[i])
        i++;
    h->count[i]++;
    h->sum += x;
}

void metrics_token(struct metrics *m, bool first, uint64_t ns)
{
    pthread_mutex_lock(&m->lock);
    observe(first ? &m->ttft : &m->inter_token, seconds, (double)ns / 1e9);
    pthread_mutex_unlock(&m->lock);
}

void metrics_inter_token(struct metrics *m, struct histogram *out)
{
    pthread_mutex_lock(&m->lock);
    *out = m->inter_token;
    pthread_mutex_unlock(&m->lock);
}

/* Inside a bucket as if its values were spread evenly. */
double metrics_quantile(const struct histogram *now, const struct histogram *before, double q)
{
    uint64_t n = 0, below = 0;
    for (uint32_t i = 0; i <= METRIC_BUCKETS; i++)
        n += now->count[i] - before->count[i];
    const double rank = q * (double)n;
    for (uint32_t i = 0; n && i < METRIC_BUCKETS; i++) {
        const uint64_t in = now->count[i] - before->count[i];
        const double least = i ? seconds[i - 1] : 0;
        if (in && (double)(below + in) >= rank)
            return least + (seconds[i] - least) * (rank - (double)below) / (double)in;
        below += in;
    }
    return n ? seconds[METRIC_BUCKETS - 1] : 0;
}

void metrics_refused(struct metrics *m)
{
    pthread_mutex_lock(&m->lock);
    m->n_refused++;
    pthread_mutex_unlock(&m->lock);
}

static uint32_t miss_index(const char *name)
{
    for (uint32_t i = 0; name && i < MISSES; i++) {
        if (strcmp(name, misses[i]) == 0)
            return i;
    }
    return MISSES - 1;
}

void metrics_request_done(struct metrics *m, const struct metrics_request *r)
{
    const struct akv_usage *u = r->usage, *first = r->first;
    pthread_mutex_lock(&m->lock);
    m->n_request[r->stop]++;
    m->n_prompt += u->n_prompt;
    m->n_cached += u->n_cached;
    m->n_generated += u->n_generated;
    const uint64_t n = (uint64_t)u->n_prompt + u->n_generated;
    m->n_tokens_max = n > m->n_tokens_max ? n : m->n_tokens_max;
    const uint32_t miss = miss_index(first->cache_miss_operator);
    if (miss > 0)
        m->n_miss[miss]++;
    if (first->n_cached > 0)
        m->n_hit[miss > 0]++;
    m->prompt_seconds += (double)first->prompt_ns / 1e9;
    m->generate_seconds += (double)first->generate_ns / 1e9;
    observe(&m->end_to_end, seconds, (double)r->ns / 1e9);
    observe(&m->queue, seconds, (double)first->queue_ns / 1e9);
    observe(&m->prefill, seconds, (double)first->prompt_ns / 1e9);
    observe(&m->decode, seconds, (double)first->generate_ns / 1e9);
    observe(&m->inference, seconds, (double)(first->prompt_ns + first->generate_ns) / 1e9);
    observe(&m->longest_answer, tokens, r->n_longest);
    observe(&m->prompt_tokens, tokens, u->n_prompt);
    observe(&m->generated_tokens, tokens, u->n_generated);
    pthread_mutex_unlock(&m->lock);
}

/* ---- text ---- */

struct text {
    struct buf *out;
    struct buf label; // model_name="..."
};

/* A label's value: backslash, quote and line end are escaped. */
static void add_label(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\' || *text == '"')
            buf_add_byte(out, '\\');
        if (*text == '\n')
            buf_add_text(out, "\\n");
        else
            buf_add_byte(out, *text);
    }
}

static void head(const struct text *t, const char *name, const char *type, const char *help)
{
    buf_addf(t->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void plain(const struct text *t, const char *name, const char *type, const char *help,
                  double value)
{
    head(t, name, type, help);
    if (strncmp(name, "vllm:", 5) == 0)
        buf_addf(t->out, "%s{%s} %.17g\n", name, buf_text(&t->label), value);
    else
        buf_addf(t->out, "%s %.17g\n", name, value);
}

static void histogram(const struct text *t, const char *name, const char *help,
                      const struct histogram *h, const double *bound)
{
    uint64_t n = 0;
    head(t, name, "histogram", help);
    for (uint32_t i = 0; i < METRIC_BUCKETS; i++) {
        n += h->count[i];
        buf_addf(t->out, "%s_bucket{%s,le=\"%g\"} %llu\n", name, buf_text(&t->label), bound[i],
                 (unsigned long long)n);
    }
    n += h->count[METRIC_BUCKETS];
    buf_addf(t->out, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, buf_text(&t->label),
             (unsigned long long)n);
    buf_addf(t->out, "%s_sum{%s} %.17g\n%s_count{%s} %llu\n", name, buf_text(&t->label), h->sum,
             name, buf_text(&t->label), (unsigned long long)n);
}

static double rate(double n, double s)
{
    return s > 0 ? n / s : 0;
}

static void llama_names(const struct text *t, const struct metrics *m, const struct akv_stats *s)
{
    plain(t, "llamacpp:prompt_tokens_total", "counter", "Number of prompt tokens processed.",
          (double)(m->n_prompt - m->n_cached));
    plain(t, "llamacpp:prompt_tokens_cached_total", "counter",
          "Number of prompt tokens reused from the cache.", (double)m->n_cached);
    plain(t, "llamacpp:prompt_seconds_total", "counter", "Prompt process time.", m->prompt_seconds);
    plain(t, "llamacpp:tokens_predicted_total", "counter", "Number of generation tokens processed.",
          (double)m->n_generated);
    plain(t, "llamacpp:tokens_predicted_seconds_total", "counter", "Predict process time.",
          m->generate_seconds);
    plain(t, "llamacpp:n_decode_total", "counter", "Total number of forward passes.",
          (double)s->n_step);
    plain(t, "llamacpp:n_tokens_max", "counter", "Largest observed number of tokens of a request.",
          (double)m->n_tokens_max);
    plain(t, "llamacpp:spec_decode_num_drafts_total", "counter",
          "Drafts of speculative decoding, which is not there.", 0);
    plain(t, "llamacpp:spec_decode_num_draft_tokens_total", "counter", "Their tokens.", 0);
    plain(t, "llamacpp:spec_decode_num_accepted_tokens_total", "counter",
          "Of these, the accepted ones.", 0);
    plain(t, "llamacpp:n_busy_slots_per_decode", "gauge",
          "Average number of sequences in a forward pass.",
          rate((double)s->n_step_sequence, (double)s->n_step));
    plain(t, "llamacpp:prompt_tokens_seconds", "gauge", "Average prompt throughput in tokens/s.",
          rate((double)(m->n_prompt - m->n_cached), m->prompt_seconds));
    plain(t, "llamacpp:predicted_tokens_seconds", "gauge",
          "Average generation throughput in tokens/s.",
          rate((double)m->n_generated, m->generate_seconds));
    plain(t, "llamacpp:requests_processing", "gauge", "Number of requests processing.",
          s->n_running);
    plain(t, "llamacpp:requests_deferred", "gauge", "Number of requests deferred.", s->n_waiting);
}

/* Tokens of a step; the engine counts them by powers of two. Their sum is what was computed. */
static void iteration_tokens(const struct text *t, const struct akv_stats *s)
{
    const char *name = "vllm:iteration_tokens_total", *label = buf_text(&t->label);
    uint64_t n = 0;
    head(t, name, "histogram", "Tokens of a forward pass.");
    for (uint32_t i = 0; i + 1 < AKV_STEP_BUCKETS; i++) {
        n += s->n_step_of_rows[i];
        buf_addf(t->out, "%s_bucket{%s,le=\"%u\"} %llu\n", name, label, 1u << i,
                 (unsigned long long)n);
    }
    n += s->n_step_of_rows[AKV_STEP_BUCKETS - 1];
    buf_addf(t->out, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %llu\n%s_count{%s} %llu\n", name,
             label, (unsigned long long)n, name, label, (unsigned long long)s->n_row, name, label,
             (unsigned long long)n);
}

/* How long blocks stay; the engine counts by the bounds of akv_stats. */
static void block_times(const struct text *t, const char *name, const char *help,
                        const struct akv_stats *s, const struct akv_times *times)
{
    const char *label = buf_text(&t->label);
    uint64_t n = 0;
    head(t, name, "histogram", help);
    for (uint32_t i = 0; i + 1 < AKV_TIME_BUCKETS; i++) {
        n += times->n[i];
        buf_addf(t->out, "%s_bucket{%s,le=\"%g\"} %llu\n", name, label, s->time_bound[i],
                 (unsigned long long)n);
    }
    n += times->n[AKV_TIME_BUCKETS - 1];
    buf_addf(t->out, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.17g\n%s_count{%s} %llu\n", name,
             label, (unsigned long long)n, name, label, times->sum, name, label,
             (unsigned long long)n);
}

static void vllm_block_times(const struct text *t, const struct akv_stats *s)
{
    block_times(t, "vllm:kv_block_lifetime_seconds",
                "From when a block could be reused to its eviction.", s, &s->block_lifetime);
    block_times(t, "vllm:kv_block_idle_before_evict_seconds",
                "From a block's last use to its eviction.", s, &s->block_idle);
    block_times(t, "vllm:kv_block_reuse_gap_seconds",
                "From a block's last use to its reuse, when it is reused.", s, &s->block_reuse_gap);
}

static void vllm_info(const struct text *t, const struct akv_stats *s, const char *kv_type)
{
    const size_t block = 64 * s->kv_bytes_per_token;
    head(t, "vllm:cache_config_info", "gauge", "The cache's settings.");
    buf_addf(t->out,
             "vllm:cache_config_info{%s,block_size=\"64\",cache_dtype=\"%s\","
             "enable_prefix_caching=\"True\",num_cpu_blocks=\"%zu\",num_gpu_blocks=\"0\"} 1\n",
             buf_text(&t->label), kv_type, block ? s->kv_bytes_max / block : 0);
}

static void vllm_names(const struct text *t, const struct metrics *m, const struct akv_stats *s,
                       const struct holdings *kv)
{
    plain(t, "vllm:num_requests_running", "gauge", "Number of requests in the running batch.",
          s->n_running);
    plain(t, "vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.",
          s->n_waiting);
    plain(t, "vllm:kv_cache_usage_perc", "gauge",
          "KV memory of running sequences, and rows that policies kept; 1 means the cap. (Idle "
          "blocks are as good as free.)",
          rate((double)(kv->bytes[AKV_BLOCK_OPEN] + kv->bytes[AKV_BLOCK_SEALED] + kv->kept_bytes),
               (double)s->kv_bytes_max));
    plain(t, "vllm:prompt_tokens_total", "counter", "Number of prefill tokens processed.",
          (double)m->n_prompt);
    plain(t, "vllm:generation_tokens_total", "counter", "Number of generation tokens processed.",
          (double)m->n_generated);
    plain(t, "vllm:prefix_cache_queries_total", "counter", "Prompt tokens looked up for reuse.",
          (double)m->n_prompt);
    plain(t, "vllm:prefix_cache_hits_total", "counter", "Prompt tokens that were reused.",
          (double)m->n_cached);
    plain(t, "vllm:prompt_tokens_cached_total", "counter", "Prompt tokens that were reused.",
          (double)m->n_cached);
    plain(t, "vllm:external_prefix_cache_queries_total", "counter",
          "Prompt tokens looked up elsewhere: there is no such place.", 0);
    plain(t, "vllm:external_prefix_cache_hits_total", "counter", "Of these, found.", 0);
    plain(t, "vllm:num_preemptions_total", "counter", "Sequences put back to wait for memory.",
          (double)s->n_paused);
    head(t, "vllm:request_success_total", "counter", "Requests that ended, by how.");
    for (size_t i = 0; i < sizeof finished / sizeof *finished; i++) {
        uint64_t n = 0; /* two ways may have one name */
        bool first = true;
        for (size_t k = 0; k < sizeof finished / sizeof *finished; k++) {
            if (strcmp(finished[k], finished[i]) != 0)
                continue;
            n += m->n_request[k];
            first &= k >= i;
        }
        if (first)
            buf_addf(t->out, "vllm:request_success_total{%s,finished_reason=\"%s\"} %llu\n",
                     buf_text(&t->label), finished[i], (unsigned long long)n);
    }
    histogram(t, "vllm:time_to_first_token_seconds", "Time to first token.", &m->ttft, seconds);
    histogram(t, "vllm:inter_token_latency_seconds", "Time between two tokens of an answer.",
              &m->inter_token, seconds);
    histogram(t, "vllm:e2e_request_latency_seconds", "Time from request to the end of its answer.",
              &m->end_to_end, seconds);
    histogram(t, "vllm:request_queue_time_seconds", "Time spent waiting.", &m->queue, seconds);
    histogram(t, "vllm:request_prefill_time_seconds", "Time from start to first token.",
              &m->prefill, seconds);
    histogram(t, "vllm:request_decode_time_seconds", "Time from first token to the end.",
              &m->decode, seconds);
    histogram(t, "vllm:request_inference_time_seconds", "Time from start to the end.",
              &m->inference, seconds);
    histogram(t, "vllm:request_max_num_generation_tokens",
              "Generated tokens of a request's longest answer.", &m->longest_answer, tokens);
    histogram(t, "vllm:request_prompt_tokens", "Prompt tokens of a request.", &m->prompt_tokens,
              tokens);
    histogram(t, "vllm:request_generation_tokens", "Generated tokens of a request.",
              &m->generated_tokens, tokens);
}

struct labelled {
    const char *value;
    double x;
};

/* One name, a line for each value of its label. */
static void labelled(const struct text *t, const char *name, const char *type, const char *help,
                     const char *label, const struct labelled *line, uint32_t n)
{
    head(t, name, type, help);
    for (uint32_t i = 0; i < n; i++)
        buf_addf(t->out, "%s{%s=\"%s\"} %.17g\n", name, label, line[i].value, line[i].x);
}

/* Whose rows a tenant sees: its own, and what is everybody's. */
static bool is_shown(const char *of, const char *tenant)
{
    return !tenant || strcmp(of, tenant) == 0 || strcmp(of, TENANT_PUBLIC) == 0;
}

static void own_blocks(const struct text *t, const struct holdings *h, const char *tenant)
{
    static const char *const states[] = { [AKV_BLOCK_FREE] = "free",
                                          [AKV_BLOCK_OPEN] = "open",
                                          [AKV_BLOCK_SEALED] = "sealed",
                                          [AKV_BLOCK_IDLE] = "idle" };
    head(t, "akvifer_kv_blocks", "gauge",
         "Blocks by tenant: being written, read by a running sequence, kept for reuse only.");
    for (uint32_t i = 0; i < h->n_row; i++) {
        for (uint32_t k = is_shown(h->row[i].tenant, tenant) ? AKV_BLOCK_OPEN : HOLDINGS_STATES;
             k < HOLDINGS_STATES; k++) {
            buf_addf(t->out, "akvifer_kv_blocks{state=\"%s\",tenant=\"", states[k]);
            add_label(t->out, h->row[i].tenant);
            buf_addf(t->out, "\"} %u\n", h->row[i].n_block[k]);
        }
    }
    head(t, "akvifer_kv_bytes", "gauge",
         "The cap's bytes, by what they hold (kept: rows that policies kept).");
    for (uint32_t k = 0; k < HOLDINGS_STATES; k++)
        buf_addf(t->out, "akvifer_kv_bytes{class=\"%s\"} %zu\n", states[k], h->bytes[k]);
    buf_addf(t->out, "akvifer_kv_bytes{class=\"kept\"} %zu\n", h->kept_bytes);
}

static void own_kv(const struct text *t, const struct akv_stats *s)
{
    plain(t, "akvifer_kv_cap_bytes", "gauge", "Hard cap on KV memory.", (double)s->kv_bytes_max);
    plain(t, "akvifer_kv_used_bytes", "gauge", "KV memory in blocks that are held.",
          (double)s->kv_bytes_held);
    plain(t, "akvifer_kv_backed_bytes", "gauge", "KV memory taken from the system.",
          (double)s->kv_bytes_backed);
    plain(t, "akvifer_kv_parked_bytes", "gauge", "KV of episodes outside of the cap (park=ram).",
          (double)s->kv_bytes_parked);
    labelled(t, "akvifer_kv_episodes_total", "counter", "Episodes that left the cap or came back.",
             "way",
             (const struct labelled[]){ { "parked", (double)s->n_episode_parked },
                                        { "back", (double)s->n_episode_unparked } },
             2);
    labelled(t, "akvifer_kv_evictions_total", "counter", "Blocks forgotten, by why.", "reason",
             (const struct labelled[]){ { "memory", (double)s->n_evicted },
                                        { "window", (double)s->n_window_dropped },
                                        { "index", (double)s->n_crowded },
                                        { "policy", (double)s->n_pruned } },
             4);
    plain(t, "akvifer_kv_rows_read_total", "counter",
          "Rows of KV that queries under a selecting policy read.", (double)s->n_row_read);
    plain(t, "akvifer_kv_rows_there_total", "counter", "Rows that there were for those queries.",
          (double)s->n_row_there);
    plain(t, "akvifer_kv_book_bytes", "gauge",
          "Memory beside the KV by which running requests select.", (double)s->kv_book_bytes);
    plain(t, "akvifer_kv_mark_bytes", "gauge",
          "Memory beside the KV for what policies know of prefixes that are shared.",
          (double)s->kv_mark_bytes);
    plain(t, "akvifer_steps_total", "counter", "Forward passes.", (double)s->n_step);
    labelled(t, "akvifer_step_seconds_total", "counter", "Time in steps, by what it went to.",
             "part",
             (const struct labelled[]){ { "plan", (double)s->plan_ns / 1e9 },
                                        { "map", (double)s->map_ns / 1e9 },
                                        { "forward", (double)s->forward_ns / 1e9 },
                                        { "sample", (double)s->sample_ns / 1e9 },
                                        { "keep", (double)s->keep_ns / 1e9 } },
             5);
    plain(t, "akvifer_weight_bytes", "gauge", "Resident weights.", (double)s->weight_bytes);
    plain(t, "akvifer_workspace_bytes", "gauge", "Memory of a pass.", (double)s->workspace_bytes);
}

/* To a tenant what others have is as cold as what nobody has (kv/index.h N4): else it could ask until the count
 * moves. */
static uint64_t missed(const struct metrics *m, uint32_t i, const char *tenant)
{
    if (!tenant)
        return m->n_miss[i];
    return i == MISS_TENANT ? 0 : m->n_miss[i] + (i == MISS_COLD ? m->n_miss[MISS_TENANT] : 0);
}

static void own_requests(const struct text *t, const struct metrics *m, const struct akv_stats *s,
                         const char *tenant)
{
    labelled(t, "akvifer_requests", "gauge", "Requests inside, by what they do.", "state",
             (const struct labelled[]){ { "running", s->n_running }, { "waiting", s->n_waiting } },
             2);
    plain(t, "akvifer_requests_refused_total", "counter", "Requests answered with an error.",
          (double)m->n_refused);
    labelled(t, "akvifer_cache_hit_total", "counter",
             "Requests that reused KV: all that can be, or a part.", "kind",
             (const struct labelled[]){ { "whole", (double)m->n_hit[0] },
                                        { "part", (double)m->n_hit[1] } },
             2);
    head(t, "akvifer_cache_miss_total", "counter",
         "Requests by why no more of the prompt was reused.");
    for (uint32_t i = 1; i < MISSES; i++)
        buf_addf(t->out, "akvifer_cache_miss_total{reason=\"%s\"} %llu\n", misses[i],
                 (unsigned long long)missed(m, i, tenant));
}

static void own_http(const struct text *t, const struct http_counts *h)
{
    plain(t, "akvifer_http_connections", "gauge", "Open connections.", h->n_connection);
    plain(t, "akvifer_http_open_requests", "gauge", "Requests whose answer is not delivered.",
          h->n_open);
    plain(t, "akvifer_http_requests_total", "counter", "Requests that began.",
          (double)h->n_request);
    plain(t, "akvifer_http_refused_total", "counter", "Of these, refused before any handler.",
          (double)h->n_refused);
    plain(t, "akvifer_http_body_bytes", "gauge", "Bytes of bodies that are held.",
          (double)h->body_bytes);
}

void metrics_text(struct metrics *m, const struct metrics_sources *from, struct buf *out)
{
    struct text t = { .out = out };
    buf_add_text(&t.label, "engine=\"0\",model_name=\"");
    add_label(&t.label, from->model);
    buf_add_byte(&t.label, '"');
    pthread_mutex_lock(&m->lock);
    const struct metrics copy = *m;
    pthread_mutex_unlock(&m->lock);
    llama_names(&t, &copy, from->engine);
    vllm_names(&t, &copy, from->engine, from->kv);
    vllm_info(&t, from->engine, from->kv_type);
    iteration_tokens(&t, from->engine);
    vllm_block_times(&t, from->engine);
    own_blocks(&t, from->kv, from->tenant);
    own_kv(&t, from->engine);
    own_requests(&t, &copy, from->engine, from->tenant);
    own_http(&t, from->http);
    buf_close(&t.label);
}
