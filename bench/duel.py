#!/usr/bin/env python3
"""duel.py - Akvifer beside llama.cpp: same file, same threads, same shapes, one sample of each in turn.

    LLAMA_BIN=DIR bench/duel.py [-m MODEL ...] [--quick]      (make duel LLAMA_BIN=DIR)

DIR holds llama-bench: of a release of llama.cpp (https://github.com/ggml-org/llama.cpp/releases), or of a native build.

    probe  ours  probe  theirs -fa 1  probe  theirs -fa 0  probe  ours ...

A probe (`akvifer bench roof`) stands on both sides of each sample; a sample beside one below 80 % of the best probe of the
cell was disturbed and does not count. The peer runs with flash attention on and off, and the better median counts. Printed are
medians, spreads (half the distance of the quartiles), the ratio, and our share of the roof: int8 products for reading
prompts, bytes read for generating, both as the best probe of the cell measured them.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

CELLS = [  # name, test, tokens, depth, our KV type, the peer's
    ("prefill 512", "-p", 512, 0, "f16", "f16"),
    ("decode 128", "-n", 128, 0, "f16", "f16"),
    ("prefill 512 @ 4096", "-p", 512, 4096, "f16", "f16"),
    ("decode 64 @ 4096", "-n", 64, 4096, "f16", "f16"),
    ("prefill 512 @ 4096, int8 KV", "-p", 512, 4096, "int8", "q8_0"),
    ("decode 64 @ 4096, int8 KV", "-n", 64, 4096, "int8", "q8_0"),
]
QUICK = CELLS[:2]
DISTURBED = 0.80


def rows_of(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"duel: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


class Duel:
    def __init__(self, args, model):
        self.args, self.model = args, model
        self.probes = []

    def probe(self):
        p = rows_of([self.args.akvifer, "bench", "roof", "-t", self.args.threads, "-o", "jsonl"])[0]
        self.probes.append(p)
        return p

    def shape(self, cell):
        _, test, n, depth, _, _ = cell
        other = {"-p": "-n", "-n": "-p"}[test]
        return ["-m", self.model, test, str(n), other, "0", "-d", str(depth), "-t", self.args.threads,
                "-r", "1", "-o", "jsonl"]

    def ours(self, cell):
        row = rows_of([self.args.akvifer, "bench", *self.shape(cell), "--kv-type", cell[4]])[0]
        return row["median_ts"], row

    def theirs(self, cell, flash):
        command = [os.path.join(self.args.llama_bin, "llama-bench"), *self.shape(cell), "-fa", str(flash)]
        row = rows_of([*command, "-ctk", cell[5], "-ctv", cell[5]])[0]
        return row["avg_ts"], row

    def players(self, cell):
        yield "ours", lambda: self.ours(cell)
        yield "-fa 1", lambda: self.theirs(cell, 1)
        if cell[5] == "f16":  # a quantised cache needs flash attention there
            yield "-fa 0", lambda: self.theirs(cell, 0)

    def fight(self, cell):
        self.probes = []
        taken = []  # (player, rate, row, probe before, probe after)
        before = self.probe()
        for _ in range(self.args.rounds):
            for name, play in self.players(cell):
                rate, row = play()
                after = self.probe()
                taken.append((name, rate, row, before, after))
                before = after
        return self.judge(cell, taken)

    def judge(self, cell, taken):
        best = {key: max(p[key] for p in self.probes) for key in ("int8", "read")}

        def calm(p):
            return all(p[key] >= DISTURBED * best[key] for key in best)

        samples, dropped = {}, 0
        for name, rate, row, before, after in taken:
            if calm(before) and calm(after):
                samples.setdefault(name, []).append((rate, row))
            else:
                dropped += 1
        if "ours" not in samples or len(samples) < 2:  # too noisy to choose: all count, and it is said
            samples, dropped = {}, -1
            for name, rate, row, _, _ in taken:
                samples.setdefault(name, []).append((rate, row))
        return cell, samples, dropped, best


def summary(rates):
    rates = sorted(rates)
    if len(rates) < 4:
        return statistics.median(rates), (rates[-1] - rates[0]) / 2
    quartile = statistics.quantiles(rates, n=4)
    return statistics.median(rates), (quartile[2] - quartile[0]) / 2


def share_of_roof(cell, row, rate, best):
    key, roof = ("share_int8", "int8") if cell[1] == "-p" else ("share_read", "read")
    if not row.get(key):
        return "-"
    measured = row["roof_int8_ops" if roof == "int8" else "roof_read_bytes"] * 1e-9
    return f"{100 * row[key] * measured / best[roof] * rate / row['median_ts']:.0f} % {roof}"


def report(cell, samples, dropped, best):
    ours, our_spread = summary([rate for rate, _ in samples["ours"]])
    peer = max((name for name in samples if name != "ours"),
               key=lambda name: summary([rate for rate, _ in samples[name]])[0])
    theirs, their_spread = summary([rate for rate, _ in samples[peer]])
    share = share_of_roof(cell, samples["ours"][0][1], ours, best)
    said = "all disturbed" if dropped < 0 else f"{dropped} dropped"
    print(f"| {cell[0]} | {ours:.1f} +- {our_spread:.1f} | {theirs:.1f} +- {their_spread:.1f} ({peer}) "
          f"| **{ours / theirs:.2f}x** | {share} | {said} |", flush=True)


def path_of(akvifer, name):
    if os.path.exists(name):
        return name
    done = subprocess.run([akvifer, "pull", name], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stderr.strip().split(": ")[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", action="append", help="a GGUF file or a short name; may be given more than once")
    parser.add_argument("-t", "--threads", default=str(os.cpu_count()))
    parser.add_argument("-r", "--rounds", type=int, default=5, help="samples of each")
    parser.add_argument("--quick", action="store_true", help="only prefill and decode without a context")
    parser.add_argument("--akvifer", default="build/akvifer")
    parser.add_argument("--llama-bin", default=os.environ.get("LLAMA_BIN"), help="default: $LLAMA_BIN")
    args = parser.parse_args()
    if not args.llama_bin or not os.access(os.path.join(args.llama_bin, "llama-bench"), os.X_OK):
        sys.exit("duel: no llama-bench in LLAMA_BIN; get a release from https://github.com/ggml-org/llama.cpp/releases "
                 "or build one natively, and say LLAMA_BIN=its/bin")
    for name in args.model or ["smollm2"]:
        model = path_of(args.akvifer, name)
        print(f"\n{os.path.basename(model)}, {args.threads} threads, tokens/s, median of {args.rounds} in turn\n")
        print("| cell | Akvifer | llama.cpp | ratio | of the roof | samples |\n|---|---|---|---|---|---|")
        for cell in QUICK if args.quick else CELLS:
            report(*Duel(args, model).fight(cell))


if __name__ == "__main__":
    main()
