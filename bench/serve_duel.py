#!/usr/bin/env python3
"""serve_duel.py - Akvifer's server beside llama-server: same file, same threads, the same requests.

    LLAMA_BIN=DIR bench/serve_duel.py [-m MODEL ...]      (make serve-duel LLAMA_BIN=DIR)

DIR holds llama-server and llama-batched-bench. Each server is started afresh and answers the cases in this order, asked by
`akvifer load`; then the other one does:

    one client, cold     a prompt of 2,048 shared and 32 own tokens that the server never saw, 64 tokens of answer
    one client, warm     three more of the same prefix
    8 at once            8 clients behind another prefix, which was asked for once before
    8 again              the same requests once more: prompts are there, wherever a server keeps them
    16 short             16 chats of 128 + 64 tokens

While "8 at once" runs, GET /health is timed. The peer has a slot for each of 8 clients and flash attention on.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

from duel import path_of

SHARED = ["--prefix-tokens", "2048", "--prompt-tokens", "32"]
CASES = [
    ("one client, cold", [*SHARED, "-c", "1", "-n", "1", "--seed", "11"]),
    ("one client, warm", [*SHARED, "-c", "1", "-n", "3", "--seed", "11", "--warm-prefixes"]),
    ("8 at once", [*SHARED, "-c", "8", "-n", "8", "--seed", "12", "--warm-prefixes"]),
    ("8 again", [*SHARED, "-c", "8", "-n", "8", "--seed", "12"]),
    ("16 short", ["--prompt-tokens", "128", "-c", "16", "-n", "16", "--seed", "13"]),
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server of its own, up until the end of the block."""

    def __init__(self, command):
        self.port = free_port()
        self.command = [*command, "--port", str(self.port)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit(f"serve_duel: {' '.join(self.command)} ended with status {self.process.returncode}")
            if self.health() is not None:
                return self
            time.sleep(0.1)
        sys.exit(f"serve_duel: {self.command[0]} did not get ready within a minute")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def health(self):
        """Milliseconds to an answer of /health, or None."""
        start = time.perf_counter()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=60) as answer:
                answer.read()
        except OSError:
            return None
        return 1000 * (time.perf_counter() - start)

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def ask(args, server, flags):
    command = [args.akvifer, "load", f"http://127.0.0.1:{server.port}", "--text", "--ignore-eos", "--output-tokens", "64",
               "--warm-up", "0", "-o", "json", *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"serve_duel: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def answers(args, command):
    """What each case measured, the milliseconds of /health beside it, and resident MiB at the end."""
    got = {}
    with Server(command) as server:
        for name, flags in CASES:
            over, waits = threading.Event(), []

            def look():
                while not over.wait(0.1):
                    waits.append(server.health())

            looker = threading.Thread(target=look)
            looker.start()
            got[name] = ask(args, server, flags)
            over.set()
            looker.join()
            got[name]["health_ms"] = statistics.median(w for w in waits if w is not None) if waits else float("nan")
        got["resident"] = server.resident_mib()
    return got


def batch_rate(args, model):
    """Generated tokens a second of the peer's own bench of 16 chats, its prompts' time counted."""
    done = subprocess.run([os.path.join(args.llama_bin, "llama-batched-bench"), "-m", model, "-c", "4096", "-b", "2048", "-ub",
                           "512", "-npp", "128", "-ntg", "64", "-npl", "16", "-t", args.threads, "-fa", "on",
                           "--output-format", "jsonl"], capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not rows:
        sys.exit(f"serve_duel: llama-batched-bench failed:\n{done.stderr[-2000:]}")
    return 16 * 64 / rows[-1]["t"]


def duel(args, name):
    model = path_of(args.akvifer, name)
    ours = answers(args, [args.akvifer, "serve", "-m", model, "-t", args.threads, "-c", "24576", "-np", "16", "-q",
                          "--log-file", os.devnull])
    theirs = answers(args, [os.path.join(args.llama_bin, "llama-server"), "-m", model, "-t", args.threads, "-c", "24576", "-np",
                            "8", "-fa", "on", "--no-webui"])
    print(f"\n| {os.path.basename(model)} | first token p50 ms, Akvifer | llama-server | ratio | generated tokens/s, Akvifer "
          "| llama-server | ratio | p99 between tokens ms, Akvifer | llama-server | ratio | /health ms, Akvifer | llama-server |"
          "\n|" + "---|" * 12)
    for case, _ in CASES:
        a, b = ours[case], theirs[case]
        print(f"| {case}" + "".join(
            f" | {a[key]:.1f} | {b[key]:.1f} | {(a[key] / b[key] if up else b[key] / a[key]):.1f}x"
            for key, up in (("median_ttft_ms", False), ("output_throughput", True), ("p99_itl_ms", False)))
            + f" | {a['health_ms']:.1f} | {b['health_ms']:.1f} |")
    print(f"\nresident memory at the end: {ours['resident']:.0f} MiB, llama-server {theirs['resident']:.0f} MiB "
          f"({theirs['resident'] / ours['resident']:.1f}x)")
    rate = batch_rate(args, model)
    print(f"16 short chats beside the peer's own batch bench: {ours['16 short']['output_throughput']:.1f} and {rate:.1f} "
          f"generated tokens/s, prompts' time counted ({ours['16 short']['output_throughput'] / rate:.1f}x)", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--akvifer", default="build/akvifer")
    p.add_argument("--llama-bin", default=os.environ.get("LLAMA_BIN", ""))
    p.add_argument("-m", "--model", action="append")
    p.add_argument("-t", "--threads", default="2")
    args = p.parse_args()
    if not os.path.exists(os.path.join(args.llama_bin, "llama-server")):
        p.error("give the folder of llama-server: LLAMA_BIN=DIR (https://github.com/ggml-org/llama.cpp/releases)")
    for name in args.model or ["smollm2"]:
        duel(args, name)


if __name__ == "__main__":
    main()
