"""The proxy in front of Triton: the tokens are those of the same model in process."""
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import proxied  # noqa: E402
import servers  # noqa: E402
import tiny_model  # noqa: E402

# fp16 logits: one token in some hundreds is a near tie of that size.
ALLOWED = 6


class TritonProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.model = folder.name
        tiny_model.write_folder(cls.model)
        with proxied.Proxy(f"local:{cls.model}", cls.model) as local:
            cls.expected = local.all_tokens()
        cls.server = servers.triton(os.environ["PEER_HOME"], cls.model)
        cls.addClassCleanup(cls.server.stop)

    def check(self, model):
        with proxied.Proxy(f"kserve:{self.server.address}/{model}", self.model) as proxy:
            proxied.count_differences(self, f"triton, {model}", proxy.all_tokens(), self.expected,
                                      ALLOWED)

    def test_whole_prefixes(self):
        self.check("logits")

    def test_sequences(self):
        self.check("logits_sequence")

    def test_stream(self):
        self.check("logits_stream")

    def test_unknown_model(self):
        with self.assertRaisesRegex(AssertionError, "no model nope"):
            proxied.Proxy(f"kserve:{self.server.address}/nope", self.model)


if __name__ == "__main__":
    unittest.main()
