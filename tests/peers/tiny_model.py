"""A tiny random language model, written as other people's servers want it.

    write_folder(folder)            a Hugging Face folder, Llama's architecture, fp32
    write_gguf(folder, path)        the same weights and tokenizer as a GGUF file (needs `gguf`)
    Decoder(folder).logits(ids)     what it computes, in numpy: [positions, vocabulary], fp32

The tokenizer is byte-level BPE: ids 0-255 are the bytes, 256-258 are special, the rest are pairs of
letters that merge, so that generated ids need not be the ids of their own text. Needs numpy and
safetensors only.
"""
import json
import pathlib

import numpy as np
from safetensors.numpy import load_file, save_file

SPECIAL = ("<|endoftext|>", "<|user|>", "<|assistant|>")
EOS = 256
LETTERS = "etaoinshrdlcumwfgypbvkjxqz"


def byte_symbols():
    """What stands for each byte in byte-level BPE files."""
    symbols, other = [], 0x100
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255:
            symbols.append(chr(byte))
        else:
            symbols.append(chr(other))
            other += 1
    return symbols


def tokens_and_merges(size):
    pairs = [(a, b) for a in LETTERS for b in LETTERS][:size - 256 - len(SPECIAL)]
    # Beyond those, pairs before a third letter: "ete", "eta", ...
    pairs += [(a + b, c) for a in LETTERS for b in LETTERS for c in LETTERS]
    pairs = pairs[:size - 256 - len(SPECIAL)]
    tokens = byte_symbols() + list(SPECIAL) + [a + b for a, b in pairs]
    if len(tokens) != size:
        raise ValueError(f"a vocabulary of {size} tokens cannot be made: 260 to 18,511 can")
    return tokens, pairs


def tokenizer_json(size):
    tokens, merges = tokens_and_merges(size)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    added = [{"id": 256 + i, "content": text, "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False, "special": True}
             for i, text in enumerate(SPECIAL)]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None,
            "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None,
                      "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": {token: i for i, token in enumerate(tokens)},
                      "merges": [list(pair) for pair in merges]}}


def write_folder(folder, vocab_size=1000, hidden=64, layers=2, heads=2, kv_heads=1,
                 max_positions=512, seed=1):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    width = hidden // heads  # of one head; vLLM's kernels take 32, 64, 128, ...

    def normal(*shape, deviation=None):
        deviation = deviation or shape[-1] ** -0.5
        return (random.standard_normal(shape) * deviation).astype(np.float32)

    weights = {"model.embed_tokens.weight": normal(vocab_size, hidden, deviation=1.0),
               # Logits spread by about 2: the most probable token is rarely a tie.
               "lm_head.weight": normal(vocab_size, hidden, deviation=2 * hidden ** -0.5),
               "model.norm.weight": np.ones(hidden, np.float32)}
    for layer in range(layers):
        name = f"model.layers.{layer}."
        weights |= {name + "input_layernorm.weight": np.ones(hidden, np.float32),
                    name + "post_attention_layernorm.weight": np.ones(hidden, np.float32),
                    name + "self_attn.q_proj.weight": normal(heads * width, hidden),
                    name + "self_attn.k_proj.weight": normal(kv_heads * width, hidden),
                    name + "self_attn.v_proj.weight": normal(kv_heads * width, hidden),
                    name + "self_attn.o_proj.weight": normal(hidden, heads * width),
                    name + "mlp.gate_proj.weight": normal(2 * hidden, hidden),
                    name + "mlp.up_proj.weight": normal(2 * hidden, hidden),
                    name + "mlp.down_proj.weight": normal(hidden, 2 * hidden)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    files = {"config.json": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "vocab_size": vocab_size, "hidden_size": hidden, "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": width, "hidden_act": "silu",
        "max_position_embeddings": max_positions, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
        "bos_token_id": None, "eos_token_id": EOS},
        "tokenizer.json": tokenizer_json(vocab_size),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast",
                                  "eos_token": SPECIAL[0], "clean_up_tokenization_spaces": False}}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")


