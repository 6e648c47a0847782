#include "http/router.h"

#include <string.h>

#include "base/buf.h"
#include "http/server_in.h"

bool http_route_fits(const char *pattern, const char *path, const char **name, size_t *len)
{
    size_t fixed = strcspn(pattern, "{");
    *name = NULL;
    *len = 0;
    if (strncmp(pattern, path, fixed) != 0)
        return false;
    pattern += fixed;
    path += fixed;
    if (!*pattern)
        return !*path;
    const char *close = strchr(pattern, '}');
    bool all = close[-1] == '*';
    size_t n = all ? strlen(path) : strcspn(path, "/");
    if (n == 0 || strcmp(path + n, close + 1) != 0)
        return false;
    *name = path;
    *len = n;
    return true;
}

static bool takes(const struct http_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static void go(const struct http_router *router, const struct http_route *route,
               struct http_request *req, const char *name, size_t len)
{
    if (http_request_set_name(req, name, len))
        route->handler(router->arg, req);
    else
        http_refuse(req, 503, NULL, 0, "no memory for the request");
}

/* Once for each method, and HEAD with GET. */
static void allow(struct buf *out, const struct http_route *route)
{
    const char *had = out->len ? strstr(out->bytes, route->method) : NULL;
    if (had)
        return;
    buf_addf(out, "%s%s", out->len ? ", " : "", route->method);
    if (strcmp(route->method, "GET") == 0)
        buf_add_text(out, ", HEAD");
}

static void answer_without_route(struct http_request *req, const char *allowed)
{
    const struct http_field field = { "Allow", allowed };
    const char *method = http_method(req), *path = http_path(req);
    if (strcmp(method, "OPTIONS") == 0 && (*allowed || strcmp(path, "*") == 0))
        http_answer(req, 204, NULL, NULL, 0, &field, *allowed ? 1 : 0);
    else if (*allowed)
        http_refuse(req, 405, &field, 1, "%.32s is not for %.200s; allowed: %s", method, path,
                    allowed);
    else
        http_refuse(req, 404, NULL, 0, "there is no %.200s here", path);
}

void http_router_handle(void *arg, struct http_request *req)
{
    const struct http_router *router = arg;
    struct buf allowed = { 0 };
    const char *name;
    size_t len;
    for (uint32_t i = 0; i < router->n_route; i++) {
        const struct http_route *route = &router->route[i];
        if (!http_route_fits(route->path, http_path(req), &name, &len))
            continue;
        if (takes(route, http_method(req))) {
            buf_close(&allowed);
            go(router, route, req, name, len);
            return;
        }
        allow(&allowed, route);
    }
    if (allowed.len)
        buf_add_text(&allowed, ", OPTIONS");
    answer_without_route(req, buf_text(&allowed));
    buf_close(&allowed);
}
