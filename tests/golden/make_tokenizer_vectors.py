#!/usr/bin/env python3
"""Writes the golden vectors of //offset/text from the Hugging Face tokenizers library.

    python3 -m venv V && V/bin/pip install tokenizers==0.23.3
    V/bin/python tests/golden/make_tokenizer_vectors.py [--data ../shared] [--trained FILE]

For each kind of tokenizer it trains a small one on wikitext-2 (valid.txt) and writes
tokenizer_<kind>.json and tokenizer_<kind>_vectors.json: ids and decoded text of hostile strings,
and the SHA-256 of the ids of the whole wikitext-2 files. tokenizer_long_vectors.json: the same of
long runs of one string, by kind. tokenizer_trainer_vectors.json holds what
BpeTrainer gives on a fixed text, for comparison with our own trainer. With --trained, a
tokenizer.json that our trainer wrote from that text (the test trainer_golden_test writes one) is
loaded and compared as well.
"""
import argparse
import hashlib
import json
import pathlib
import random
import struct
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

HOSTILE = [
    "", " ", "  ", "\n", "\r\n", "\t", "a", " a", "a ", "Hello, world!", "hello   world",
    "    four spaces\n\n\n  then  more \t tabs\t\t end   ", "x" * 200, " " * 300, "\n" * 40 + "x",
    "line\r\nline\r\n\r\nline\rline\n\r", "don't can't we're I've I'm they'll he'd DON'T WE'RE I'LL",
    "it'\u017f can'T 'S 'Re \u2019s", "1 12 123 1234 12345678901234567890 3.14159 1,000,000 0x1F",
    "\u00e9 e\u0301 \u1e9b\u0323 \u0041\u030a \u212b \ufb01 \u2460 \uff21\uff22 \u00bd \u2167",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349\u035a\u032f",
    "\u1100\u1161\u11a8 \uac01 \uac00\u11a8 \u0958 \u09dc \u0344 \u2126 \uf900 \U0002f800",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 "
    "\U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 1\ufe0f\u20e3 \u263a\ufe0f",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3001\u4e2d\u6587\uff0c\ud55c\uad6d\uc5b4\u3002",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u0661\u0662\u0663 "
    "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u0928\u092e\u0938\u094d\u0924\u0947 \u0967\u0968",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u03ba\u03cc\u03c3\u03bc\u03b5 \u0e2a\u0e27\u0e31\u0e2a"
    "\u0e14\u0e35 \u10d2\u10d0 \u1f00\u0345 \U0001d54f \U00010400\U00010428",
    "\u0000\u0001\u0002\u001f\u007f\u0080\u0085\u009f\u00ad\u061c", "a\u0000b\u0000\u0000c",
    "\u00a0\u1680\u180e\u2000\u2003\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff",
    "a\u00a0b \u00a0 c\u3000\u3000d\u0085e\u2028f \u180e g\u200b h", "\u000b\u000c\u001c\u001d x",
    "\ufffd\ufffe\uffff\U0010ffff\ue000\U000f0000", "snake_case camelCase __init__ a_b-c+d=e*f/g^h",
    "if (x) {\n\treturn y[0]->z; // \u2026\n}\n", "https://example.org/a?b=c&d=%20#e", "!!!???...\u2014\u2013",
    "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> \n", "<|endoftext|><|endoftext|>",
    "<|endoftext|", "|endoftext|>", "<|end<|endoftext|>oftext|>", "<|begin|>hi<|end|>",
    "<|beg in|>", "   <|strip|>   x", "a <|strip|>\n\n<|strip|> b", "word aword worda word, _word word",
    "wordword \u00e9word word\u0301 word", "CAF\u00c9 caf\u00e9 cafe\u0301 cafe", "\u212bng \u00c5ng A\u030ang",
    "<|longer|><|longer|> more|><|longer", "Quoted \"text\" and 'text' \u201etext\u201c \u00abtexte\u00bb",
    "\u01c5 \u02b0 \u00aa \u0903 \u0488 \u2163 \u00b2 \u2044 \u203f \u3007 \u00a4 \u02c2 \u220f \u00a6",
]

# Long runs: [part, how often].
LONG = [[" ", 100000], ["a", 100000], ["\n", 30000], ["\u00e9\u200d", 20000], ["a b  ", 30000]]


def wiki(data):
    return {name: (data / "data/wikitext2" / f"{name}.txt").read_bytes().decode("utf-8")
            for name in ("valid", "test")}


def ids_hash(sequences):
    digest, count = hashlib.sha256(), 0
    for ids in sequences:
        digest.update(struct.pack(f"<{len(ids)}i", *ids))
        count += len(ids)
    return {"sha256": digest.hexdigest(), "count": count}


