#!/usr/bin/env python3
"""chats.py - what KV policies do for many chats at once: memory, how many fit, tokens a second.

    bench/chats.py [-m MODEL] [-n CHATS] [-p PROMPT] [-a ANSWER] [--kv-ram BYTES] [-s SECONDS] [--first] POLICY ...      (make chats)

For each policy in turn, on a server of its own: CHATS requests of PROMPT random token ids each arrive at once and answer up to
ANSWER tokens. When none has been read for two seconds, all that fit run, and the server is stopped (SIGSTOP). Then the servers
take turns, a second each, until each has had SECONDS: tokens are counted, and memory is looked at. What else the machine does
disturbs all of them alike. `--first` runs each turn with real-time priority: on a machine that is busy, and may be kept
waiting for a second. `resident` is what the system counts of the KV file, `peak` the most that was held while prompts were
read. Printed is each, and its ratio to the first policy (say full): of tokens, the median of the turns' ratios.
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

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, prompt, answer):
        body = json.dumps({"prompt": prompt, "max_tokens": answer, "ignore_eos": True, "stream": True, "temperature": 0})
        s = socket.create_connection(("127.0.0.1", self.port))
        s.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
                  f"\r\n\r\n{body}".encode())
        threading.Thread(target=self.read, args=(s,), daemon=True).start()

    @staticmethod
    def read(s):
        try:
            while s.recv(65536):
                pass
        except OSError:
            pass

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

    def go(self):
        self.process.send_signal(signal.SIGCONT)

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


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--akvifer", default="build/akvifer")
    p.add_argument("-m", "--model", default="smollm2")
    p.add_argument("-n", "--chats", type=int, default=8)
    p.add_argument("-p", "--prompt", type=int, default=4096)
    p.add_argument("-a", "--answer", type=int, default=1024)
    p.add_argument("-s", "--seconds", type=float, default=10)
    p.add_argument("-t", "--threads", default="2")
    p.add_argument("--kv-ram", default="4G", help="cap on the KV; too small, and some chats wait (default: 4G)")
    p.add_argument("--first", action="store_true")
    p.add_argument("policy", nargs="*", default=["full", "auto:budget=20%"])
    args = p.parse_args()
    print(f"{args.chats} chats of {args.prompt} + up to {args.answer} tokens, {args.model}, {args.kv_ram} of KV\n\n"
          "| policy | run at once | tokens/s | KV used MiB | resident MiB | peak MiB | prompts read in s |\n" + "|---" * 7 + "|")
    if args.first:  # to end the turns in time
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(10))
    servers = []
    try:
        reading = []
        for policy in args.policy:
            servers.append(Server(args, policy))
            reading.append(read_prompts(args, servers[-1]))
        turns = [[turn(args, server) for server in servers] for _ in range(round(args.seconds))]
        got = [looked_at(server, policy, *read) for server, policy, read in zip(servers, args.policy, reading)]
    finally:
        for server in servers:
            server.stop()
    full = got[0]
    for i, policy in enumerate(args.policy):
        rate, ratio = (statistics.median(x) for x in zip(*((t[i], t[i] / t[0]) for t in turns)))
        g = got[i]
        print(f"| {policy} | {g['running']:.0f} ({g['running'] / full['running']:.1f}x) | {rate:.1f} ({ratio:.2f}x) | " +
              " | ".join(f"{g[k]:.0f} ({100 * g[k] / full[k]:.1f} %)" for k in ("used", "resident", "peak")) +
              f" | {g['prompts']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
