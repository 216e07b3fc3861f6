"""Measures the service on loopback: against predicting in process, many clients, many tasks, overload, and memory.

    python -m benchmarks.serve [--seconds 10] [--requests 10000]

The tasks are LoRAs over ast-mini, by name, with clips of a second; one row is of AST-base, with random weights. The
clients are threads of this process, so they take time from the same cores as the service.
"""

import argparse
import base64
import http.client
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import soundfile
from transformers import ASTConfig, ASTModel

from benchmarks import attach
from benchmarks.memory import memory_of
from benchmarks.rows import Row
from cl_ast.backbone import pretrained
from cl_ast.manager import Manager

_TASKS = 16
_CLIENTS = 16
_QUEUE = 32
_ROUNDS = {"ast-mini": 100, "AST-base": 40}
_TARGETS = {"ast-mini": 1.15, "AST-base": 1.03}
_PATIENCE = 120.0  # seconds for LitServe to be ready

Request = Callable[[str], tuple[str, bytes, dict[str, str]]]
"""Returns the path, the body and the headers with which a task is asked."""


class Load:
    """What some clients got of a service.

    Attributes:
        answered, refused: how long each answer and each refusal took, in seconds.
        rate: answers a second.
    """

    def __init__(
        self, port: int, request: Request, clients: int, seconds: float, task: Callable[[int], str], period: float = 0.0
    ) -> None:
        """
        Args:
            request: says how a task is asked.
            task: names the task of a request by its number.
            period: each client asks once in so many seconds; 0 for as soon as it has an answer.
        """
        self.answered: list[float] = []
        self.refused: list[float] = []
        end = time.monotonic() + seconds

        def ask(client: int) -> None:
            connection, count = http.client.HTTPConnection("127.0.0.1", port), client
            while time.monotonic() < end:
                count += 1
                started = time.monotonic()
                status = _ask(connection, *request(task(count)))
                taken = time.monotonic() - started
                (self.answered if status == 200 else self.refused).append(taken)
                time.sleep(max(0.0, period - taken))

        threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.rate = len(self.answered) / seconds

    def late(self) -> float:
        """Return how long 99 of 100 answers took at most."""
        return sorted(self.answered)[int(0.99 * len(self.answered))]