def fingerprint(tokenizer):
    """SHA-256 over id, length and bytes of every token, as Tokenizer::fingerprint() defines it."""
    plain = [b for b in range(256) if 0x21 <= b <= 0x7e or 0xa1 <= b <= 0xac or b >= 0xae]
    byte_of = {chr(b): b for b in plain}
    others = [b for b in range(256) if b not in plain]
    byte_of.update({chr(256 + i): b for i, b in enumerate(others)})
    byte_level = isinstance(tokenizer.decoder, decoders.ByteLevel)
    fallback = {f"<0x{b:02X}>": bytes([b]) for b in range(256)}
    digest = hashlib.sha256()
    for token, i in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        if not byte_level:
            raw = (fallback if tokenizer.model.byte_fallback else {}).get(
                token, token.replace("\u2581", " ").encode())
        elif all(c in byte_of for c in token):
            raw = bytes(byte_of[c] for c in token)
        else:
            raw = token.encode()
        digest.update(struct.pack("<II", i, len(raw)) + raw)
    return digest.hexdigest()


def train(tokenizer, lines, size, special):
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, min_frequency=2, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def gpt2(lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return train(tokenizer, lines, 1000, ["<|endoftext|>"])


def gpt2_prefix(lines):
    """Added tokens of every kind, a prefix space, and no special token in the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, lines, 400, [])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>"),
                                  AddedToken("<|strip|>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens([AddedToken("word", single_word=True, normalized=False),
                          AddedToken("<|longer|>"), AddedToken("<|longer|> more|>"),
                          AddedToken("cafe\u0301", normalized=True),
                          AddedToken("\u212bng", normalized=False)])
    return tokenizer


def llama3(lines):
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, lines, 1000, [])
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>", "<|endoftext|>"])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single="<|begin|> $A", pair="<|begin|> $A <|begin|>:1 $B:1",
            special_tokens=[("<|begin|>", tokenizer.token_to_id("<|begin|>"))])])
    # A word that no sequence of merges reaches: only ignore_merges makes it one token.
    document = json.loads(tokenizer.to_str())
    merges = document["model"]["merges"]
    whole = {a + b for a, b in merges}
    parts = {part for merge in merges for part in merge}
    leaf = max((w for w in whole if w not in parts), key=lambda w: (len(w), w))
    document["model"]["merges"] = [m for m in merges if "".join(m) != leaf]
    return Tokenizer.from_str(json.dumps(document))


def qwen2(lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, lines, 1000, [])
    tokenizer.add_special_tokens(["<|endoftext|>", "<|begin|>", "<|end|>"])
    return tokenizer


def character_bpe(lines, byte_fallback):
    """BPE over characters as SentencePiece makes it: a rare character has no token of its own."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # no merge crosses words
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"], min_frequency=2,
        show_progress=False, limit_alphabet=75))
    document = json.loads(tokenizer.to_str())
    order = sorted(document["model"]["vocab"], key=document["model"]["vocab"].get)
    if byte_fallback:  # in the vocabulary, but no added tokens
        order[3:3] = [f"<0x{byte:02X}>" for byte in range(256)]
    document["model"].update(vocab={token: i for i, token in enumerate(order)},
                             byte_fallback=byte_fallback)
    document["pre_tokenizer"] = None
    return Tokenizer.from_str(json.dumps(document))


SPACE = "\u2581"
SPACES_BACK = decoders.Replace(SPACE, " ")


