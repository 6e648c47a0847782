#!/usr/bin/env python3
"""duel.py - Akvifer beside llama.cpp: same file, same threads, same shapes, one sample of each in turn.

    LLAMA_BIN=DIR bench/duel.py [-m MODEL ...] [--cells quick|all|long|NAME ...]    (make duel LLAMA_BIN=DIR)
    LLAMA_BIN=DIR bench/duel.py --types Q4_0,Q6_K|all [-m MODEL]                    random weights of each type

DIR holds llama-bench, llama-batched-bench and llama-completion: of a release of llama.cpp
(https://github.com/ggml-org/llama.cpp/releases), or of a native build.

    probe  ours  probe  theirs -fa 1  probe  theirs -fa 0  probe  ours ...

A probe (`akvifer bench roof`) stands on both sides of each sample; a sample beside one that falls below 80 % of the cell's upper
quartile was disturbed and does not count. Rounds go on until each side has as many calm samples as were asked for, at most twice
as many rounds; where one side is left with fewer than two, all samples of the cell count, and its row says `disturbed`.
The peer runs with flash attention on and off, and the better median counts. Printed are medians, spreads (half the distance of the
quartiles), the ratio, and our share of the roof: int8 products (fp32 where weights are floats) for reading prompts, as the best
probe of the cell measured them; bytes read for generating, the median of the calm probes. Cells of several sequences count the
tokens of all, after 128 of each.

`--cpu NAME` has our kernels and the probe use a smaller instruction set than the machine has (make duel CPU=avx2). The peer uses
what it was built for: give a LLAMA_BIN of the same set, and the ratio is that of a machine which has no more.

The cell `start` is a whole process, `akvifer run` beside llama-completion of DIR: from its start to the end of
an answer of one token to a prompt of 16, and the most memory it had resident.

Where others use the machine, real-time priority keeps them off both engines: chrt -f 20 bench/duel.py ..., with the kernel's limit
for it off (sysctl kernel.sched_rt_runtime_us=-1). With the limit on, whoever runs longer than a second is stopped 50 ms in each, so
the duel refuses.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

from players import Cell, Engines

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import random_model  # noqa: E402

QUICK = [Cell("prefill 512", "-p", 512), Cell("decode 128", "-n", 128)]
DEPTH = [Cell(f"{name} @ 4096{label}", test, n, 4096, kv)
         for kv, label in (("f16", ""), ("int8", ", int8 KV"))
         for name, test, n in (("prefill 512", "-p", 512), ("decode 64", "-n", 64))]
BATCH = [Cell(f"decode 64 x {n}", "-n", 64, 128, sequences=n) for n in (4, 16)]
LONG = [Cell("decode 32 @ 16384", "-n", 32, 16384)]  # the peer reads for minutes before each sample
NEIGHBOUR = [Cell("decode 128, busy neighbour", "-n", 128, neighbour=True)]
START = [Cell("start", "start", 16)]
SETS = {"quick": QUICK, "depth": DEPTH, "batch": BATCH, "neighbour": NEIGHBOUR, "start": START,
        "all": QUICK + DEPTH + BATCH + NEIGHBOUR + START, "long": LONG}
DISTURBED = 0.80
LEAST_CALM = 2


class Sample(NamedTuple):
    player: str
    rate: float
    row: dict
    before: dict  # probes
    after: dict


class Verdict(NamedTuple):
    samples: dict  # player: [(rate, row)]
    rounds: int
    disturbed: bool  # too few were calm, so all count
    roof: dict


def tell(text):
    """What is going on, on a terminal only: the next row or word writes over it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


