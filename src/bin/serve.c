/* akvifer serve - an OpenAI-compatible server over one model and one bounded pool of KV memory. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "api/log.h"
#include "bin/engine_flags.h"
#include "bin/lines.h"
#include "bin/sampling_flags.h"
#include "bin/serve_args.h"
#include "bin/serve_keys.h"
#include "bin/verbs.h"

struct serve_options {
    struct engine_flags engine;
    struct sampling_flags sampling;
    const char *host, *key_file, *metrics_key, *alias, *tls_key, *tls_cert, *template_file, *cors,
        *log_file;
    const char *config; // read by serve_args; the row is for the help
    const char *template;
    int64_t port, n_predict, timeout_s, request_s, n_thread_http, ping_s, drain_s, n_connection;
    uint64_t body_max;
    bool metrics, slots, dry_run, page;
    struct flag_texts key;
};

static const struct flag rows[] = {
    ENGINE_FLAGS(serve_options, engine),
    { .names = "-np --parallel",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, engine.n_parallel),
      .unit = "N",
      .preset = "16",
      .least = 1,
      .most = 1024,
      .env = "LLAMA_ARG_N_PARALLEL",
      .help =
          "Most requests computed together; others wait. There are no slots: -c is each one's." },
    { .names = "--queue",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, engine.n_queue),
      .unit = "N",
      .preset = "256",
      .least = 1,
      .most = 65536,
      .help = "Most requests that wait; the next one is answered 429 with Retry-After." },
    { .names = "--host",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, host),
      .unit = "ADDRESS",
      .preset = "127.0.0.1",
      .help = "Where to listen; 0.0.0.0 is everywhere." },
    { .names = "--port",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, port),
      .unit = "PORT",
      .preset = "8080",
      .least = 0,
      .most = 65535,
      .help = "Port; 0 takes a free one and says which." },
    { .names = "--api-key",
      .type = FLAG_TEXTS,
      .at = FLAG_AT(serve_options, key),
      .unit = "KEY",
      .help =
          "Only requests with one of these keys (commas between them) are answered. Each key is "
          "a tenant: no KV is shared between two. May be given many times." },
    { .names = "--api-key-file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, key_file),
      .unit = "FILE",
      .help =
          "Keys, one a line; behind a blank may stand the tenant's name for metrics and logs." },
    { .names = "--metrics-key",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, metrics_key),
      .unit = "KEY",
      .help = "Where there are API keys: GET /metrics shows all tenants to this one, and to a "
              "tenant's key nothing of the others." },
    { .names = "-a --alias --served-model-name",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, alias),
      .unit = "NAME",
      .shown = "what -m says",
      .help = "The model's name in answers." },
    { .names = "-n --n-predict --predict",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, n_predict),
      .unit = "TOKENS",
      .preset = "-1",
      .least = -1,
      .most = 1 << 30,
      .help = "Most tokens of an answer where a request does not say; -1 is until it ends." },
    { .names = "-to --timeout",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, timeout_s),
      .unit = "SECONDS",
      .preset = "600",
      .least = 1,
      .most = 86400,
      .help = "A connection on which nothing moves for so long is closed." },
    { .names = "--request-timeout",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, request_s),
      .unit = "SECONDS",
      .preset = "60",
      .least = 1,
      .most = 86400,
      .help = "A request that is not whole after so long is answered 408." },
    { .names = "--threads-http",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, n_thread_http),
      .unit = "N",
      .preset = "2",
      .least = 1,
      .most = 64,
      .help = "Threads that read requests and write answers." },
    { .names = "--connections",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, n_connection),
      .unit = "N",
      .preset = "2048",
      .least = 1,
      .most = 65536,
      .help = "Most connections at once; others wait to be accepted." },
    { .names = "--body-max",
      .type = FLAG_SIZE,
      .at = FLAG_AT(serve_options, body_max),
      .unit = "BYTES",
      .preset = "16M",
      .help = "Longest request body; a longer one is answered 413." },
    { .names = "--sse-ping-interval",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, ping_s),
      .unit = "SECONDS",
      .preset = "30",
      .least = 0,
      .most = 3600,
      .help = "A comment is sent in a stream that was silent for so long; 0 is never." },
    { .names = "--drain",
      .type = FLAG_INT,
      .at = FLAG_AT(serve_options, drain_s),
      .unit = "SECONDS",
      .preset = "30",
      .least = 0,
      .most = 3600,
      .help = "How long running answers may go on after SIGTERM." },
    { .names = "--metrics",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(serve_options, metrics),
      .preset = "true",
      .help = "GET /metrics answers in Prometheus' format." },
    { .names = "--slots",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(serve_options, slots),
      .preset = "true",
      .help = "GET /slots lists what runs, as llama-server's does." },
    { .names = "--webui --ui --page",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(serve_options, page),
      .preset = "true",
      .env = "LLAMA_ARG_WEBUI",
      .help = "GET / is a page: a chat, and all that the KV memory holds, live." },
    { .names = "--ssl-key-file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, tls_key),
      .unit = "FILE",
      .help = "TLS: the private key, PEM." },
    { .names = "--ssl-cert-file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, tls_cert),
      .unit = "FILE",
      .help = "TLS: the certificate chain, PEM." },
    { .names = "--cors-origin",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, cors),
      .unit = "ORIGIN",
      .help = "Pages of this origin may call the server; * is any." },
    { .names = "--chat-template-file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, template_file),
      .unit = "FILE",
      .shown = "the model's",
      .help = "A Jinja chat template to use." },
    { .names = "--chat-template",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, template),
      .unit = "JINJA",
      .shown = "the model's",
      .help = "A Jinja chat template to use, its text." },
    { .names = "--log-file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, log_file),
      .unit = "FILE",
      .shown = "standard error",
      .help = "Where a line of JSON goes for each request; never a prompt or an answer." },
    { .names = "--config",
      .type = FLAG_TEXT,
      .at = FLAG_AT(serve_options, config),
      .unit = "FILE",
      .help =
          "Lines of 'flag = value', such as 'port = 9000'; the environment and the command line "
          "win." },
    { .names = "--dry-run",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(serve_options, dry_run),
      .help =
          "Reads flags, files and the model, prints the memory plan, and ends without serving." },
    SAMPLING_FLAGS(serve_options, sampling),
};

static const char *const examples[] = {
    "akvifer serve                                # smollm2 on http://127.0.0.1:8080",
    "akvifer serve -m qwen2 -c 8192 --kv-ram 1G --port 9000",
    "akvifer serve --host 0.0.0.0 --api-key-file keys.txt --ssl-key-file k.pem --ssl-cert-file "
    "c.pem",
    "curl 127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": "
    "\"Hello\"}]}'",
    NULL,
};

const struct flag_table flags_of_serve = {
    .verb = "serve",
    .summary = "an OpenAI-compatible server",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

/* ---- running ---- */

