#!/usr/bin/env python3
"""Writes tests/data/golden/rope.json and tests/data/golden/archs.jsonl: what Hugging Face transformers computes for
models that we also read as GGUF files, so that each architecture is checked by a program that shares no code with us.

    pip install torch==2.6.0 transformers==4.57.1 numpy
    tools/model_goldens.py tests/data/golden

rope.json   Real models' rope settings: the GGUF keys that say them, and the frequencies and the magnitude they mean.
archs.jsonl Tiny models, one a line: GGUF keys, tensors by name and shape, a prompt, and logits of some positions. A
            weight is a function of its tensor's name and its index alone (`weight` below, and its twin in
            tests/golden/test_archs.c), so that no weights are stored. Shapes and order are those of the GGUF file; what
            a converter does (permuted rows, norms stored plus one) is undone here."""

import json
import math
import re
import sys

import numpy as np
import torch
import transformers.models.llama.modeling_llama as modeling_llama
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

# ---- weights


def weight(name, shape, middle, spread):
    """float32 weights in [middle - spread / 2, middle + spread / 2): 24 hashed bits of the name and the index."""
    mask = (1 << 64) - 1
    seed = 0xCBF29CE484222325  # FNV-1a
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & mask
    with np.errstate(over="ignore"):
        x = np.uint64(seed) + np.arange(math.prod(shape), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    unit = (x >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return (middle + spread * (unit - 0.5)).astype(np.float32).reshape(shape)


# ---- names: GGUF to Hugging Face

TOP = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
LAYER_GEMMA3 = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def hf_name(arch, name):
    if name in TOP:
        return TOP[name]
    layer, part, kind = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(\w+)", name).groups()
    table = LAYER | LAYER_GEMMA3 if arch == "gemma3" else LAYER
    return f"model.layers.{layer}.{table[part]}.{kind}"


def unpermuted(w, n_head, n_rot):
    """GGUF's llama rotates neighbours (2i, 2i + 1), Hugging Face's halves (i, i + n_rot / 2): rows of a head in its order."""
    heads = w.reshape(n_head, -1, *w.shape[1:])
    order = [*range(0, n_rot, 2), *range(1, n_rot, 2), *range(n_rot, heads.shape[1])]
    return heads[:, order].reshape(w.shape)


# ---- tiny models


def tensors_of(c, arch, biases, tied, factors):
    """The file's tensors in order: [name, shape as numpy has it, middle, spread]."""
    d, n_q, n_kv, n_ff = c.hidden_size, c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim, c.intermediate_size
    list_ = [["token_embd.weight", [c.vocab_size, d], 0, 1], ["output_norm.weight", [d], 1, 0.6]]
    if not tied:
        list_ += [["output.weight", [c.vocab_size, d], 0, 1.5]]
    if factors:
        list_ += [["rope_freqs.weight", factors]]
    wide = {"attn_q": [n_q, d], "attn_k": [n_kv, d], "attn_v": [n_kv, d], "attn_output": [d, n_q]}
    wide |= {"ffn_gate": [n_ff, d], "ffn_up": [n_ff, d], "ffn_down": [d, n_ff]}
    for i in range(c.num_hidden_layers):
        layer = [["attn_norm.weight", [d], 1, 0.6], ["ffn_norm.weight", [d], 1, 0.6]]
        layer += [[f"{part}.weight", shape, 0, 6 / math.sqrt(shape[1])] for part, shape in wide.items()]
        layer += [[f"{part}.bias", wide[part][:1], 0, 1] for part in biases]
        if arch in ("qwen3", "gemma3"):
            layer += [[f"attn_{x}_norm.weight", [c.head_dim], 1.5, 1] for x in "qk"]
        if arch == "gemma3":
            layer += [[f"post_{x}_norm.weight", [d], 1, 0.6] for x in ("attention", "ffw")]
        list_ += [[f"blk.{i}.{name}", *rest] for name, *rest in layer]
    return list_


def state_of(c, arch, tensors, n_rot):
    """The same tensors as Hugging Face's model wants them, in float64."""
    state = {}
    for name, shape, *rest in tensors:
        if name == "rope_freqs.weight":
            continue
        w = weight(name, shape, *rest).astype(np.float64)
        if arch == "llama" and re.search(r"attn_[qk]\.", name):
            w = unpermuted(w, c.num_attention_heads if "attn_q" in name else c.num_key_value_heads, n_rot)
        if arch == "gemma3" and "norm" in name:
            w = w - 1
        state[hf_name(arch, name)] = torch.from_numpy(w)
    return state


def rotated_partly(q, k, cos, sin, position_ids=None, unsqueeze_dim=1):
    """Llama's rotation of the leading elements of a head only, as GPT-NeoX and its kin define it."""
    n = cos.shape[-1]
    done = [modeling_apply(x[..., :n], x[..., :n], cos, sin)[0] for x in (q, k)]
    return tuple(torch.cat([y, x[..., n:]], dim=-1) for x, y in zip((q, k), done))


modeling_apply = modeling_llama.apply_rotary_pos_emb


def keys_of(c, arch, n_rot, more):
    keys = {
        "block_count": c.num_hidden_layers,
        "context_length": c.max_position_embeddings,
        "embedding_length": c.hidden_size,
        "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": c.num_key_value_heads,
        "attention.key_length": c.head_dim,
        "attention.value_length": c.head_dim,
        "attention.layer_norm_rms_epsilon": float(c.rms_norm_eps),
        "rope.dimension_count": n_rot,
        "rope.freq_base": float(c.rope_theta),
    }
    return keys | more


def case(name, arch, model_class, config, keys=None, biases=(), n_token=100, n_rot=None, factors=None):
    n_rot = n_rot or config.head_dim
    config._attn_implementation = "eager"
    tied = config.tie_word_embeddings
    tensors = tensors_of(config, arch, biases, tied, factors)
    model = model_class(config).double().eval()
    missing, unexpected = model.load_state_dict(state_of(config, arch, tensors, n_rot), strict=False)
    assert not unexpected and set(missing) <= ({"lm_head.weight"} if tied else set()), (missing, unexpected)
    model.tie_weights()
    ids = [int(x * config.vocab_size) for x in weight(name, [n_token], 0.5, 1)]
    modeling_llama.apply_rotary_pos_emb = modeling_apply if n_rot == config.head_dim else rotated_partly
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
    modeling_llama.apply_rotary_pos_emb = modeling_apply
    rows = sorted({0, 1, 2, n_token // 3, n_token // 2, n_token - 2, n_token - 1})
    print(f"{name}: {model.num_parameters()} parameters, logits' deviation {logits.std():.3f}")
    return {
        "name": name,
        "arch": arch,
        "keys": keys_of(config, arch, n_rot, keys or {}),
        "tensors": [[t, s[::-1], *r] if r else [t, s] for t, s, *r in tensors],
        "ids": ids,
        "logits": {str(i): [float(f"{x:.8g}") for x in logits[i]] for i in rows},
    }


SMALL = dict(
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=16,
    vocab_size=40,
    max_position_embeddings=512,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    attention_dropout=0.0,
    pad_token_id=0,
    tie_word_embeddings=False,
)
QKV = ("attn_q", "attn_k", "attn_v")


def yarn(**more):
    return {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, **more}


def scaling(kind, factor, **more):
    return {"rope.scaling.type": kind, "rope.scaling.factor": factor, **{f"rope.scaling.{k}": v for k, v in more.items()}}


def llama3_factors(config):
    """What a converter stores as rope_freqs.weight: how much slower each frequency is than the plain one."""
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain, _ = ROPE_INIT_FUNCTIONS["default"](config, "cpu")
    return [float(np.float32(x)) for x in (plain.double() / scaled.double())]


def llama_cases():
    def llama(name, keys=None, biases=(), n_rot=None, factors=None, n_token=100, **config):
        c = LlamaConfig(**SMALL | config)
        if factors:
            factors = llama3_factors(c)
        return case(name, "llama", LlamaForCausalLM, c, keys, biases, n_token, n_rot, factors)

    all_biases = (*QKV, "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    wide = dict(head_dim=32, num_attention_heads=4)
    three = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    three["original_max_position_embeddings"] = 64
    yield llama("llama")
    yield llama("llama, tied, every head its own", tie_word_embeddings=True, num_key_value_heads=6, head_dim=8)
    yield llama("llama, biases", biases=all_biases, attention_bias=True, mlp_bias=True)
    yield llama("llama, half of a head rotates", n_rot=8, partial_rotary_factor=0.5)
    yield llama("llama, linear", scaling("linear", 2.0), rope_scaling={"rope_type": "linear", "factor": 2.0})
    yield llama("llama, linear by its older name", {"rope.scale_linear": 3.0}, rope_scaling={"rope_type": "linear", "factor": 3.0})
    yield llama("llama, llama3", n_token=150, factors=True, rope_scaling=three, **wide)
    orig = dict(original_context_length=64)
    yield llama("llama, yarn", scaling("yarn", 4.0, **orig), n_token=200, rope_scaling=yarn(), **wide)
    yield llama(
        "llama, yarn with its own numbers",
        scaling("yarn", 4.0, yarn_attn_factor=1.3, yarn_beta_fast=8.0, yarn_beta_slow=2.0, **orig),
        n_token=200,
        rope_scaling=yarn(attention_factor=1.3, beta_fast=8.0, beta_slow=2.0),
        **wide,
    )


def other_cases():
    mistral = {k: v for k, v in SMALL.items()} | dict(hidden_size=64, num_attention_heads=4, head_dim=24)
    yield case("mistral", "llama", MistralForCausalLM, MistralConfig(**mistral, sliding_window=None))

    qwen2 = {k: v for k, v in SMALL.items() if k != "head_dim"} | dict(hidden_size=96, use_sliding_window=False)
    for name, keys, more in (
        ("qwen2", None, dict(tie_word_embeddings=True)),
        ("qwen2, untied, yarn", scaling("yarn", 4.0, original_context_length=64), dict(rope_scaling=yarn(), rope_theta=1e6)),
    ):
        c = Qwen2Config(**qwen2 | more)
        c.head_dim = 16
        yield case(name, "qwen2", Qwen2ForCausalLM, c, keys, QKV, n_token=150)

    qwen3 = SMALL | dict(num_attention_heads=4, head_dim=32)
    yield case("qwen3", "qwen3", Qwen3ForCausalLM, Qwen3Config(**qwen3))
    yield case(
        "qwen3, tied, yarn",
        "qwen3",
        Qwen3ForCausalLM,
        Qwen3Config(**qwen3 | dict(tie_word_embeddings=True, rope_theta=1e6, rope_scaling=yarn())),
        scaling("yarn", 4.0, original_context_length=64),
        n_token=150,
    )


def gemma3_cases():
    def gemma3(name, keys, n_token, n_layer, every, **config):
        kinds = ["full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(n_layer)]
        c = SMALL | dict(tie_word_embeddings=True, num_hidden_layers=n_layer, query_pre_attn_scalar=16, rope_theta=1e6)
        c = Gemma3TextConfig(**c | dict(layer_types=kinds, sliding_window=24, rope_local_base_freq=1e4) | config)
        return case(name, "gemma3", Gemma3ForCausalLM, c, {"attention.sliding_window": c.sliding_window} | keys, n_token=n_token)

    linear = {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    yield gemma3("gemma3", {}, 120, 7, 6)
    yield gemma3("gemma3, every third, linear", scaling("linear", 8.0) | {"attention.sliding_window_pattern": 3}, 200, 4, 3, **linear)
    flags = [True, False, True, True]
    yield gemma3(
        "gemma3, a flag for each layer",
        {"attention.sliding_window_pattern": flags, "rope.freq_base_swa": 5000.0, "final_logit_softcapping": 20.0},
        90,
        4,
        3,
        layer_types=["sliding_attention" if x else "full_attention" for x in flags],
        rope_local_base_freq=5000.0,
        final_logit_softcapping=20.0,
    )
    small = dict(hidden_size=24, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1, query_pre_attn_scalar=12)
    yield gemma3("gemma3, the 62 layers of 27B", {}, 60, 62, 6, **small)


# ---- ropes of real models


def rope(name, keys, base, d_head, n_ctx, scaling_, n_rot=None):
    config = LlamaConfig(
        hidden_size=8 * d_head, num_attention_heads=8, head_dim=d_head, rope_theta=base, max_position_embeddings=n_ctx, rope_scaling=scaling_
    )
    kind = scaling_["rope_type"] if scaling_ else "default"
    freq, magnitude = ROPE_INIT_FUNCTIONS[kind](config, "cpu")
    out = {"name": name, "keys": {"rope.freq_base": float(base), "context_length": n_ctx} | keys, "n_rot": d_head}
    if kind == "llama3":
        out["factors"] = llama3_factors(config)
    return out | {"freq": [float(f"{x:.9g}") for x in freq.tolist()], "magnitude": magnitude}


def ropes():
    three = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    long_ = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    keys = scaling("yarn", 4.0, original_context_length=32768)

    def sub(**more):
        return keys | {f"rope.scaling.{k}": v for k, v in more.items()}

    yield rope("SmolLM2", {}, 1e5, 64, 8192, None)
    yield rope("no scaling, whatever the factor", scaling("none", 2.0), 1e4, 128, 4096, None)
    yield rope("Llama 3.1 8B", {}, 5e5, 128, 131072, three | {"factor": 8.0})
    yield rope("Llama 3.2 1B", {}, 5e5, 64, 131072, three | {"factor": 32.0})
    yield rope("linear by 2", scaling("linear", 2.0), 1e4, 128, 4096, {"rope_type": "linear", "factor": 2.0})
    yield rope("Gemma 3 4B", scaling("linear", 8.0), 1e6, 256, 131072, {"rope_type": "linear", "factor": 8.0})
    yield rope("Qwen2.5 7B, yarn", keys, 1e6, 128, 32768, long_)
    yield rope("a magnitude in place of the paper's", sub(yarn_attn_factor=1.25), 1e6, 128, 32768, long_ | {"attention_factor": 1.25})
    yield rope("other ends of the ramp", sub(yarn_beta_fast=16.0, yarn_beta_slow=2.0), 1e6, 128, 32768, long_ | {"beta_fast": 16.0, "beta_slow": 2.0})
    all_ = {"mscale": 1.0, "mscale_all_dim": 0.707}
    yield rope("Mistral's own format", sub(yarn_log_multiplier=0.707), 1e6, 128, 131072, long_ | all_)
    yield rope("yarn by 1", scaling("yarn", 1.0, original_context_length=4096), 1e4, 64, 4096, long_ | {"factor": 1.0, "original_max_position_embeddings": 4096})


def main():
    out = sys.argv[1]
    with open(f"{out}/rope.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(r) for r in ropes()) + "\n]\n")
    with open(f"{out}/archs.jsonl", "w") as f:
        for cases in (llama_cases, other_cases, gemma3_cases):
            for c in cases():
                f.write(json.dumps(c, separators=(",", ":")) + "\n")


main()
