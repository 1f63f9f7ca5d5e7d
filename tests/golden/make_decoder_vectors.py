#!/usr/bin/env python3
"""Writes the golden vectors of //offset/model from Hugging Face transformers.

    python3 -m venv V && V/bin/pip install torch==2.11.0 transformers
    V/bin/python tests/golden/make_decoder_vectors.py

For each configuration below it writes decoder/<name>/ with config.json and model.safetensors of a
random tiny Llama, and vectors.safetensors: token ids, and the logits that transformers gives for the
folder as written. Where a case has a LoRA adapter, adapter.safetensors and the logits, the loss
(mean cross entropy of each token's successor) and its gradient with respect to every A and B, from
autograd, are there too.
"""
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).resolve().parent / "decoder"
VOCAB = 64
LENGTH = 37
RANK = 3
ALPHA = 7.0

LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 24}

# `rope` is the part of config.json about positions, in one of the two spellings.
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
}


def write_model(folder, case):
    config = LlamaConfig(vocab_size=VOCAB, intermediate_size=24, num_hidden_layers=2,
                         max_position_embeddings=48, rms_norm_eps=1e-5, bos_token_id=1,
                         eos_token_id=[2, 3],
                         **{k: v for k, v in case.items() if k not in ("rope", "lora")})
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
            else:
                # Hidden states and logits of about 1, so that every part counts.
                parameter.copy_(torch.randn_like(parameter) * 1.5 / parameter.shape[1] ** 0.5)
    model.save_pretrained(folder)
    path = folder / "config.json"
    stored = json.loads(path.read_text())
    for field in ("rope_theta", "rope_scaling", "rope_parameters"):
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


def main():
    for index, (name, case) in enumerate(CASES.items()):
        torch.manual_seed(100 + index)
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_model(folder, case)
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
        tokens = torch.randint(VOCAB, (2, LENGTH))
        vectors = {"tokens": tokens, "logits": model(tokens).logits.detach()}
        if case["lora"]:
            layers = add_lora(model)
            adapter = {}
            for layer in layers:
                adapter[f"{layer.name}.lora_A.weight"] = layer.a.detach()
                adapter[f"{layer.name}.lora_B.weight"] = layer.b.detach()
            save_file(adapter, folder / "adapter.safetensors",
                      metadata={"rank": str(RANK), "alpha": str(ALPHA)})
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


if __name__ == "__main__":
    main()
