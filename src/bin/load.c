/* akvifer load - many requests to a server that speaks OpenAI's API, and how long they took. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "bin/load_client.h"
#include "bin/load_plot.h"
#include "bin/load_report.h"
#include "bin/verbs.h"

enum form { FORM_MD, FORM_JSON };     // in the order of -o's words
enum { EXIT_STOPPED = 128 + SIGINT }; // as of a program that Ctrl-C ended
enum { CLIENTS_OPEN = 1024, CLIENTS_MAX = 65536, THINK_MS_MAX = 3600000 };

struct options {
    const char *api_key, *model;
    int64_t concurrency;
    double rate;
    const char *trace;
    double trace_speed;
    uint32_t arrivals; // 0: Poisson
    uint64_t requests;
    double duration;
    const char *prompt, *output, *think;
    uint64_t prefix, prefixes;
    bool chat, text, ignore_eos, warm_prefixes;
    double temperature;
    const char *extra;
    uint64_t warm_up, seed;
    double timeout, slo_ttft, slo_itl;
    uint32_t form;
    const char *plot;
};

static const struct flag rows[] = {
    { .names = "--api-key",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, api_key),
      .unit = "KEY",
      .env = "OPENAI_API_KEY",
      .help = "Sent as a Bearer." },
    { .names = "-m --model",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, model),
      .unit = "NAME",
      .shown = "the first that the server lists",
      .help = "The model, as the server calls it." },
    { .names = "-c --concurrency",
      .type = FLAG_INT,
      .at = FLAG_AT(options, concurrency),
      .unit = "N",
      .shown = "1, or 1024 with --rate",
      .least = 0,
      .most = CLIENTS_MAX,
      .help = "Clients that each wait for their answer before they ask again (closed loop); with "
              "--rate "
              "the most requests under way, and what is due beyond waits." },
    { .names = "-r --rate",
      .type = FLAG_FLOAT,
      .at = FLAG_AT(options, rate),
      .unit = "R",
      .shown = "closed loop",
      .least = 0,
      .most = 1e6,
      .help =
          "Requests a second, whatever the answers do (open loop); times count from when a request "
          "was due." },
    { .names = "--arrivals",
      .type = FLAG_ENUM,
      .at = FLAG_AT(options, arrivals),
      .unit = "HOW",
      .preset = "poisson",
      .words = "poisson constant",
      .help = "Gaps between requests at a --rate." },
    { .names = "--trace",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, trace),
      .unit = "FILE.csv",
      .help = "Requests come when they do there, and as long (open loop): columns Timestamp "
              "(seconds), Request tokens and Response tokens, as BurstGPT has them." },
    { .names = "--trace-speed",
      .type = FLAG_FLOAT,
      .at = FLAG_AT(options, trace_speed),
      .unit = "X",
      .preset = "1",
      .least = 1e-6,
      .most = 1e9,
      .help = "Seconds of the trace that go by in one." },
    { .names = "-n --requests",
      .type = FLAG_U64,
      .at = FLAG_AT(options, requests),
      .unit = "N",
      .shown = "100, or no limit with --duration",
      .least = 0,
      .most = UINT32_MAX,
      .help = "Ends behind so many requests." },
    { .names = "-d --duration",
      .type = FLAG_FLOAT,
      .at = FLAG_AT(options, duration),
      .unit = "SECONDS",
      .shown = "no limit",
      .least = 0,
      .most = 1e7,
      .help = "Begins no request behind so many seconds; what is under way then is waited for." },
    { .names = "--prompt-tokens",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, prompt),
      .unit = "LENGTH",
      .preset = "128",
      .help = "Tokens of a request's own part of the prompt, which no other has: a number, "
              "uniform:64,256, "
              "lognormal:200,0.8 (median, sigma) or exponential:200 (mean)." },
    { .names = "--prefix-tokens",
      .type = FLAG_U64,
      .at = FLAG_AT(options, prefix),
      .unit = "TOKENS",
      .preset = "0",
      .least = 0,
      .most = LOAD_TOKENS_MAX,
      .help = "Tokens in front of it that requests share: the system message of a chat." },
    { .names = "--prefixes",
      .type = FLAG_U64,
      .at = FLAG_AT(options, prefixes),
      .unit = "N",
      .preset = "1",
      .least = 1,
      .most = LOAD_PREFIXES_MAX,
      .help = "Different prefixes; requests take them in turn." },
    { .names = "--output-tokens",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, output),
      .unit = "LENGTH",
      .preset = "64",
      .help = "Tokens of an answer, at most (max_tokens): a number or a distribution as for "
              "--prompt-tokens; "
              "exactly so many with --ignore-eos." },
    { .names = "--think",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, think),
      .unit = "MS",
      .preset = "0",
      .help = "Milliseconds that a client of the closed loop waits between an answer and its next "
              "request: a "
              "number or a distribution." },
    { .names = "--chat",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, chat),
      .shown = "chat",
      .help = "Asks /v1/chat/completions." },
    { .names = "--text",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, text),
      .help = "Asks /v1/completions, with the prompt as it is." },
    { .names = "--ignore-eos",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, ignore_eos),
      .help = "Asks for answers that do not end early (llama-server, vLLM and akvifer serve know "
              "it)." },
    { .names = "--temperature",
      .type = FLAG_FLOAT,
      .at = FLAG_AT(options, temperature),
      .unit = "T",
      .preset = "0",
      .least = 0,
      .most = 100,
      .help = "Sent with each request." },
    { .names = "--extra-body",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, extra),
      .unit = "JSON",
      .help = "An object whose members are sent with each request, in place of ours of the same "
              "name." },
    { .names = "--warm-up",
      .type = FLAG_U64,
      .at = FLAG_AT(options, warm_up),
      .unit = "N",
      .preset = "1",
      .least = 0,
      .most = 10000,
      .help = "Requests asked one by one before the load, without a prefix, and not counted." },
    { .names = "--warm-prefixes",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, warm_prefixes),
      .help =
          "Asks for one token behind each prefix before the load, so that a server which keeps KV "
          "has it; not counted." },
    { .names = "--seed",
      .type = FLAG_U64,
      .at = FLAG_AT(options, seed),
      .unit = "SEED",
      .preset = "1",
      .least = 0,
      .most = INFINITY,
      .help =
          "Of prompts, lengths and gaps. The same seed asks the same: a server that keeps KV has "
          "seen it then." },
    { .names = "--timeout",
      .type = FLAG_FLOAT,
      .at = FLAG_AT(options, timeout),
      .unit = "SECONDS",
      .preset = "600",
      .least = 0.001,
      .most = 1e6,
      .help = "A request that takes longer has failed." },
    { .names = "--slo-ttft",
      .type = FLAG_FLOAT,
      .at = FLAG_AT(options, slo_ttft),
      .unit = "MS",
      .shown = "no limit",
      .least = 0,
      .most = 1e9,
      .help = "Goodput counts requests whose first token came within this." },
    { .names = "--slo-itl",
      .type = FLAG_FLOAT,
      .at = FLAG_AT(options, slo_itl),
      .unit = "MS",
      .shown = "no limit",
      .least = 0,
      .most = 1e9,
      .help = "The same for each token behind the first, on the request's average." },
    { .names = "-o --output",
      .type = FLAG_ENUM,
      .at = FLAG_AT(options, form),
      .unit = "FORM",
      .preset = "md",
      .words = "md json",
      .help = "A table, or JSON with the names of vLLM's benchmark." },
    { .names = "--plot",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, plot),
      .unit = "FILE.png",
      .help = "Draws the distributions of first-token and inter-token times; needs gnuplot." },
};

static const char *const examples[] = {
    "akvifer load -c 8 -n 64",
    "akvifer load -c 8 --prefix-tokens 2048 --prompt-tokens 32 --ignore-eos --warm-prefixes",
    "akvifer load http://127.0.0.1:8000 --rate 4 -d 60 --output-tokens lognormal:100,0.7 "
    "--slo-ttft 500 "
    "--slo-itl 50",
    "akvifer load --trace BurstGPT_1.csv --trace-speed 10 -n 200 --ignore-eos",
    "akvifer load https://api.example.com/v1 -m NAME --text -n 20 -o json --plot times.png",
    NULL,
};

const struct flag_table flags_of_load = {
    .verb = "load",
    .summary = "load on a server that speaks OpenAI's API: times, throughput, goodput",
    .operands = "[URL]",
    .n_operand_max = 1,
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

/* ---- what was asked for ---- */

