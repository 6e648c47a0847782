#!/usr/bin/env python3
"""duel.py - Akvifer beside llama.cpp: same file, same threads, same shapes, one sample of each in turn.

    LLAMA_BIN=DIR bench/duel.py [-m MODEL ...] [--cells quick|all|long|NAME ...]    (make duel LLAMA_BIN=DIR)
    LLAMA_BIN=DIR bench/duel.py --types Q4_0,Q6_K|all [-m MODEL]                    random weights of each type

DIR holds llama-bench and llama-batched-bench: of a release of llama.cpp (https://github.com/ggml-org/llama.cpp/releases), or
of a native build.

    probe  ours  probe  theirs -fa 1  probe  theirs -fa 0  probe  ours ...

A probe (`akvifer bench roof`) stands on both sides of each sample; a sample beside one below 80 % of the best probe of the
cell was disturbed and does not count. The peer runs with flash attention on and off, and the better median counts. Printed are
medians, spreads (half the distance of the quartiles), the ratio, and our share of the roof: int8 products (fp32 where weights
are floats) for reading prompts, as the best probe of the cell measured them; bytes read for generating, the median of the calm
probes. Cells of several sequences count the tokens of all, after 128 of each.

`--cpu NAME` has our kernels and the probe use a smaller instruction set than the machine has (make duel CPU=avx2). The peer uses
what it was built for: give a LLAMA_BIN of the same set, and the ratio is that of a machine which has no more.

The cell `start` is a whole process, `akvifer run` beside llama-completion or llama-simple of DIR: from its start to the end of
an answer of one token to a prompt of 16, and the most memory it had resident.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import random_model  # noqa: E402


class Cell(NamedTuple):
    name: str
    test: str  # -p: read, -n: generate
    tokens: int
    depth: int = 0
    kv: str = "f16"
    sequences: int = 1
    neighbour: bool = False  # beside a process that keeps one processor busy


QUICK = [Cell("prefill 512", "-p", 512), Cell("decode 128", "-n", 128)]
DEPTH = [Cell(f"{name} @ 4096{label}", test, n, 4096, kv)
         for kv, label in (("f16", ""), ("int8", ", int8 KV"))
         for name, test, n in (("prefill 512", "-p", 512), ("decode 64", "-n", 64))]
BATCH = [Cell(f"decode 64 x {n}", "-n", 64, 128, sequences=n) for n in (4, 16)]
LONG = [Cell("decode 32 @ 16384", "-n", 32, 16384)]  # the peer reads for minutes before each sample
NEIGHBOUR = [Cell("decode 128, busy neighbour", "-n", 128, neighbour=True)]
START = [Cell("start", "-p", 16)]
SETS = {"quick": QUICK, "depth": DEPTH, "batch": BATCH, "neighbour": NEIGHBOUR, "start": START,
        "all": QUICK + DEPTH + BATCH + NEIGHBOUR + START, "long": LONG}
START_PROMPT = "The quick brown fox jumps over the lazy dog, and then it sleeps."  # 16 tokens
THEIR_STARTS = ("llama-completion", "llama-simple")
THEIR_KV = {"f16": "f16", "int8": "q8_0"}
DISTURBED = 0.80
BUSY = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
while True:
    pass
"""


