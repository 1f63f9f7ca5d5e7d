"""Runs one file of Python unittests and notes how each test case ended.

    unittest_cases.py TEST_FILE RUNS_FILE LABEL

Appends one JSON object a case to RUNS_FILE (the format is in test_report.py), each as soon as it has
ended, so that a crash loses none. Exits with 0 if nothing failed. Needs nothing but the standard
library, since it runs with the Python of a peer.
"""

import importlib.util
import json
import os
import sys
import unittest


class NotedResult(unittest.TextTestResult):
    runs_file = label = None

    def note(self, test, result, what=""):
        # "test_x (module.Class.test_x)", or "setUpClass (module.Class)"
        name = test.id() if isinstance(test, unittest.TestCase) else str(test)
        name = name.replace("peer_test_module.", "")
        run = {"name": "%s %s" % (self.label, name), "result": result, "what": what}
        with open(self.runs_file, "a", encoding="utf-8") as runs:
            runs.write(json.dumps(run) + "\n")

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "passed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped", reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "failed", "%s: %s" % (err[0].__name__, err[1]))

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "failed", "%s: %s" % (err[0].__name__, err[1]))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            what = "%s: %s: %s" % (subtest._subDescription(), err[0].__name__, err[1])
            self.note(test, "failed", what)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.note(test, "passed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, "failed", "is marked as an expected failure, but passed")


def main(test_file, runs_file, label):
    NotedResult.runs_file, NotedResult.label = runs_file, label
    sys.path.insert(0, os.path.dirname(os.path.abspath(test_file)))
    spec = importlib.util.spec_from_file_location("peer_test_module", test_file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    runner = unittest.TextTestRunner(resultclass=NotedResult, verbosity=2)
    return 0 if runner.run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