class Fight:
    """One cell: rounds of samples between probes."""

    def __init__(self, engines, cell, rounds):
        self.engines, self.cell, self.rounds = engines, cell, rounds
        self.probes, self.samples = [], []

    def probe(self):
        self.probes.append(self.engines.probe())
        return self.probes[-1]

    def round(self, n):
        for name, play in self.engines.players(self.cell):
            tell(f"{self.cell.name}: round {n} of {self.rounds}, {name}")
            before = self.probes[-1]
            self.samples.append(Sample(name, *play(), before, self.probe()))
        tell("")

    def is_calm(self, sample):
        usual = {key: statistics.quantiles([p[key] for p in self.probes], n=4, method="inclusive")[2] for key in ("int8", "fp32", "read")}
        return all(p[key] >= DISTURBED * usual[key] for p in (sample.before, sample.after) for key in usual)

    def calm(self):
        found = {s.player: [] for s in self.samples}
        for s in self.samples:
            if self.is_calm(s):
                found[s.player].append(s)
        return found

    def fight(self):
        if self.cell.test == "start":  # the warm cache's: the first run of each does not count
            for _, play in self.engines.players(self.cell):
                play()
        self.probe()
        n = 0
        while n < self.rounds or (n < 2 * self.rounds and min(map(len, self.calm().values())) < self.rounds):
            n += 1
            self.round(n)
        return self.judge(n)

    def judge(self, n):
        taken = self.calm()
        disturbed = min(map(len, taken.values())) < min(LEAST_CALM, self.rounds)
        if disturbed:
            taken = {name: [s for s in self.samples if s.player == name] for name in taken}
        reads = [p["read"] for samples in taken.values() for s in samples for p in (s.before, s.after)]
        roof = {key: max(p[key] for p in self.probes) for key in ("int8", "fp32")}
        samples = {name: [(s.rate, s.row) for s in samples] for name, samples in taken.items()}
        return Verdict(samples, n, disturbed, {**roof, "read": statistics.median(reads)})


def summary(rates):
    """The median, and half the distance of the quartiles (of the ends, where there are fewer than four)."""
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


def counted(verdict):
    each = "/".join(str(len(samples)) for samples in verdict.samples.values())
    if verdict.disturbed:
        return f"{each}, disturbed"
    return each if each == "/".join([str(verdict.rounds)] * len(verdict.samples)) else f"{each} calm of {verdict.rounds}"


def rates_of(verdict, name):
    return [rate for rate, _ in verdict.samples[name]]


def report_start(label, verdict):
    def ms(name):
        return summary([1000 / rate for rate in rates_of(verdict, name)])

    def resident(name):
        return max(row["resident_mib"] for _, row in verdict.samples[name])

    ours, peer = verdict.samples
    print(f"| {label}, ms | {ms(ours)[0]:.0f} +- {ms(ours)[1]:.0f} | {ms(peer)[0]:.0f} +- {ms(peer)[1]:.0f} ({peer}) "
          f"| {ms(peer)[0] / ms(ours)[0]:.2f}x | - | {counted(verdict)} |")
    print(f"| {label}, MiB resident | {resident(ours):.0f} | {resident(peer):.0f} ({peer}) "
          f"| {resident(peer) / resident(ours):.2f}x | - | |", flush=True)


def report(label, cell, verdict):
    ours, our_spread = summary(rates_of(verdict, "ours"))
    peer = max((name for name in verdict.samples if name != "ours"), key=lambda name: summary(rates_of(verdict, name))[0])
    theirs, their_spread = summary(rates_of(verdict, peer))
    share = share_of_roof(cell, verdict.samples["ours"][0][1], ours, verdict.roof)
    print(f"| {label} | {ours:.1f} +- {our_spread:.1f} | {theirs:.1f} +- {their_spread:.1f} ({peer}) "
          f"| {ours / theirs:.2f}x | {share} | {counted(verdict)} |", flush=True)
    return ours


def begin_table(what, engines, rounds):
    print(f"\n{what}: {engines.who()}; tokens/s, medians of {rounds} in turn\n")
    print("| cell | Akvifer | llama.cpp | ratio | of the roof | samples of each |\n|---|---|---|---|---|---|", flush=True)


def is_real_time():
    return os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)


def real_time_limit():
    with open("/proc/sys/kernel/sched_rt_runtime_us") as file:
        return file.read().strip()


def cells_of(names, engines):
    """The cells of these sets and names, of which a few cannot be played here: those end it, or are left out of a set."""
    known = {cell.slug(): [cell] for cells in SETS.values() for cell in cells}
    known.update({cell.name: [cell] for cells in SETS.values() for cell in cells}, **SETS)
    for name in names:
        if name not in known:
            words = [*SETS, *(cell.slug() for cell in SETS["all"] + LONG if cell.slug() not in SETS)]
            sys.exit(f"duel: there is no cell '{name}'; there are: {' '.join(words)}")
    chosen = [(cell, name) for name in names for cell in known[name]]
    cells = []
    for cell, name in chosen:
        if engines.missing(cell):
            sys.exit(f"duel: the cell '{cell.slug()}' needs {engines.missing(cell)} in {engines.llama_bin}")
        if cell.neighbour and is_real_time():
            said = f"duel: '{cell.slug()}' needs usual priority: a busy neighbour with real-time priority never lets go"
            if name != "all":
                sys.exit(said)
            print(f"{said}; left out", file=sys.stderr)
            continue
        cells.append(cell)
    return cells


