#!/usr/bin/env python3
"""random_model.py - a GGUF file of random weights, all matrices of one type, in the shape of a real one.

    tools/random_model.py --like models/SmolLM2-135M-Instruct.Q4_1.gguf --type Q5_K OUT.gguf [--layers 8]

Vocabulary, heads and settings are those of the file it is like; rows grow to a multiple of the type's block (heads with
them), so that every type fits: 768 for all of them with the default --multiple of 256. Rows of the feed-forward are those of
the file; where a type's block does not divide one, the file is refused. What it says is noise, every number
in it is finite, and how fast an engine runs it says what the type costs (bench/duel.py --types). Needs nothing but Python.
"""
import argparse
import os
import struct
import sys

# name: number in the file, elements a block, bytes a block, where its half-float scales are
TYPES = {
    "F32": (0, 1, 4, ()), "F16": (1, 1, 2, ()), "BF16": (30, 1, 2, ()),
    "Q4_0": (2, 32, 18, (0,)), "Q4_1": (3, 32, 20, (0, 2)), "Q5_0": (6, 32, 22, (0,)), "Q5_1": (7, 32, 24, (0, 2)),
    "Q8_0": (8, 32, 34, (0,)), "Q2_K": (10, 256, 84, (80, 82)), "Q3_K": (11, 256, 110, (108,)),
    "Q4_K": (12, 256, 144, (0, 2)), "Q5_K": (13, 256, 176, (0, 2)), "Q6_K": (14, 256, 210, (208,)),
    "IQ4_NL": (20, 32, 18, (0,)), "IQ4_XS": (23, 256, 136, (0,)),
}
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
UINT32, STRING, ARRAY, ALIGNMENT = 4, 8, 9, 32
# A float's top byte that keeps it small: sign as it falls, an exponent around 2^-6.
SMALL = {name: bytes((top & 0x80) | exponent for top in range(256)) for name, exponent in
         (("F32", 0x3C), ("BF16", 0x3C), ("F16", 0x24))}


class Reader:
    """The head of a GGUF file (version 2 and 3): settings as bytes, so that they can be copied; tensors' names and shapes."""

    def __init__(self, path):
        self.file = open(path, "rb")
        if self.file.read(4) != b"GGUF":
            sys.exit(f"random_model: '{path}' is no GGUF file")
        _, n_tensor, n_setting = self.unpack("IQQ")
        self.settings = {}  # name: (type, bytes)
        for _ in range(n_setting):
            name = self.text()
            (kind,) = self.unpack("I")
            begin = self.file.tell()
            self.skip(kind)
            end = self.file.tell()
            self.file.seek(begin)
            self.settings[name] = (kind, self.file.read(end - begin))
        self.tensors = []  # (name, dims)
        for _ in range(n_tensor):
            name = self.text()
            (n_dim,) = self.unpack("I")
            dims = self.unpack("Q" * n_dim)
            self.unpack("IQ")
            self.tensors.append((name, list(dims)))

    def unpack(self, form):
        return struct.unpack("<" + form, self.file.read(struct.calcsize("<" + form)))

    def text(self):
        return self.file.read(self.unpack("Q")[0]).decode()

    def skip(self, kind):
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            inner, n = self.unpack("IQ")
            for _ in range(n):
                self.skip(inner)
        else:
            self.unpack(SCALARS[kind])

    def number(self, name):
        kind, raw = self.settings[name]
        return struct.unpack("<" + SCALARS[kind], raw)[0]


def text_bytes(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def noise(type_name, n_element):
    """Random blocks whose scales, or whose values where it has none, are small."""
    _, elements, size, scales = TYPES[type_name]
    n_block = n_element // elements
    data = bytearray(os.urandom(n_block * size))
    if type_name in SMALL:
        data[size - 1::size] = bytes(data[size - 1::size]).translate(SMALL[type_name])
    for at in scales:  # 2^-9 or so
        data[at + 1::size] = b"\x18" * n_block
    return data


def reshape(model, multiple):
    """Wider rows: n_embd a multiple, heads with it; what was as wide follows."""
    arch = "llama"
    old, heads = model.number(f"{arch}.embedding_length"), model.number(f"{arch}.attention.head_count")
    new = (old + multiple - 1) // multiple * multiple
    if new * heads % old or new * heads // old % model.number(f"{arch}.attention.head_count_kv"):
        sys.exit(f"random_model: {heads} heads of {old // heads} do not fit rows of {new}")
    model.settings[f"{arch}.embedding_length"] = (UINT32, struct.pack("<I", new))
    model.settings[f"{arch}.attention.head_count"] = (UINT32, struct.pack("<I", new * heads // old))
    for _, dims in model.tensors:
        dims[:] = [new if n == old else n for n in dims]


def keep_layers(model, n):
    model.settings["llama.block_count"] = (UINT32, struct.pack("<I", n))
    model.tensors = [t for t in model.tensors if not t[0].startswith("blk.") or int(t[0].split(".")[1]) < n]


def check_rows(model, type_name):
    """Every row of a matrix is whole blocks: what is not as wide as n_embd has not grown."""
    elements = TYPES[type_name][1]
    for name, dims in model.tensors:
        if len(dims) > 1 and dims[0] % elements:
            sys.exit(f"random_model: rows of '{name}' have {dims[0]} elements, no multiple of {type_name}'s block of {elements}")


def write(model, type_name, path):
    n_written = 0
    with open(path, "wb") as out:
        out.write(b"GGUF" + struct.pack("<IQQ", 3, len(model.tensors), len(model.settings)))
        for name, (kind, raw) in model.settings.items():
            out.write(text_bytes(name) + struct.pack("<I", kind) + raw)
        types = [type_name if len(dims) > 1 else "F32" for _, dims in model.tensors]
        sizes = []
        for (name, dims), kind in zip(model.tensors, types):
            number, elements, size, _ = TYPES[kind]
            n = 1
            for d in dims:
                n *= d
            sizes.append(n)
            out.write(text_bytes(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, n_written))
            n_written += (n // elements * size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        for n, kind in zip(sizes, types):
            out.write(bytes(-out.tell() % ALIGNMENT))
            out.write(noise(kind, n))
        out.write(bytes(-out.tell() % ALIGNMENT))


def make(like, type_name, path, layers=None, multiple=256):
    model = Reader(like)
    if "llama.embedding_length" not in model.settings:
        sys.exit(f"random_model: '{like}' is not of the llama architecture, which is the one this can widen")
    model.settings.pop("general.alignment", None)
    model.settings.pop("general.file_type", None)
    reshape(model, multiple)
    if layers:
        keep_layers(model, layers)
    check_rows(model, type_name)
    write(model, type_name, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--like", required=True, help="a GGUF file of the llama architecture")
    parser.add_argument("--type", required=True, choices=list(TYPES))
    parser.add_argument("--layers", type=int, help="default: as many as the file has")
    parser.add_argument("--multiple", type=int, default=256, help="rows become a multiple of it")
    args = parser.parse_args()
    make(args.like, args.type, args.out, args.layers, args.multiple)


if __name__ == "__main__":
    main()
