#include "bin/fetch.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bin/progress.h"
#include "os/file.h"

enum {
    CONNECT_SECONDS = 30,
    SILENT_SECONDS = 60, // a transfer without a byte for so long is given up and tried again
    REDIRECTS_MAX = 10,
    TAG_MAX = 256,
};

/* One download while it runs. */
struct transfer {
    const struct fetch *f;
    CURL *curl;
    char error[CURL_ERROR_SIZE];

    struct buf *page; // where bytes go: a page, or a file
    size_t page_max;
    int fd;
    const char *path, *tag_path;
    uint64_t have;         // bytes in the file
    char had_tag[TAG_MAX]; // of the bytes that were there, "" when unknown
    char tag[TAG_MAX];     // of this answer
    uint64_t whole;        // what a 416 says the file's length is
    bool begun;            // the first byte of the body came
    struct note *why;
    bool failed_here; // `why` holds our own reason
    struct progress progress;
};

/* ---- the version of the remote file ---- */

static void tag_read(const char *path, char out[TAG_MAX])
{
    FILE *file = fopen(path, "re");
    out[0] = 0;
    if (file && !fgets(out, TAG_MAX, file))
        out[0] = 0;
    if (file)
        fclose(file);
}

static bool tag_write(const char *path, const char *tag)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return false;
    bool ok = fputs(tag, file) >= 0;
    return fclose(file) == 0 && ok;
}

/* The value of header `name` in one line, without the spaces around it. */
static bool header_value(const char *line, size_t len, const char *name, char out[TAG_MAX])
{
    size_t n = strlen(name);
    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return false;
    const char *at = line + n + 1, *end = line + len;
    while (at < end && *at == ' ')
        at++;
    while (end > at && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    if (end - at >= TAG_MAX)
        return false;
    memcpy(out, at, (size_t)(end - at));
    out[end - at] = 0;
    return true;
}

/* A strong ETag, else the date of the last change, says which version the bytes are of (RFC 9110,
 * 13.1.5). */
static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    char value[TAG_MAX];
    unsigned long long whole;
    if (n > 5 && strncmp(line, "HTTP/", 5) == 0)
        t->tag[0] = 0; // the answer behind a redirection
    if (header_value(line, n, "ETag", value) && strncmp(value, "W/", 2) != 0)
        memcpy(t->tag, value, TAG_MAX);
    else if (header_value(line, n, "Last-Modified", value) && t->tag[0] != '"')
        memcpy(t->tag, value, TAG_MAX);
    else if (header_value(line, n, "Content-Range", value) &&
             sscanf(value, "bytes */%llu", &whole) == 1)
        t->whole = whole;
    return size * n;
}

/* ---- the body ---- */

static bool fail_here(struct transfer *t, const char *what)
{
    note_set(t->why, "cannot %s '%s': %m", what, t->path);
    t->failed_here = true;
    return false;
}

/* The first byte tells whether the rest comes (206) or the whole file from its start (D1). */
static bool begin_body(struct transfer *t)
{
    long code = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->begun = true;
    if (code != 206 && t->have) {
        if (ftruncate(t->fd, 0) != 0 || lseek(t->fd, 0, SEEK_SET) != 0)
            return fail_here(t, "empty");
        t->have = 0;
    }
    if (!tag_write(t->tag_path, t->tag))
        return fail_here(t, "write a note beside");
    if (t->f->label)
        progress_begin(&t->progress, t->f->label, PROGRESS_BYTES, t->have,
                       length > 0 ? t->have + (uint64_t)length : 0);
    return true;
}

static size_t on_file_bytes(char *bytes, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    if (!t->begun && !begin_body(t))
        return 0;
    if (file_write(t->fd, bytes, size * n, t->path, t->why) != OK) {
        t->failed_here = true;
        return 0;
    }
    t->have += size * n;
    progress_at(&t->progress, t->have);
    return size * n;
}

