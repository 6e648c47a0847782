"""players.py - the two engines as the duel plays them: one sample of a cell each, and the probe that stands between samples.

A sample is a rate (tokens/s) and a row (what the engine said of it). A whole process, the cell `start`, is a sample too: its rate
is starts a second, and its row holds the most memory it had resident.
"""
import json
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple


class Cell(NamedTuple):
    name: str
    test: str  # -p: read, -n: generate, start: a whole process
    tokens: int
    depth: int = 0
    kv: str = "f16"
    sequences: int = 1
    neighbour: bool = False  # beside a process that keeps one processor busy

    def slug(self):
        """Its name as one word: decode-64@4096-int8-KV."""
        return self.name.replace(", ", "-").replace(" @ ", "@").replace(" ", "-")


START_PROMPT = "The quick brown fox jumps over the lazy dog, and then it sleeps."  # 16 tokens
THEIR_KV = {"f16": "f16", "int8": "q8_0"}
BUSY = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
while True:
    pass
"""


def failed(command, status, said=""):
    """Ends the duel, with what there is to know of a process that failed."""
    how = f"exit status {status}"
    if status < 0:
        how = f"signal {signal.Signals(-status).name}"
    hint = ""
    if status == -signal.SIGILL:
        hint = ("\nIt was built for a machine that has more than this one, or by a compiler (gcc 12, AMX) that moves stores behind "
                "_tile_loadconfig: take a release.")
    sys.exit(f"duel: {' '.join(command)} ended with {how}\n{said[-2000:]}{hint}".rstrip())


def rows_of(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as e:
        sys.exit(f"duel: cannot run {command[0]}: {e.strerror}")
    if done.returncode != 0:
        failed(command, done.returncode, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def run_process(command):
    """Starts a second, and the MiB it had resident at most."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        failed(command, process.returncode)
    return 1 / (time.monotonic() - began), {"resident_mib": usage.ru_maxrss / 1024}


def beside_neighbour(play):
    with subprocess.Popen([sys.executable, "-c", BUSY]) as busy:
        try:
            return play()
        finally:
            busy.kill()


class Engines:
    """Both, on one file, with one number of threads."""

    def __init__(self, akvifer, llama_bin, threads, cpu, model):
        self.akvifer, self.llama_bin, self.threads, self.model = akvifer, llama_bin, threads, model
        self.cpu = ["--cpu", cpu] if cpu else []

    def their(self, name):
        return os.path.join(self.llama_bin, name)

    def missing(self, cell):
        """What the cell needs and the peer's folder lacks, or None."""
        needs = "llama-completion" if cell.test == "start" else "llama-batched-bench" if cell.sequences > 1 else "llama-bench"
        return None if os.access(self.their(needs), os.X_OK) else needs

    def who(self):
        """Both builds and the machine, for the head of a table; a first run of each that warms the file's pages."""
        shape = self.shape(Cell("", "-p", 16))
        ours = rows_of([self.akvifer, "bench", *shape, *self.cpu])[0]
        theirs = rows_of([self.their("llama-bench"), *shape])[0]
        return (f"Akvifer {ours['build_commit']} (kernels {ours['kernels']}), llama.cpp b{theirs['build_number']} "
                f"{theirs['build_commit']}, {ours['cpu_info']}, {self.threads} threads")

    def probe(self):
        return rows_of([self.akvifer, "bench", "roof", "-m", self.model, "-t", self.threads, "-o", "jsonl", *self.cpu])[0]

    def shape(self, cell):
        other = {"-p": "-n", "-n": "-p"}[cell.test]
        return ["-m", self.model, cell.test, str(cell.tokens), other, "0", "-d", str(cell.depth), "-t", self.threads,
                "-r", "1", "-o", "jsonl"]

    def ours(self, cell):
        row = rows_of([self.akvifer, "bench", *self.shape(cell), "--kv-type", cell.kv, "-npl", str(cell.sequences),
                       *self.cpu])[0]
        return row["median_ts"], row

    def theirs(self, cell, flash):
        kv = THEIR_KV[cell.kv]
        row = rows_of([self.their("llama-bench"), *self.shape(cell), "-fa", str(flash), "-ctk", kv, "-ctv", kv])[0]
        return row["avg_ts"], row

    def theirs_together(self, cell, flash):
        n, positions = cell.sequences, cell.depth + cell.tokens
        row = rows_of([self.their("llama-batched-bench"), "-m", self.model, "-t", self.threads,
                       "-c", str(n * positions + 256), "-npp", str(cell.depth), "-ntg", str(cell.tokens), "-npl", str(n),
                       "-fa", ("off", "on")[flash], "--output-format", "jsonl"])[0]
        return row["speed_tg"], row

    def starts(self):
        shape = ["-m", self.model, "-p", START_PROMPT, "-n", "1", "-t", self.threads]
        yield "ours", lambda: run_process([self.akvifer, "run", "--raw", *shape, *self.cpu])
        theirs = [self.their("llama-completion"), *shape, "-no-cnv", "-c", "512", "--no-warmup"]  # its fastest: a small cache
        yield "llama-completion", lambda: run_process(theirs)

    def players(self, cell):
        """Names, ours first, and what takes one sample of each."""
        if cell.test == "start":
            yield from self.starts()
            return
        theirs = self.theirs if cell.sequences == 1 else self.theirs_together
        plays = [("ours", lambda: self.ours(cell)), ("-fa 1", lambda: theirs(cell, 1))]
        if cell.kv == "f16":  # a quantised cache needs flash attention there
            plays.append(("-fa 0", lambda: theirs(cell, 0)))
        for name, play in plays:
            yield name, (lambda play=play: beside_neighbour(play)) if cell.neighbour else play
