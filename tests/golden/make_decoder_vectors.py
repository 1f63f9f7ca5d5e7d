#!/usr/bin/env python3
"""Writes the golden vectors of //offset/model from Hugging Face transformers.

    python3 -m venv V && V/bin/pip install torch==2.11.0 transformers
    V/bin/python tests/golden/make_decoder_vectors.py

For each configuration below it writes decoder/<name>/ with config.json and model.safetensors of a
random tiny model, and vectors.safetensors: token ids, and the logits that transformers gives for the
folder as written. Where a case has a LoRA adapter, adapter.safetensors and the logits, the loss
(mean cross entropy of each token's successor) and its gradient with respect to every A and B, from
autograd, are there too. Some have padded.safetensors: a left-padded batch with its attention mask (0 is
padding), logits of the prefill and of three cached steps.
"""
import json
import pathlib
import shutil

import torch
from safetensors.torch import save, save_file
from transformers import (AutoModelForCausalLM, Gemma3TextConfig, GPTNeoXConfig, LlamaConfig, MistralConfig,
                          Phi3Config, Qwen2Config, Qwen3Config)

HERE = pathlib.Path(__file__).resolve().parent / "decoder"
VOCAB = 64
LENGTH = 37
RANK = 3
ALPHA = 7.0

LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 24}

YARN = {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 16,
        "rope_theta": 300.0}
DEFAULT = {"rope_type": "default", "rope_theta": 10000.0}