def write_gguf(folder, path):
    import gguf
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    tokens, merges = tokens_and_merges(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL
                            for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(EOS)
    writer.add_add_bos_token(False)

    def interleaved(weight, count):
        # GGUF's Llama turns neighbours where Hugging Face's turns halves.
        rows, columns = weight.shape
        return weight.reshape(count, 2, rows // count // 2, columns).swapaxes(1, 2).reshape(
            rows, columns)

    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
             "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    for name, weight in load_file(folder / "model.safetensors").items():
        name = name.removeprefix("model.").removesuffix(".weight")
        if name.startswith("layers."):
            _, layer, part = name.split(".", 2)
            if part == "self_attn.q_proj":
                weight = interleaved(weight, heads)
            elif part == "self_attn.k_proj":
                weight = interleaved(weight, kv_heads)
            name = f"blk.{layer}.{names[part]}"
        else:
            name = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}[name]
        writer.add_tensor(name + ".weight", np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Decoder:
    """Llama in numpy, fp32, with a cache that the caller keeps: a list that `logits` extends."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.weights = load_file(folder / "model.safetensors")
        half = np.arange(0, self.config["head_dim"], 2, dtype=np.float32)
        self.frequencies = self.config["rope_theta"] ** (-half / self.config["head_dim"])

    def norm(self, x, name):
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self.config["rms_norm_eps"]))
        return x / scale * self.weights[name + ".weight"]

    def turned(self, x, positions):
        """x: [positions, heads, head_dim]"""
        angles = np.outer(positions, self.frequencies).astype(np.float32)[:, None, :]
        first, second = np.split(x, 2, axis=-1)
        return np.concatenate([first * np.cos(angles) - second * np.sin(angles),
                               second * np.cos(angles) + first * np.sin(angles)], axis=-1)

    def logits(self, ids, cache=None):
        """ids: the tokens after those in the cache. Returns [len(ids), vocabulary], fp32."""
        cache = [] if cache is None else cache
        cache.extend([None] * (self.config["num_hidden_layers"] - len(cache)))
        heads, kv_heads = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        width = self.config["head_dim"]
        before = 0 if cache[0] is None else len(cache[0][0])
        positions = np.arange(before, before + len(ids))
        x = self.weights["model.embed_tokens.weight"][np.asarray(ids, dtype=np.int64)]
        for layer in range(self.config["num_hidden_layers"]):
            def linear(y, part, name=f"model.layers.{layer}."):
                return y @ self.weights[name + part + ".weight"].T
            y = self.norm(x, f"model.layers.{layer}.input_layernorm")
            q = self.turned(linear(y, "self_attn.q_proj").reshape(-1, heads, width), positions)
            k = self.turned(linear(y, "self_attn.k_proj").reshape(-1, kv_heads, width), positions)
            v = linear(y, "self_attn.v_proj").reshape(-1, kv_heads, width)
            if cache[layer] is not None:
                k = np.concatenate([cache[layer][0], k])
                v = np.concatenate([cache[layer][1], v])
            cache[layer] = (k, v)
            k, v = (np.repeat(one, heads // kv_heads, axis=1) for one in (k, v))
            scores = np.einsum("qhd,khd->hqk", q, k) / np.float32(width ** 0.5)
            scores[:, np.arange(len(k))[None, :] > positions[:, None]] = -np.inf
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
            attended = np.einsum("hqk,khd->qhd", scores, v).reshape(len(ids), heads * width)
            x = x + linear(attended, "self_attn.o_proj")
            y = self.norm(x, f"model.layers.{layer}.post_attention_layernorm")
            gate = linear(y, "mlp.gate_proj")
            x = x + linear(gate / (1 + np.exp(-gate)) * linear(y, "mlp.up_proj"), "mlp.down_proj")
        return self.norm(x, "model.norm") @ self.weights["lm_head.weight"].T
