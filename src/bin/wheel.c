#include "bin/wheel.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

#include "base/mem.h"
#include "bin/flags.h"
#include "bin/progress.h"
#include "os/file.h"

#define PYPI "https://pypi.org/simple"

enum { PAGE_MAX = 4 << 20, CONFIG_MAX = 1 << 20 };

/* ---- pip's configuration ---- */

/* The value of "index-url = VALUE" in the text of a pip.conf (an INI file; the section does not
 * matter). */
static bool config_index(struct buf *out, const char *text)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *at = line + strspn(line, " \t");
        if (strncmp(at, "index-url", 9) != 0 && strncmp(at, "index_url", 9) != 0)
            continue;
        at += 9;
        at += strspn(at, " \t");
        if (*at != '=' && *at != ':')
            continue;
        at++;
        at += strspn(at, " \t");
        buf_clear(out);
        buf_add(out, at, strcspn(at, " \t\r\n"));
        return out->len > 0;
    }
    return false;
}

static bool read_config(struct buf *out, const char *path)
{
    char *text;
    size_t len;
    if (file_read(&text, &len, path, CONFIG_MAX, NULL) != OK)
        return false;
    bool found = config_index(out, text);
    mem_free(text);
    return found;
}

/* The same below a folder that a variable names. */
static bool read_config_in(struct buf *out, const char *variable, const char *file)
{
    struct buf path = { 0 };
    const char *folder = flags_environment(variable);
    if (!folder)
        return false;
    buf_addf(&path, "%s%s", folder, file);
    bool found = !path.failed && read_config(out, path.bytes);
    buf_close(&path);
    return found;
}

void wheel_index_default(struct buf *out)
{
    bool found = read_config_in(out, "PIP_CONFIG_FILE", "") ||
                 read_config_in(out, "VIRTUAL_ENV", "/pip.conf") ||
                 read_config_in(out, "XDG_CONFIG_HOME", "/pip/pip.conf") ||
                 read_config_in(out, "HOME", "/.config/pip/pip.conf") ||
                 read_config_in(out, "HOME", "/.pip/pip.conf") ||
                 read_config(out, "/etc/pip.conf") || read_config(out, "/etc/xdg/pip/pip.conf");
    if (!found) {
        buf_clear(out);
        buf_add_text(out, PYPI);
    }
    while (out->len && out->bytes[out->len - 1] == '/')
        out->bytes[--out->len] = 0;
}

/* ---- the index ---- */

void wheel_file_name(struct buf *out, const char *package, const char *version)
{
    for (; *package; package++)
        buf_add_byte(out, *package == '-' || *package == '.' ? '_' : *package);
    buf_addf(out, "-%s-py3-none-any.whl", version);
}

/* Whether a link leads to the file: its path ends in "/file". */
static bool leads_to(const char *link, size_t len, const char *file)
{
    size_t path = strcspn(link, "#?"), n = strlen(file);
    if (path > len)
        path = len;
    return path > n && link[path - n - 1] == '/' && strncmp(link + path - n, file, n) == 0;
}

/* The address of `file` among the links of a page: <a href="...">. */
static enum status find_link(struct buf *url, const char *page, const char *page_url,
                             const char *file, struct note *why)
{
    for (const char *at = page; (at = strstr(at, "href=")) != NULL;) {
        at += 5;
        if (*at != '"' && *at != '\'')
            continue;
        const char quote[2] = { *at++, 0 };
        size_t len = strcspn(at, quote);
        if (leads_to(at, len, file)) {
            char *link = mem_copy_text(at, len);
            enum status st = FULL;
            if (link)
                st = fetch_resolve(url, page_url, link, why);
            mem_free(link);
            return st;
        }
        at += len;
    }
    note_set(why, "%s does not list %s", page_url, file);
    return NOT_FOUND;
}

enum status wheel_find(struct buf *url, const struct fetch *how, const char *index,
                       const char *package, const char *version, struct note *why)
{
    struct buf page_url = { 0 }, page = { 0 }, found_at = { 0 }, file = { 0 };
    struct fetch f = *how;
    enum status st = FULL;
    buf_addf(&page_url, "%s/%s/", index, package);
    wheel_file_name(&file, package, version);
    if (page_url.failed || file.failed) {
        note_set(why, "no memory to find %s", package);
        goto done;
    }
    f.url = page_url.bytes;
    st = fetch_page(&f, PAGE_MAX, &page, &found_at, why);
    if (st == OK)
        st = find_link(url, buf_text(&page), buf_text(&found_at), file.bytes, why);
done:
    buf_close(&page_url);
    buf_close(&page);
    buf_close(&found_at);
    buf_close(&file);
    return st;
}

/* ---- the zip ---- */

static enum status copy_member(zip_file_t *member, const char *name, uint64_t bytes, int fd,
                               struct progress *p, struct note *why)
{
    static char chunk[256 << 10];
    uint64_t done = 0;
    zip_int64_t n;
    while ((n = zip_fread(member, chunk, sizeof chunk)) > 0) {
        enum status st = file_write(fd, chunk, (size_t)n, name, why);
        if (st != OK)
            return st;
        done += (uint64_t)n;
        progress_at(p, done);
    }
    if (n < 0 || done != bytes) {
        note_set(why, "'%s' is damaged: %llu of %llu bytes are good", name,
                 (unsigned long long)done, (unsigned long long)bytes);
        return CORRUPT;
    }
    return OK;
}

enum status wheel_unpack(const char *path, const char *member, uint64_t bytes, int fd,
                         const char *label, struct note *why)
{
    struct progress p;
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
    if (!zip) {
        zip_error_t e;
        zip_error_init_with_code(&e, code);
        note_set(why, "cannot open '%s' as a zip file: %s", path, zip_error_strerror(&e));
        zip_error_fini(&e);
        return CORRUPT;
    }
    enum status st = CORRUPT;
    zip_file_t *in = zip_fopen(zip, member, 0);
    if (!in) {
        note_set(why, "'%s' has no readable member '%s'", path, member);
        goto done;
    }
    progress_begin(&p, label, PROGRESS_BYTES, 0, bytes);
    st = copy_member(in, member, bytes, fd, &p, why);
    progress_end(&p);
    zip_fclose(in);
done:
    zip_discard(zip);
    return st;
}
