"""What our client counts on, asked of vLLM itself, with a tiny model."""
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import socket
import sys
import tempfile
import time
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import servers  # noqa: E402
import tiny_model  # noqa: E402

IDS = [84, 441, 32, 99, 312, 32, 115, 312, 32]
VOCABULARY = 1000
CLOSE = 2e-5


def log_softmax(logits):
    logits = logits.astype(np.float64)
    return logits - np.logaddexp.reduce(logits)


class Vllm(unittest.TestCase):
    """One server, started with the arguments of the subclass that holds the tests."""
    arguments = ()

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.model = folder.name
        tiny_model.write_folder(cls.model, vocab_size=VOCABULARY)
        cls.logits = tiny_model.Decoder(cls.model).logits(IDS)[-1]
        cls.expected = log_softmax(cls.logits)
        start = time.monotonic()
        cls.server = servers.vllm(os.environ["PEER_HOME"], cls.model, *cls.arguments)
        cls.addClassCleanup(cls.server.stop)
        print(f"vllm: ready after {time.monotonic() - start:.0f} s", flush=True)

    def ask(self, **fields):
        return self.server.post("/v1/completions", {
            "model": self.model, "prompt": IDS, "max_tokens": 1, "temperature": 0,
            "return_tokens_as_token_ids": True, **fields})

    def complete(self, **fields):
        status, body = self.ask(**fields)
        self.assertEqual(status, 200, body)
        return body["choices"][0]

    def row(self, **fields):
        """[vocabulary] of the next token; NaN where it says nothing."""
        row = np.full(VOCABULARY, np.nan)
        for name, value in self.complete(**fields)["logprobs"]["top_logprobs"][0].items():
            row[int(name.removeprefix("token_id:"))] = value
        return row

    def assert_refused(self, status, text, **fields):
        got, body = self.ask(**fields)
        self.assertEqual(got, status, body)
        self.assertIn(text, body["error"]["message"])

    def connect(self, **fields):
        body = json.dumps({"model": self.model, "prompt": IDS, "temperature": 0, "stream": True,
                           "return_tokens_as_token_ids": True, **fields}).encode()
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=120)
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n"
                           b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                           % len(body) + body)
        return connection

    def events(self, **fields):
        """The events of a streamed completion: parsed, the last one as it came."""
        received = b""
        with self.connect(**fields) as connection:
            while part := connection.recv(1 << 16):
                received += part
        lines = received.decode().splitlines()
        events = [line[len("data: "):] for line in lines if line.startswith("data: ")]
        return [json.loads(event) for event in events[:-1]] + events[-1:]

    def metric(self, name):
        text = self.server.get("/metrics")[1]
        return float(re.search(rf"^vllm:{name}{{[^}}]*}} (\S+)$", text, re.MULTILINE).group(1))


