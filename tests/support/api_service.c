#include "support/api_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

void api_service_open(struct api_service *s, struct tiny_model model, struct akv_limits limits,
                      struct api_options options)
{
    char path[TINY_PATH];
    struct note why = { "" };
    const struct akv_model_params params = { .path = path, .n_thread = 1 };
    tiny_model_save_temporary(model, path);
    assert_int_equal(akv_model_open(&s->model, &params, NULL), AKV_OK);
    unlink(path);
    assert_int_equal(akv_engine_new(&s->engine, s->model, &limits, NULL), AKV_OK);
    options.model = s->model;
    options.engine = s->engine;
    options.name = options.path = "tiny";
    assert_int_equal(api_open(&s->api, &options, &why), OK);
    const struct http_options http = {
        .n_thread = 2,
        .error_text = api_error_text,
        .refused = api_refused,
        .handler = api_handle,
        .arg = &s->api,
    };
    assert_int_equal(http_server_new(&s->http, &http, &why), OK);
    s->port = http_server_port(s->http);
}

void api_service_close(struct api_service *s)
{
    http_server_free(s->http);
    api_close(&s->api);
    akv_engine_free(s->engine);
    akv_model_close(s->model);
}

void api_service_ask(const struct api_service *s, const char *key, const char *path,
                     const char *body, struct reply *out)
{
    struct buf text = { 0 };
    buf_addf(&text, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n",
             body ? "POST" : "GET", path, key);
    buf_addf(&text, "Content-Length: %zu\r\n\r\n%s", body ? strlen(body) : 0, body ? body : "");
    client_ask(s->port, buf_text(&text), out);
    buf_close(&text);
}
