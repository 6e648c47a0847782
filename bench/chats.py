#!/usr/bin/env python3
"""chats.py - what KV policies do for many chats at once: memory, how many fit, tokens a second.

    bench/chats.py [-m MODEL] [-n CHATS] [-p PROMPT] [-a ANSWER] [--kv-ram BYTES] [-s SECONDS] [--first] POLICY ...      (make chats)
    bench/chats.py --to-end [-s SECONDS] [the same] POLICY ...

For each policy in turn, on a server of its own: CHATS requests of PROMPT random token ids each arrive at once and answer up to
ANSWER tokens. When none has been read for two seconds, all that fit run, and the server is stopped (SIGSTOP). Then the servers
take turns, a second each, until each has had SECONDS: tokens are counted, and memory is looked at. What else the machine does
disturbs all of them alike. `--first` runs each turn with real-time priority: on a machine that is busy, and may be kept
waiting for a second. `resident` is what the system counts of the KV file, `peak` the most that was held while prompts were
read. Printed is each, and its ratio to the first policy (say full): of tokens, the median of the turns' ratios.

`--to-end`: the whole of it. Every request is answered to its last token, reading of prompts included, and what was paused for
want of memory and read again. Servers take turns of SECONDS; times are each server's own, while it was not stopped. Of a cap
that has room for all under every policy this is the latency at an equal batch.
"""
import argparse
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request


class Server:
    def __init__(self, args, policy):
        command = [args.akvifer, "serve", "-m", args.model, "--port", "0", "-q", "--metrics", "--no-page", "-t", args.threads,
                   "-c", str(args.prompt + args.answer), "-np", str(args.chats), "--step-stretch", "-1",
                   "--kv-policy", policy, "--kv-ram", args.kv_ram, "--log-file", "/dev/null"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = next((line for line in self.process.stderr if "listening" in line), None)
        if not line:
            sys.exit(f"chats: the server did not start with --kv-policy {policy}: {self.process.stderr.read()}")
        self.port = int(line.rsplit(":", 1)[1].strip().rstrip("/"))
        self.ran, self.since = 0.0, time.monotonic()  # seconds before it was stopped last; since when it goes, or None
        self.ended = []

    def now(self):
        """Seconds that it has gone."""
        since = self.since
        return self.ran + (time.monotonic() - since if since is not None else 0)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, prompt, answer, stream=True):
        body = json.dumps({"prompt": prompt, "max_tokens": answer, "ignore_eos": True, "stream": stream, "temperature": 0})
        s = socket.create_connection(("127.0.0.1", self.port))
        s.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        threading.Thread(target=self.read, args=(s,), daemon=True).start()

    def read(self, s):
        """Until its answer is over: when that was."""
        try:
            while s.recv(65536):
                pass
        except OSError:
            pass
        self.ended.append(self.now())

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.read().decode()

    def sequences(self):
        return json.loads(self.get("/v1/kv/sequences"))

    def reads(self):
        """Whether some prompt is being read, or nothing has begun."""
        phases = [q["phase"] for q in self.sequences()["sequences"]]
        return "prompt" in phases or "answer" not in phases

    def metrics(self):
        rows = (line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if line and line[0] != "#")
        return {re.sub(r"engine=.*", "", row[0]): float(row[1]) for row in rows if re.fullmatch(r"[-+.\deE]+", row[-1])}

    def resident(self):
        """MiB of KV in memory; what several sequences map counts once."""
        kib, its = 0, False
        with open(f"/proc/{self.process.pid}/smaps") as f:
            for line in f:
                if re.match(r"[\da-f]+-[\da-f]+ ", line):
                    its = "akvifer-kv" in line
                elif its and line.startswith("Pss:"):
                    kib += int(line.split()[1])
        return kib / 1024


    def hold(self):
        self.process.send_signal(signal.SIGSTOP)
        if self.since is not None:
            self.ran, self.since = self.now(), None

    def go(self):
        self.process.send_signal(signal.SIGCONT)
        if self.since is None:
            self.since = time.monotonic()

    def hurry(self, priority):
        """All its threads before everybody else's (0: no more); those that write answers before those that compute."""
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/comm") as f:
                more = priority > 0 and not f.read().startswith("akvifer")
            os.sched_setscheduler(int(task), os.SCHED_RR if priority else os.SCHED_OTHER, os.sched_param(priority + more))


def read_prompts(args, server):
    """Until it answers all that fit; then it is stopped. The most KV it held, and how long it read."""
    rng, peak, began = random.Random(1), 0, time.monotonic()
    for _ in range(args.chats):
        server.ask([rng.randrange(300, 40000) for _ in range(args.prompt)], args.answer)
    still = time.monotonic()
    while time.monotonic() - still < 2:
        peak = max(peak, server.metrics()["akvifer_kv_used_bytes"])
        if server.reads():
            still = time.monotonic()
        time.sleep(0.2)
    server.hold()
    return peak, still - began


