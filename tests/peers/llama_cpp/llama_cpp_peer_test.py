"""What our client counts on, asked of llama.cpp's server itself, with a tiny model and a real one."""
import json
import os
import pathlib
import socket
import sys
import tempfile
import time
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import servers  # noqa: E402
import tiny_model  # noqa: E402

HOME = pathlib.Path(os.environ["PEER_HOME"])
IDS = [84, 441, 32, 99, 312, 32, 115, 312, 32]
VOCABULARY = 1000
COUNTING = "One, two, three, four, five,"
LETTER_A, LEAD_BYTE = 97, 0xC3  # a whole character; the first half of one
# Attention and its cache in fp32: what is left is the order of sums.
EXACT = ("-np", "4", "-fa", "off", "-ctk", "f32", "-ctv", "f32")
# All of the defaults but these truncate or follow the prompt: the plain softmax at a temperature.
PLAIN = {"samplers": ["temperature"], "cache_prompt": False}


def log_softmax(logits):
    logits = logits.astype(np.float64)
    return logits - np.logaddexp.reduce(logits)


def stream(server, body, first_only=False):
    """The events of a streamed completion, parsed; without the closing one if it was cut off."""
    data = json.dumps({**body, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"POST /completion HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n"
                           b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                           % len(data) + data)
        received = b""
        while not (first_only and b"data: " in received):
            part = connection.recv(1 << 16)
            if not part:
                break
            received += part
    lines = received.decode("utf-8", errors="replace").splitlines()
    events = [line[len("data: "):] for line in lines if line.startswith("data: ")]
    return [json.loads(event) for event in events] if not first_only else events


class Tiny(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.gguf = os.path.join(cls.folder.name, "model.gguf")
        tiny_model.write_folder(cls.folder.name, vocab_size=VOCABULARY)
        tiny_model.write_gguf(cls.folder.name, cls.gguf)
        cls.expected = log_softmax(tiny_model.Decoder(cls.folder.name).logits(IDS)[-1])
        cls.server = servers.llama_cpp(HOME, cls.gguf, *EXACT)
        cls.addClassCleanup(cls.server.stop)

    def complete(self, **fields):
        status, body = self.server.post("/completion", {"prompt": IDS, "n_predict": 1, **PLAIN,
                                                        "return_tokens": True, **fields})
        self.assertEqual(status, 200, body)
        return body

    def row(self, **fields):
        """[vocabulary] log-probs of the next token; NaN where it says nothing."""
        row = np.full(VOCABULARY, np.nan)
        for entry in self.complete(n_probs=VOCABULARY,
                                   **fields)["completion_probabilities"][0]["top_logprobs"]:
            row[entry["id"]] = entry["logprob"]
        return row

    def test_tokenizer_and_limits(self):
        meta = self.server.get("/v1/models")[1]["data"][0]["meta"]
        self.assertEqual((meta["n_vocab"], meta["n_ctx"]), (VOCABULARY, 512))
        self.assertEqual(self.server.get("/props")[1]["model_path"], self.gguf)
        text = "The cat sat "
        self.assertEqual(self.server.post("/tokenize", {"content": text})[1]["tokens"], IDS)
        pieces = self.server.post("/tokenize", {"content": "é", "with_pieces": True})[1]["tokens"]
        self.assertEqual([piece["piece"] for piece in pieces], [[0xC3], [0xA9]])
        status, body = self.server.post("/completion", {"prompt": [1] * 512, "n_predict": 1})
        self.assertEqual((status, body["error"]["type"], body["error"]["n_ctx"]),
                         (400, "exceed_context_size_error", 512))
        self.assertEqual(self.server.post("/completion", {"prompt": [VOCABULARY]})[0], 400)

    def test_log_probs_are_the_whole_softmax_at_temperature_1(self):
        for fields in ({"temperature": 0}, {"temperature": 1}, {"temperature": 0.3},
                       {"temperature": 1, "top_k": 1, "samplers": ["top_k", "temperature"]},
                       {"temperature": 0, "logit_bias": [[LETTER_A, 1000]]}):
            with self.subTest(**fields):
                np.testing.assert_allclose(self.row(**fields), self.expected, atol=2e-5)
        # There is no largest n_probs, and -1 is none at all.
        probabilities = self.complete(n_probs=1 << 20, temperature=0)["completion_probabilities"]
        self.assertEqual(len(probabilities[0]["top_logprobs"]), VOCABULARY)
        self.assertNotIn("completion_probabilities", self.complete(n_probs=-1))

    def test_the_sampled_token_stands_beside_the_list(self):
        rare = int(self.expected[:128].argmin())
        one = self.complete(n_probs=3, temperature=0,
                            logit_bias=[[rare, 1000]])["completion_probabilities"][0]
        self.assertEqual(one["id"], rare)
        self.assertAlmostEqual(one["logprob"], self.expected[rare], delta=2e-5)
        self.assertEqual([entry["id"] for entry in one["top_logprobs"]],
                         list(np.argsort(-self.expected)[:3]))

    def test_half_a_character_hides_its_token(self):
        half = {"temperature": 0, "n_probs": 2, "logit_bias": [[LEAD_BYTE, 1000]]}
        # Not streamed: the id is there, its log-probs are not.
        body = self.complete(**half)
        self.assertEqual(body["tokens"], [LEAD_BYTE])
        self.assertNotIn("completion_probabilities", body)
        # Streamed: neither. Only the count tells that a token was made.
        last, = stream(self.server, {"prompt": IDS, "n_predict": 3, **PLAIN, **half,
                                     "return_tokens": True})
        self.assertEqual((last["tokens"], last["tokens_predicted"]), ([], 3))
        # What helps where only the log-probs are wanted: force a whole character, they are without
        # the bias.
        np.testing.assert_allclose(
            self.row(temperature=0, logit_bias=[[LEAD_BYTE, 900], [LETTER_A, 1000]]),
            self.expected, atol=2e-5)

    def test_rows_of_a_whole_answer_are_of_their_own_tokens(self):
        """Also behind a token that has none."""
        decoder, largest, missing = tiny_model.Decoder(self.folder.name), 0, 0
        for seed in range(8):
            body = self.complete(n_predict=32, temperature=1, n_probs=3, seed=seed)
            ids, rows = body["tokens"], body["completion_probabilities"]
            self.assertEqual((body["tokens_predicted"], body["stop_type"]), (32, "limit"))
            logits, at = decoder.logits(IDS + ids), 0
            for row in rows:  # in the order of the tokens; with these seeds one way fits
                while ids[at] != row["id"]:
                    at += 1
                law = log_softmax(logits[len(IDS) - 1 + at])
                for entry in row["top_logprobs"] + [row]:
                    largest = max(largest, abs(entry["logprob"] - law[entry["id"]]))
                at += 1
            missing += len(ids) - len(rows)
        self.assertGreater(missing, 0)
        self.assertLess(largest, 2e-5)
        # The end of the text is a token with a row here, too.
        end = self.complete(n_predict=9, temperature=0, n_probs=1,
                            logit_bias=[[tiny_model.EOS, 1000]])
        self.assertEqual((end["tokens"], end["stop_type"], end["tokens_predicted"]),
                         ([tiny_model.EOS], "eos", 1))
        self.assertEqual(end["completion_probabilities"][0]["id"], tiny_model.EOS)

    def test_samples_follow_the_temperature(self):
        for temperature in (0.5, 1.0):
            # The most probable token: how often it comes, within 5 standard deviations.
            p = np.exp(log_softmax(self.expected / temperature))
            top, tries = int(p.argmax()), 400
            hits = sum(self.complete(temperature=temperature, seed=seed)["tokens"] == [top]
                       for seed in range(tries))
            deviation = (p[top] * (1 - p[top]) / tries) ** 0.5
            self.assertAlmostEqual(hits / tries, p[top], delta=5 * deviation)

    def test_stream(self):
        events = stream(self.server, {"prompt": IDS, "n_predict": 2, **PLAIN, "temperature": 0,
                                      "n_probs": 1, "return_tokens": True})
        tokens, last = events[:-1], events[-1]
        self.assertTrue(last["stop"] and not any(event["stop"] for event in tokens))
        self.assertEqual(last["stop_type"], "limit")
        self.assertEqual([event["tokens_predicted"] for event in tokens], [1, 2])
        top = int(self.expected.argmax())
        self.assertEqual(tokens[0]["tokens"], [top])
        self.assertEqual(tokens[0]["completion_probabilities"][0]["id"], top)
        # The end of the text is a token of the stream, with its log-prob.
        end = stream(self.server, {"prompt": IDS, "n_predict": 9, **PLAIN, "temperature": 0,
                                   "n_probs": 1, "return_tokens": True,
                                   "logit_bias": [[tiny_model.EOS, 1000]]})
        self.assertEqual([event["tokens"] for event in end], [[tiny_model.EOS], []])
        self.assertEqual(end[-1]["stop_type"], "eos")

    def test_zero_tokens_are_one(self):
        self.assertEqual(len(self.complete(n_predict=0, temperature=0)["tokens"]), 1)

    def test_a_closed_connection_frees_the_slot(self):
        self.assertTrue(stream(self.server, {"prompt": IDS, "n_predict": 400, **PLAIN,
                                             "ignore_eos": True, "n_probs": VOCABULARY},
                               first_only=True))
        deadline = time.monotonic() + 60
        while any(slot["is_processing"] for slot in self.server.get("/slots")[1]):
            self.assertLess(time.monotonic(), deadline, "it goes on without a reader")


class Defaults(unittest.TestCase):
    def test_how_far_the_defaults_are_from_fp32(self):
        with tempfile.TemporaryDirectory() as folder:
            tiny_model.write_folder(folder, vocab_size=VOCABULARY)
            gguf = os.path.join(folder, "model.gguf")
            tiny_model.write_gguf(folder, gguf)
            expected = log_softmax(tiny_model.Decoder(folder).logits(IDS)[-1])
            with servers.llama_cpp(HOME, gguf) as server:
                settings = server.get("/props")[1]["default_generation_settings"]["params"]
                self.assertEqual((settings["top_k"], settings["n_probs"]), (40, 0))
                body = server.post("/completion", {
                    "prompt": IDS, "n_predict": 1, "n_probs": VOCABULARY, **PLAIN,
                    "logit_bias": [[LETTER_A, 1000]]})[1]
                largest = max(abs(entry["logprob"] - expected[entry["id"]]) for entry in
                              body["completion_probabilities"][0]["top_logprobs"])
        print(f"llama_cpp: default settings (half-precision attention) against fp32, tiny model: "
              f"max |difference of log-probs| {largest:.1e}", flush=True)
        self.assertLess(largest, 0.02)


class Gemma(unittest.TestCase):
    def test_a_real_model(self):
        with servers.llama_cpp(HOME, HOME / "model.gguf", "-c", "2048", "-np", "1") as server:
            meta = server.get("/v1/models")[1]["data"][0]["meta"]
            self.assertEqual(meta["n_vocab"], 262144)
            # A string gets the beginning-of-text token, a list of ids is taken as it is.
            ids = server.post("/tokenize", {"content": COUNTING,
                                            "add_special": True})[1]["tokens"]
            self.assertEqual(ids[0], 2)
            for prompt in (COUNTING, ids):
                body = server.post("/completion", {"prompt": prompt, "n_predict": 3,
                                                   "temperature": 0, "n_probs": 5})[1]
                self.assertEqual(body["tokens_evaluated"], len(ids))
                self.assertEqual(body["content"], " six, seven")
            for n_probs in (0, 20, 1000):
                start = time.perf_counter()
                server.post("/completion", {"prompt": ids, "n_predict": 20, "temperature": 0,
                                            "n_probs": n_probs, "ignore_eos": True})
                print(f"llama_cpp: gemma-3-270m, n_probs {n_probs}: "
                      f"{(time.perf_counter() - start) / 20 * 1e3:.0f} ms a token", flush=True)


if __name__ == "__main__":
    unittest.main()
