"""gemma-3-270m, whole: our decoder and tokenizer against transformers' and tokenizers'.

The measure is the total variation of the next-token distribution, half the sum of |p - q| over the
vocabulary: the largest difference in probability that any set of tokens can have.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import unittest

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from prompts import PROMPTS  # noqa: E402

FOLDER = pathlib.Path(os.environ["PEER_HOME"]) / "gemma-3-270m"
UNLEARN = pathlib.Path(os.environ["UNLEARN_BIN"]) / "unlearn"
BOS = 2  # this tokenizer.json lacks the step that would add it
LARGEST_FP32 = 1e-3
# bf16 keeps 8 bits of each weight: another function, which is reported and only kept from decay.
LARGEST_BF16 = 0.1


def unlearn(*arguments):
    done = subprocess.run([UNLEARN, *arguments, "--json"], capture_output=True, text=True,
                          timeout=600)
    if done.returncode != 0:
        raise AssertionError(f"unlearn {arguments[:2]} exited with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def our_next_token(ids, dtype):
    logits = unlearn("model", "logits", "--model", str(FOLDER), "--token_ids",
                     ",".join(map(str, ids)), "--last", "1", "--dtype", dtype)["logits"]
    return torch.tensor(logits[-1], dtype=torch.float64).softmax(-1)


class GemmaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        cls.ids = {name: [BOS] + tokenizer.encode(text, add_special_tokens=False).ids
                   for name, text in PROMPTS.items()}
        model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
        cls.window = model.config.sliding_window
        cls.expected = {}
        with torch.no_grad():
            for name, ids in cls.ids.items():
                logits = model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
                cls.expected[name] = logits.double().softmax(-1)

    def compare(self, dtype, largest):
        distances = {}
        for name, ids in self.ids.items():
            ours = our_next_token(ids, dtype)
            self.assertEqual(ours.shape, self.expected[name].shape)
            distances[name] = float((ours - self.expected[name]).abs().sum() / 2)
        worst = max(distances, key=distances.get)
        print(f"gemma: {dtype}, total variation of the next token on {len(distances)} prompts: "
              f"max {distances[worst]:.2e} ({worst}), "
              f"median {statistics.median(distances.values()):.2e}", flush=True)
        for name, distance in distances.items():
            with self.subTest(prompt=name, tokens=len(self.ids[name])):
                self.assertLessEqual(distance, largest)

    def test_prompts_are_of_different_lengths_and_distributions(self):
        lengths = sorted(len(ids) for ids in self.ids.values())
        self.assertEqual(len(lengths), 20)
        self.assertLessEqual(lengths[0], 2)
        self.assertGreater(lengths[-2], self.window)  # two reach beyond what a window sees
        # Were they all alike, or all flat, little would be compared.
        likeliest = {int(p.argmax()) for p in self.expected.values()}
        self.assertGreater(len(likeliest), 10)
        self.assertGreater(max(float(p.max()) for p in self.expected.values()), 0.5)
        print(f"gemma: prompts of {lengths[0]} to {lengths[-1]} tokens", flush=True)

    def test_token_ids(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in PROMPTS.items():
                path = pathlib.Path(folder) / "prompt.txt"
                path.write_bytes(text.encode())
                ids = unlearn("tokenizer", "encode", "--tokenizer", str(FOLDER), "--file", str(path))
                with self.subTest(prompt=name):
                    self.assertEqual([BOS] + ids["token_ids"], self.ids[name])

    def test_fp32(self):
        self.compare("fp32", LARGEST_FP32)

    def test_bf16(self):
        self.compare("bf16", LARGEST_BF16)


if __name__ == "__main__":
    unittest.main()