def _ask(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> int:
    connection.request("POST", path, body, headers)
    reply = connection.getresponse()
    reply.read()
    return reply.status


@contextmanager
def served(registry: Path, *words: object) -> Iterator[tuple[int, int]]:
    """Serve a registry inside the block; yield the port and the id of the process."""
    command = [sys.executable, "-c", "import cli; cli.main()", "--registry", str(registry), "--device", "cpu", "serve"]
    process = subprocess.Popen(
        [*command, "--port", "0", *map(str, words)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.wait()


def measure(seconds: float = 10.0, requests: int = 10_000) -> list[Row]:
    """Return a row for each target.

    Args:
        seconds: of each load.
        requests: after how many the memory is compared.
    """
    file = io.BytesIO()
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(file, samples, 16_000, format="WAV", subtype="PCM_16")
    with tempfile.TemporaryDirectory() as place:
        registry = Path(place) / "registry"
        attach.fill(registry, pretrained.load(pretrained.MINI, device="cpu"), _TASKS)
        with served(registry, "--queue", _QUEUE) as (port, process):
            clip = file.getvalue()

            def request(task: str) -> tuple[str, bytes, dict[str, str]]:
                return f"/v1/classify?task={task}", clip, {}

            rows = [_beside_predict("ast-mini", registry, port, clip, request), *_loads(port, request, seconds)]
            rows.append(_memory(port, process, request, requests))
            many = Load(port, request, _CLIENTS, seconds, _any_task)  # last, so that it is near LitServe's in time
        rows += _beside_litserve(registry, clip, many, seconds)
        large = Path(place) / "large"
        ASTModel(ASTConfig()).save_pretrained(large / "backbone")
        attach.fill(large / "registry", pretrained.load(str(large / "backbone"), device="cpu"), 1)
        with served(large / "registry") as (port, _):
            rows.append(_beside_predict("AST-base", large / "registry", port, clip, request))
        return rows


def _any_task(count: int) -> str:
    return f"t{count % _TASKS}"


def _beside_predict(backbone: str, registry: Path, port: int, clip: bytes, request: Request) -> Row:
    """Return how much longer a clip takes over HTTP than in this process; the two take turns."""
    ours, theirs = [], []
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with Manager.open(registry, device="cpu") as manager:
        list(manager.predict(io.BytesIO(clip), task="t0"))  # loads the backbone, while no connection waits
        for number in range(_ROUNDS[backbone] + 10):
            started = time.perf_counter()
            _ask(connection, *request("t0"))
            middle = time.perf_counter()
            list(manager.predict(io.BytesIO(clip), task="t0"))
            if number >= 10:
                ours.append(middle - started)
                theirs.append(time.perf_counter() - middle)
    ratio = statistics.median(ours) / statistics.median(theirs)
    note = f"in process {1e3 * statistics.median(theirs):.1f} ms"
    taken = 1e3 * statistics.median(ours)
    return _row(f"a clip of a second, {backbone}", "Manager.predict", ratio, taken, "ms", _TARGETS[backbone], note)


def _loads(port: int, request: Request, seconds: float) -> list[Row]:
    def first(_: int) -> str:
        return "t0"

    Load(port, request, _CLIENTS, seconds / 5, _any_task)  # all tasks are in memory then
    alone = Load(port, request, 1, seconds, first)
    one = Load(port, request, _CLIENTS, seconds, first)
    many = Load(port, request, _CLIENTS, seconds, _any_task)
    full = Load(port, request, _QUEUE, seconds, first)
    over = Load(port, request, 4 * _QUEUE, seconds, first, 4 * _QUEUE / (4 * full.rate))
    service = statistics.median(alone.answered)
    refused = statistics.median(over.refused) if over.refused else 0.0
    note = f"{len(over.refused):,} refusals"
    tasks = f"{_TASKS} tasks, {_CLIENTS} clients"
    return [
        _row(f"{_CLIENTS} clients", "1 client", one.rate / alone.rate, one.rate, "clips/s", 1.8, "", least=True),
        _row(tasks, "1 task", many.rate / one.rate, many.rate, "clips/s", 0.9, "", least=True),
        _row(
            "offered 4 times that",
            f"{_QUEUE} clients",
            over.rate / full.rate,
            over.rate,
            "clips/s",
            0.95,
            note,
            least=True,
        ),
        _row("their 99th percentile", f"{_QUEUE} clients", over.late() / full.late(), 1e3 * over.late(), "ms", 2, ""),
        _row("a refusal", "one answer", refused / service, 1e3 * refused, "ms", 0.05, "with the clients' own time"),
    ]


def _memory(port: int, process: int, request: Request, requests: int) -> Row:
    """Return the growth of the service's memory from the first tenth of some requests to the last."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    sizes = []
    for tenth in range(10):
        for number in range(requests // 10):
            _ask(connection, *request(_any_task(number)))
        if tenth in (0, 9):
            sizes.append(memory_of("VmRSS", process))
    return _row(f"memory after {requests:,} requests", "the first tenth", sizes[1] / sizes[0], sizes[1], "MB", 1.02, "")


def _beside_litserve(registry: Path, clip: bytes, ours: Load, seconds: float) -> list[Row]:
    """Return how many more clips of many tasks are answered than by LitServe, with batches or without, the better."""

    def request(task: str) -> tuple[str, bytes, dict[str, str]]:
        body = json.dumps({"task": task, "audio": base64.b64encode(clip).decode()}).encode()
        return "/predict", body, {"Content-Type": "application/json"}

    rates = {}
    for rows in (1, 8):
        with _litserve(registry, rows) as port:
            Load(port, request, _CLIENTS, seconds / 5, _any_task)
            rates[rows] = Load(port, request, _CLIENTS, seconds, _any_task).rate
    best = max(rates, key=lambda rows: rates[rows])
    note = f"LitServe {rates[best]:.0f} clips/s, in batches of {best}"
    what = f"{_TASKS} tasks, {_CLIENTS} clients"
    return [_row(what, "LitServe", ours.rate / rates[best], ours.rate, "clips/s", 1.5, note, least=True)]


@contextmanager
def _litserve(registry: Path, rows: int) -> Iterator[int]:
    """Serve a registry with LitServe inside the block; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["-m", "benchmarks.litserve_app", str(registry), str(port), str(rows)]
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + _PATIENCE
        while not _is_healthy(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("LitServe did not start")
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # with the process that has the model
        process.wait()


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with suppress(OSError):
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    return False


def _row(
    what: str, against: str, ratio: float, value: float, unit: str, target: float, note: str, *, least: bool = False
) -> Row:
    met = ratio >= target if least else ratio <= target
    return Row(
        f"service: {what}", against, ratio, value, unit, "one run", f"{'≥' if least else '≤'} {target:g}", met, note
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--requests", type=int, default=10_000, help="after how many the memory is compared")
    given = parser.parse_args()
    for row in measure(given.seconds, given.requests):
        print(row)
