"""The proxy in front of llama.cpp's server: the tokens are those of the same model in process."""
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import proxied  # noqa: E402
import servers  # noqa: E402
import tiny_model  # noqa: E402

# With fp32 attention its rows are within 4e-6 of the model's.
EXACT = ("-fa", "off", "-ctk", "f32", "-ctv", "f32")
ALLOWED = 1


class LlamaCppProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.model = folder.name
        tiny_model.write_folder(cls.model)
        gguf = pathlib.Path(cls.model) / "model.gguf"
        tiny_model.write_gguf(cls.model, gguf)
        with proxied.Proxy(f"local:{cls.model}", cls.model) as local:
            cls.expected = local.all_tokens()
        cls.server = servers.llama_cpp(os.environ["PEER_HOME"], gguf, *EXACT)
        cls.addClassCleanup(cls.server.stop)
        cls.upstream = f"openai:http://{cls.server.address}"

    def test_whole_rows(self):
        with proxied.Proxy(self.upstream, self.model) as proxy:
            proxied.count_differences(self, "llama.cpp, whole rows", proxy.all_tokens(),
                                      self.expected, ALLOWED)

    def test_twenty_and_more_where_these_are_not_enough(self):
        with proxied.Proxy(self.upstream, self.model, "--upstream_top=20") as proxy:
            proxied.count_differences(self, "llama.cpp, top 20 with certificate",
                                      proxy.all_tokens("--decoding", "top-k"), self.expected, ALLOWED)

    def own(self, prompt):
        return self.server.post("/completion", {
            "prompt": prompt, "n_predict": proxied.TOKENS, "temperature": 0,
            "samplers": ["temperature"], "cache_prompt": False, "return_tokens": True})[1]["tokens"]

    def test_greedily_the_servers_own_tokens(self):
        for decoding in ("stream-and-verify", "top-k"):
            with proxied.Proxy(self.upstream, self.model, "--upstream_top=20") as proxy:
                proxied.compare_with_own(self, f"llama.cpp, {decoding}", proxy, self.own,
                                         "--decoding", decoding)

    def test_streams_have_the_models_law(self):
        prompt = proxied.PROMPTS[5]
        logits = tiny_model.Decoder(self.model).logits(prompt)[-1]
        with proxied.Proxy(self.upstream, self.model, "--upstream_top=20") as proxy:
            for temperature in (0.8, 1.5):
                proxied.check_law(self, f"llama.cpp, T = {temperature}", proxy, logits, prompt,
                                  temperature, "--decoding", "stream-and-verify")

    def test_a_request_is_trained_on_the_most_likely_tokens(self):
        with proxied.Proxy(self.upstream, self.model, "--upstream_top=20") as proxy:
            request = proxy.train(proxied.FORGET, "--upstream_top=20")
        self.assertEqual(request["state"], "ERASED", request)
        scores = request["scores"]
        print("llama.cpp, trained on top 20: " +
              ", ".join(f"{name} {score:.4f}" for name, score in scores.items()), flush=True)
        # 20 of 1,000 tokens of a random model; more where an answer's token is not among them.
        self.assertGreater(scores["train_tail_mass_max"], 0.01)
        self.assertLessEqual(scores["train_tail_mass_max"], 1)
        self.assertEqual(scores["train_untold_tokens"], 0)


if __name__ == "__main__":
    unittest.main()