static size_t on_page_bytes(char *bytes, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    if (size * n > t->page_max - t->page->len) {
        note_set(t->why, "the page at %s is longer than %zu bytes", t->f->url, t->page_max);
        t->failed_here = true;
        return 0;
    }
    buf_add(t->page, bytes, size * n);
    return t->page->failed ? 0 : size * n;
}

/* ---- one try ---- */

static CURL *curl_for(struct transfer *t)
{
    CURL *c = curl_easy_init();
    if (!c)
        return NULL;
    curl_easy_setopt(c, CURLOPT_URL, t->f->url);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)SILENT_SECONDS);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "akvifer/" AKV_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    if (t->f->ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, t->f->ca_file);
    return c;
}

static bool worth_a_retry(CURLcode code, long http)
{
    switch (code) {
    case CURLE_HTTP_RETURNED_ERROR:
        return http >= 500 || http == 429 || http == 408;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    default:
        return false;
    }
}

/* Turns what curl said into a status and a note. */
static enum status outcome(struct transfer *t, CURLcode code, bool *again)
{
    long http = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &http);
    *again = !t->failed_here && worth_a_retry(code, http);
    if (code == CURLE_OK)
        return OK;
    if (t->failed_here)
        return t->page ? BAD_INPUT : IO_ERROR;
    if (t->page && t->page->failed) {
        note_set(t->why, "no memory for the page at %s", t->f->url);
        return FULL;
    }
    if (code == CURLE_HTTP_RETURNED_ERROR) {
        note_set(t->why, "%s answers %ld", t->f->url, http);
        return http == 404 || http == 410 ? NOT_FOUND : IO_ERROR;
    }
    note_set(t->why, "cannot fetch %s: %s", t->f->url,
             t->error[0] ? t->error : curl_easy_strerror(code));
    return IO_ERROR;
}

static enum status no_memory(const struct transfer *t)
{
    note_set(t->why, "no memory to fetch %s", t->f->url);
    return FULL;
}

static enum status try_page(struct transfer *t, struct buf *found_at, bool *again)
{
    const char *final = NULL;
    t->curl = curl_for(t);
    if (!t->curl)
        return no_memory(t);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, on_page_bytes);
    enum status st = outcome(t, curl_easy_perform(t->curl), again);
    if (st == OK && curl_easy_getinfo(t->curl, CURLINFO_EFFECTIVE_URL, &final) == CURLE_OK) {
        buf_clear(found_at);
        buf_add_text(found_at, final);
    }
    curl_easy_cleanup(t->curl);
    return st;
}

/* What is there may be asked to go on only when we know which version it is of. */
static enum status prepare_file(struct transfer *t)
{
    struct stat s;
    tag_read(t->tag_path, t->had_tag);
    if (fstat(t->fd, &s) != 0 || (!t->had_tag[0] && ftruncate(t->fd, 0) != 0) ||
        lseek(t->fd, 0, SEEK_END) < 0) {
        note_set(t->why, "cannot go on writing '%s': %m", t->path);
        return IO_ERROR;
    }
    t->have = t->had_tag[0] ? (uint64_t)s.st_size : 0;
    t->begun = t->failed_here = false;
    t->tag[0] = t->error[0] = 0;
    t->whole = 0;
    return OK;
}

static enum status start_over(struct transfer *t)
{
    (void)unlink(t->tag_path);
    note_set(t->why, "the server cannot go on from byte %llu of %s", (unsigned long long)t->have,
             t->f->url);
    return IO_ERROR;
}

static enum status try_file(struct transfer *t, bool *again)
{
    char range[32], if_range[TAG_MAX + 16];
    struct curl_slist *headers = NULL;
    long http = 0;
    enum status st = prepare_file(t);
    if (st != OK)
        return st;
    t->curl = curl_for(t);
    if (!t->curl)
        return no_memory(t);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, on_file_bytes);
    curl_easy_setopt(t->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(t->curl, CURLOPT_HEADERDATA, t);
    if (t->have) {
        snprintf(range, sizeof range, "%llu-", (unsigned long long)t->have);
        snprintf(if_range, sizeof if_range, "If-Range: %s", t->had_tag);
        headers = curl_slist_append(NULL, if_range);
        curl_easy_setopt(t->curl, CURLOPT_RANGE, range);
        curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, headers);
    }
    CURLcode code = curl_easy_perform(t->curl);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &http);
    progress_end(&t->progress);
    if (http == 416 && t->have && t->whole == t->have) {
        st = OK; // the last byte had arrived before it was cut off
    } else if (http == 416 && t->have) {
        st = start_over(t);
        *again = true;
    } else {
        st = outcome(t, code, again);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(t->curl);
    return st;
}