def llama2(lines):
    tokenizer = character_bpe(lines, True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE),
                                                 normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([SPACES_BACK, decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return tokenizer


def mistral(lines):
    tokenizer = character_bpe(lines, True)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, "first", False)
    tokenizer.decoder = decoders.Sequence([SPACES_BACK, decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def gemma(lines):
    tokenizer = character_bpe(lines, True)
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([SPACES_BACK, decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("\t", normalized=False)])
    return tokenizer


def words_unknown(lines):
    """Without byte fallback: what has no token is unknown, a run of it once."""
    tokenizer = character_bpe(lines, False)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, "always", True)
    tokenizer.decoder = decoders.Sequence([SPACES_BACK, decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def save(tokenizer, path, merges_as_strings):
    """Compact, and with the vocabulary in the order of its ids."""
    document = json.loads(tokenizer.to_str())
    if merges_as_strings:
        document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
    path.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    again = Tokenizer.from_file(str(path))
    assert again.get_vocab() == tokenizer.get_vocab()
    return again


def vectors(tokenizer, texts):
    rng = random.Random(7)
    size = tokenizer.get_vocab_size()
    cases = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids}
             for text in HOSTILE]
    decoded = []
    for length in (1, 1, 1, 2, 3, 5, 8, 13, 21, 34):
        for low in (size, 257):  # any id; bytes only
            ids = [rng.randrange(low) for _ in range(length)]
            if not isinstance(tokenizer.decoder, decoders.ByteLevel):
                # Ill-formed bytes become U+FFFD in another number there; take what is well-formed.
                ids = tokenizer.encode(rng.choice(HOSTILE), add_special_tokens=False).ids[:40]
                if "\ufffd" in tokenizer.decode(ids, skip_special_tokens=False):
                    continue
            decoded.append({"ids": ids,
                            "text": tokenizer.decode(ids, skip_special_tokens=False),
                            "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
    template = "template me"
    result = {
        "hf_tokenizers": tokenizers.__version__,
        "vocab_size": size,
        "fingerprint": fingerprint(tokenizer),
        "cases": cases,
        "with_special": {"text": template, "ids": tokenizer.encode(template).ids},
        "decoded": decoded,
        "wikitext2": {},
    }
    for name, text in texts.items():
        lines = text.split("\n")
        result["wikitext2"][name] = {
            "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "whole": ids_hash([tokenizer.encode(text, add_special_tokens=False).ids]),
            "lines": ids_hash(e.ids for e in tokenizer.encode_batch(lines,
                                                                    add_special_tokens=False)),
        }
    return result


def long_vectors(tokenizer):
    return [{"part": part, "repeat": repeat,
             "ids": ids_hash([tokenizer.encode(part * repeat, add_special_tokens=False).ids])}
            for part, repeat in LONG]


def trainer_text():
    """Pseudo-words from a linear congruential generator; trainer_golden_test builds the same."""
    state, lines = 12345, []
    syllables = ["ka", "lo", "mi", "ren", "tu", "sha", "\u00e9l", "\u4e2d", "th", "ing", "o", "'s"]
    for _ in range(400):
        words = []
        for _ in range(12):
            state = (state * 1103515245 + 12345) % 2**31
            count = 1 + (state >> 16) % 4
            word = ""
            for _ in range(count):
                state = (state * 1103515245 + 12345) % 2**31
                pick = (state >> 16) % 144
                word += syllables[min(pick // 12, pick % 12)]
            words.append(word)
        lines.append(" ".join(words) + ".\n")
    return lines


def trainer_vectors(trained, texts):
    def summary(tokenizer, lines):
        model = json.loads(tokenizer.to_str())["model"]
        merges = "\n".join(" ".join(merge) for merge in model["merges"])
        return {"vocab_size": tokenizer.get_vocab_size(),
                "merges": len(model["merges"]),
                "merges_sha256": hashlib.sha256(merges.encode()).hexdigest(),
                "ids": ids_hash(e.ids for e in tokenizer.encode_batch(lines))}

    def reference(lines, size):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        return train(tokenizer, lines, size, ["<|endoftext|>", "<|pad|>"])

    synthetic = trainer_text()
    result = {"synthetic": summary(reference(synthetic, 600), synthetic),
              "synthetic_text_sha256": hashlib.sha256("".join(synthetic).encode()).hexdigest()}
    lines = texts["valid"].split("\n")
    result["wikitext2_valid"] = summary(reference(lines, 4096), lines)
    if trained:
        ours = Tokenizer.from_file(trained)
        assert summary(ours, synthetic) == result["synthetic"], "the trainers disagree"
        assert ours.token_to_id("<|endoftext|>") == 0 and ours.token_to_id("<|pad|>") == 1
        for text in HOSTILE + synthetic:
            ids = ours.encode(text).ids
            assert ours.decode(ids, skip_special_tokens=False) == text
        print(f"{trained}: loads, and equals BpeTrainer's", file=sys.stderr)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=HERE.parents[1].parent / "shared")
    parser.add_argument("--trained", help="a tokenizer.json of our trainer to check")
    args = parser.parse_args()
    texts = wiki(args.data)
    lines = texts["valid"].split("\n")
    long = {}
    for make, strings in ((gpt2, True), (gpt2_prefix, False), (llama3, False), (qwen2, True),
                          (llama2, True), (mistral, False), (gemma, False), (words_unknown, False)):
        name = f"tokenizer_{make.__name__}"
        tokenizer = save(make(lines), HERE / f"{name}.json", strings)
        (HERE / f"{name}_vectors.json").write_text(
            json.dumps(vectors(tokenizer, texts), ensure_ascii=True, separators=(",", ":")) + "\n")
        long[make.__name__] = long_vectors(tokenizer)
    (HERE / "tokenizer_long_vectors.json").write_text(json.dumps(long, indent=1) + "\n")
    (HERE / "tokenizer_trainer_vectors.json").write_text(
        json.dumps(trainer_vectors(args.trained, texts), indent=1) + "\n")


if __name__ == "__main__":
    main()