static enum status read_length(struct load_dist *out, const char *flag, const char *text,
                               double most, struct note *why)
{
    const enum status st = load_dist_parse(out, text, most, why);
    if (st != OK)
        note_prefix(why, "%s", flag);
    return st;
}

static enum status read_lengths(struct load_plan *p, const struct options *o, struct note *why)
{
    enum status st = read_length(&p->shape.own, "--prompt-tokens", o->prompt, LOAD_TOKENS_MAX, why);
    if (st == OK)
        st = read_length(&p->shape.output, "--output-tokens", o->output, LOAD_TOKENS_MAX, why);
    if (st == OK)
        st = read_length(&p->think, "--think", o->think, THINK_MS_MAX, why);
    return st;
}

/* "{...}" to the object; the caller drops it. */
static enum status read_extra(json_t **out, const char *text, struct note *why)
{
    enum status st = text ? json_from_text(out, text, strlen(text), why) : OK;
    if (st == OK && *out && !json_is_object(*out)) {
        note_set(why, "'%s' is no JSON object", text);
        st = BAD_INPUT;
    }
    if (st != OK)
        note_prefix(why, "--extra-body");
    return st;
}

static struct load_plan plan_of(const struct options *o, const struct operands *in)
{
    const bool open = o->rate > 0 || o->trace;
    const uint32_t clients = open ? CLIENTS_OPEN : 1;
    return (struct load_plan){
        .shape = { .n_prefix = (uint32_t)o->prefixes,
                   .prefix_tokens = (uint32_t)o->prefix,
                   .seed = o->seed,
                   .text = o->text,
                   .ignore_eos = o->ignore_eos,
                   .temperature = o->temperature,
                   .model = o->model },
        .url = in->n ? in->text[0] : "http://127.0.0.1:8080",
        .api_key = o->api_key,
        .concurrency = o->concurrency ? (uint32_t)o->concurrency : clients,
        .rate = o->rate,
        .trace_speed = o->trace_speed,
        .poisson = o->arrivals == 0,
        .n_request = o->requests || o->duration > 0 ? o->requests : 100,
        .seconds = o->duration,
        .timeout_s = o->timeout,
        .n_warm_up = (uint32_t)o->warm_up,
        .warm_prefixes = o->warm_prefixes,
    };
}

