/* Many short requests, and what is left of them: the memory of the first thousand, and no block that nobody holds.
 *
 *   make soak      20,000 of them; else some for a test's time. SOAK_REQUESTS, and SOAK_MODEL: another model than a tiny one */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "support/served.h"
#include "support/tiny_model.h"

enum { N_CLIENT = 8, N_DEFAULT = SANITIZED ? 600 : 1500, STALL_S = 10 };

#define OPEN_BLOCKS "akvifer_kv_blocks{state=\"open\",tenant=\"all\"}"
#define SEALED_BLOCKS "akvifer_kv_blocks{state=\"sealed\",tenant=\"all\"}"
#define IDLE_BLOCKS "akvifer_kv_blocks{state=\"idle\",tenant=\"all\"}"

static struct served server;
static atomic_uint next_request;
static unsigned last_request;
static _Atomic uint64_t longest_ns; // that a request took

/* ---- requests ---- */

/* Every prompt another one: what it leaves in the cache is of no use to the next, and has to go again. */
static void add_prompt(struct buf *out, unsigned i)
{
    buf_add_text(out, "{\"prompt\":[");
    for (unsigned k = 0; k < 12 + i % 80; k++)
        buf_addf(out, "%s%u", k ? "," : "", 1 + (i * 131 + k * (7 + i % 13)) % 250);
    buf_addf(out, "],\"seed\":%u,\"max_tokens\":%u", i, 1 + i % 6);
}

/* Somebody who waits so long for a few tokens is forgotten, or as good as that. */
static void note_time(unsigned i, uint64_t ns)
{
    uint64_t longest = atomic_load(&longest_ns);
    while (ns > longest && !atomic_compare_exchange_weak(&longest_ns, &longest, ns))
        ;
    if (ns > STALL_S * UINT64_C(1000000000))
        fprintf(stderr, "request %u took %.1f s\n", i, (double)ns / 1e9);
}

/* All that short requests do: whole, streamed, several answers, left in the middle, refused. */
static void ask(unsigned i)
{
    struct buf body = { 0 };
    struct fetched f = { 0 };
    const unsigned kind = i % 8;
    add_prompt(&body, i);
    if (kind == 0 || kind == 1)
        buf_add_text(&body, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    if (kind == 1)
        f.leave_at = 100;
    if (kind == 2)
        buf_add_text(&body, ",\"n\":2,\"logprobs\":1");
    if (kind == 3)
        buf_add_text(&body, ",\"temperature\":1000");
    if (kind == 4)
        buf_add_text(&body, ",\"echo\":true,\"logprobs\":2");
    if (kind == 5)
        buf_addf(&body, ",\"cache_salt\":\"salt-%u\",\"stop\":[\"a\",\"bc\"]", i);
    buf_add_byte(&body, '}');
    const uint64_t began = os_now_ns();
    served_fetch(&server, &f, NULL, "/v1/completions", buf_text(&body));
    note_time(i, os_now_ns() - began);
    const bool good = kind == 1 || f.status == (kind == 3 ? 400 : 200);
    if (!good)
        fail_msg("request %u: %ld %s", i, f.status, buf_text(&f.body));
    buf_close(&f.body);
    buf_close(&body);
}

static void *client_main(void *arg)
{
    for (unsigned i; (i = atomic_fetch_add(&next_request, 1)) < last_request;)
        ask(i);
    return arg;
}

static void run_up_to(unsigned n)
{
    pthread_t thread[N_CLIENT];
    last_request = n;
    for (int i = 0; i < N_CLIENT; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, client_main, NULL), 0);
    for (int i = 0; i < N_CLIENT; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&next_request, n);
}

/* ---- what is left ---- */

/* Until those who left are noticed. */
static void wait_idle(void)
{
    for (int tries = 0;; tries++) {
        if (served_metric(&server, "llamacpp:requests_processing") == 0 &&
            served_metric(&server, "llamacpp:requests_deferred") == 0)
            return;
        assert_true(tries < 200);
        usleep(50000);
    }
}

/* Memory of the server's own, and what backs KV. (Resident memory as the system tells it counts a block of KV once for
 * every place where it is mapped, idle or not.) */
static double resident_mib(void)
{
    char path[64], line[256];
    double anon = 0, file = 0;
    snprintf(path, sizeof path, "/proc/%d/status", server.user.pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        sscanf(line, "RssAnon: %lf kB", &anon);
        sscanf(line, "RssFile: %lf kB", &file);
    }
    fclose(f);
    assert_true(anon > 0);
    return (anon + file) / 1024 + served_metric(&server, "akvifer_kv_backed_bytes") / 0x1p20;
}

static unsigned n_requests(void)
{
    const char *asked = getenv("SOAK_REQUESTS");
    return asked ? (unsigned)strtoul(asked, NULL, 10) : N_DEFAULT;
}

static void memory_stays_and_no_block_is_lost(void **state)
{
    const unsigned n = n_requests(), n_first = n < 3000 ? n / 3 : 1000;
    (void)state;
    run_up_to(n_first);
    wait_idle();
    const double first = resident_mib();
    print_message("resident: %.2f MiB after %u requests\n", first, n_first);
    run_up_to(n);
    wait_idle();
    const double last = resident_mib();
    print_message("resident: %.2f MiB after %u requests, %.2f MiB after %u (%+.2f %%)\n", first,
                  n_first, last, n, 100 * (last / first - 1));
    const double lost = served_metric(&server, OPEN_BLOCKS) + served_metric(&server, SEALED_BLOCKS);
    print_message("longest request: %.2f s\n", (double)atomic_load(&longest_ns) / 1e9);
    print_message("blocks: %.0f kept for reuse, %.0f that an answer left behind; evicted: %.0f\n",
                  served_metric(&server, IDLE_BLOCKS), lost,
                  served_metric(&server, "akvifer_kv_evictions_total{reason=\"memory\"}"));
    assert_true(lost == 0);
    assert_true(served_metric(&server, "akvifer_kv_evictions_total{reason=\"memory\"}") > 0);
    assert_true(served_metric(&server, "akvifer_kv_used_bytes") <=
                served_metric(&server, "akvifer_kv_cap_bytes"));
    if (!SANITIZED) /* a sanitizer keeps freed memory; 1 % of a tiny model are some pages of stacks */
        assert_true(last < first * 1.01 || last < first + 1);
}

static int open_server(void **state)
{
    static char model[128], log[128];
    const char *asked = getenv("SOAK_MODEL");
    curl_global_init(CURL_GLOBAL_ALL);
    if (program_folder_make(state) != 0)
        return -1;
    snprintf(log, sizeof log, "%s", program_file("log", ""));
    snprintf(model, sizeof model, "%s", asked ? asked : program_file("tiny.gguf", ""));
    if (!asked) {
        static struct vocab_maker maker;
        struct tiny_model tiny = tiny_model_of("llama", DT_Q8_0);
        small_bpe(&maker);
        tiny.n_vocab = maker.src.n_token;
        tiny.vocab = &maker;
        tiny_model_save(&tiny, model);
    }
    served_open(&server, WORDS("akvifer", "serve", "-m", model, "--port", "0", "-c", "256",
                               "--kv-ram", asked ? "64M" : "4M", "--log-file", log));
    return 0;
}

static int close_server(void **state)
{
    served_close(&server);
    curl_global_cleanup();
    return program_folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_stays_and_no_block_is_lost),
    };
    return cmocka_run_group_tests_name("soak", tests, open_server, close_server);
}
