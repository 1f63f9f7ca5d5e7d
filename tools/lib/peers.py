"""Installs other people's programs that ours are compared with, and runs the tests of that.

    peers.py PEERS_FOLDER CACHE RUNS_FILE [--install] [NAME...]

PEERS_FOLDER/NAME holds `install` and tests `*_peer_test.py`; see tests/peers/README.md. With
--install each peer is installed into CACHE/peers/NAME first; without, only those are run that an
earlier --install has left there, and the others are noted as skipped. How each test case ended is
appended to RUNS_FILE, in the format of test_report.py. Exits with 2 for a name that no peer has.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys

MARKER = ".installed"  # holds the hash of the `install` that was run to its end
CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "unittest_cases.py")


def peer_names(folder):
    if not os.path.isdir(folder):
        return []
    return sorted(n for n in os.listdir(folder) if os.path.isfile(os.path.join(folder, n, "install")))


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def run(command, seconds, environment=None):
    """Returns the exit status, or why there is none. Ends the whole process group."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    except OSError as error:
        return "cannot be started: %s" % error
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return "did not end within %g s" % seconds
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


class Peers:
    def __init__(self, arguments):
        self.folder = os.path.abspath(arguments.folder)
        self.cache = os.path.abspath(arguments.cache)
        self.runs_file = os.path.abspath(arguments.runs_file)
        self.seconds = arguments.seconds

    def note(self, name, result, what):
        with open(self.runs_file, "a", encoding="utf-8") as runs:
            runs.write(json.dumps({"name": name, "result": result, "what": what}) + "\n")

    def home(self, peer):
        return os.path.join(self.cache, "peers", peer)

    def install(self, peer):
        script = os.path.join(self.folder, peer, "install")
        home = self.home(peer)
        marker = os.path.join(home, MARKER)
        os.makedirs(home, exist_ok=True)
        if os.path.exists(marker):
            os.remove(marker)
        status = run([script, home], self.seconds)
        if status != 0:
            what = status if isinstance(status, str) else "ended with status %d" % status
            self.note("peers/%s install" % peer, "failed", "%s; see above" % what)
            return False
        with open(marker, "w", encoding="ascii") as file:
            file.write(sha256_of(script) + "\n")
        return True

    def why_not_installed(self, peer):
        """Empty when it is installed."""
        how = "tools/test --peers %s installs it" % peer
        try:
            with open(os.path.join(self.home(peer), MARKER), encoding="ascii") as file:
                installed = file.read().strip()
        except OSError:
            return "not installed; " + how
        if installed != sha256_of(os.path.join(self.folder, peer, "install")):
            return "its install script has changed since it was installed; " + how
        return ""

    def test(self, peer):
        folder = os.path.join(self.folder, peer)
        tests = sorted(name for name in os.listdir(folder) if name.endswith("_peer_test.py"))
        if not tests:
            self.note("peers/" + peer, "failed", "has no *_peer_test.py")
        python = os.path.join(self.home(peer), "venv", "bin", "python")
        if not os.path.exists(python):
            python = "python3"
        environment = dict(os.environ, PEER_HOME=self.home(peer), PYTHONDONTWRITEBYTECODE="1",
                           PYTHONUNBUFFERED="1")
        for test in tests:
            label = "peers/%s/%s" % (peer, test)
            before = self.noted(label)
            print("==== %s" % label, flush=True)
            command = [python, CASES, os.path.join(folder, test), self.runs_file, label]
            status = run(command, self.seconds, environment)
            cases = self.noted(label)[len(before):]
            if status != 0 and "failed" not in cases:
                what = status if isinstance(status, str) else "ended with status %d" % status
                self.note(label, "failed", what)
            elif not cases:
                self.note(label, "failed", "ran no test case")

    def noted(self, label):
        """The results of a test file's cases so far."""
        if not os.path.exists(self.runs_file):
            return []
        with open(self.runs_file, encoding="utf-8") as lines:
            runs = [json.loads(line) for line in lines]
        return [one["result"] for one in runs if one["name"].split(" ")[0] == label]


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("cache")
    parser.add_argument("runs_file")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--install", action="store_true")
    # Building a peer from source, or a test with a real model, may take long.
    parser.add_argument("--seconds", type=float, default=3600)
    arguments = parser.parse_args(arguments)
    known = peer_names(arguments.folder)
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        print("tools/test: no peer is called %s; there are: %s" %
              (", ".join(unknown), ", ".join(known) or "none"), file=sys.stderr)
        return 2
    peers = Peers(arguments)
    for peer in arguments.names or known:
        if arguments.install:
            if peers.install(peer):
                peers.test(peer)
            continue
        reason = peers.why_not_installed(peer)
        if reason:
            peers.note("peers/" + peer, "skipped", reason)
        else:
            peers.test(peer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
