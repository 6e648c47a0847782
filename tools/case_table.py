#!/usr/bin/env python3
"""Writes src/text/jinja_case_table.h: the case mappings of Unicode, as Python's str methods know them.

usage: tools/case_table.py > src/text/jinja_case_table.h
"""
import sys

LIMIT = 0x110000


def scalars():
    return (c for c in range(128, LIMIT) if not 0xD800 <= c < 0xE000)


def runs(change):
    """[first, last, step, delta] for characters that map to one other character."""
    out = []
    for c in scalars():
        to = change(chr(c))
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


def table(name, change):
    items = ["{ 0x%x, 0x%x, %d, %d }" % tuple(r) for r in runs(change)]
    return f"static const struct case_run {name}[] = {{\n{rows(items, 3)}\n}};\n"


def form(c, to):
    return "{ 0x%x, { %s } }" % (c, ", ".join("0x%x" % ord(x) for x in to))


def forms(name, change, wanted):
    items = [form(c, change(chr(c))) for c in scalars() if wanted(chr(c))]
    return f"static const struct case_form {name}[] = {{\n{rows(items, 2)}\n}};\n"


def main():
    print("/* text/jinja_case_table.h - written by tools/case_table.py from Unicode "
          f"{__import__('unicodedata').unidata_version}; do not edit.")
    print(" * Runs: first, last, step, what to add. Forms: characters that become several, or that have")
    print(" * another form at the start of a word. */")
    print("#ifndef TEXT_JINJA_CASE_TABLE_H\n#define TEXT_JINJA_CASE_TABLE_H\n\n#include <stdint.h>\n")
    print("// clang-format off")
    print("struct case_run { uint32_t first, last, step; int32_t delta; };")
    print("struct case_form { uint32_t from, to[3]; };\n")
    print(table("upper_runs", str.upper))
    print(table("lower_runs", str.lower))
    print(forms("upper_forms", str.upper, lambda c: len(c.upper()) > 1))
    print(forms("lower_forms", str.lower, lambda c: len(c.lower()) > 1))
    print(forms("title_forms", str.title, lambda c: c.title() != c.upper()))
    print("// clang-format on\n#endif")


if __name__ == "__main__":
    sys.exit(main())
