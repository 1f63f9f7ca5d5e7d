"""Counts the test cases of one `bazel test`, from the events that it wrote and the tests' XML, and
of what ran beside Bazel.

    test_report.py [--runs RUNS_FILE] EVENTS_JSON BAZEL_EXIT_STATUS [BAZEL_OPTION...]

Each line of RUNS_FILE is one case that ran without Bazel (fuzzers, peers), as a JSON object:
{"name": "label case", "result": "passed" | "failed" | "skipped", "what": "why", "log": "path"}.
Without a `bazel test`, EVENTS_JSON is a file that does not exist.

Prints every skipped case with its reason and every failure with its log, ends with the line
`N passed, N failed, N skipped`, and exits with 0 only if something was tested and nothing failed.
What did not build, crashed, timed out or ran nothing counts as one failure.
"""

import json
import os
import re
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree


class Report:
    def __init__(self):
        self.passed = 0
        self.skipped = []  # (target and case, reason)
        self.failed = []  # (target and case, what is known, log)

    def failures_of(self, label):
        return sum(1 for name, _, _ in self.failed if name.split(" ")[0] == label)


def local_path(output):
    uri = urllib.parse.urlparse(output.get("uri", ""))
    return urllib.parse.unquote(uri.path) if uri.scheme == "file" else ""


def one_line(text):
    return " ".join(text.split())


def shortened(text, length=300):
    text = one_line(text)
    return text if len(text) <= length else text[:length] + "..."


def skip_reason(message):
    """GoogleTest puts `file:line` on a line before the reason."""
    lines = message.strip().split("\n")
    if len(lines) > 1 and re.fullmatch(r".*:\d+", lines[0].strip()):
        lines = lines[1:]
    return one_line(" ".join(lines)) or "no reason given"


def count_cases(label, xml_path, log, report):
    """Adds the cases of one test.xml; returns how many there were. Raises on unreadable XML."""
    cases = 0
    for case in ElementTree.parse(xml_path).getroot().iter("testcase"):
        cases += 1
        test_class, test = case.get("classname", ""), case.get("name", "")
        name = label if not test else "%s %s" % (label, ".".join(filter(None, [test_class, test])))
        bad = [child for child in case if child.tag in ("failure", "error")]
        skip = case.find("skipped")
        if bad:
            report.failed.append((name, shortened(bad[0].get("message") or bad[0].text or ""), log))
        elif skip is not None:
            report.skipped.append((name, skip_reason(skip.get("message") or skip.text or "")))
        elif case.get("status") == "notrun" or case.get("result") == "suppressed":
            report.skipped.append((name, "disabled in the source (DISABLED_)"))
        else:
            report.passed += 1
    return cases


def read_events(path):
    """Returns ({label: {place: (attempt, result)}}, {label: why it did not build}, labels not for
    this platform, labels that an interrupted build did not reach)."""
    results, broken, not_for_here, unreached = {}, {}, set(), set()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            identity = event.get("id", {})
            aborted = event.get("aborted")
            if "testResult" in identity and "testResult" in event:
                key = identity["testResult"]
                # A later attempt of a flaky test replaces the one before.
                place = (key.get("run", 1), key.get("shard", 1))
                attempts = results.setdefault(key["label"], {})
                if place not in attempts or attempts[place][0] <= key.get("attempt", 1):
                    attempts[place] = (key.get("attempt", 1), event["testResult"])
                continue
            for kind in ("targetCompleted", "unconfiguredLabel", "configuredLabel", "pattern"):
                if kind not in identity:
                    continue
                label = identity[kind].get("label") or " ".join(identity[kind].get("pattern", []))
                if aborted and aborted.get("reason") == "SKIPPED":
                    not_for_here.add(label)
                elif aborted and aborted.get("reason") == "USER_INTERRUPTED":
                    unreached.add(label)
                elif aborted:
                    broken[label] = one_line(aborted.get("description", "")) or aborted.get("reason", "")
                elif kind == "targetCompleted" and not event.get("completed", {}).get("success"):
                    # A test that ran and failed completes without success as well.
                    broken.setdefault(label, "")
    return results, broken, not_for_here, unreached


def count(events_path, filtered):
    report = Report()
    results, broken, not_for_here, unreached = read_events(events_path)
    for label in sorted(results):
        cases, log, statuses = 0, "", []
        for _, (_, result) in sorted(results[label].items()):
            outputs = {o.get("name"): local_path(o) for o in result.get("testActionOutput", [])}
            shard_log = outputs.get("test.log", "")
            statuses.append(result.get("status", "NO_STATUS"))
            if statuses[-1] not in ("PASSED", "FLAKY"):
                log = shard_log
            try:
                cases += count_cases(label, outputs.get("test.xml", ""), shard_log, report)
            except (OSError, ElementTree.ParseError):
                report.failed.append((label, "left no readable test.xml", shard_log))
        bad = [status for status in statuses if status not in ("PASSED", "FLAKY")]
        if report.failures_of(label):
            continue
        if bad:
            report.failed.append((label, "ended with " + bad[0], log))
        elif not cases and not filtered:
            report.failed.append((label, "ran no test case", shard_log))
    for label in sorted(broken):
        if label not in results:
            report.failed.append((label, "did not build " + broken[label], ""))
    unreached.difference_update(results)
    if unreached:
        what = "interrupted; %d target(s) were not reached" % len(unreached)
        report.failed.append(("bazel test", what, ""))
    for label in sorted(not_for_here):
        report.skipped.append((label, "not compatible with this platform"))
    return report


def add_runs(path, report):
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)
            what = run.get("what", "")
            if run["result"] == "passed":
                report.passed += 1
            elif run["result"] == "skipped":
                report.skipped.append((run["name"], one_line(what) or "no reason given"))
            else:
                report.failed.append((run["name"], shortened(what), run.get("log", "")))


def main(arguments):
    runs_path = ""
    if arguments[0] == "--runs":
        runs_path, arguments = arguments[1], arguments[2:]
    events_path, bazel_status = arguments[0], int(arguments[1])
    filtered = any(option.startswith("--test_filter") for option in arguments[2:])
    if os.path.exists(events_path) and os.path.getsize(events_path):
        report = count(events_path, filtered)
    else:
        report = Report()
    if bazel_status and not report.failed:
        what = "Bazel or a runner ended with status %d; see above" % bazel_status
        report.failed.append(("tools/test", what, ""))
    add_runs(runs_path, report)
    for name, reason in report.skipped:
        print("SKIPPED %s: %s" % (name, reason))
    for name, what, log in report.failed:
        print("FAILED  %s%s" % (name, ": " + what.strip() if what.strip() else ""))
        if log:
            print("        log: " + log)
    executed = report.passed + len(report.failed)
    if not executed:
        print("No test was executed.")
    print("%d passed, %d failed, %d skipped" % (report.passed, len(report.failed), len(report.skipped)))
    return 0 if executed and not report.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
