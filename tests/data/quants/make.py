#!/usr/bin/env python3
"""Writes TYPE.bin for every quantised type: two rows of 512 random weights as a model file stores them, then the
same 1024 weights as f32, computed by the gguf package (pip install gguf==0.19.0 numpy), which shares no code with us."""

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

HALVES = {  # where a block keeps its half-precision scales
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}

rng = np.random.default_rng(20261121)
for name, halves in HALVES.items():
    elems, size = GGML_QUANT_SIZES[T[name]]
    blocks = rng.integers(0, 256, (1024 // elems, size), dtype=np.uint8)
    for at in halves:
        scale = rng.uniform(-0.05, 0.1, len(blocks)).astype(np.float16)
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
    rows = blocks.reshape(2, -1)
    with open(f"{name}.bin", "wb") as f:
        f.write(rows.tobytes())
        f.write(dequantize(rows, T[name]).astype("<f4").tobytes())
