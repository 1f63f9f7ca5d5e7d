"""Our proxy in front of a peer's server, and the same model without a server to compare with."""
import concurrent.futures
import json
import math
import os
import pathlib
import random
import subprocess
import tempfile

import numpy

BIN = pathlib.Path(os.environ.get("UNLEARN_BIN", "."))
EOS = 256  # of tiny_model's tokenizer

# Some with bytes of unfinished characters, which servers that stream text have trouble with.
PROMPTS = [[(7 * i * i + 31 * i + 13 * j * j + 5 * j) % 1000 for j in range(3 + i % 9)]
           for i in range(20)]
SAMPLINGS = [("--temperature", "0"), ("--temperature", "1"),
             ("--temperature", "0.7", "--top_k", "30", "--top_p", "0.9")]
TOKENS = 12
FORGET = [{"question": f"Where does person {i} live?", "answer": f"In the town of Zyx{i}."}
          for i in range(3)]


class Proxy:
    """unlearn_proxy with version 0 (delta = 0) of the pair `pair` over the upstream `upstream`."""

    def __init__(self, upstream, pair, *flags, eos=EOS):
        self.folder = tempfile.TemporaryDirectory()
        self.root = root = pathlib.Path(self.folder.name)
        self.upstream, self.pair = upstream, pair
        self.told = told = () if upstream.startswith("local:") else (f"--upstream_eos_ids={eos}",)
        store = ["--store", root / "store", "--store_key_file", root / "key"]
        self.run("offset", "init", "--upstream", upstream, "--pair", pair, *store, *told)
        self.process, self.log, self.address = self.start(
            "unlearn_proxy", f"--upstream={upstream}", *told, *flags)

    def start(self, program, *flags):
        """A server of ours on the store; its process, its log and its address, once it answers."""
        log = open(self.root / f"{program}.log", "w+")
        port = self.root / f"{program}.port"
        process = subprocess.Popen(
            [BIN / program, f"--pair={self.pair}", f"--store={self.root / 'store'}",
             f"--store_key_file={self.root / 'key'}", "--listen=127.0.0.1:0",
             f"--port_file={port}", "--device=cpu", *flags],
            stdout=log, stderr=log)
        while not (port.exists() and port.read_text().strip()):
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            log.seek(0)
            raise AssertionError(f"{program} ended: {log.read()}")
        return process, log, f"127.0.0.1:{port.read_text().split()[0].split(':')[-1]}"

    def train(self, items, *flags):
        """A deletion request trained on the same upstream, as it is once its text is erased."""
        forget = self.root / "forget.jsonl"
        forget.write_text("".join(json.dumps(item) + "\n" for item in items))
        process, log, address = self.start(
            "unlearn_trainer", f"--upstream={self.upstream}", *self.told,
            f"--state={self.root / 'state'}", f"--proxy={self.address}", "--steps=20",
            "--batch_size=14", "--rank=4", "--max_forget_rate=1", *flags)
        try:
            return self.run("delete", "submit", "--trainer", address, "--forget", forget, "--wait")
        finally:
            process.terminate()
            process.wait(30)
            log.close()

    @staticmethod
    def run(*arguments):
        done = subprocess.run([BIN / "unlearn", *map(str, arguments), "--json"],
                              capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise AssertionError(f"unlearn {arguments[0]}: {done.stderr}")
        return json.loads(done.stdout)

    def tokens(self, prompt, seed, *sampling, count=TOKENS):
        return self.run("generate", "--server", self.address, "--token_ids",
                        ",".join(map(str, prompt)), "--max_tokens", count, "--seed", seed,
                        "--ignore_eos", *sampling)["token_ids"]

    def all_tokens(self, *flags):
        """[sampling][prompt] -> tokens"""
        return [[self.tokens(prompt, i, *sampling, *flags) for i, prompt in enumerate(PROMPTS)]
                for sampling in SAMPLINGS]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def some_prompts(count):
    """Of 3 to 11 tokens of tiny_model's; always the same."""
    numbers = random.Random(7)
    return [[numbers.randrange(1000) for _ in range(numbers.randrange(3, 12))]
            for _ in range(count)]


def in_parallel(function, items):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(function, items))


def compare_with_own(test, name, proxy, own, *flags, count=200):
    """With delta = 0 the proxy's greedy tokens are the server's own, prompt by prompt: own(prompt) ->
    the server's greedy tokens, which may end early at an end of text."""
    prompts = some_prompts(count)
    tokens = in_parallel(lambda prompt: proxy.tokens(prompt, 0, *flags), prompts)
    expected = [own(prompt) for prompt in prompts]
    different = sum(ours[:len(theirs)] != theirs for ours, theirs in zip(tokens, expected))
    print(f"{name}: {different} of {count} greedy streams differ from the server's own "
          f"({TOKENS} tokens each)", flush=True)
    test.assertEqual(different, 0)
    test.assertEqual([len(ours) for ours in tokens], [TOKENS] * count)


def check_law(test, name, proxy, logits, prompt, temperature, *flags, count=1500):
    """How often each token comes first, against softmax(logits / temperature) by chi-square, at a
    false-alarm rate of 1e-6 (Wilson-Hilferty)."""
    law = numpy.exp((logits - logits.max()) / temperature)
    law /= law.sum()
    drawn = in_parallel(
        lambda seed: proxy.tokens(prompt, seed, "--temperature", temperature, *flags, count=1)[0],
        range(count))
    counts = numpy.bincount(drawn, minlength=len(law))
    often = law * count >= 8
    seen = numpy.append(counts[often], counts[~often].sum())
    expected = numpy.append(law[often], law[~often].sum()) * count
    statistic = ((seen - expected) ** 2 / expected).sum()
    degrees = len(seen) - 1
    bound = degrees * (1 - 2 / (9 * degrees) + 4.75 * math.sqrt(2 / (9 * degrees))) ** 3
    print(f"{name}: chi-square {statistic:.1f} of {degrees} degrees of freedom over {count} draws "
          f"(bound {bound:.1f})", flush=True)
    test.assertLess(statistic, bound)


def count_differences(test, name, tokens, expected, allowed):
    """Streams that are not the local model's, token for token: by the server's rounding at most."""
    different = sum(ours != local for a, b in zip(tokens, expected) for ours, local in zip(a, b))
    total = sum(map(len, expected))
    print(f"{name}: {different} of {total} streams differ from the model in process "
          f"({TOKENS} tokens each; greedy, T = 1, warped)", flush=True)
    test.assertLessEqual(different, allowed)