/* ---- with retries ---- */

static void wait_ms(unsigned ms)
{
    struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
    while (nanosleep(&t, &t) != 0)
        ;
}

/* curl's own global state, once; the program ends with it. */
static void curl_begin(void)
{
    static bool begun;
    if (!begun)
        curl_global_init(CURL_GLOBAL_DEFAULT);
    begun = true;
}

enum status fetch_page(const struct fetch *f, size_t bytes_max, struct buf *out,
                       struct buf *found_at, struct note *why)
{
    bool again = false;
    enum status st = OK;
    curl_begin();
    for (unsigned i = 0; i <= f->n_retry; i++) {
        struct transfer t = { .f = f, .page = out, .page_max = bytes_max, .why = why };
        if (i)
            wait_ms(f->wait_ms << (i - 1));
        buf_clear(out);
        st = try_page(&t, found_at, &again);
        if (st == OK || !again)
            break;
    }
    return st;
}

static enum status fetch_locked(struct transfer *t)
{
    bool again = false;
    enum status st = OK;
    if (flock(t->fd, LOCK_EX | LOCK_NB) != 0) {
        note_set(t->why, "another process is writing '%s'; wait for it", t->path);
        return FULL;
    }
    for (unsigned i = 0; i <= t->f->n_retry; i++) {
        if (i)
            wait_ms(t->f->wait_ms << (i - 1));
        st = try_file(t, &again);
        if (st == OK || !again)
            break;
    }
    if (st == OK)
        (void)unlink(t->tag_path);
    return st;
}

enum status fetch_file(const struct fetch *f, const char *path, struct note *why)
{
    struct buf tag_path = { 0 };
    struct transfer t = { .f = f, .fd = -1, .path = path, .why = why };
    enum status st = IO_ERROR;
    curl_begin();
    buf_addf(&tag_path, "%s.tag", path);
    if (tag_path.failed) {
        st = no_memory(&t);
        goto done;
    }
    t.tag_path = tag_path.bytes;
    t.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (t.fd < 0) {
        note_set(why, "cannot write '%s': %m", path);
        goto done;
    }
    st = fetch_locked(&t);
done:
    if (t.fd >= 0)
        close(t.fd);
    buf_close(&tag_path);
    return st;
}

/* ---- addresses ---- */

enum status fetch_resolve(struct buf *out, const char *base, const char *link, struct note *why)
{
    char *whole = NULL;
    CURLU *u = curl_url();
    enum status st = BAD_INPUT;
    if (u && curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, link, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &whole, 0) == CURLUE_OK) {
        buf_clear(out);
        buf_add_text(out, whole);
        st = OK;
    } else {
        note_set(why, "'%s' is no link that makes sense at %s", link, base);
    }
    curl_free(whole);
    curl_url_cleanup(u);
    return st;
}

enum status fetch_file_name(struct buf *out, const char *url, struct note *why)
{
    char *path = NULL, *name = NULL;
    int len = 0;
    CURLU *u = curl_url();
    enum status st = BAD_INPUT;
    if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK)
        name = curl_easy_unescape(NULL, strrchr(path, '/') + 1, 0, &len);
    if (name && len > 0 && name[0] != '.' && !strchr(name, '/') && strlen(name) == (size_t)len) {
        buf_clear(out);
        buf_add_text(out, name);
        st = OK;
    } else {
        note_set(why, "'%s' is no address that ends in a file's name", url);
    }
    curl_free(name);
    curl_free(path);
    curl_url_cleanup(u);
    return st;
}
