#!/usr/bin/env python3
"""Writes the golden vectors of //offset/text for SentencePiece models, from SentencePiece itself.

    python3 -m venv V && V/bin/pip install sentencepiece==0.2.3 tokenizers==0.23.3
    V/bin/python tests/golden/make_sentencepiece_vectors.py [--data ../shared] [--keep_models]

For each kind of model it trains a small one on wikitext-2 (valid.txt) and writes
sentencepiece_<kind>.model and sentencepiece_<kind>_vectors.json: ids and decoded text of hostile
strings, and the SHA-256 of the ids of the whole wikitext-2 files. With --keep_models the models
that are there are used. (The hostile strings are those of make_tokenizer_vectors.py, which needs
the package tokenizers.)
"""
import argparse
import hashlib
import json
import pathlib
import struct
import tempfile

import sentencepiece as spm

from make_tokenizer_vectors import HERE, HOSTILE, LONG, ids_hash, wiki

# Rules in the manner of NFKC, few enough for a small file: "from<TAB>to", code points in hex.
RULES = ["FB01\t66 69", "FB02\t66 6C", "FF21\t41", "FF22\t42", "212B\tC5", "41 30A\tC5", "65 301\tE9",
         "2460\t31", "A0\t20", "3000\t20", "9\t20", "D A\t20", "A\t20", "D\t20", "1\t", "200B\t",
         "BD\t31 2044 32", "2003\t20", "AD\t", "FEFF\t", "2026\t2E 2E 2E"]
# What the hostile strings do not reach: symbols of the models, spaces at odd places.
MORE = ["<|user|>", "a<|user|>b <|user|>  c", "<s>", "</s>", "<unk>", "<0x41>", "\u2581", "a\u2581\u2581b",
        "the\u2581the the", "New York  New York", "\n\n\n", "kkk kkkk kkkkkk", " \t \n ", "\u200b\u200b x",
        "\u2603\u2603\u2603 \u2603", "\ufb01\ufb02 \u2026\u2026", "A\u030a e\u0301 e\u0301\u0301", "the " * 50]

KINDS = {
    # As Llama 2: spaces kept, one put before the text, bytes for what has no piece.
    "llama": dict(model_type="bpe", vocab_size=800, byte_fallback=True, split_digits=True,
                  normalization_rule_name="identity", remove_extra_whitespaces=False,
                  allow_whitespace_only_pieces=True, character_coverage=0.995),
    # As Gemma: nothing before the text, symbols of several spaces, pieces across words.
    "gemma": dict(model_type="bpe", vocab_size=800, byte_fallback=True, add_dummy_prefix=False,
                  normalization_rule_name="identity", remove_extra_whitespaces=False,
                  split_by_whitespace=False, character_coverage=0.99, pad_id=0, eos_id=1, bos_id=2,
                  unk_id=3, user_defined_symbols=["\u2581\u2581", "\u2581\u2581\u2581\u2581", "<|user|>",
                                                  "kkk", "\u2603"], control_symbols=["<mask>", "@"]),
    # As T5: unigram, rules, one space where there were several, no BOS, unknown characters.
    "t5": dict(model_type="unigram", vocab_size=700, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
               rules=True, character_coverage=0.98),
    "unigram_bytes": dict(model_type="unigram", vocab_size=900, byte_fallback=True,
                          normalization_rule_name="identity", remove_extra_whitespaces=False,
                          user_defined_symbols=["<|user|>", "kkk", "New York"],
                          character_coverage=0.99),
    "bpe_unknown": dict(model_type="bpe", vocab_size=500, rules=True, character_coverage=0.98,
                        add_dummy_prefix=True, user_defined_symbols=["<|user|>", "k"]),
}


def train(kind, data, folder):
    options = dict(KINDS[kind])
    if options.pop("rules", False):
        rules = pathlib.Path(folder) / "rules.tsv"
        rules.write_text("".join(f"{rule}\n" for rule in RULES))
        options["normalization_rule_tsv"] = str(rules)
    prefix = f"{folder}/{kind}"
    spm.SentencePieceTrainer.train(input=str(data / "data/wikitext2/valid.txt"), model_prefix=prefix,
                                   minloglevel=2, num_threads=1, **options)
    return pathlib.Path(f"{prefix}.model").read_bytes()


def fingerprint(model):
    digest = hashlib.sha256()
    for i in range(model.get_piece_size()):
        piece = model.id_to_piece(i)
        raw = (bytes([int(piece[3:5], 16)]) if model.is_byte(i)
               else piece.replace("\u2581", " ").encode())
        digest.update(struct.pack("<II", i, len(raw)) + raw)
    return digest.hexdigest()


def vectors(model, texts):
    cases, decoded = [], []
    for text in HOSTILE + MORE:
        ids = model.encode(text)
        cases.append({"text": text, "ids": ids})
        again = model.decode(ids)
        # What is unknown and ill-formed bytes decode in another way here.
        if model.unk_id() not in ids and "\ufffd" not in again:
            decoded.append({"ids": ids, "text": again})
    special = model.encode("template me")
    result = {
        "sentencepiece": spm.__version__,
        "vocab_size": model.get_piece_size(),
        "fingerprint": fingerprint(model),
        "cases": cases,
        "decoded": decoded,
        # tokenizer_config.json's default: a BOS where there is one.
        "with_special": {"text": "template me",
                         "ids": ([model.bos_id()] if model.bos_id() >= 0 else []) + special},
        "long": [{"part": part, "repeat": repeat, "ids": ids_hash([model.encode(part * repeat)])}
                 for part, repeat in LONG],
        "wikitext2": {},
    }
    for name, text in texts.items():
        lines = text.split("\n")
        result["wikitext2"][name] = {
            "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "whole": ids_hash([model.encode(text)]),
            "lines": ids_hash(model.encode(lines)),
        }
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=HERE.parents[1].parent / "shared")
    parser.add_argument("--keep_models", action="store_true")
    args = parser.parse_args()
    texts = wiki(args.data)
    for kind in KINDS:
        path = HERE / f"sentencepiece_{kind}.model"
        if not (args.keep_models and path.exists()):
            with tempfile.TemporaryDirectory() as folder:
                path.write_bytes(train(kind, args.data, folder))
        model = spm.SentencePieceProcessor(model_file=str(path))
        (HERE / f"sentencepiece_{kind}_vectors.json").write_text(
            json.dumps(vectors(model, texts), ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
