#!/usr/bin/env python3
"""Writes src/text/wordpiece_table.h: what becomes of each character before words are cut into pieces, as the uncased BERT
tokenizer has it: canonical decomposition without nonspacing marks, in lower case.

usage: tools/wordpiece_table.py > src/text/wordpiece_table.h
"""
import unicodedata

LIMIT = 0x110000
HANGUL = range(0xAC00, 0xD7A4)  # taken apart by arithmetic
REPLACEMENT = 0xFFFD
SPACES = {0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def scalars():
    return (c for c in range(128, LIMIT) if not 0xD800 <= c < 0xE000)


def folded(c):
    """What stays of it, a text of no, one or several characters."""
    if unicodedata.category(chr(c)) in ("Cc", "Cf", "Co") or c == REPLACEMENT:
        return ""
    apart = unicodedata.normalize("NFD", chr(c))
    return "".join(x.lower() for x in apart if unicodedata.category(x) != "Mn")


def ranges(wanted):
    out = []
    for c in scalars():
        if not wanted(c):
            continue
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def runs():
    """[first, last, step, delta] for characters that become one other character."""
    out = []
    for c in scalars():
        to = folded(c)
        if len(to) != 1 or ord(to) == c:
            continue
        delta = ord(to) - c
        last = out[-1] if out else None
        step = c - last[1] if last else 0
        if last and last[3] == delta and step in (1, 2) and (last[0] == last[1] or last[2] == step):
            last[1], last[2] = c, step
        else:
            out.append([c, c, 1, delta])
    return out


def rows(items, per_line):
    lines = [", ".join(items[i:i + per_line]) + "," for i in range(0, len(items), per_line)]
    return "    " + "\n    ".join(lines)


def range_table(name, wanted):
    items = ["{ 0x%x, 0x%x }" % tuple(r) for r in ranges(wanted)]
    return f"static const struct fold_range {name}[] = {{\n{rows(items, 4)}\n}};\n"


def form(c):
    return "{ 0x%x, { %s } }" % (c, ", ".join("0x%x" % ord(x) for x in folded(c)))


def main():
    several = [form(c) for c in scalars() if len(folded(c)) > 1 and c not in HANGUL]
    print(f"/* text/wordpiece_table.h - written by tools/wordpiece_table.py from Unicode {unicodedata.unidata_version}; do not edit.")
    print(" * Of characters from 0x80 on. Runs: first, last, step, what to add. */")
    print("#ifndef TEXT_WORDPIECE_TABLE_H\n#define TEXT_WORDPIECE_TABLE_H\n\n#include <stdint.h>\n")
    print("// clang-format off")
    print("struct fold_range { uint32_t first, last; };")
    print("struct fold_run { uint32_t first, last, step; int32_t delta; };")
    print("struct fold_form { uint32_t from, to[3]; };\n")
    print("/* Nothing stays of them. */")
    print(range_table("dropped_ranges", lambda c: c not in SPACES and not folded(c)))
    print(range_table("space_ranges", lambda c: c in SPACES))
    print(range_table("punctuation_ranges", lambda c: unicodedata.category(chr(c)).startswith("P")))
    items = ["{ 0x%x, 0x%x, %d, %d }" % tuple(r) for r in runs()]
    print(f"static const struct fold_run one_runs[] = {{\n{rows(items, 3)}\n}};\n")
    print(f"static const struct fold_form several_forms[] = {{\n{rows(several, 2)}\n}};")
    print("// clang-format on\n\n#endif")


main()
