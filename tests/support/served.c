#include "support/served.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void served_open(struct served *s, const char *const *words)
{
    user_starts(&s->user, words);
    user_sees(&s->user, "listening");
    user_sees(&s->user, "127.0.0.1:");
    user_sees(&s->user, "\n");
    const char *at = strstr(s->user.seen.bytes, "127.0.0.1:");
    s->port = (unsigned)strtoul(at + 10, NULL, 10);
    assert_true(s->port > 0);
}

void served_close(struct served *s)
{
    user_types(&s->user, "\x03");
    assert_int_equal(user_leaves(&s->user), 0);
}

static size_t take(char *bytes, size_t one, size_t n, void *arg)
{
    struct fetched *f = arg;
    buf_add(&f->body, bytes, one * n);
    return f->leave_at && f->body.len >= f->leave_at ? 0 : one * n;
}

void served_fetch(const struct served *s, struct fetched *f, const char *key, const char *path,
                  const char *body)
{
    char url[128], bearer[64];
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    snprintf(url, sizeof url, "http%s://127.0.0.1:%u%s", s->ca ? "s" : "", s->port, path);
    snprintf(bearer, sizeof bearer, "Authorization: Bearer %s", key ? key : "");
    if (key)
        headers = curl_slist_append(headers, bearer);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, s->ca);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)PROGRAM_SECONDS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, f);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    const CURLcode code = curl_easy_perform(curl);
    if (!f->leave_at && code != CURLE_OK)
        fail_msg("%s: %s", path, curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &f->status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

json_t *served_json(const struct served *s, const char *key, const char *path, const char *body,
                    long status)
{
    struct fetched f = { 0 };
    json_error_t error;
    served_fetch(s, &f, key, path, body);
    json_t *json = json_loadb(buf_text(&f.body), f.body.len, JSON_REJECT_DUPLICATES, &error);
    if (f.status != status || !json)
        fail_msg("%s: %ld %s", path, f.status, buf_text(&f.body));
    buf_close(&f.body);
    return json;
}

double served_metric(const struct served *s, const char *name)
{
    struct fetched f = { 0 };
    double x = NAN;
    served_fetch(s, &f, NULL, "/metrics", NULL);
    char *rest = f.body.bytes, *line;
    while (rest && (line = strsep(&rest, "\n"))) {
        const size_t n = strlen(name);
        if (strncmp(line, name, n) == 0 && line[n] == ' ')
            x = strtod(line + n, NULL);
    }
    buf_close(&f.body);
    return x;
}

json_t *json_at(json_t *json, const char *path)
{
    char step[64];
    while (*path && json) {
        const size_t n = strcspn(path, "/");
        snprintf(step, sizeof step, "%.*s", (int)n, path);
        json = json_is_array(json) ? json_array_get(json, (size_t)atoi(step))
                                   : json_object_get(json, step);
        path += n + (path[n] == '/');
    }
    return json;
}

json_int_t json_number_at(json_t *json, const char *path)
{
    return json_integer_value(json_at(json, path));
}

void expect_text(json_t *json, const char *path, const char *text)
{
    const char *got = json_string_value(json_at(json, path));
    if (!got || strcmp(got, text) != 0)
        fail_msg("%s is '%s', not '%s'", path, got ? got : "absent", text);
}
