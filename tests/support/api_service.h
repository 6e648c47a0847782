/* support/api_service.h - the api over a tiny model in this process, behind a port of its own: what a test asks by
 * http_client.h, while it looks at the engine from the inside. */
#ifndef SUPPORT_API_SERVICE_H
#define SUPPORT_API_SERVICE_H

#include "api/api.h"
#include "support/http_client.h"
#include "support/tiny_model.h"

struct api_service {
    akv_model *model;
    akv_engine *engine;
    struct api api;
    struct http_server *http;
    uint16_t port;
};

/* One thread, two of HTTP. Of the options model, engine, name and path are set here. Asserts that it works. */
void api_service_open(struct api_service *s, struct tiny_model model, struct akv_limits limits,
                      struct api_options options);
void api_service_close(struct api_service *s);

/* Asks under a key: POST with a body, GET without (NULL). */
void api_service_ask(const struct api_service *s, const char *key, const char *path,
                     const char *body, struct reply *out);

#endif
