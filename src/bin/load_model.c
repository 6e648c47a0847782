#include "bin/load_model.h"

#include <string.h>

#include "base/json.h"
#include "bin/load_events.h"

enum { ANSWER_SECONDS = 30, ANSWER_BYTES = 1 << 20 };

void load_base(struct buf *base, const char *url)
{
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    if (len >= 3 && memcmp(url + len - 3, "/v1", 3) == 0)
        len -= 3;
    buf_add(base, url, len);
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *arg)
{
    struct buf *answer = arg;
    buf_add(answer, bytes, n);
    return answer->failed || answer->len > ANSWER_BYTES ? 0 : size * n;
}

static enum status read_list(struct buf *out, const char *url, const struct buf *answer,
                             struct note *why)
{
    json_t *json = NULL;
    enum status st = json_from_text(&json, buf_text(answer), answer->len, why);
    const json_t *first = json_array_get(json_object_get(json, "data"), 0);
    const char *id = json_string_value(json_object_get(first, "id"));
    if (st == OK && !id)
        note_set(why, "it lists no model");
    if (id)
        buf_add_text(out, id);
    else
        note_prefix(why, "%s: name the model with --model", url);
    json_decref(json);
    return id ? OK : IO_ERROR;
}

static CURLcode get(const char *url, struct curl_slist *headers, struct buf *answer, long *http)
{
    CURL *curl = curl_easy_init();
    if (!curl)
        return CURLE_OUT_OF_MEMORY;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)ANSWER_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    const CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, http);
    curl_easy_cleanup(curl);
    return code;
}

enum status load_model_ask(struct buf *out, const char *base, struct curl_slist *headers,
                           struct note *why)
{
    struct buf url = { 0 }, answer = { 0 };
    enum status st = IO_ERROR;
    long http = 0;
    buf_addf(&url, "%s/v1/models", base);
    const CURLcode code = get(buf_text(&url), headers, &answer, &http);
    if (code != CURLE_OK) {
        note_set(why, "cannot ask %s: %s", buf_text(&url), curl_easy_strerror(code));
    } else if (http != 200) {
        load_error_read(buf_text(&answer), answer.len, why);
        note_prefix(why, "%s answers %ld", buf_text(&url), http);
    } else {
        st = read_list(out, buf_text(&url), &answer, why);
    }
    buf_close(&url);
    buf_close(&answer);
    return st;
}
