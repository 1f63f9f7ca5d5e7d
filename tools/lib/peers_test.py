#!/usr/bin/env python3
"""Installing and running peers, with made-up ones in a folder of their own."""

import contextlib
import io
import json
import os
import tempfile
import unittest

import peers

GOOD = """
import os, unittest
class Sums(unittest.TestCase):
    def test_good(self):
        print("figure 42")
        self.assertTrue(os.path.exists(os.environ["PEER_HOME"] + "/program"))
    def test_skipped(self):
        self.skipTest("no data")
"""
BAD = """
import unittest
class Sums(unittest.TestCase):
    def test_wrong(self):
        self.assertEqual(1, 2)
    def test_parts(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)
class Unready(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("no server")
    def test_never(self):
        pass
"""
CRASH = """
import os, unittest
class Sums(unittest.TestCase):
    def test_a(self):
        pass
    def test_b(self):
        os._exit(9)
"""


class PeersTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = os.path.join(folder.name, "peers")
        self.cache = os.path.join(folder.name, "cache")
        self.runs = os.path.join(folder.name, "runs.json")

    def write(self, peer, name, text, mode=0o644):
        path = os.path.join(self.folder, peer, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)

    def peer(self, peer, test, install="echo there >\"$1/program\""):
        self.write(peer, "install", "#!/usr/bin/env bash\n" + install + "\n", 0o755)
        self.write(peer, "x_peer_test.py", test)

    def run_peers(self, *arguments):
        """Returns (exit status, {name: (result, what)})."""
        if os.path.exists(self.runs):
            os.remove(self.runs)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = peers.main([self.folder, self.cache, self.runs, *arguments])
        results = {}
        if os.path.exists(self.runs):
            with open(self.runs) as lines:
                for line in lines:
                    run = json.loads(line)
                    self.assertNotIn(run["name"], results)
                    results[run["name"]] = (run["result"], run["what"])
        return status, results

    def test_runs_only_what_is_installed_and_installs_when_asked(self):
        self.peer("a", GOOD)
        status, results = self.run_peers()
        self.assertEqual(status, 0)
        self.assertEqual(results["peers/a"][0], "skipped")
        self.assertIn("tools/test --peers a", results["peers/a"][1])
        self.assertFalse(os.path.exists(self.cache))
        cases = {
            "peers/a/x_peer_test.py Sums.test_good": ("passed", ""),
            "peers/a/x_peer_test.py Sums.test_skipped": ("skipped", "no data"),
        }
        self.assertEqual(self.run_peers("--install"), (0, cases))
        self.assertEqual(self.run_peers(), (0, cases))

    def test_a_changed_install_script_has_to_run_again(self):
        self.peer("a", GOOD)
        self.run_peers("--install")
        self.peer("a", GOOD, "echo other >\"$1/program\"")
        self.assertIn("has changed", self.run_peers()[1]["peers/a"][1])

    def test_a_failed_install_fails_alone_and_leaves_no_marker(self):
        self.peer("a", GOOD, "echo half >\"$1/program\"; exit 3")
        self.peer("b", GOOD)
        _, results = self.run_peers("--install")
        self.assertEqual(results.pop("peers/a install"), ("failed", "ended with status 3; see above"))
        self.assertEqual(sorted(results), ["peers/b/x_peer_test.py Sums.test_good",
                                           "peers/b/x_peer_test.py Sums.test_skipped"])
        self.assertEqual(self.run_peers()[1]["peers/a"][0], "skipped")

    def test_failures_of_every_kind_are_noted(self):
        self.peer("a", BAD)
        _, results = self.run_peers("--install")
        self.assertEqual({name.split(" ", 1)[1]: result for name, (result, _) in results.items()}, {
            "Sums.test_wrong": "failed",
            "Sums.test_parts": "failed",
            "setUpClass (Unready)": "failed",
        })

    def test_a_crash_keeps_what_passed_and_fails(self):
        self.peer("a", CRASH)
        self.assertEqual(self.run_peers("--install")[1], {
            "peers/a/x_peer_test.py Sums.test_a": ("passed", ""),
            "peers/a/x_peer_test.py": ("failed", "ended with status 9"),
        })

    def test_a_test_that_does_not_load_or_holds_no_case_fails(self):
        self.peer("a", "import a_module_that_is_nowhere\n")
        self.peer("b", "")
        _, results = self.run_peers("--install")
        self.assertEqual(results["peers/a/x_peer_test.py"], ("failed", "ended with status 1"))
        self.assertEqual(results["peers/b/x_peer_test.py"], ("failed", "ran no test case"))

    def test_a_test_that_hangs_is_ended(self):
        self.peer("a", "import threading\nthreading.Event().wait()\n")
        _, results = self.run_peers("--install", "--seconds", "1")
        self.assertEqual(results, {"peers/a/x_peer_test.py": ("failed", "did not end within 1 s")})

    def test_the_peers_own_python_is_used(self):
        self.peer("a", "import os, unittest\nclass S(unittest.TestCase):\n  def test_python(self):\n"
                  "    self.assertEqual(os.environ['OWN_PYTHON'], 'yes')\n",
                  "mkdir -p \"$1/venv/bin\" && printf '#!/usr/bin/env bash\\n"
                  "OWN_PYTHON=yes exec python3 \"$@\"\\n' >\"$1/venv/bin/python\" && "
                  "chmod +x \"$1/venv/bin/python\"")
        _, results = self.run_peers("--install")
        self.assertEqual([result for result, _ in results.values()], ["passed"])

    def test_names_choose_and_an_unknown_one_is_refused(self):
        self.peer("a", GOOD)
        self.peer("b", GOOD)
        self.assertEqual(list(self.run_peers("b")[1]), ["peers/b"])
        self.assertEqual(self.run_peers("c"), (2, {}))


if __name__ == "__main__":
    unittest.main()
