#!/usr/bin/env python3
"""idle.py - what streams that wait cost those that answer.

    bench/idle.py [-m MODEL] [-n IDLE] [-a ACTIVE] [-r PAIRS]      (make idle)

    alone    ACTIVE streams of TOKENS tokens each
    beside   the same, and IDLE more requests whose streams are open and silent: they wait for a place

Both in turn on one server, each first in every other pair; what counts is the time from each active stream's token FROM to its
token TO, when all idle streams are open. Printed are the medians of the pairs and their ratio.
"""
import argparse
import json
import selectors
import socket
import statistics
import subprocess
import sys
import time

FROM, TO = 200, 400


def request(port, prompt, tokens):
    body = json.dumps({"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "stream": True, "temperature": 0}).encode()
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
              % len(body) + body)
    return s


class Streams:
    """Open sockets, and when each chunk of an active one came."""

    def __init__(self, port):
        self.port, self.selector = port, selectors.DefaultSelector()
        self.sockets, self.times, self.n_open = [], [], 0

    def add(self, prompt, tokens, active):
        s = request(self.port, prompt, tokens)
        s.setblocking(False)
        times = [] if active else None
        self.sockets.append(s)
        if active:
            self.times.append(times)
        self.selector.register(s, selectors.EVENT_READ, (times, []))

    def turn(self, wait):
        for key, _ in self.selector.select(wait):
            times, seen = key.data
            got = key.fileobj.recv(65536)
            if not got:
                self.selector.unregister(key.fileobj)
                continue
            if not seen:
                seen.append(True)
                self.n_open += 1
                if not got.startswith(b"HTTP/1.1 200"):
                    sys.exit(f"idle: {got[:300]}")
            if times is not None:
                times += [time.perf_counter()] * got.count(b"data: {")

    def close(self):
        for s in self.sockets:
            s.close()


def metric(port, name):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    text = b""
    while got := s.recv(65536):
        text += got
    return sum(float(line.split()[-1]) for line in text.decode().splitlines() if line.startswith(name))


def measure(port, args, n_idle, salt):
    """Tokens a second of all active streams, and the median milliseconds between two tokens."""
    streams = Streams(port)
    for i in range(args.active):
        streams.add([1000 + salt * 100 + i, 5, 6, 7], TO + 50, True)
    while min(len(t) for t in streams.times) < 2:
        streams.turn(1)
    opened = 0
    while min(len(t) for t in streams.times) < TO:
        if opened < n_idle:
            for _ in range(20):
                streams.add([3000 + opened, 8, 9, salt], 8, False)
                opened += 1
        streams.turn(0 if opened < n_idle else 1)
        if streams.n_open < n_idle + args.active and max(len(t) for t in streams.times) >= FROM:
            sys.exit(f"idle: only {streams.n_open} streams are open at token {FROM}; fewer with -n")
    spans = [t[TO - 1] - t[FROM - 1] for t in streams.times]
    gaps = [1000 * (b - a) for t in streams.times for a, b in zip(t[FROM - 1:TO], t[FROM:TO])]
    streams.close()
    while metric(port, "akvifer_requests{") > 0:
        time.sleep(0.1)
    return sum((TO - FROM) / s for s in spans), statistics.median(gaps)


def pair(port, args, i):
    first, second = (measure(port, args, args.idle if (i + j) % 2 else 0, 2 * i + j) for j in (0, 1))
    return (second, first) if i % 2 else (first, second)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--akvifer", default="build/akvifer")
    p.add_argument("-m", "--model", default="smollm2")
    p.add_argument("-n", "--idle", type=int, default=1000)
    p.add_argument("-a", "--active", type=int, default=8)
    p.add_argument("-r", "--pairs", type=int, default=8)
    args = p.parse_args()
    command = [args.akvifer, "serve", "-m", args.model, "--port", "0", "-c", "1024", "-q", "--metrics", "--no-page",
               "-np", str(args.active), "--queue", str(args.idle + 8), "--connections", str(args.idle + 64),
               "--log-file", "/dev/null"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        port = next((int(line.rsplit(":", 1)[1].strip().rstrip("/")) for line in server.stderr if "listening" in line), None)
        if not port:
            sys.exit("idle: the server did not start")
        measure(port, args, 0, 90)  # warm
        got = [pair(port, args, i) for i in range(args.pairs)]
    finally:
        server.terminate()
        server.wait()
    print(f"| {args.active} active streams | tokens/s | median ms between tokens |\n|---|---|---|")
    for k, name in ((0, "alone"), (1, f"beside {args.idle} idle ones")):
        rate, gap = (statistics.median(pair[k][j] for pair in got) for j in (0, 1))
        print(f"| {name} | {rate:.1f} | {gap:.2f} |")
    ratio = statistics.median(b[0] / a[0] for a, b in got)
    print(f"| ratio of pairs, median | {ratio:.3f} | |")


if __name__ == "__main__":
    main()
