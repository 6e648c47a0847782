/* api/openapi.h - GET /openapi.json: what every route takes and gives, made from the tables that serve it.
 *
 *   routes (api/routes.c) --- method, path, about --> paths         members (api/member.h) --> request schemas
 *                                                                   shapes (openapi.c)     --> answer schemas
 *
 * The server's own limits (vocabulary, keys or none) are in it: it describes this server, not the program.
 * Source: OpenAPI 3.1.0, JSON Schema 2020-12. Threads  any. */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include "api/api.h"
#include "http/router.h"

/* What a row of the routes says beside its path; its http_route.about points here. */
struct route_about {
    const char *summary;
    unsigned takes;    // the body's members, of enum member_in; 0: no body
    const char *gives; // the shape of its JSON, or a content type ("text/plain")
    unsigned traits;   // of enum route_traits
};

enum route_traits {
    ROUTE_OPEN = 1,    // needs no key
    ROUTE_STREAMS = 2, // gives server-sent events where stream is true
    ROUTE_ABSENT = 4,  // not there yet: 501
    ROUTE_STOPS = 8,   // 503 while the server stops, in the same shape
};

void openapi_text(const struct api *a, const struct http_route *route, uint32_t n_route,
                  struct buf *out);

#endif
