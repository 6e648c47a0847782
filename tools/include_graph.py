#!/usr/bin/env python3
"""Draws the include graph of src/ by folders, and refuses what the layers forbid.

A file includes from its own folder and from folders with a smaller number; folders that share a number
never see each other; no file reaches itself. (src/kernels and src/kernels/avx2 are one folder here.)"""
import pathlib
import re
import sys

LAYER = {"base": 0, "os": 1, "kernels": 2, "gguf": 2, "text": 2, "http": 2, "cluster": 2, "trace": 2,
         "kv": 3, "model": 4, "tier": 4, "engine": 5, "api": 6, "bin": 7}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def read_graph(src):
    """{file: [included files of src/]}, both as paths relative to src/."""
    graph, wrong = {}, []
    for path in sorted(src.rglob("*.[ch]")):
        name = path.relative_to(src).as_posix()
        graph[name] = []
        for target in INCLUDE.findall(path.read_text()):
            if (src / target).is_file():
                graph[name].append(target)
            elif not (src.parent / "include" / target).is_file():
                wrong.append(f'{name}: "{target}" is no file of src/ or include/ (write "folder/name.h")')
    return graph, wrong


def folder(name):
    return name.split("/")[0]


def check_layers(graph):
    for name, targets in graph.items():
        if folder(name) not in LAYER:
            yield f"{name}: folder '{folder(name)}' has no layer (tools/include_graph.py)"
            continue
        for target in targets:
            above, below = LAYER[folder(name)], LAYER.get(folder(target), 99)
            if folder(target) != folder(name) and below >= above:
                way = "sideways" if below == above else "upward"
                yield f"{name} (layer {above}) includes {target} (layer {below}): {way}"


def check_cycles(graph):
    done, path = set(), []

    def visit(name):
        if name in path:
            yield " -> ".join(path[path.index(name):] + [name]) + ": a cycle"
            return
        if name in done:
            return
        done.add(name)
        path.append(name)
        for target in graph[name]:
            yield from visit(target)
        path.pop()

    for name in graph:
        yield from visit(name)


def draw(graph):
    used = {}
    for name, targets in graph.items():
        used.setdefault(folder(name), set()).update(folder(t) for t in targets)
    for f in sorted(used, key=lambda f: (-LAYER.get(f, 99), f)):
        below = sorted(used[f] - {f}, key=lambda t: (-LAYER.get(t, 99), t))
        print(f"  {LAYER.get(f, '?')} {f:8} -> {' '.join(below) or '-'}")


def main():
    graph, wrong = read_graph(pathlib.Path("src"))
    wrong += [*check_layers(graph), *check_cycles(graph)]
    draw(graph)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


sys.exit(main())