static const char *misuse(const struct options *o, const struct load_plan *p)
{
    if (o->chat && o->text)
        return "--chat and --text exclude each other";
    if (o->trace && o->rate > 0)
        return "--trace says when requests come, and so does --rate: leave out one of them";
    if ((o->rate > 0 || o->trace) && (p->think.kind != LOAD_FIXED || p->think.a > 0))
        return "--think is of clients that wait for answers: leave out --rate, --trace or --think";
    return NULL;
}

/* ---- and doing it ---- */

static enum status run(const struct load_plan *plan, const struct options *o, struct note *why)
{
    struct load_tally tally = { .slo = { o->slo_ttft, o->slo_itl } };
    struct gnuplot plot = { .fd = -1 };
    struct buf model = { 0 }, title = { 0 };
    enum status st = o->plot ? gnuplot_open(&plot, o->plot, why) : OK;
    if (st == OK)
        st = load_run(plan, &tally, &model, why);
    const struct load_report report = { plan, &tally, buf_text(&model) };
    if (st == OK && o->form == FORM_JSON)
        load_report_json(&report);
    else if (st == OK)
        load_report_md(&report);
    if (st == OK && o->plot) {
        buf_addf(&title, "%s, %s", plan->url, buf_text(&model));
        st = load_plot_draw(&plot, &tally, buf_text(&title), why);
    }
    if (st == OK && tally.n_good == 0) {
        note_set(why, "no request was answered");
        st = IO_ERROR;
    }
    gnuplot_close(&plot);
    load_tally_close(&tally);
    buf_close(&model);
    buf_close(&title);
    return st;
}

static enum status with_trace(struct load_plan *p, struct load_trace *trace,
                              const struct options *o, struct note *why)
{
    const enum status st = o->trace ? load_trace_open(trace, o->trace, why) : OK;
    if (st != OK || !o->trace)
        return st;
    p->shape.trace = trace;
    if (!o->requests || o->requests > trace->n)
        p->n_request = trace->n;
    return OK;
}

int verb_load(int argc, char **argv)
{
    struct options o = { 0 };
    struct operands in = { 0 };
    struct note why = { "" };
    int exit_code;
    json_t *extra = NULL;
    struct load_trace trace = { 0 };
    if (!flags_read(&flags_of_load, &o, argc, argv, &in, &exit_code))
        return exit_code;
    struct load_plan plan = plan_of(&o, &in);
    enum status st = read_lengths(&plan, &o, &why);
    if (st == OK)
        st = read_extra(&extra, o.extra, &why);
    plan.shape.extra = extra;
    const char *wrong = st == OK ? misuse(&o, &plan) : why.text;
    if (wrong)
        exit_code = verb_misused(&flags_of_load, wrong);
    else if (with_trace(&plan, &trace, &o, &why) != OK || run(&plan, &o, &why) != OK)
        exit_code = verb_fails(&flags_of_load, &why);
    else
        exit_code = load_was_stopped() ? EXIT_STOPPED : EXIT_DONE;
    load_trace_close(&trace);
    json_decref(extra);
    return exit_code;
}