struct server {
    const struct serve_options *o;
    struct engine_opened opened;
    struct serve_keys keys;
    struct buf template;
    struct sampling_bias bias;
    struct api api;
    bool api_is_open;
    struct http_server *http;
    FILE *log;
};

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 ||
           strcmp(host, "::1") == 0;
}

static void announce(const struct server *s)
{
    const bool tls = s->o->tls_cert, ipv6 = strchr(s->o->host, ':');
    fprintf(stderr, "listening  http%s://%s%s%s:%u\n", tls ? "s" : "", ipv6 ? "[" : "", s->o->host,
            ipv6 ? "]" : "", http_server_port(s->http));
    if (!is_loopback(s->o->host) && (s->keys.n == 0 || !tls))
        fprintf(stderr,
                "warning    others on the network can reach this address, and there is no %s%s%s\n",
                s->keys.n == 0 ? "API key (--api-key)" : "",
                s->keys.n == 0 && !tls ? " and no " : "", tls ? "" : "TLS (--ssl-cert-file)");
}

static enum status read_template(struct server *s, struct note *why)
{
    const struct serve_options *o = s->o;
    if (o->template && !strchr(o->template, '{')) {
        note_set(
            why,
            "--chat-template takes a template's text (Jinja), and '%.60s' is none; a file of it "
            "is --chat-template-file",
            o->template);
        return BAD_INPUT;
    }
    if (o->template)
        buf_add_text(&s->template, o->template);
    return o->template_file ? read_path(o->template_file, &s->template, why) : OK;
}

static enum status open_log(struct server *s, struct note *why)
{
    s->log = s->o->log_file ? fopen(s->o->log_file, "ae") : stderr;
    if (s->log)
        return OK;
    note_set(why, "cannot open '%s': %m", s->o->log_file);
    return IO_ERROR;
}

static enum status open_api(struct server *s, struct note *why)
{
    struct api_options options = {
        .model = s->opened.model,
        .engine = s->opened.engine,
        .name = s->o->alias ? s->o->alias : s->o->engine.model,
        .path = s->o->engine.model,
        .kv_type = kv_type_name((enum kv_type)s->o->engine.kv_type),
        .key = s->keys.key,
        .n_key = s->keys.n,
        .metrics_key = s->o->metrics_key,
        .n_predict = (int32_t)s->o->n_predict,
        .ping_s = (int32_t)s->o->ping_s,
        .metrics = s->o->metrics,
        .slots = s->o->slots,
        .page = s->o->page,
        .log = s->log,
    };
    enum status st = sampling_from_flags(&options.sampling, &s->bias, &s->o->sampling, why);
    if (st == OK && options.sampling.n_bias) {
        note_set(why, "--logit-bias is a request's here: send it as logit_bias");
        st = BAD_INPUT;
    }
    if (st == OK)
        st = api_open(&s->api, &options, why);
    s->api_is_open = st == OK;
    return st;
}

