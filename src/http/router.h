/* http/router.h - which handler a request goes to: a table of methods and paths.
 *
 *   { "GET",  "/v1/models",           list_models }      that path alone
 *   { "GET",  "/v1/responses/{id}",   get_response }     {id}: one segment; http_name(req) tells it
 *   { "GET",  "/v1/models/{model*}",  get_model }        {model*}: all that is left, slashes too
 *
 * The first row that fits is taken; a pattern holds one name at most, and a name with '*' ends it. A GET row takes
 * HEAD as well. A path with rows for other methods only is answered 405 with Allow (204 for OPTIONS), any
 * other 404: sentences in the server's error text. A path and the same with a '/' behind it differ.
 *
 * Lifetime  the caller's table.  Threads  any.  Cost  linear in the rows. */
#ifndef HTTP_ROUTER_H
#define HTTP_ROUTER_H

#include <stddef.h>
#include <stdint.h>

#include "http/request.h"

struct http_route {
    const char *method, *path;
    http_handler *handler;
    const void *about; // the table's owner's; the router does not look at it
};

struct http_router {
    const struct http_route *route;
    uint32_t n_route;
    void *arg; // the handlers'
};

/* An http_handler for a `struct http_router`. */
void http_router_handle(void *router, struct http_request *req);

/* Whether the path fits, and where in it what the name stands for lies (len 0: the pattern has none). */
bool http_route_fits(const char *pattern, const char *path, const char **name, size_t *len);

#endif
