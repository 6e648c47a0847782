/* support/http_service.h - a server whose handlers do as the path says: answer at once, or leave the request to the
 * test.
 *
 *   POST /echo                  the body                 GET /streamed              a short stream, at once
 *   GET /tell, /tell/{name},    what the handler saw     GET /stream[?ping=1]       a stream, held
 *       /all/{name*}                                     GET, POST /hold            held
 *
 * What is held is taken out with service_take and answered by the test, or by the thread of service_answer_all.
 * Whatever takes longer than CLIENT_SECONDS fails the test. One server at a time. */
#ifndef SUPPORT_HTTP_SERVICE_H
#define SUPPORT_HTTP_SERVICE_H

#include <pthread.h>

#include "http/server.h"
#include "support/http_client.h"

enum { HELD_MAX = 512 };

struct http_service {
    struct http_server *server;
    uint16_t port;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct http_request *held[HELD_MAX]; // as they came
    uint32_t n_held, n_gone;             // n_gone: held requests whose client left
    bool stop;                           // the answerer, once nothing is held
    bool ready;                          // `changed` is made
};

extern struct http_service service;

/* Starts it with the usual options, or with others; cmocka's setup and teardown of a test. */
struct http_options service_options(void);
void service_start(const struct http_options *opt);
int service_setup(void **state);
int service_teardown(void **state);

/* Asks on a connection of its own: this status, and this body unless NULL. */
void service_expect(const char *text, int status, const char *body);

struct http_request *service_take(void); // waits for one; NULL when stopped
void service_answer(struct http_request *req, const char *text);
void service_wait_gone(
    uint32_t n); // exactly so many clients of held requests left, since the last call

/* Every connection has ended, and that soon: not by the idle timeout. */
void service_wait_closed(void);

/* A thread that answers what is held, some whole and some in pieces; and its end. */
void *service_answer_all(void *arg);
void service_end_answers(pthread_t answerer);

#endif
