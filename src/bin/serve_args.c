#include "bin/serve_args.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bin/lines.h"

/* What we take and leave, with what we do instead. */
static const struct stranger {
    const char *names; // with single spaces
    bool value;
    const char *instead;
} strangers[] = {
    { "-ngl --gpu-layers --n-gpu-layers", true, "all layers run on the processor" },
    { "-fa --flash-attn", true, "attention is always fused" },
    { "-cb --cont-batching --no-cont-batching", false, "requests are always batched" },
    { "-b --batch-size", true, "-ub says how many tokens a step computes" },
    { "-tb --threads-batch", true, "-t says how many threads compute, for prompts and answers" },
    { "-kvu --kv-unified --no-kv-unified", false, "all requests share one pool (--kv-ram)" },
    { "--cache-prompt --no-cache-prompt", false, "requests say so themselves: cache_prompt" },
    { "--cache-reuse", true, "prefixes are reused token by token" },
    { "-cram --cache-ram", true, "--kv-ram bounds all KV memory, idle KV included" },
    { "-sps --slot-prompt-similarity", true, "there are no slots" },
    { "--slot-save-path", true, "there are no slots" },
    { "--mlock --mmap --no-mmap --no-repack --repack", false, "weights are packed at load" },
    { "--jinja --no-jinja", false, "chat templates are always Jinja" },
    { "--context-shift --no-context-shift", false, "nothing is shifted or truncated silently" },
    { "--swa-full", false, "windowed layers keep their window" },
    { "--props --no-props", false,
      "GET /props always answers, and nothing can be changed by POST" },
    { "--warmup --no-warmup", false, "there is nothing to warm up" },
    { "--enable-prefix-caching --no-enable-prefix-caching", false, "prefixes are always shared" },
    { "--tensor-parallel-size -tp", true, "one process uses all threads" },
    { "--block-size", true, "a block is 64 tokens" },
    { "--gpu-memory-utilization", true, "--kv-ram bounds KV memory" },
    { "--prio --poll --numa", true, "threads are placed by the system" },
    { "-v --verbose -lv --log-verbose", false, "see --log-file" },
};

/* The same flag under its name in other programs. */
static const struct {
    const char *theirs, *ours;
} renamed[] = {
    { "--max-model-len", "--ctx-size" },
    { "--max-num-seqs", "--parallel" },
    { "--max-num-batched-tokens", "--ubatch-size" },
    { "--kv-cache-dtype", "--kv-type" },
    { "-ctk", "--kv-type" },
    { "--cache-type-k", "--kv-type" },
};

static const struct stranger *stranger_of(const char *arg)
{
    const size_t len = strcspn(arg, "=");
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        const char *at = strangers[i].names;
        while (*at) {
            const size_t n = strcspn(at, " ");
            if (n == len && memcmp(at, arg, n) == 0)
                return &strangers[i];
            at += n + (at[n] == ' ');
        }
    }
    return NULL;
}

/* ---- the configuration ---- */

static char *trimmed(char *text)
{
    text += strspn(text, " \t");
    for (size_t n = strlen(text); n > 0 && strchr(" \t\r", text[n - 1]);)
        text[--n] = '\0';
    return text;
}

/* "port = 9000" becomes "--port=9000", "slots = false" "--no-slots". Each ends with a zero byte. */
static void add_setting(struct buf *out, char *line)
{
    char *value = strchr(line, '=');
    if (value)
        *value++ = '\0';
    const char *name = trimmed(line);
    name += strspn(name, "-");
    value = value ? trimmed(value) : NULL;
    if (!value || strcmp(value, "true") == 0)
        buf_addf(out, "--%s", name);
    else if (strcmp(value, "false") == 0)
        buf_addf(out, "--no-%s", name);
    else
        buf_addf(out, "--%s=%s", name, value);
    buf_add_byte(out, '\0');
}

static enum status read_config(struct serve_args *a, const char *path, uint32_t *n,
                               struct note *why)
{
    struct buf file = { 0 };
    enum status st = read_path(path, &file, why);
    char *rest = st == OK ? file.bytes : NULL, *line;
    while (rest && (line = strsep(&rest, "\n"))) {
        line[strcspn(line, "#")] = '\0';
        line = trimmed(line);
        if (*line == '\0')
            continue;
        add_setting(&a->text, line);
        ++*n;
    }
    buf_close(&file);
    return st;
}

static const char *config_of(int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            path = argv[i] + 9;
        else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            path = argv[i + 1];
    }
    return path;
}

/* ---- all of it ---- */

static void add(struct serve_args *a, char *arg)
{
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++) {
        if (strcmp(arg, renamed[i].theirs) == 0)
            arg = (char *)renamed[i].ours;
    }
    a->argv[a->argc++] = arg;
}

/* Takes argument i, and what belongs to it; gives the next. */
static int take(struct serve_args *a, int i, int argc, char **argv)
{
    const struct stranger *s = stranger_of(argv[i]);
    if (!s) {
        add(a, argv[i]);
        return i + 1;
    }
    fprintf(stderr, "akvifer serve: %s does nothing here: %s\n", argv[i], s->instead);
    const bool next = s->value && !strchr(argv[i], '=') && i + 1 < argc && argv[i + 1][0] != '-';
    return i + 1 + next;
}

enum status serve_args_open(struct serve_args *a, int argc, char **argv, struct note *why)
{
    const char *config = config_of(argc, argv);
    uint32_t n = 0;
    *a = (struct serve_args){ 0 };
    if (config) {
        enum status st = read_config(a, config, &n, why);
        if (st != OK) {
            serve_args_close(a);
            return st;
        }
    }
    a->argv = mem_new((size_t)argc + n + 1, sizeof *a->argv);
    if (!a->argv || a->text.failed) {
        note_set(why, "no memory for %d arguments", argc);
        serve_args_close(a);
        return FULL;
    }
    a->argv[a->argc++] = argv[0];
    char *setting = a->text.bytes;
    for (uint32_t i = 0; i < n; i++, setting += strlen(setting) + 1)
        add(a, setting);
    for (int i = 1; i < argc;)
        i = take(a, i, argc, argv);
    return OK;
}

void serve_args_close(struct serve_args *a)
{
    mem_free(a->argv);
    buf_close(&a->text);
    *a = (struct serve_args){ 0 };
}
