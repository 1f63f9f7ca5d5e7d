#!/usr/bin/env python3
"""Running fuzzers, with scripts in the place of libFuzzer's programs."""

import contextlib
import io
import json
import os
import tempfile
import unittest

import fuzz

# Takes libFuzzer's arguments apart, as far as a test needs them.
HEAD = """#!/usr/bin/env bash
for argument in "$@"; do
  case $argument in
    -artifact_prefix=*) prefix=${argument#*=} ;;
    -dict=*) dictionary=${argument#*=} ;;
    -*) ;;
    *) folders+=("$argument") ;;
  esac
done
"""
GOOD = """
echo '#2 INITED cov: 10 ft: 20 corp: 1/1b' >&2
echo '#1024 pulse cov: 34 ft: 56 corp: 1/1b' >&2
echo "dictionary: ${dictionary##*/} own: ${folders[1]##*/}" >&2
touch "${folders[0]}/new_input"
echo 'stat::number_of_executed_units: 2048' >&2
"""
BAD = """
echo '#7 NEW cov: 3 ft: 4' >&2
echo 'PROPERTY BROKEN: one is two' >&2
touch "${prefix}crash-123"
exit 77
"""
# Says that an input took too long when it fuzzes for the first time; ALONE is the status of a trial.
SLOW_ONCE = """
if [[ ${#folders[@]} == 1 ]]; then exit ALONE; fi
echo 'stat::number_of_executed_units: 100' >&2
if [[ ! -e ${folders[0]}/later ]]; then
  touch "${folders[0]}/later" "${prefix}timeout-123" "${prefix}slow-unit-123"
  exit 70
fi
"""


class FuzzTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def program(self, name, text):
        path = os.path.join(self.root, name + "_fuzz")
        with open(path, "w") as file:
            file.write(HEAD + text)
        os.chmod(path, 0o755)

    def run_fuzzers(self, *names, seconds=1):
        """Returns (lines printed, runs)."""
        runs_file = os.path.join(self.root, "runs.json")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            status = fuzz.main([self.root, self.root, self.root + "/cache", runs_file, str(seconds),
                                *names])
        self.assertEqual(status, 0)
        with open(runs_file) as lines:
            return printed.getvalue().splitlines(), [json.loads(line) for line in lines]

    def test_a_run_without_finding_passes_and_shows_its_numbers(self):
        with open(os.path.join(self.root, "good.dict"), "w"):
            pass
        self.program("good", GOOD)
        lines, runs = self.run_fuzzers("good")
        self.assertEqual(lines, ["fuzz/good: 2048 executions in 0 s, 34 edges and 56 features "
                                 "covered, 1 inputs kept"])
        self.assertEqual(runs, [{"name": "fuzz/good", "result": "passed", "what": ""}])
        with open(os.path.join(self.root, "cache/fuzz/logs/good.log")) as log:
            self.assertIn("dictionary: good.dict own: good", log.read())

    def test_a_finding_fails_names_its_input_and_does_not_stop_the_others(self):
        self.program("bad", BAD)
        self.program("good", GOOD)
        lines, runs = self.run_fuzzers("bad", "good")
        finding = os.path.join(self.root, "cache/fuzz/findings/bad/crash-123")
        self.assertIn("fuzz/bad: FINDING " + finding, lines)
        self.assertEqual([run["result"] for run in runs], ["failed", "passed"])
        self.assertEqual(runs[0]["what"], "PROPERTY BROKEN: one is two; input: " + finding)

    def test_an_input_that_only_seemed_slow_is_no_finding(self):
        self.program("slow", SLOW_ONCE.replace("ALONE", "0"))
        lines, runs = self.run_fuzzers("slow", seconds=60)
        self.assertIn("machine was busy", lines[0])
        self.assertTrue(lines[1].startswith("fuzz/slow: 200 executions"), lines)
        self.assertEqual(len(lines), 2)
        self.assertEqual(runs, [{"name": "fuzz/slow", "result": "passed", "what": ""}])
        self.assertEqual(os.listdir(os.path.join(self.root, "cache/fuzz/findings/slow")), [])

    def test_an_input_that_is_slow_again_is_a_finding(self):
        self.program("slow", SLOW_ONCE.replace("ALONE", "70"))
        lines, runs = self.run_fuzzers("slow", seconds=60)
        finding = os.path.join(self.root, "cache/fuzz/findings/slow/timeout-123")
        self.assertIn("fuzz/slow: FINDING " + finding, lines)
        self.assertEqual(runs[0]["result"], "failed")

    def test_a_program_that_is_missing_or_does_nothing_fails(self):
        self.program("idle", "")
        _, runs = self.run_fuzzers("idle", "missing")
        self.assertEqual([run["result"] for run in runs], ["failed", "failed"])
        self.assertEqual(runs[0]["what"], "executed nothing")
        self.assertIn("No such file", runs[1]["what"])


if __name__ == "__main__":
    unittest.main()
