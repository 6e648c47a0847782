#include "support/http_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int client_connect(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

void client_send_bytes(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; // the server may have closed: the answer tells
        at += n;
        len -= (size_t)n;
    }
}

void client_send(int fd, const char *text)
{
    client_send_bytes(fd, text, strlen(text));
}

static void wait_readable(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    if (poll(&p, 1, CLIENT_SECONDS * 1000) != 1)
        fail_msg("the server was silent for %d s", CLIENT_SECONDS);
}

int client_byte(int fd)
{
    unsigned char c;
    wait_readable(fd);
    return recv(fd, &c, 1, 0) == 1 ? c : -1;
}

bool client_at_end(int fd)
{
    return client_byte(fd) < 0;
}

static bool read_line(int fd, struct buf *line)
{
    buf_clear(line);
    for (;;) {
        int c = client_byte(fd);
        if (c < 0)
            return false;
        if (c == '\n')
            return true;
        if (c != '\r')
            buf_add_byte(line, (char)c);
    }
}

static bool read_bytes(int fd, struct buf *out, size_t n)
{
    char bytes[16384];
    while (n) {
        wait_readable(fd);
        ssize_t got = recv(fd, bytes, n < sizeof bytes ? n : sizeof bytes, 0);
        if (got <= 0)
            return false;
        buf_add(out, bytes, (size_t)got);
        n -= (size_t)got;
    }
    return true;
}

static bool read_chunks(int fd, struct buf *out)
{
    struct buf line = { 0 };
    bool whole = false;
    while (read_line(fd, &line)) {
        size_t n = strtoul(buf_text(&line), NULL, 16);
        if (!read_bytes(fd, out, n) || !read_line(fd, &line))
            break;
        if (n == 0) {
            whole = true;
            break;
        }
    }
    buf_close(&line);
    return whole;
}

const char *reply_header(const struct reply *reply, const char *name)
{
    static char value[512];
    size_t len = strlen(name);
    for (const char *at = buf_text(&reply->head); *at; at += strcspn(at, "\n") + 1) {
        if (strncasecmp(at, name, len) == 0 && at[len] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(at + len + 2, "\n"), at + len + 2);
            return value;
        }
    }
    return NULL;
}

static bool read_body(int fd, struct reply *reply)
{
    const char *coding = reply_header(reply, "Transfer-Encoding");
    if (coding)
        return read_chunks(fd, &reply->body);
    const char *length = reply_header(reply, "Content-Length");
    if (length)
        return read_bytes(fd, &reply->body, strtoul(length, NULL, 10));
    for (int c; reply->status != 204 && (c = client_byte(fd)) >= 0;)
        buf_add_byte(&reply->body, (char)c);
    return true;
}

void client_read(int fd, struct reply *reply, bool head)
{
    struct buf line = { 0 };
    *reply = (struct reply){ .status = 0 };
    if (read_line(fd, &line))
        sscanf(buf_text(&line), "HTTP/1.%*d %d", &reply->status);
    while (read_line(fd, &line) && line.len)
        buf_addf(&reply->head, "%s\n", line.bytes);
    buf_close(&line);
    if (!head && reply->status >= 200)
        reply->cut = !read_body(fd, reply);
}

void reply_close(struct reply *reply)
{
    buf_close(&reply->head);
    buf_close(&reply->body);
}

void client_ask(uint16_t port, const char *text, struct reply *reply)
{
    int fd = client_connect(port);
    assert_true(fd >= 0);
    client_send(fd, text);
    client_read(fd, reply, strncmp(text, "HEAD", 4) == 0);
    close(fd);
}
