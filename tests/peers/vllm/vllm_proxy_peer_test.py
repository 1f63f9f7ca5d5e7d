"""The proxy in front of vLLM: the tokens are those of the same model in process."""
import json
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import proxied  # noqa: E402
import servers  # noqa: E402
import tiny_model  # noqa: E402

# Decoded and prefilled rows differ by 5e-5 at most.
ALLOWED = 1


class VllmProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.model = folder.name
        tiny_model.write_folder(cls.model)
        with proxied.Proxy(f"local:{cls.model}", cls.model) as local:
            cls.expected = local.all_tokens()
        cls.server = servers.vllm(os.environ["PEER_HOME"], cls.model, "--max-logprobs", "-1")
        cls.addClassCleanup(cls.server.stop)
        cls.upstream = f"openai:http://{cls.server.address}"

    def test_whole_rows(self):
        with proxied.Proxy(self.upstream, self.model) as proxy:
            proxied.count_differences(self, "vllm, whole rows", proxy.all_tokens(), self.expected,
                                      ALLOWED)

    def test_twenty_and_more_where_these_are_not_enough(self):
        with proxied.Proxy(self.upstream, self.model, "--upstream_top=20") as proxy:
            proxied.count_differences(self, "vllm, top 20 with certificate",
                                      proxy.all_tokens("--decoding", "top-k"), self.expected, ALLOWED)

    def own(self, prompt):
        body = self.server.post("/v1/completions", {
            "model": self.model, "prompt": prompt, "max_tokens": proxied.TOKENS, "temperature": 0,
            "ignore_eos": True, "return_token_ids": True})[1]
        return body["choices"][0]["token_ids"]

    def test_greedily_the_servers_own_tokens(self):
        for decoding in ("stream-and-verify", "top-k"):
            with proxied.Proxy(self.upstream, self.model, "--upstream_top=20") as proxy:
                proxied.compare_with_own(self, f"vllm, {decoding}", proxy, self.own, "--decoding",
                                         decoding)

    def test_streams_have_the_models_law(self):
        prompt = proxied.PROMPTS[5]
        logits = tiny_model.Decoder(self.model).logits(prompt)[-1]
        with proxied.Proxy(self.upstream, self.model, "--upstream_top=20") as proxy:
            for temperature in (0.8, 1.5):
                proxied.check_law(self, f"vllm, T = {temperature}", proxy, logits, prompt,
                                  temperature, "--decoding", "stream-and-verify")

    def test_a_request_is_trained_on_the_most_likely_tokens(self):
        with proxied.Proxy(self.upstream, self.model, "--upstream_top=20") as proxy:
            request = proxy.train(proxied.FORGET, "--upstream_top=20")
        self.assertEqual(request["state"], "ERASED", request)
        scores = request["scores"]
        print("vllm, trained on top 20: " +
              ", ".join(f"{name} {score:.4f}" for name, score in scores.items()), flush=True)
        # 20 of 1,000 tokens of a random model; more where an answer's token is not among them.
        self.assertGreater(scores["train_tail_mass_max"], 0.01)
        self.assertLessEqual(scores["train_tail_mass_max"], 1)
        self.assertEqual(scores["train_untold_tokens"], 0)

    def test_another_tokenizer_is_refused(self):
        with tempfile.TemporaryDirectory() as other:
            tiny_model.write_folder(other)
            path = pathlib.Path(other) / "tokenizer.json"
            tokenizer = json.loads(path.read_text())
            tokenizer["model"]["merges"] = []
            path.write_text(json.dumps(tokenizer))
            with self.assertRaisesRegex(AssertionError, "tokenizer"):
                proxied.Proxy(self.upstream, other)


if __name__ == "__main__":
    unittest.main()
