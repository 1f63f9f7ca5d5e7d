"""Proxy-tuning's pair as plain transformers do it: two small models, one after the other.

    python transformers_pair.py --reference DIR --offset DIR --context N --threads N --socket PATH

Runs both models on N tokens of context, then takes one-byte commands on a Unix socket:
  d  answers with delta = z_o - z_r of one further token, raw fp32 [vocab]
  s  runs the step for that token and answers with one byte
Each step is the same: the token leaves the caches again.
"""

import argparse
import os
import socket

import torch
from transformers import AutoModelForCausalLM, DynamicCache


def token_at(vocab, position):
    # TokenAt of pair_bench.cc for stream 0.
    return (position * 104729 + 17) % vocab


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--reference", required=True)
    parser.add_argument("--offset", required=True)
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--socket", required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        serve(options)


def serve(options):
    models = [
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for folder in (options.reference, options.offset)
    ]
    vocab = models[0].config.vocab_size
    prompt = torch.tensor([[token_at(vocab, at) for at in range(options.context)]])
    token = torch.tensor([[token_at(vocab, options.context)]])
    caches = [DynamicCache() for _ in models]
    for model, cache in zip(models, caches):
        model(prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)

    def step():
        logits = []
        for model, cache in zip(models, caches):
            output = model(token, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits.append(output.logits[0, -1])
            cache.crop(-1)
        return logits[1] - logits[0]

    step()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(options.socket + ".new")
    listener.listen(1)
    # Whoever sees the name can connect.
    os.rename(options.socket + ".new", options.socket)
    connection, _ = listener.accept()
    while command := connection.recv(1):
        delta = step()
        connection.sendall(delta.float().numpy().tobytes() if command == b"d" else b"s")


if __name__ == "__main__":
    main()
