"""Runs the fuzzers of tests/fuzz, one after the other.

    fuzz.py PROGRAMS_FOLDER FUZZ_FOLDER CACHE RUNS_FILE SECONDS NAME...

PROGRAMS_FOLDER holds NAME_fuzz, FUZZ_FOLDER corpus/NAME and perhaps NAME.dict. Inputs that reach
new code are kept in CACHE/fuzz/corpus/NAME, from where the next run goes on; one that fails is kept
in CACHE/fuzz/findings/NAME. Prints what each came to, and appends it to RUNS_FILE (the format is in
test_report.py).
"""

import json
import os
import re
import subprocess
import sys
import time

LIMITS = [
    "-timeout=10",  # seconds for one input
    "-rss_limit_mb=2048",
    "-max_len=16384",
    "-print_final_stats=1",
]
GRACE = 120  # seconds for the corpus to load and the last input to end


def numbers(log):
    """Executions of all its runs, edges and features as libFuzzer wrote them last; 0 where it did
    not."""
    def last(pattern):
        found = re.findall(pattern, log)
        return int(found[-1]) if found else 0
    counts = re.findall(r"stat::number_of_executed_units: (\d+)", log)
    executions = sum(map(int, counts)) or last(r"(?m)^#(\d+)\s")
    return executions, last(r"cov: (\d+)"), last(r"ft: (\d+)")


def what_failed(log):
    for pattern in (r"PROPERTY BROKEN: .*", r"SUMMARY: .*", r"ERROR: .*", r"runtime error: .*"):
        found = re.search(pattern, log)
        if found:
            return found.group(0)
    return "ended without saying why"


def run_program(command, log_path, seconds):
    """Its exit status; None where it could not be started or did not end. Appends to the log."""
    environment = dict(os.environ, UBSAN_OPTIONS="print_stacktrace=1")
    with open(log_path, "ab") as log_file:
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=subprocess.STDOUT,
                env=environment, timeout=seconds + GRACE, check=False).returncode
        except OSError as error:
            log_file.write(("ERROR: %s\n" % error).encode())
        except subprocess.TimeoutExpired:
            log_file.write(b"ERROR: did not end in time\n")
    return None


def only_seemed_slow(program, inputs, log_path):
    """Whether all took too long, and end in time when each is tried alone. libFuzzer goes by the
    clock on the wall, and a busy or virtual machine may stand still for a while."""
    return bool(inputs) and all(
        os.path.basename(path).startswith(("timeout-", "slow-unit-")) and
        run_program([program, *LIMITS, path], log_path, 0) == 0 for path in inputs)


def run_one(name, programs, folder, cache, seconds):
    """Returns the run for test_report.py."""
    corpus = os.path.join(cache, "fuzz", "corpus", name)
    findings = os.path.join(cache, "fuzz", "findings", name)
    logs = os.path.join(cache, "fuzz", "logs")
    for path in (corpus, findings, logs):
        os.makedirs(path, exist_ok=True)
    program = os.path.join(programs, name + "_fuzz")
    options = [*LIMITS, "-artifact_prefix=%s/" % findings]
    dictionary = os.path.join(folder, name + ".dict")
    if os.path.exists(dictionary):
        options.append("-dict=" + dictionary)
    log_path = os.path.join(logs, name + ".log")
    open(log_path, "wb").close()
    label = "fuzz/%s" % name
    before = set(os.listdir(findings))
    started = time.monotonic()
    left = seconds
    while True:
        status = run_program(
            [program, "-max_total_time=%d" % left, *options, corpus,
             os.path.join(folder, "corpus", name)], log_path, left)
        new = sorted(os.path.join(findings, one) for one in set(os.listdir(findings)) - before)
        if not only_seemed_slow(program, new, log_path):
            break
        print("%s: an input took too long, but not when tried again: the machine was busy" % label,
              flush=True)
        for path in new:
            os.remove(path)
        new = []
        left = int(started + seconds - time.monotonic())
        if status == 0 or left < 1:
            status = 0
            break
    with open(log_path, encoding="utf-8", errors="replace") as log_file:
        log = log_file.read()
    executions, edges, features = numbers(log)
    print("%s: %d executions in %.0f s, %d edges and %d features covered, %d inputs kept" %
          (label, executions, time.monotonic() - started, edges, features, len(os.listdir(corpus))),
          flush=True)
    for path in new:
        print("%s: FINDING %s" % (label, path), flush=True)
    if status != 0 or new:
        what = what_failed(log) + "".join("; input: " + path for path in new)
        return {"name": label, "result": "failed", "what": what, "log": log_path}
    if not executions:
        return {"name": label, "result": "failed", "what": "executed nothing", "log": log_path}
    return {"name": label, "result": "passed", "what": ""}


def main(arguments):
    programs, folder, cache, runs_file, seconds = arguments[:5]
    for name in arguments[5:]:
        run = run_one(name, programs, folder, cache, int(seconds))
        with open(runs_file, "a", encoding="utf-8") as runs:
            runs.write(json.dumps(run) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