def fight(label, engines, cell, rounds):
    if cell.test == "start":
        return report_start(label, Fight(engines, cell, 2 * rounds).fight())
    return report(label, cell, Fight(engines, cell, rounds).fight())


def engines_of(args, model):
    return Engines(args.akvifer, args.llama_bin, args.threads, args.cpu, model)


def fight_models(args, models):
    cells = cells_of(args.cells or ["quick" if args.quick else "all"], engines_of(args, None))
    for model in models:
        engines = engines_of(args, model)
        begin_table(os.path.basename(model), engines, args.rounds)
        for cell in cells:
            fight(cell.name, engines, cell, args.rounds)


def fight_types(args, like):
    """Each type in the same shape: how flat reading is over types, and whether one is behind the peer."""
    types = list(random_model.TYPES) if args.types == "all" else args.types.split(",")
    unknown = [t for t in types if t not in random_model.TYPES]
    if unknown:
        sys.exit(f"duel: there is no type '{unknown[0]}'; there are: {' '.join(random_model.TYPES)}")
    cells = cells_of(args.cells or ["quick"], engines_of(args, None))
    begin_table(f"random weights like {os.path.basename(like)}, {args.layers} layers", engines_of(args, like), args.rounds)
    read = {}
    for kind in types:
        with tempfile.NamedTemporaryFile(suffix=f"-{kind}.gguf") as file:
            random_model.make(like, kind, file.name, layers=args.layers)
            for cell in cells:
                rate = fight(f"{kind}, {cell.name}", engines_of(args, file.name), cell, args.rounds)
                if rate and cell.test == "-p" and kind not in ("F32", "F16", "BF16"):
                    read[kind] = rate
    if len(read) > 1:
        slowest, fastest = min(read, key=read.get), max(read, key=read.get)
        print(f"\nreading: the slowest quantised type, {slowest}, has {100 * read[slowest] / read[fastest]:.0f} % "
              f"of the fastest, {fastest}")


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
    parser.add_argument("-r", "--rounds", type=int, default=5, help="calm samples of each (default: 5; twice as many of 'start')")
    parser.add_argument("--quick", action="store_true", help="only prefill and decode without a context")
    parser.add_argument("--cells", action="append", metavar="SET|NAME",
                        help=f"{', '.join(SETS)} (default: all), or a cell, as {DEPTH[-1].slug()}; may be given more than once")
    parser.add_argument("--types", help="random models of these weight types, comma-separated, or all")
    parser.add_argument("--layers", type=int, default=8, help="of random models (default: 8)")
    parser.add_argument("--akvifer", default="build/akvifer")
    parser.add_argument("--cpu", help="kernels of ours and of the probe: ref, avx2, avx512, amx (default: the best)")
    parser.add_argument("--llama-bin", default=os.environ.get("LLAMA_BIN"), help="default: $LLAMA_BIN")
    args = parser.parse_args()
    if is_real_time() and real_time_limit() != "-1":
        sys.exit("duel: real-time priority with kernel.sched_rt_runtime_us=" + real_time_limit() + " stops the longer runs, and not "
                 "the shorter; 'sysctl kernel.sched_rt_runtime_us=-1' ends that, or run without priority")
    if not args.llama_bin or not os.access(os.path.join(args.llama_bin, "llama-bench"), os.X_OK):
        sys.exit("duel: no llama-bench in LLAMA_BIN; get a release from https://github.com/ggml-org/llama.cpp/releases "
                 "or build one natively, and say LLAMA_BIN=its/bin")
    if not os.access(args.akvifer, os.X_OK):
        sys.exit(f"duel: there is no program {args.akvifer}; 'make' builds it")
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1")
    if args.types and len(args.model or []) > 1:
        parser.error("--types takes the shape of one model: give -m once")
    models = [path_of(args.akvifer, name) for name in args.model or ["smollm2"]]
    fight_types(args, models[0]) if args.types else fight_models(args, models)


if __name__ == "__main__":
    main()