def turn(args, server):
    """Tokens a second of one turn."""
    server.go()
    if args.first:
        server.hurry(5)
    first, start = server.sequences()["generated_tokens"], time.monotonic()
    time.sleep(1)
    n_token, took = server.sequences()["generated_tokens"] - first, time.monotonic() - start
    if args.first:
        server.hurry(0)
    server.hold()
    return n_token / took


def looked_at(server, policy, peak, read_s):
    server.go()
    last = server.metrics()
    server.hold()
    if not last['akvifer_requests{state="running"}']:
        sys.exit(f"chats: under {policy} the answers were over before they were measured; give more tokens with -a")
    return {
        "running": last['akvifer_requests{state="running"}'],
        "used": last["akvifer_kv_used_bytes"] / 2**20,
        "resident": server.resident(),
        "peak": peak / 2**20,
        "prompts": read_s,
    }


def snapshot(args, servers):
    """What --to-end does not ask: tokens a second and memory of those that run together behind their prompts."""
    reading = [read_prompts(args, server) for server in servers]
    turns = [[turn(args, server) for server in servers] for _ in range(round(args.seconds))]
    got = [looked_at(server, policy, *read) for server, policy, read in zip(servers, args.policy, reading)]
    print("| policy | run at once | tokens/s | KV used MiB | resident MiB | peak MiB | prompts read in s |\n" + "|---" * 7 + "|")
    for i, policy in enumerate(args.policy):
        rate, ratio = (statistics.median(x) for x in zip(*((t[i], t[i] / t[0]) for t in turns)))
        g, first = got[i], got[0]
        print(f"| {policy} | {g['running']:.0f} ({g['running'] / first['running']:.1f}x) | {rate:.1f} ({ratio:.2f}x) | " +
              " | ".join(f"{g[k]:.0f} ({100 * g[k] / first[k]:.1f} %)" for k in ("used", "resident", "peak")) +
              f" | {g['prompts']:.1f} |", flush=True)


def work_off(args, server, most):
    """One turn of a server that still has requests; the most that it had in work at once."""
    server.go()
    until = time.monotonic() + args.seconds
    while time.monotonic() < until and len(server.ended) < args.chats:
        most = max(most, server.metrics()['akvifer_requests{state="running"}'])
        time.sleep(0.2)
    server.hold()
    return most


def to_end(args, servers):
    rng, most = random.Random(1), [0] * len(servers)
    prompts = [[rng.randrange(300, 40000) for _ in range(args.prompt)] for _ in range(args.chats)]
    for server in servers:
        server.hold()
        server.ran = 0.0
    for server in servers:
        server.go()
        for prompt in prompts:
            server.ask(prompt, args.answer, stream=False)
        most[servers.index(server)] = work_off(args, server, 0)
    while any(len(server.ended) < args.chats for server in servers):
        for i, server in enumerate(servers):
            if len(server.ended) < args.chats:
                most[i] = work_off(args, server, most[i])
    print("| policy | most at once | tokens/s, prompts' time counted | all answered in s | a request took s | prompt tokens read | paused |\n" +
          "|---" * 7 + "|")
    for i, (server, policy) in enumerate(zip(servers, args.policy)):
        server.go()
        end, took, seen = max(server.ended), statistics.mean(server.ended), server.sequences()
        if seen["generated_tokens"] < args.chats * args.answer:
            sys.exit(f"chats: under {policy} {args.chats * args.answer - seen['generated_tokens']} tokens were not generated")
        first = (max(servers[0].ended), statistics.mean(servers[0].ended))
        print(f"| {policy} | {most[i]:.0f} ({most[i] / most[0]:.1f}x) | {args.chats * args.answer / end:.1f} ({first[0] / end:.2f}x) | "
              f"{end:.0f} | {took:.0f} ({first[1] / took:.2f}x shorter) | {seen['prompt_tokens']} | {seen['paused']} |", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--akvifer", default="build/akvifer")
    p.add_argument("-m", "--model", default="smollm2")
    p.add_argument("-n", "--chats", type=int, default=8)
    p.add_argument("-p", "--prompt", type=int, default=4096)
    p.add_argument("-a", "--answer", type=int, default=1024)
    p.add_argument("-s", "--seconds", type=float, default=10)
    p.add_argument("--to-end", action="store_true", help="answer all requests to their ends, in turns of -s seconds")
    p.add_argument("-t", "--threads", default="2")
    p.add_argument("--kv-ram", default="4G", help="cap on the KV; too small, and some chats wait (default: 4G)")
    p.add_argument("--first", action="store_true")
    p.add_argument("policy", nargs="*", default=["full", "auto:budget=20%"])
    args = p.parse_args()
    print(f"{args.chats} chats of {args.prompt} + {'' if args.to_end else 'up to '}{args.answer} tokens, {args.model}, "
          f"{args.kv_ram} of KV\n", flush=True)
    if args.first:  # to end the turns in time
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(10))
    servers = []
    try:
        for policy in args.policy:
            servers.append(Server(args, policy))
        (to_end if args.to_end else snapshot)(args, servers)
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()
