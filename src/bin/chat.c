#include "bin/chat.h"

#include <stdio.h>
#include <string.h>

#include "bin/answer.h"
#include "bin/conversation.h"
#include "bin/show.h"
#include "bin/terminal.h"
#include "bin/verbs.h"

static const double SMALL_MODEL = 4e8; // parameters below which a model is quick, but often wrong

struct chat {
    const struct chat_setup *setup;
    struct conversation talk;
    struct buf system; // empty: none
    uint64_t n_turn;   // of this conversation
    uint64_t n_answer; // of all: no two are drawn with one seed
    struct akv_usage last;
    bool leave;
};

/* ---- what is said at start ---- */

static void greet(const struct chat *c)
{
    const struct akv_model_info *m = &c->setup->opened->info;
    struct akv_stats s;
    akv_stats(c->setup->opened->engine, &s);
    fprintf(stderr, "akvifer %s: %s (%s, %s parameters, %s)\n", akv_version(), m->name,
            m->architecture, show_count(m->n_param).text, show_bytes(m->weight_bytes).text);
    terminal_remark("kernels %s", m->kernels);
    terminal_remark("KV %s, %s a token: up to %u tokens a conversation, at most %s in all",
                    c->setup->kv_type, show_bytes(s.kv_bytes_per_token).text, s.n_ctx,
                    show_bytes(s.kv_bytes_max).text);
    if ((double)m->n_param < SMALL_MODEL)
        terminal_remark("A small model: quick, but often wrong. A better one: make chat "
                        "MODEL=qwen2 (akvifer pull qwen2; akvifer run -m qwen2)");
    if (c->setup->raw)
        terminal_remark("Without a chat template: the text you type is continued, not answered.");
    terminal_remark("Ctrl-C stops an answer, Ctrl-D leaves, /help lists the commands.");
}

/* ---- a turn ---- */

static void start_over(struct chat *c)
{
    c->n_turn = 0;
    c->last = (struct akv_usage){ 0 };
    conversation_cut(&c->talk, 0);
    if (c->system.len > 0)
        conversation_say(&c->talk, "system", c->system.bytes, c->system.len);
}

static enum status ask(struct chat *c, struct answer *a, struct note *why)
{
    struct akv_request request = c->setup->request;
    struct ids ids = { 0 };
    enum status st = conversation_ids(&c->talk, c->setup->opened->model, &ids, why);
    if (st == OK) {
        request.ids = ids.id;
        request.n_id = ids.n;
        request.sampling.seed += c->n_answer;
        st = answer_get(a, c->setup->opened->engine, &request, stdout, why);
    }
    ids_close(&ids);
    return st;
}

static void remark_stop(const struct chat *c, const struct answer *a)
{
    const struct akv_usage *u = &a->usage;
    if (a->stop == AKV_STOP_CANCELED)
        terminal_remark("(stopped)");
    if (a->stop == AKV_STOP_LENGTH)
        terminal_remark("(cut after %u tokens: -n %u)", u->n_generated,
                        c->setup->request.n_predict);
    if (a->stop == AKV_STOP_CONTEXT)
        terminal_remark("(the context is full, %u tokens: /clear starts over, and -c makes it "
                        "longer where the model allows)",
                        u->n_prompt + u->n_generated);
}

static void remark_speed(const struct akv_usage *u)
{
    struct answer_speed s = answer_speed(u);
    terminal_remark(
        "[%u tokens, %.1f a second; %u read, %u of them reused, first word after %.2f s]",
        u->n_generated, s.generate_per_s, u->n_prompt, u->n_cached,
        (s.prompt_ms + (double)u->queue_ns / 1e6) / 1e3);
}

static void take_turn(struct chat *c, const struct buf *message)
{
    size_t mark = c->talk.body.len;
    struct answer a = { 0 };
    struct note why = { "" };
    conversation_say(&c->talk, "user", message->bytes, message->len);
    enum status st = ask(c, &a, &why);
    if (a.text.len > 0 && a.text.bytes[a.text.len - 1] != '\n') {
        putchar('\n');
        fflush(stdout);
    }
    if (st == OK) {
        conversation_say(&c->talk, "assistant", buf_text(&a.text), a.text.len);
        c->last = a.usage;
        c->n_turn++;
        c->n_answer++;
        remark_stop(c, &a);
        remark_speed(&a.usage);
    } else {
        conversation_cut(&c->talk, mark);
        fprintf(stderr, "%s (/clear starts over, /kv shows what is in use)\n", why.text);
    }
    answer_close(&a);
}

/* ---- commands ---- */

static void show_help(struct chat *c, const char *rest);

static void clear(struct chat *c, const char *rest)
{
    (void)rest;
    start_over(c);
    terminal_remark("(a new conversation)");
}

