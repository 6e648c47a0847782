/* support/http_client.h - a client that sends exactly what a test says, and reads answers by the rules.
 * Whatever takes longer than CLIENT_SECONDS fails the test. */
#ifndef SUPPORT_HTTP_CLIENT_H
#define SUPPORT_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { CLIENT_SECONDS = 20 };

struct reply {
    int status;
    struct buf head, body;
    bool cut; // the connection ended before the body did
};

int client_connect(uint16_t port);
void client_send(int fd, const char *text);
void client_send_bytes(int fd, const void *bytes, size_t len);

/* Reads one answer: to the end of its body (none behind a HEAD), or to the connection's. */
void client_read(int fd, struct reply *reply, bool head);
void reply_close(struct reply *reply);

/* All in one, on a connection of its own. */
void client_ask(uint16_t port, const char *text, struct reply *reply);

/* One byte read, or -1 at the connection's end. */
int client_byte(int fd);
bool client_at_end(int fd); // waits until the server closed, or something arrives (false)

/* The value of a header, good until the next call; NULL: it is not there. */
const char *reply_header(const struct reply *reply, const char *name);

#endif
