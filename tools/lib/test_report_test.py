#!/usr/bin/env python3
"""What a run of tests comes to, from made-up events and XML of every kind of ending."""

import contextlib
import io
import json
import os
import tempfile
import unittest

import test_report

PASSED = '<testcase name="A" status="run" result="completed" classname="S"/>'
SKIPPED = (
    '<testcase name="B" status="run" result="skipped" classname="S">'
    '<skipped message="a/b.cc:12&#x0A;no data: set X"/></testcase>'
)
DISABLED = '<testcase name="DISABLED_C" status="notrun" result="suppressed" classname="S"/>'
FAILED = (
    '<testcase name="D" status="run" result="completed" classname="S">'
    '<failure message="a/b.cc:3&#x0A;Expected 1"/></testcase>'
)
# What Bazel writes for a test that left no XML.
CRASHED = '<testcase name="a/t" status="run"><error message="exited with error code 134"/></testcase>'


class TestReportTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.events = []

    def ran(self, label, cases, status="PASSED", shard=1, attempt=1):
        path = os.path.join(self.folder.name, "%d.xml" % len(self.events))
        if cases is not None:
            with open(path, "w") as xml:
                xml.write("<testsuites><testsuite>%s</testsuite></testsuites>" % cases)
        self.events.append({
            "id": {"testResult": {"label": label, "run": 1, "shard": shard, "attempt": attempt}},
            "testResult": {
                "status": status,
                "testActionOutput": [
                    {"name": "test.log", "uri": "file:///logs%20of/" + label.replace(":", "/")},
                    {"name": "test.xml", "uri": "file://" + path},
                ],
            },
        })

    def completed(self, label, **event):
        self.events.append({"id": {"targetCompleted": {"label": label}}, **event})

    def report(self, bazel_status=0, options=(), runs=()):
        """Returns (exit status, lines printed)."""
        path = os.path.join(self.folder.name, "events.json")
        with open(path, "w") as events:
            events.writelines(json.dumps(event) + "\n" for event in self.events)
        runs_path = os.path.join(self.folder.name, "runs.json")
        with open(runs_path, "w") as lines:
            lines.writelines(json.dumps(run) + "\n" for run in runs)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            status = test_report.main(["--runs", runs_path, path, str(bazel_status), *options])
        return status, printed.getvalue().splitlines()

    def test_counts_cases_and_names_what_was_skipped(self):
        self.ran("//a:t", PASSED + SKIPPED + DISABLED)
        self.ran("//b:t", PASSED)
        status, lines = self.report()
        self.assertEqual(status, 0)
        self.assertEqual(lines, [
            "SKIPPED //a:t S.B: no data: set X",
            "SKIPPED //a:t S.DISABLED_C: disabled in the source (DISABLED_)",
            "2 passed, 0 failed, 2 skipped",
        ])

    def test_a_failure_is_named_with_its_log(self):
        self.ran("//a:t", PASSED + FAILED, "FAILED")
        self.completed("//a:t", completed={})
        status, lines = self.report(3)
        self.assertEqual(status, 1)
        self.assertEqual(lines, [
            "FAILED  //a:t S.D: a/b.cc:3 Expected 1",
            "        log: /logs of///a/t",
            "1 passed, 1 failed, 0 skipped",
        ])

    def test_a_crash_counts_once(self):
        self.ran("//a:t", CRASHED, "FAILED")
        self.assertEqual(self.report(3)[1][-1], "0 passed, 1 failed, 0 skipped")

    def test_a_timeout_without_xml_counts(self):
        self.ran("//a:t", None, "TIMEOUT")
        self.assertEqual(self.report(3)[1][-1], "0 passed, 1 failed, 0 skipped")

    def test_a_bad_end_after_good_cases_counts(self):
        self.ran("//a:t", PASSED, "FAILED")
        status, lines = self.report(3)
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))
        self.assertIn("FAILED  //a:t: ended with FAILED", lines)

    def test_unreadable_xml_of_a_passed_test_counts_as_failure(self):
        self.ran("//a:t", "<testcase")
        self.assertEqual(self.report()[1][-1], "0 passed, 1 failed, 0 skipped")

    def test_what_did_not_build_counts(self):
        self.ran("//a:t", PASSED)
        self.completed("//a:broken", completed={})
        self.completed("//a:fine", completed={"success": True})
        self.events.append({
            "id": {"unconfiguredLabel": {"label": "//b:gone"}},
            "aborted": {"reason": "ANALYSIS_FAILURE", "description": "no such target"},
        })
        status, lines = self.report(1)
        self.assertEqual((status, lines[-1]), (1, "1 passed, 2 failed, 0 skipped"))
        self.assertIn("FAILED  //a:broken: did not build", lines)
        self.assertIn("FAILED  //b:gone: did not build no such target", lines)

    def test_an_interruption_counts_once(self):
        self.ran("//a:t", PASSED)
        for label in ("//b:t", "//c:t"):
            self.completed(label, aborted={"reason": "USER_INTERRUPTED"})
        status, lines = self.report(8)
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))
        self.assertIn("FAILED  bazel test: interrupted; 2 target(s) were not reached", lines)

    def test_a_target_without_any_case_fails_unless_cases_were_chosen(self):
        self.ran("//a:t", PASSED)
        self.ran("//b:t", "")
        self.assertEqual(self.report()[1][-1], "1 passed, 1 failed, 0 skipped")
        self.assertEqual(self.report(0, ["--test_filter=S.A"])[1][-1], "1 passed, 0 failed, 0 skipped")

    def test_shards_add_up_and_the_last_attempt_counts(self):
        self.ran("//a:t", PASSED, shard=1)
        self.ran("//a:t", "", shard=2)
        self.ran("//b:flaky", FAILED, "FAILED", attempt=1)
        self.ran("//b:flaky", PASSED, attempt=2)
        self.assertEqual(self.report(), (0, ["2 passed, 0 failed, 0 skipped"]))

    def test_nothing_executed_is_a_failure(self):
        self.assertEqual(self.report()[0], 1)
        self.ran("//a:t", SKIPPED)
        self.assertEqual(self.report()[0], 1)

    def test_a_bad_end_of_bazel_is_never_a_success(self):
        self.ran("//a:t", PASSED)
        status, lines = self.report(37)
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))

    def test_what_ran_beside_bazel_is_counted_with_it(self):
        self.ran("//a:t", PASSED)
        status, lines = self.report(runs=[
            {"name": "peers/p/x_peer_test.py X.test_a", "result": "passed", "what": ""},
            {"name": "peers/q", "result": "skipped", "what": "not installed"},
            {"name": "fuzz/f", "result": "failed", "what": "a\nfinding", "log": "/tmp/log"},
        ])
        self.assertEqual(status, 1)
        self.assertEqual(lines, [
            "SKIPPED peers/q: not installed",
            "FAILED  fuzz/f: a finding",
            "        log: /tmp/log",
            "2 passed, 1 failed, 1 skipped",
        ])

    def test_a_failure_of_bazel_counts_beside_other_failures(self):
        status, lines = self.report(1, runs=[{"name": "peers/p", "result": "failed", "what": ""}])
        self.assertEqual((status, lines[-1]), (1, "0 passed, 2 failed, 0 skipped"))

    def test_runs_alone_suffice(self):
        runs = [{"name": "fuzz/f", "result": "passed"}]
        self.assertEqual(self.report(runs=runs), (0, ["1 passed, 0 failed, 0 skipped"]))


if __name__ == "__main__":
    unittest.main()
