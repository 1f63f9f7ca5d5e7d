"""Ids and speed of `unlearn tokenizer encode` against Hugging Face tokenizers and SentencePiece.

All of wikitext-2 and hostile strings, for every golden tokenizer and for larger ones trained here.
Speed is processor time of one thread; ours is that of the whole program less that of an empty text,
printing included, theirs the better of one text and of line by line.
"""
import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import unittest

import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "golden"
sys.path.insert(0, str(GOLDEN))
from make_sentencepiece_vectors import MORE
from make_tokenizer_vectors import HOSTILE, LONG

UNLEARN = str(pathlib.Path(os.environ["UNLEARN_BIN"]) / "unlearn")
WIKITEXT = sorted((pathlib.Path(os.environ["UNLEARN_TEST_DATA"]) / "data/wikitext2").glob("*.txt"))
TEXTS = HOSTILE + MORE


def ours(tokenizer, file, *options):
    """The ids and the processor seconds of the program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run([UNLEARN, "tokenizer", "encode", "--tokenizer", str(tokenizer), "--file",
                          str(file), *options], check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [int(i) for i in out.strip().split(",") if i], seconds


def theirs_seconds(encode, text):
    def run(texts):
        start = time.thread_time()
        for part in texts:
            encode(part)
        return time.thread_time() - start
    return min(run([text]), run(text.splitlines(keepends=True)))


class TokenizersPeerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.work = pathlib.Path(cls.folder.name)
        assert WIKITEXT, "no wikitext-2 in UNLEARN_TEST_DATA"
        cls.texts = {path: path.read_bytes().decode() for path in WIKITEXT}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def same_ids(self, tokenizer, encode, name):
        for path, text in self.texts.items():
            self.assertEqual(ours(tokenizer, path)[0], encode(text), f"{name}: {path.name}")
        file = self.work / "text"
        for text in TEXTS + [part * count for part, count in LONG]:
            file.write_bytes(text.encode())
            self.assertEqual(ours(tokenizer, file)[0], encode(text), f"{name}: {text[:80]!r}")

    def speed(self, tokenizer, encode, name):
        """Prints MB/s side by side; the ratio, taken round by round, its middle one."""
        text = "".join(self.texts.values())
        size = len(text.encode()) / 1e6
        file, empty = self.work / "all", self.work / "empty"
        repeat = 4
        file.write_bytes(text.encode() * repeat)
        empty.write_bytes(b"")
        rounds = []
        for _ in range(3):
            mine = (ours(tokenizer, file)[1] - ours(tokenizer, empty)[1]) / repeat
            rounds.append((theirs_seconds(encode, text) / mine, size / mine))
        ratio, speed = sorted(rounds)[1]
        print(f"{name}: {speed:.1f} MB/s, {speed / ratio:.1f} MB/s there, ratio {ratio:.1f}",
              flush=True)
        return ratio

    def hugging_face(self, path, name):
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.same_ids(path, encode, name)
        # Far from 1 on a calm and on a busy machine alike.
        self.assertGreaterEqual(self.speed(path, encode, name), 1.0, name)

    def sentence_piece(self, path, name):
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.same_ids(path, model.encode, name)
        self.speed(path, model.encode, name)

    def test_golden_tokenizer_json(self):
        paths = sorted(p for p in GOLDEN.glob("tokenizer_*.json") if "_vectors" not in p.name)
        self.assertGreaterEqual(len(paths), 8)
        for path in paths:
            with self.subTest(path.name):
                self.hugging_face(path, path.stem)

    def test_golden_sentencepiece(self):
        paths = sorted(GOLDEN.glob("sentencepiece_*.model"))
        self.assertGreaterEqual(len(paths), 5)
        for path in paths:
            with self.subTest(path.name):
                self.sentence_piece(path, path.stem)

    def test_larger_byte_level(self):
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        lines = [line for text in self.texts.values() for line in text.splitlines()]
        tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
            vocab_size=32000, show_progress=False, min_frequency=0,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        path = self.work / "large.json"
        tokenizer.save(str(path))
        size = len(json.loads(path.read_text())["model"]["vocab"])
        self.hugging_face(path, f"byte-level BPE of {size} with NFKC")

    def test_larger_sentencepiece(self):
        """With the full rules of nmt_nfkc, which are too large for a golden file."""
        for kind, size in (("unigram", 8000), ("bpe", 8000)):
            prefix = str(self.work / f"large_{kind}")
            sentencepiece.SentencePieceTrainer.train(
                input=",".join(str(path) for path in WIKITEXT), model_prefix=prefix, minloglevel=2,
                vocab_size=size, model_type=kind, byte_fallback=kind == "bpe", num_threads=1)
            with self.subTest(kind):
                self.sentence_piece(f"{prefix}.model", f"SentencePiece {kind} of {size}, nmt_nfkc")


if __name__ == "__main__":
    unittest.main()