static void set_system(struct chat *c, const char *rest)
{
    if (c->talk.raw) {
        terminal_remark("(plain text has no system prompt)");
        return;
    }
    buf_clear(&c->system);
    buf_add_text(&c->system, rest);
    start_over(c);
    terminal_remark(*rest ? "(a new conversation, under this system prompt)"
                          : "(a new conversation, with the model's own system prompt)");
}

static void show_kv(struct chat *c, const char *rest)
{
    (void)rest;
    struct akv_stats s;
    const struct akv_usage *u = &c->last;
    akv_stats(c->setup->opened->engine, &s);
    uint32_t n_held = u->n_prompt + u->n_generated;
    fprintf(stderr, "  KV in use      %s in %u blocks, of at most %s\n",
            show_bytes(s.kv_bytes_held).text, s.n_block_held, show_bytes(s.kv_bytes_max).text);
    fprintf(stderr, "  kept for reuse %u blocks, %llu forgotten to make room\n", s.n_block_indexed,
            (unsigned long long)s.n_evicted);
    fprintf(stderr, "  in memory      %s\n", show_bytes(s.kv_bytes_backed).text);
    fprintf(stderr, "  a token        %s (%s)\n", show_bytes(s.kv_bytes_per_token).text,
            c->setup->kv_type);
    fprintf(stderr, "  conversation   %u of %u tokens, %llu turn%s\n", n_held, s.n_ctx,
            (unsigned long long)c->n_turn, c->n_turn == 1 ? "" : "s");
    fprintf(stderr, "  last turn      %u tokens read: %u reused, %u computed; %u generated\n",
            u->n_prompt, u->n_cached, u->n_prompt - u->n_cached, u->n_generated);
    fprintf(stderr, "  mapping        %.2f ms, %.2f %% of all steps' time\n",
            (double)s.map_ns / 1e6, s.step_ns ? 100.0 * (double)s.map_ns / (double)s.step_ns : 0);
    fprintf(stderr, "\n%s", akv_plan_text(c->setup->opened->engine));
}

static void leave(struct chat *c, const char *rest)
{
    (void)rest;
    c->leave = true;
}

static const struct command {
    const char *name, *operand, *help;
    void (*run)(struct chat *c, const char *rest);
} commands[] = {
    { "/help", "", "what you are reading", show_help },
    { "/clear", "", "forget the conversation and start another", clear },
    { "/system", " TEXT", "start another under a system prompt", set_system },
    { "/kv", "", "what the conversation holds in memory, and what was reused", show_kv },
    { "/exit", "", "leave (Ctrl-D does too)", leave },
};
enum { N_COMMAND = sizeof commands / sizeof *commands };

static void show_help(struct chat *c, const char *rest)
{
    (void)c;
    (void)rest;
    for (int i = 0; i < N_COMMAND; i++) {
        int n = fprintf(stderr, "  %s%s", commands[i].name, commands[i].operand);
        fprintf(stderr, "%*s%s\n", 20 - n, "", commands[i].help);
    }
    fputs("  Ctrl-C            stop the answer; at the prompt: drop the message, twice: leave\n"
          "  \\                 at the end of a line: the message goes on\n"
          "  \"\"\" ... \"\"\"       a message of several lines\n",
          stderr);
}

/* A slash and letters: what is no command is an error, so that a slip is not sent to the model. */
static bool obey(struct chat *c, const char *message)
{
    size_t len = message[0] == '/' ? 1 + strspn(message + 1, "abcdefghijklmnopqrstuvwxyz") : 0;
    if (len < 2 || (message[len] && message[len] != ' '))
        return false;
    struct nearest near = { .typed = message };
    for (int i = 0; i < N_COMMAND; i++) {
        const char *name = commands[i].name;
        if (strlen(name) == len && memcmp(name, message, len) == 0) {
            commands[i].run(c, message + len + strspn(message + len, " "));
            return true;
        }
        nearest_try(&near, name, strlen(name));
    }
    terminal_remark("(there is no command %.*s%s%s; /help lists them)", (int)len, message,
                    near.best ? "; did you mean " : "", near.best ? near.best : "");
    return true;
}

/* ---- the loop ---- */

static bool is_blank(const struct buf *message)
{
    return strspn(buf_text(message), " \t\n") == message->len;
}

int chat_run(const struct chat_setup *setup)
{
    struct chat c = { .setup = setup, .talk.raw = setup->raw };
    struct buf message = { 0 };
    struct note why = { "" };
    if (terminal_open(&why) != OK)
        return verb_fails(&flags_of_run, &why);
    if (setup->system)
        buf_add_text(&c.system, setup->system);
    start_over(&c);
    greet(&c);
    while (!c.leave) {
        fputc('\n', stderr);
        enum status st = terminal_read(&message);
        if (st == NOT_FOUND)
            break;
        if (st == OK && !is_blank(&message) && !obey(&c, message.bytes))
            take_turn(&c, &message);
    }
    conversation_close(&c.talk);
    buf_close(&c.system);
    buf_close(&message);
    terminal_close();
    return EXIT_DONE;
}