# `rope` is the part of config.json about positions, in one of the two spellings. The family is
# Llama where no other is named.
CASES = {
    "grouped_new": dict(hidden_size=16, num_attention_heads=4, num_key_value_heads=2,
                        tie_word_embeddings=False, lora=True,
                        rope={"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}),
    "tied_llama3_old": dict(hidden_size=24, num_attention_heads=3, num_key_value_heads=1,
                            tie_word_embeddings=True, lora=False,
                            rope={"rope_theta": 500.0, "rope_scaling": LLAMA3}),
    "wide_heads_llama3_new": dict(hidden_size=16, num_attention_heads=2, num_key_value_heads=2,
                                  head_dim=20, tie_word_embeddings=False, lora=True,
                                  rope={"rope_parameters": dict(LLAMA3, rope_theta=500.0)}),
    "narrow_heads_linear_old": dict(hidden_size=32, num_attention_heads=4, num_key_value_heads=2,
                                    head_dim=6, tie_word_embeddings=False, lora=False,
                                    rope={"rope_theta": 1000.0,
                                          "rope_scaling": {"type": "linear", "factor": 2.5}}),
    "tied_linear_new": dict(hidden_size=16, num_attention_heads=4, num_key_value_heads=4,
                            tie_word_embeddings=True, lora=False,
                            rope={"rope_parameters": {"rope_type": "linear", "factor": 3.0,
                                                      "rope_theta": 2000.0}}),
    "llama_bias_yarn": dict(hidden_size=16, num_attention_heads=2, num_key_value_heads=1,
                            attention_bias=True, tie_word_embeddings=False, lora=True,
                            rope={"rope_parameters": dict(YARN, beta_fast=4.0, truncate=False)}),
    "mistral_window": dict(family=MistralConfig, hidden_size=16, num_attention_heads=4,
                           num_key_value_heads=2, sliding_window=7, tie_word_embeddings=False,
                           lora=True, rope={"rope_parameters": DEFAULT}),
    "qwen2_window_old": dict(family=Qwen2Config, hidden_size=24, num_attention_heads=3,
                             num_key_value_heads=1, use_sliding_window=True, sliding_window=5,
                             max_window_layers=1, tie_word_embeddings=True, lora=True,
                             rope={"rope_theta": 1000.0,
                                   "rope_scaling": {"type": "yarn", "factor": 2.0,
                                                    "original_max_position_embeddings": 24}}),
    "qwen3_yarn": dict(family=Qwen3Config, hidden_size=16, num_attention_heads=2,
                       num_key_value_heads=2, head_dim=12, attention_bias=False,
                       tie_word_embeddings=True, lora=True, rope={"rope_parameters": YARN}),
    "phi3_partial": dict(family=Phi3Config, hidden_size=32, num_attention_heads=2,
                         num_key_value_heads=1, pad_token_id=0, tie_word_embeddings=False,
                         sliding_window=9, lora=True,
                         rope={"rope_parameters": dict(DEFAULT, partial_rotary_factor=0.5)}),
    "gemma3_old": dict(family=Gemma3TextConfig, hidden_size=16, num_attention_heads=2,
                       num_key_value_heads=1, head_dim=12, query_pre_attn_scalar=20,
                       sliding_window=6, layer_types=["sliding_attention", "full_attention"],
                       tie_word_embeddings=True, lora=True,
                       rope={"rope_theta": 5000.0, "rope_local_base_freq": 100.0,
                             "rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "gemma3_new": dict(family=Gemma3TextConfig, hidden_size=16, num_attention_heads=2,
                       num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=8,
                       sliding_window=9, layer_types=["full_attention", "sliding_attention"],
                       tie_word_embeddings=True, lora=False,
                       rope={"rope_parameters": {
                           "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
                           "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}}),
    # Seeds go by place: new cases stand at the end.
    "neox_parallel_old": dict(family=GPTNeoXConfig, hidden_size=32, num_attention_heads=2,
                              use_parallel_residual=True, hidden_act="gelu",
                              tie_word_embeddings=False, lora=True,
                              rope={"rotary_pct": 0.25, "rotary_emb_base": 1000}),
    "neox_sequential_tied": dict(family=GPTNeoXConfig, hidden_size=24, num_attention_heads=3,
                                 use_parallel_residual=False, hidden_act="gelu_new",
                                 attention_bias=False, tie_word_embeddings=True, lora=True,
                                 rope={"rope_parameters": dict(DEFAULT, partial_rotary_factor=0.5)}),
    "neox_silu_linear": dict(family=GPTNeoXConfig, hidden_size=16, num_attention_heads=4,
                             use_parallel_residual=True, hidden_act="silu",
                             tie_word_embeddings=False, lora=False,
                             rope={"rotary_pct": 1.0, "rotary_emb_base": 500,
                                   "rope_scaling": {"type": "linear", "factor": 2.0}}),
    "llama_mlp_bias": dict(hidden_size=16, num_attention_heads=2, num_key_value_heads=2,
                           mlp_bias=True, tie_word_embeddings=False, lora=True,
                           rope={"rope_parameters": DEFAULT}),
}

# Cases with a left-padded batch: the lengths of its sequences, and how many tokens follow one by one.
PADDED = ["grouped_new", "gemma3_old", "neox_parallel_old"]
PADDED_LENGTHS = [21, 6, 13]
STEPS = 3


def write_model(folder, case):
    family = case.get("family", LlamaConfig)
    eps = "layer_norm_eps" if family is GPTNeoXConfig else "rms_norm_eps"
    config = family(vocab_size=VOCAB, intermediate_size=24, num_hidden_layers=2,
                    max_position_embeddings=48, bos_token_id=1, eos_token_id=[2, 3], **{eps: 1e-5},
                    **{k: v for k, v in case.items() if k not in ("rope", "lora", "family")})
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                around = 0 if family is Gemma3TextConfig else 1  # gemma multiplies by 1 + w
                parameter.copy_(around + 0.3 * torch.randn_like(parameter))
            elif name.endswith("bias"):
                parameter.copy_(0.5 * torch.randn_like(parameter))
            else:
                # Hidden states and logits of about 1, so that every part counts.
                parameter.copy_(torch.randn_like(parameter) * 1.5 / parameter.shape[1] ** 0.5)
    model.save_pretrained(folder)
    path = folder / "config.json"
    stored = json.loads(path.read_text())
    for field in ("rope_theta", "rope_scaling", "rope_parameters", "rope_local_base_freq"):
        stored.pop(field, None)
    stored.update(case["rope"])
    path.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
    (folder / "generation_config.json").unlink(missing_ok=True)


class LoraLinear(torch.nn.Module):
    def __init__(self, linear, name):
        super().__init__()
        self.linear = linear
        self.name = f"base_model.model.{name}"
        self.a = torch.nn.Parameter(torch.randn(RANK, linear.in_features) / linear.in_features ** 0.5)
        self.b = torch.nn.Parameter(torch.randn(linear.out_features, RANK) * 0.2)

    def forward(self, x):
        return self.linear(x) + x @ self.a.T @ self.b.T * (ALPHA / RANK)


def add_lora(model):
    layers = []
    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear) or ".layers." not in name:
            continue
        parent, _, child = name.rpartition(".")
        layers.append(LoraLinear(module, name))
        setattr(model.get_submodule(parent), child, layers[-1])
    return layers


def save_adapter(adapter, path):
    """As save_file, with the metadata in one order: the same adapter is the same file."""
    stored = save(adapter, metadata={"rank": str(RANK), "alpha": str(ALPHA)})
    size = int.from_bytes(stored[:8], "little")
    header = json.loads(stored[8:8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode().ljust(size)
    path.write_bytes(stored[:8] + text + stored[8 + size:])


def padded_vectors(model):
    """Prefill of a left-padded batch and STEPS cached steps, position ids from the mask."""
    length = max(PADDED_LENGTHS)
    tokens = torch.zeros(len(PADDED_LENGTHS), length, dtype=torch.long)  # 0 is padding
    mask = torch.zeros_like(tokens)
    for row, count in enumerate(PADDED_LENGTHS):
        tokens[row, length - count:] = torch.randint(VOCAB, (count,))
        mask[row, length - count:] = 1
    steps = torch.randint(VOCAB, (len(PADDED_LENGTHS), STEPS))

    def run(ids, cache):
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1]:]
        return model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache,
                     use_cache=True)

    with torch.no_grad():
        out = run(tokens, None)
        logits, step_logits = out.logits, []
        for step in range(STEPS):
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            out = run(steps[:, step:step + 1], out.past_key_values)
            step_logits.append(out.logits)
    return {"tokens": tokens, "lengths": torch.tensor(PADDED_LENGTHS), "logits": logits,
            "steps": steps, "step_logits": torch.cat(step_logits, 1)}


def main():
    for index, (name, case) in enumerate(CASES.items()):
        torch.manual_seed(100 + index)
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_model(folder, case)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                     attn_implementation="eager").eval()
        tokens = torch.randint(VOCAB, (2, LENGTH))
        vectors = {"tokens": tokens, "logits": model(tokens).logits.detach()}
        if case["lora"]:
            layers = add_lora(model)
            adapter = {}
            for layer in layers:
                adapter[f"{layer.name}.lora_A.weight"] = layer.a.detach()
                adapter[f"{layer.name}.lora_B.weight"] = layer.b.detach()
            save_adapter(adapter, folder / "adapter.safetensors")
            logits = model(tokens).logits
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, VOCAB),
                                                     tokens[:, 1:].reshape(-1))
            loss.backward()
            vectors["lora_logits"] = logits.detach()
            vectors["loss"] = loss.detach()
            for layer in layers:
                vectors[f"gradient/{layer.name}.lora_A.weight"] = layer.a.grad
                vectors[f"gradient/{layer.name}.lora_B.weight"] = layer.b.grad
        save_file({k: v.contiguous() for k, v in vectors.items()}, folder / "vectors.safetensors")
        print(name, model.config.rope_parameters, float(vectors["logits"].std()))
    for index, name in enumerate(PADDED):
        torch.manual_seed(1000 + index)
        model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32,
                                                     attn_implementation="eager").eval()
        vectors = padded_vectors(model)
        save_file({k: v.contiguous() for k, v in vectors.items()}, HERE / name / "padded.safetensors")


if __name__ == "__main__":
    main()