def rows_of(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"duel: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def run_process(command):
    """Seconds to its end, MiB resident at most."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"duel: {' '.join(command)} ended with status {process.returncode}")
    return time.monotonic() - began, usage.ru_maxrss / 1024


class Duel:
    def __init__(self, args, model):
        self.args, self.model = args, model
        self.probes = []

    def cpu(self):
        return ["--cpu", self.args.cpu] if self.args.cpu else []

    def probe(self):
        p = rows_of([self.args.akvifer, "bench", "roof", "-m", self.model, "-t", self.args.threads, "-o", "jsonl",
                     *self.cpu()])[0]
        self.probes.append(p)
        return p

    def shape(self, cell):
        other = {"-p": "-n", "-n": "-p"}[cell.test]
        return ["-m", self.model, cell.test, str(cell.tokens), other, "0", "-d", str(cell.depth), "-t", self.args.threads,
                "-r", "1", "-o", "jsonl"]

    def ours(self, cell):
        row = rows_of([self.args.akvifer, "bench", *self.shape(cell), "--kv-type", cell.kv, "-npl", str(cell.sequences),
                       *self.cpu()])[0]
        return row["median_ts"], row

    def theirs(self, cell, flash):
        kv = THEIR_KV[cell.kv]
        command = [os.path.join(self.args.llama_bin, "llama-bench"), *self.shape(cell), "-fa", str(flash)]
        row = rows_of([*command, "-ctk", kv, "-ctv", kv])[0]
        return row["avg_ts"], row

    def theirs_together(self, cell, flash):
        n, positions = cell.sequences, cell.depth + cell.tokens
        row = rows_of([os.path.join(self.args.llama_bin, "llama-batched-bench"), "-m", self.model, "-t", self.args.threads,
                       "-c", str(n * positions + 256), "-npp", str(cell.depth), "-ntg", str(cell.tokens), "-npl", str(n),
                       "-fa", ("off", "on")[flash], "--output-format", "jsonl"])[0]
        return row["speed_tg"], row

    def play(self, cell, player):
        if not cell.neighbour:
            return player()
        with subprocess.Popen([sys.executable, "-c", BUSY]) as busy:
            try:
                return player()
            finally:
                busy.kill()

    def players(self, cell):
        theirs = self.theirs if cell.sequences == 1 else self.theirs_together
        yield "ours", lambda: self.ours(cell)
        yield "-fa 1", lambda: theirs(cell, 1)
        if cell.kv == "f16":  # a quantised cache needs flash attention there
            yield "-fa 0", lambda: theirs(cell, 0)

    def fight(self, cell):
        self.probes = []
        taken = []  # (player, rate, row, probe before, probe after)
        before = self.probe()
        for _ in range(self.args.rounds):
            for name, play in self.players(cell):
                rate, row = self.play(cell, play)
                after = self.probe()
                taken.append((name, rate, row, before, after))
                before = after
        return self.judge(cell, taken)

    def judge(self, cell, taken):
        best = {key: max(p[key] for p in self.probes) for key in ("int8", "fp32", "read")}

        def calm(p):
            return all(p[key] >= DISTURBED * best[key] for key in ("int8", "read"))

        calm_reads = [p["read"] for p in self.probes if calm(p)]
        roof = {**best, "read": statistics.median(calm_reads or [p["read"] for p in self.probes])}

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
        return cell, samples, dropped, roof


    def start_commands(self):
        shape = ["-m", self.model, "-p", START_PROMPT, "-n", "1", "-t", self.args.threads]
        yield "ours", [self.args.akvifer, "run", "--raw", *shape, *self.cpu()]
        there = [os.path.join(self.args.llama_bin, name) for name in THEIR_STARTS]
        theirs = next((path for path in there if os.access(path, os.X_OK)), None)
        if theirs is None:
            sys.exit(f"duel: the cell 'start' needs {' or '.join(THEIR_STARTS)} in {self.args.llama_bin}")
        if theirs.endswith("llama-simple"):
            yield "llama-simple", [theirs, "-m", self.model, "-n", "1", START_PROMPT]
        else:  # its fastest: a small cache, no warming up
            yield "llama-completion", [theirs, *shape, "-no-cnv", "-c", "512", "--no-warmup"]

    def start(self):
        """The warm cache's: the first run of each does not count."""
        taken = {name: [] for name, _ in self.start_commands()}
        for i in range(2 * self.args.rounds + 1):
            for name, command in self.start_commands():
                sample = run_process(command)
                taken[name] += [sample] if i else []
        return taken


def report_start(label, taken):
    (_, ours), (peer, theirs) = taken.items()
    seconds, their_seconds = [1000 * s for s, _ in ours], [1000 * s for s, _ in theirs]
    print(f"| {label}, ms | {summary(seconds)[0]:.0f} +- {summary(seconds)[1]:.0f} "
          f"| {summary(their_seconds)[0]:.0f} +- {summary(their_seconds)[1]:.0f} ({peer}) "
          f"| **{summary(their_seconds)[0] / summary(seconds)[0]:.2f}x** | - | {len(ours)} of each |")
    memory, their_memory = max(m for _, m in ours), max(m for _, m in theirs)
    print(f"| {label}, MiB resident | {memory:.0f} | {their_memory:.0f} ({peer}) | **{their_memory / memory:.2f}x** | - | |",
          flush=True)


def summary(rates):
    rates = sorted(rates)
    if len(rates) < 4:
        return statistics.median(rates), (rates[-1] - rates[0]) / 2
    quartile = statistics.quantiles(rates, n=4)
    return statistics.median(rates), (quartile[2] - quartile[0]) / 2


def share_of_roof(cell, row, rate, roof_of):
    roof = "read" if cell.test == "-n" else "int8" if row["share_int8"] > row["share_fp32"] else "fp32"
    if not row.get(f"share_{roof}"):
        return "-"
    measured = row[{"int8": "roof_int8_ops", "fp32": "roof_fp32_flops", "read": "roof_read_bytes"}[roof]] * 1e-9
    return f"{100 * row[f'share_{roof}'] * measured / roof_of[roof] * rate / row['median_ts']:.0f} % {roof}"


def report(label, cell, samples, dropped, roof):
    ours, our_spread = summary([rate for rate, _ in samples["ours"]])
    peer = max((name for name in samples if name != "ours"),
               key=lambda name: summary([rate for rate, _ in samples[name]])[0])
    theirs, their_spread = summary([rate for rate, _ in samples[peer]])
    share = share_of_roof(cell, samples["ours"][0][1], ours, roof)
    said = "all disturbed" if dropped < 0 else f"{dropped} dropped"
    print(f"| {label} | {ours:.1f} +- {our_spread:.1f} | {theirs:.1f} +- {their_spread:.1f} ({peer}) "
          f"| **{ours / theirs:.2f}x** | {share} | {said} |", flush=True)
    return ours


def path_of(akvifer, name):
    if os.path.exists(name):
        return name
    done = subprocess.run([akvifer, "pull", name], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stderr.strip().split(": ")[-1]


def begin_table(what, args):
    kernels = f", kernels {args.cpu}" if args.cpu else ""
    print(f"\n{what}, {args.threads} threads{kernels}, tokens/s, median of {args.rounds} in turn\n")
    print("| cell | Akvifer | llama.cpp | ratio | of the roof | samples |\n|---|---|---|---|---|---|")


def cells_of(names):
    known = {cell.name: [cell] for cells in SETS.values() for cell in cells}
    known.update(SETS)
    for name in names:
        if name not in known:
            sys.exit(f"duel: there is no cell '{name}'; there are: {', '.join(known)}")
    cells = [cell for name in names for cell in known[name]]
    if any(cell.neighbour for cell in cells) and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
        sys.exit("duel: a busy neighbour with real-time priority never lets go of its processor; run that cell without it")
    return cells


def fight(label, duel, cell):
    if cell in START:
        return report_start(label, duel.start())
    return report(label, *duel.fight(cell))


def fight_models(args):
    for name in args.model or ["smollm2"]:
        model = path_of(args.akvifer, name)
        begin_table(os.path.basename(model), args)
        for cell in cells_of(args.cells or ["quick" if args.quick else "all"]):
            fight(cell.name, Duel(args, model), cell)


def fight_types(args):
    """Each type in the same shape: how flat reading is over types, and whether one is behind the peer."""
    like = path_of(args.akvifer, (args.model or ["smollm2"])[0])
    types = list(random_model.TYPES) if args.types == "all" else args.types.split(",")
    unknown = [t for t in types if t not in random_model.TYPES]
    if unknown:
        sys.exit(f"duel: there is no type '{unknown[0]}'; there are: {', '.join(random_model.TYPES)}")
    begin_table(f"random weights like {os.path.basename(like)}", args)
    read = {}
    for kind in types:
        with tempfile.NamedTemporaryFile(suffix=f"-{kind}.gguf") as file:
            random_model.make(like, kind, file.name, layers=args.layers)
            for cell in cells_of(args.cells or ["quick"]):
                rate = fight(f"{kind}, {cell.name}", Duel(args, file.name), cell)
                if rate and cell.test == "-p" and kind not in ("F32", "F16", "BF16"):
                    read[kind] = rate
    if len(read) > 1:
        slowest, fastest = min(read, key=read.get), max(read, key=read.get)
        print(f"\nreading: the slowest quantised type, {slowest}, has {100 * read[slowest] / read[fastest]:.0f} % "
              f"of the fastest, {fastest}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", action="append", help="a GGUF file or a short name; may be given more than once")
    parser.add_argument("-t", "--threads", default=str(os.cpu_count()))
    parser.add_argument("-r", "--rounds", type=int, default=5, help="samples of each")
    parser.add_argument("--quick", action="store_true", help="only prefill and decode without a context")
    parser.add_argument("--cells", action="append", metavar="SET|NAME",
                        help=f"{', '.join(SETS)}, or a cell by its name; may be given more than once")
    parser.add_argument("--types", help="random models of these weight types, comma-separated, or all")
    parser.add_argument("--layers", type=int, default=8, help="of random models")
    parser.add_argument("--akvifer", default="build/akvifer")
    parser.add_argument("--cpu", help="kernels of ours and of the probe: ref, avx2, avx512, amx (default: the best)")
    parser.add_argument("--llama-bin", default=os.environ.get("LLAMA_BIN"), help="default: $LLAMA_BIN")
    args = parser.parse_args()
    if not args.llama_bin or not os.access(os.path.join(args.llama_bin, "llama-bench"), os.X_OK):
        sys.exit("duel: no llama-bench in LLAMA_BIN; get a release from https://github.com/ggml-org/llama.cpp/releases "
                 "or build one natively, and say LLAMA_BIN=its/bin")
    fight_types(args) if args.types else fight_models(args)


if __name__ == "__main__":
    main()
