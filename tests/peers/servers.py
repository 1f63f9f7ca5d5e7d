"""Other people's model servers as processes, for the tests of several peers.

    with servers.llama_cpp(home, "model.gguf", "-np", "4") as server:
        status, body = server.post("/completion", {"prompt": [2, 3], "n_predict": 1})

Each listens on 127.0.0.1 on a port that was free, is ready when it says so, is ended with all it
started when the block is left, and keeps its log in a temporary folder until then (`server.log()`;
part of the error when it does not get ready). `home` is the peer's PEER_HOME. Further arguments go
to the server as they are: everything else is its default.
"""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time


class ServerError(Exception):
    pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def descendants(pid):
    """Process ids of what `pid` started, and those started."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = pathlib.Path("/proc", name, "stat").read_text().rsplit(")", 1)[1].split()[1]
        except (OSError, IndexError):  # it has ended by now
            continue
        parents.setdefault(int(parent), []).append(int(name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


class Server:
    """A process that was started and got ready. Made by the functions below."""

    def __init__(self, name, command, port, is_ready, environment=None, seconds=300):
        self.name, self.port = name, port
        self.address = f"127.0.0.1:{port}"
        self._folder = tempfile.TemporaryDirectory(prefix=f"peer_{name}_")
        self._log = pathlib.Path(self._folder.name) / "log"
        with open(self._log, "wb") as log:
            # In the process group of the test: what ends the test ends this too.
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, cwd=self._folder.name,
                env=dict(os.environ, **(environment or {})))
        try:
            self._wait(is_ready, time.monotonic() + seconds, seconds)
        except BaseException:
            self.stop()
            raise

    def _wait(self, is_ready, deadline, seconds):
        while not is_ready(self):
            if self.process.poll() is not None:
                raise ServerError(f"{self.name} ended with status {self.process.returncode} before "
                                  f"it was ready; its log ends with\n{self.log()[-20000:]}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} was not ready within {seconds} s; its log ends "
                                  f"with\n{self.log()[-20000:]}")
            try:  # the pause between two questions; cut short when the process ends
                self.process.wait(0.1)
            except subprocess.TimeoutExpired:
                pass

    def log(self):
        return self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self, seconds=20):
        """Asks it to end, kills what has not ended in time. Returns the exit status."""
        if self.process.poll() is None:
            started = descendants(self.process.pid)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                started += descendants(self.process.pid)
                self.process.kill()
                self.process.wait()
            for pid in started:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self._folder.cleanup()
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def request(self, method, path, body=None, seconds=120):
        """Returns (status, body): parsed where it is JSON, else as text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", errors="replace")
        finally:
            connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, body):
        return self.request("POST", path, body)


def _answers_health(server):
    try:
        return server.request("GET", "/health", seconds=5)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def llama_cpp(home, model, *arguments):
    """llama-server with the GGUF file `model`; HTTP."""
    port = free_port()
    command = [pathlib.Path(home) / "llama-server", "--model", model, "--host", "127.0.0.1",
               "--port", port, "--offline", *arguments]
    return Server("llama_cpp", command, port, _answers_health)


def vllm(home, folder, *arguments):
    """`vllm serve` with the Hugging Face folder `folder`, in fp32 on the CPU; HTTP."""
    port = free_port()
    command = [pathlib.Path(home) / "venv/bin/vllm", "serve", folder, "--host", "127.0.0.1",
               "--port", port, "--dtype", "float32", "--enforce-eager", *arguments]
    # Nothing is asked of, or told to, anybody outside; 1 GB holds more than a test's sequences.
    environment = {"VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1",
                   "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    # Half a minute on an idle machine; some minutes on a busy one, most of them imports.
    return Server("vllm", command, port, _answers_health, environment, seconds=900)


def triton(home, folder, *arguments, repository=None):
    """tritonserver with triton/models, or those of `repository`; gRPC. Call it from the peer's venv.

    All of the models compute what the Hugging Face folder `folder` holds.
    """
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    home, here = pathlib.Path(home), pathlib.Path(__file__).resolve().parent
    port = free_port()

    def is_ready(server):
        with grpc.insecure_channel(server.address) as channel:
            try:
                return service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerReady(
                    service_pb2.ServerReadyRequest(), timeout=5).ready
            except grpc.RpcError:
                return False

    site = next((home / "venv/lib").glob("python3.*/site-packages"))
    libraries = [str(home / "libpython")] + os.environ.get("LD_LIBRARY_PATH", "").split(":")
    command = [home / "tritonserver/bin/tritonserver", "--model-repository",
               repository or here / "triton/models", "--backend-directory",
               home / "tritonserver/backends", "--allow-http=false", "--allow-metrics=false",
               "--grpc-address=127.0.0.1", f"--grpc-port={port}", *arguments]
    environment = {"LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
                   "PYTHONPATH": f"{site}:{here}",  # model.py reads it
                   "PYTHONDONTWRITEBYTECODE": "1",  # or the checkout would get __pycache__
                   "UNLEARN_PEER_MODEL": str(folder)}
    return Server("triton", command, port, is_ready, environment)
