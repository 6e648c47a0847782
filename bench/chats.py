#!/usr/bin/env python3
"""chats.py - what KV policies do for many chats at once: memory, how many fit, tokens a second.

    bench/chats.py [-m MODEL] [-n CHATS] [-p PROMPT] [-a ANSWER] [--kv-ram BYTES] [-s SECONDS] POLICY ...      (make chats)

For each policy in turn, on a server of its own: CHATS requests of PROMPT random token ids each arrive at once and answer up to
ANSWER tokens. When none has been read for two seconds, all that fit run; for SECONDS from then on tokens are counted and
memory is looked at. `resident` is what the system counts of the KV file, `peak` the most that was held while prompts were
read. Printed is each, and its ratio to the first policy (say full).
"""
import argparse
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request


class Server:
    def __init__(self, args, policy):
        command = [args.akvifer, "serve", "-m", args.model, "--port", "0", "-q", "--metrics", "--no-page", "-t", args.threads,
                   "-c", str(args.prompt + args.answer), "-np", str(args.chats), "--step-stretch", "-1",
                   "--kv-policy", policy, "--log-file",
                   "/dev/null"]
        if args.kv_ram:
            command += ["--kv-ram", args.kv_ram]
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


def measure(args, policy):
    server = Server(args, policy)
    rng, peak, began = random.Random(1), 0, time.monotonic()
    try:
        for _ in range(args.chats):
            server.ask([rng.randrange(300, 40000) for _ in range(args.prompt)], args.answer)
        still = time.monotonic()
        while time.monotonic() - still < 2:
            peak = max(peak, server.metrics()["akvifer_kv_used_bytes"])
            if server.reads():
                still = time.monotonic()
            time.sleep(0.2)
        read_s = still - began
        first, start = server.sequences()["generated_tokens"], time.monotonic()
        time.sleep(args.seconds)
        n_token, took = server.sequences()["generated_tokens"] - first, time.monotonic() - start
        last = server.metrics()
        if not last['akvifer_requests{state="running"}']:
            sys.exit(f"chats: under {policy} the answers were over before they were measured; give more tokens with -a")
        return {
            "running": last['akvifer_requests{state="running"}'],
            "tokens/s": n_token / took,
            "used": last["akvifer_kv_used_bytes"] / 2**20,
            "resident": server.resident(),
            "peak": peak / 2**20,
            "prompts": read_s,
        }
    finally:
        server.stop()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--akvifer", default="build/akvifer")
    p.add_argument("-m", "--model", default="smollm2")
    p.add_argument("-n", "--chats", type=int, default=8)
    p.add_argument("-p", "--prompt", type=int, default=4096)
    p.add_argument("-a", "--answer", type=int, default=1024)
    p.add_argument("-s", "--seconds", type=float, default=10)
    p.add_argument("-t", "--threads", default="2")
    p.add_argument("--kv-ram")
    p.add_argument("policy", nargs="*", default=["full", "auto:budget=20%"])
    args = p.parse_args()
    print(f"{args.chats} chats of {args.prompt} + up to {args.answer} tokens, {args.model}"
          f"{', ' + args.kv_ram + ' of KV' if args.kv_ram else ''}\n\n"
          "| policy | run at once | tokens/s | KV used MiB | resident MiB | peak MiB | prompts read in s |\n" + "|---" * 7 + "|")
    full = None
    for policy in args.policy:
        got = measure(args, policy)
        full = full or got
        print(f"| {policy} | {got['running']:.0f} ({got['running'] / full['running']:.1f}x) | {got['tokens/s']:.1f} "
              f"({got['tokens/s'] / full['tokens/s']:.2f}x) | " +
              " | ".join(f"{got[k]:.0f} ({100 * got[k] / full[k]:.1f} %)" for k in ("used", "resident", "peak")) +
              f" | {got['prompts']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
