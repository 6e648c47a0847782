/* support/served.h - build/akvifer serve on a port of its own, and a client that asks it and reads JSON.
 *
 *   served_open(&s, WORDS("akvifer", "serve", "--port", "0", ...)) --> asks --> served_close(&s)
 *
 * What it prints is read at its start only: where it logs many requests, give it --log-file. */
#ifndef SUPPORT_SERVED_H
#define SUPPORT_SERVED_H

#include <jansson.h>

#include "support/program.h"

struct served {
    struct terminal_user user;
    unsigned port;
    const char *ca; // where it serves over TLS: whom the client trusts (a file); else NULL
};

void served_open(struct served *s, const char *const *words); // returns when it listens
void served_close(struct served *s);                          // Ctrl-C, which must end it with 0

struct fetched {
    long status;
    struct buf body;
    size_t leave_at; // hangs up behind so many bytes; 0: never
};

/* GET, or POST where there is a body; key: as a Bearer, or NULL. Fails the test where no answer comes. */
void served_fetch(const struct served *s, struct fetched *f, const char *key, const char *path,
                  const char *body);

/* The same, for an answer of JSON with this status. */
json_t *served_json(const struct served *s, const char *key, const char *path, const char *body,
                    long status);

/* A number of /metrics by its whole name, labels included; NAN: it is not there. */
double served_metric(const struct served *s, const char *name);

/* A member by a path such as "choices/0/text"; NULL: there is none. */
json_t *json_at(json_t *json, const char *path);
json_int_t json_number_at(json_t *json, const char *path);
void expect_text(json_t *json, const char *path, const char *text);

#endif