static enum status open_http(struct server *s, struct note *why)
{
    const struct serve_options *o = s->o;
    const struct http_options options = {
        .host = o->host,
        .port = o->dry_run
                    ? 0
                    : (uint16_t)o->port, /* whose port may be in use, by the one that serves */
        .n_thread = (uint32_t)o->n_thread_http,
        .n_connection_max = (uint32_t)o->n_connection,
        .idle_ms = (uint32_t)o->timeout_s * 1000,
        .request_ms = (uint32_t)o->request_s * 1000,
        .body_bytes_max = o->body_max,
        .tls_key_file = o->tls_key,
        .tls_cert_file = o->tls_cert,
        .cors_origin = o->cors,
        .error_text = api_error_text,
        .refused = api_refused,
        .error_type = "application/json",
        .handler = api_handle,
        .arg = &s->api,
    };
    return http_server_new(&s->http, &options, why);
}

static enum status server_open(struct server *s, struct note *why)
{
    struct engine_flags engine = s->o->engine;
    enum status st = serve_keys_read(&s->keys, &s->o->key, s->o->key_file, why);
    if (st == OK)
        st = read_template(s, why);
    if (st == OK)
        st = open_log(s, why);
    if (st != OK)
        return st;
    if (s->template.len)
        engine.chat_template = buf_text(&s->template);
    st = engine_open(&s->opened, &engine, why);
    if (st == OK)
        st = open_api(s, why);
    if (st == OK)
        st = open_http(s, why); /* a dry run too: whether key and certificate fit, it knows */
    return st;
}

static void server_close(struct server *s)
{
    http_server_free(s->http); /* cuts what is open: their requests are canceled */
    if (s->api_is_open)
        api_close(&s->api); /* waits for those to end */
    engine_close(&s->opened);
    if (s->log && s->log != stderr)
        fclose(s->log);
    serve_keys_close(&s->keys);
    buf_close(&s->template);
}

/* SIGTERM and Ctrl-C end it: what runs may finish until the deadline; a second signal cuts it short. */
static void wait_for_end(struct server *s, const sigset_t *signals)
{
    int signal;
    sigwait(signals, &signal);
    log_line(s->api.log, "info", "stopping: up to %lld s for what runs", (long long)s->o->drain_s);
    api_drain(&s->api);
    for (int64_t left_ms = s->o->drain_s * 1000; left_ms > 0; left_ms -= 100) {
        const struct timespec now = { 0 };
        if (http_server_stop(s->http, 100) == OK || sigtimedwait(signals, NULL, &now) > 0)
            return;
    }
}

static int serve(const struct serve_options *o)
{
    struct server s = { .o = o };
    struct note why = { "" };
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before threads are: sigwait takes them */
    signal(SIGPIPE, SIG_IGN);
    enum status st = server_open(&s, &why);
    if (st == OK && !o->dry_run) {
        announce(&s);
        wait_for_end(&s, &signals);
    }
    server_close(&s);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_serve, &why);
}

/* What of a file is for the model alone is known once the model is: the first reading finds that, and errors
 * anywhere. */
static bool read_options(struct serve_options *o, struct serve_args *args, int *exit_code)
{
    struct config *c = &args->config;
    for (int i = 0; i < 2; i++) {
        *o = (struct serve_options){ 0 };
        if (!flags_read_over(&flags_of_serve, o, c->setting, c->n, args->argc, args->argv, NULL,
                             exit_code))
            return false;
        if (i == 0)
            serve_args_tell_strange_sections(args, o->engine.model);
        config_choose(c, o->engine.model);
    }
    return true;
}

int verb_serve(int argc, char **argv)
{
    struct serve_options o;
    struct serve_args args;
    struct note why = { "" };
    int exit_code;
    enum status st = serve_args_open(&args, argc, argv, &why);
    if (st == BAD_INPUT)
        return verb_misused(&flags_of_serve, why.text);
    if (st != OK)
        return verb_fails(&flags_of_serve, &why);
    if (read_options(&o, &args, &exit_code))
        exit_code = serve(&o);
    serve_args_close(&args);
    return exit_code;
}