class Defaults(Vllm):
    def test_what_it_says_of_itself(self):
        model = self.server.get("/v1/models")[1]["data"][0]
        self.assertEqual((model["id"], model["root"], model["max_model_len"]),
                         (self.model, self.model, 512))
        self.assertEqual(self.server.get("/version")[1]["version"], "0.32.0")
        tokens = self.server.post("/tokenize", {"model": self.model, "prompt": "The cat sat "})[1]
        self.assertEqual((tokens["tokens"], tokens["max_model_len"]), (IDS, 512))
        text = self.server.post("/detokenize", {"model": self.model, "tokens": IDS})[1]
        self.assertEqual(text["prompt"], "The cat sat ")

    def test_20_log_probs_and_no_more(self):
        row = self.row(logprobs=20)
        known = np.flatnonzero(~np.isnan(row))
        self.assertEqual(set(known), set(np.argsort(-self.expected)[:20]))
        np.testing.assert_allclose(row[known], self.expected[known], atol=CLOSE)
        self.assert_refused(400, "greater than max allowed: 20", logprobs=21)
        self.assert_refused(400, "greater than max allowed: 20", logprobs=-1)

    def test_the_sampled_token_comes_on_top_of_the_list(self):
        rare = int(self.expected[:128].argmin())
        for name in ("logit_bias", "allowed_token_ids"):
            value = {str(rare): 100} if name == "logit_bias" else [rare]
            logprobs = self.complete(logprobs=3, **{name: value})["logprobs"]
            with self.subTest(by=name):
                self.assertEqual(logprobs["tokens"], [f"token_id:{rare}"])
                top = logprobs["top_logprobs"][0]
                self.assertEqual(len(top), 4)
                # Of the model, before the bias.
                self.assertAlmostEqual(top[f"token_id:{rare}"], self.expected[rare], delta=CLOSE)

    def test_log_probs_are_of_temperature_1_and_samples_of_the_one_asked_for(self):
        for temperature in (0.5, 2):
            p = np.exp(log_softmax(self.logits / temperature))
            body = self.ask(temperature=temperature, n=100, logprobs=1, seed=7)[1]
            sampled = collections.Counter()
            for choice in body["choices"]:
                token, = choice["logprobs"]["tokens"]
                value = choice["logprobs"]["top_logprobs"][0][token]
                token = int(token.removeprefix("token_id:"))
                self.assertAlmostEqual(value, self.expected[token], delta=CLOSE)
                sampled[token] += 1
            top = int(p.argmax())
            self.assertAlmostEqual(sampled[top] / 100, p[top],
                                   delta=5 * (p[top] * (1 - p[top]) / 100) ** 0.5)

    def test_errors(self):
        self.assert_refused(400, "maximum context length is 512", prompt=[1] * 600)
        self.assert_refused(400, "max_tokens must be at least 1", prompt=[1] * 512)
        self.assertEqual(self.ask(prompt=[1] * 510, max_tokens=9)[1]["usage"]["completion_tokens"],
                         2)
        self.assert_refused(400, "out of vocabulary", prompt=[VOCABULARY])
        self.assert_refused(404, "does not exist", model="nobody")
        self.assertEqual(self.ask(foo=1)[0], 200)  # what it does not know it does not mention

    def test_stream(self):
        first, second, usage, done = self.events(
            max_tokens=2, logprobs=2, stream_options={"include_usage": True})
        self.assertEqual(done, "[DONE]")
        self.assertEqual((usage["choices"], usage["usage"]["completion_tokens"]), ([], 2))
        self.assertIsNone(first["choices"][0]["finish_reason"])
        self.assertEqual(second["choices"][0]["finish_reason"], "length")
        self.assertEqual(first["choices"][0]["logprobs"]["tokens"],
                         [f"token_id:{int(self.expected.argmax())}"])
        # The end of the text is a token of the stream.
        end, done = self.events(max_tokens=9, logprobs=0,
                                logit_bias={str(tiny_model.EOS): 100})
        self.assertEqual(end["choices"][0]["logprobs"]["tokens"], [f"token_id:{tiny_model.EOS}"])
        self.assertEqual((end["choices"][0]["finish_reason"], end["choices"][0]["text"]),
                         ("stop", ""))

    def test_each_event_counts(self):
        *events, total, done = self.events(
            max_tokens=5, logprobs=1, temperature=1, seed=3, ignore_eos=True,
            stream_options={"include_usage": True, "continuous_usage_stats": True})
        told = 0
        for event in events:
            told += len(event["choices"][0]["logprobs"]["tokens"])
            self.assertEqual((event["usage"]["prompt_tokens"], event["usage"]["completion_tokens"]),
                             (len(IDS), told))
        self.assertEqual((total["choices"], total["usage"]["completion_tokens"], done),
                         ([], told, "[DONE]"))

    def test_an_event_may_hold_several_tokens(self):
        def sizes(last):
            return [len(event["choices"][0]["logprobs"]["tokens"]) for event in self.events(
                prompt=IDS + [last], max_tokens=100, ignore_eos=True, logprobs=1)[:-1]]

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            streams = list(pool.map(sizes, range(32)))
        self.assertEqual({sum(one) for one in streams}, {100})
        print(f"vllm: tokens in one event, 32 streams: at most "
              f"{max(max(one) for one in streams)}", flush=True)

    def test_a_closed_connection_ends_the_request(self):
        before = self.metric("generation_tokens_total")
        with self.connect(max_tokens=490, ignore_eos=True, logprobs=20) as connection:
            self.assertTrue(connection.recv(4096))
        deadline = time.monotonic() + 60
        while self.metric("num_requests_running"):
            self.assertLess(time.monotonic(), deadline, "it goes on without a reader")
        self.complete()  # what was counted for the closed one is counted by now
        self.assertLess(self.metric("generation_tokens_total") - before, 490)

    def test_the_same_prompt_gives_the_same_numbers(self):
        alone = self.row(logprobs=20)
        largest = max(np.nanmax(abs(self.row(logprobs=20, cache_salt=str(i)) - alone))
                      for i in range(10))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            others = [pool.submit(self.ask, prompt=IDS + [i], max_tokens=50, ignore_eos=True)
                      for i in range(40)]
            beside = max(np.nanmax(abs(self.row(logprobs=20) - alone)) for _ in range(10))
            for other in others:
                self.assertEqual(other.result()[0], 200)
        print(f"vllm: tiny model in fp32, repeated: max |difference of log-probs| {largest:.1e} "
              f"alone, {beside:.1e} beside 8 others", flush=True)
        self.assertLess(max(largest, beside), 1e-4)


class RawLogits(Vllm):
    arguments = ("--max-logprobs", "-1", "--logprobs-mode", "raw_logits")

    def test_the_whole_row_of_logits(self):
        for fields in ({}, {"temperature": 0.5}, {"repetition_penalty": 1.5}):
            with self.subTest(**fields):
                np.testing.assert_allclose(self.row(logprobs=-1, **fields), self.logits, atol=CLOSE)

    def test_texts_are_no_names_of_tokens(self):
        by_text = self.complete(logprobs=-1, return_tokens_as_token_ids=False)
        self.assertLess(len(by_text["logprobs"]["top_logprobs"][0]), VOCABULARY)

    def test_speed(self):
        self.complete(logprobs=1)  # the first one that wants log-probs loads what computes them
        for logprobs in (None, 0, 20, VOCABULARY):
            start = time.perf_counter()
            self.complete(max_tokens=100, ignore_eos=True, logprobs=logprobs)
            print(f"vllm: tiny model, logprobs {logprobs}: "
                  f"{(time.perf_counter() - start) * 10:.1f} ms a token", flush=True)


if __name__ == "__main__":
    unittest.main()
