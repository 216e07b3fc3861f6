"""Measures the service on loopback: against predicting in process, many clients, many tasks, overload, and memory.

    python -m benchmarks.serve [--seconds 10] [--requests 10000]

The tasks are LoRAs over ast-mini, by name, with clips of a second; one row is of AST-base, with random weights. The
clients are this process, which shares the cores with the service; what that takes is measured with a bare server.
"""

import argparse
import base64
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from transformers import ASTConfig, ASTModel

from benchmarks import attach, http_load
from benchmarks.http_load import Connection, Load, request_bytes
from benchmarks.memory import memory_of
from benchmarks.rows import Row
from cl_ast.backbone import pretrained
from cl_ast.manager import Manager

_TASKS = 16
_CLIENTS = 16
_QUEUE = 32
_FEW = 8  # clients of the larger backbone, and its queue, so that a batch takes a second and not four
_LONGER = 3  # times as long as the others its loads take
_ROUNDS = {"ast-mini": 100, "AST-base": 40}
_TARGETS = {"ast-mini": 1.15, "AST-base": 1.03}
_ROUNDS_OF_LOADS = 5
_PATIENCE = 120.0  # seconds for LitServe to be ready


def served(registry: Path, *words: object) -> AbstractContextManager[tuple[int, int]]:
    """Serve a registry inside a block; yield the port and the id of the process."""
    command = ["-c", "import cli; cli.main()", "--registry", str(registry), "--device", "cpu", "serve", "--port", "0"]
    return _listening(*command, *map(str, words))


@contextmanager
def _listening(*words: str) -> Iterator[tuple[int, int]]:
    """Run a Python server inside the block whose first line ends with its port; yield that and the process's id."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=os.environ)
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
    clip = file.getvalue()
    with tempfile.TemporaryDirectory() as place:
        registry = Path(place) / "registry"
        attach.fill(registry, pretrained.load(pretrained.MINI, device="cpu"), _TASKS)
        sent = _Requests([request_bytes(f"/v1/classify?task=t{n}", clip, {}) for n in range(_TASKS)])
        with served(registry, "--queue", _QUEUE) as (port, process):
            rows = [_beside_predict("ast-mini", registry, port, clip, sent), *_loads(port, sent, seconds)]
            rows.append(_memory(port, process, sent, requests))
        rows.append(_beside_litserve(registry, clip, sent, seconds))
        large = Path(place) / "large"
        ASTModel(ASTConfig()).save_pretrained(large / "backbone")
        attach.fill(large / "registry", pretrained.load(str(large / "backbone"), device="cpu"), 1)
        with served(large / "registry", "--queue", _FEW) as (port, _):
            rows.append(_beside_predict("AST-base", large / "registry", port, clip, sent))
            rows.append(_overload_of_base(port, sent, _LONGER * seconds))
        return rows


@dataclass(frozen=True)
class _Requests:
    """The requests for a clip: one a task, ready to be sent."""

    requests: list[bytes]

    def first(self, _: int) -> bytes:
        """Return the request for the first task, whatever its number."""
        return self.requests[0]

    def any(self, number: int) -> bytes:
        """Return the request for one task after the other."""
        return self.requests[number % len(self.requests)]


def _beside_predict(backbone: str, registry: Path, port: int, clip: bytes, sent: _Requests) -> Row:
    """Return how much longer a clip takes over HTTP than in this process; the two take turns."""
    ours, theirs = [], []
    connection = Connection(port)
    with Manager.open(registry, device="cpu") as manager:
        list(manager.predict(io.BytesIO(clip), task="t0"))  # loads the backbone, while no connection waits
        for number in range(_ROUNDS[backbone] + 10):
            started = time.perf_counter()
            connection.answer(sent.first(number))
            middle = time.perf_counter()
            list(manager.predict(io.BytesIO(clip), task="t0"))
            if number >= 10:
                ours.append(middle - started)
                theirs.append(time.perf_counter() - middle)
    ratio = statistics.median(ours) / statistics.median(theirs)
    note = f"in process {1e3 * statistics.median(theirs):.1f} ms"
    taken = 1e3 * statistics.median(ours)
    return _row(f"a clip of a second, {backbone}", "Manager.predict", ratio, taken, "ms", _TARGETS[backbone], note)


def _loads(port: int, sent: _Requests, seconds: float) -> list[Row]:
    """Return rows of loads in turns, `_ROUNDS_OF_LOADS` of each: ratios of medians, with the range of the rates."""
    http_load.closed(port, sent.any, _CLIENTS, seconds / 5)  # all tasks are in memory then
    loads: dict[str, list[Load]] = {name: [] for name in ("alone", "one", "many", "full", "over", "beside")}
    for _ in range(_ROUNDS_OF_LOADS):
        loads["alone"].append(http_load.closed(port, sent.first, 1, seconds))
        loads["one"].append(http_load.closed(port, sent.first, _CLIENTS, seconds))
        loads["many"].append(http_load.closed(port, sent.any, _CLIENTS, seconds))
        loads["full"].append(http_load.closed(port, sent.first, _QUEUE, seconds))
        loads["over"].append(http_load.offered(port, sent.first, 4 * loads["full"][-1].rate, seconds))
        loads["beside"].append(_beside_bare(port, sent, loads["over"][-1].refused / seconds, seconds))
    rates = {name: statistics.median(load.rate for load in some) for name, some in loads.items()}
    spread = {name: _range([load.rate for load in some]) for name, some in loads.items()}
    late = {name: statistics.median(load.late() for load in loads[name]) for name in ("full", "over")}
    service = statistics.median(taken for load in loads["alone"] for taken in load.answered)
    refusals = [taken for load in loads["over"] for taken in load.refusals]
    refused = statistics.median(refusals) if refusals else 0.0
    surplus = (
        f"{sum(load.refused for load in loads['over']):,} refusals; with as many requests to a bare server beside, "
        f"{rates['beside'] / rates['full']:.2f} ({spread['beside']} clips/s)"
    )
    tasks, full = f"{_TASKS} tasks, {_CLIENTS} clients", f"{_QUEUE} clients"

    def rate(what: str, against: str, name: str, beside: str, target: float, note: str = "") -> Row:
        ratio = rates[name] / rates[beside]
        return _row(what, against, ratio, rates[name], "clips/s", target, note, spread[name], least=True)

    return [
        rate(f"{_CLIENTS} clients", "1 client", "one", "alone", 1.8),
        rate(tasks, "1 task", "many", "one", 0.9),
        rate("offered 4 times that, ast-mini", full, "over", "full", 0.95, surplus),
        _row("their 99th percentile", full, late["over"] / late["full"], 1e3 * late["over"], "ms", 2, ""),
        _row("a refusal", "one answer", refused / service, 1e3 * refused, "ms", 0.05, "median, as the client sees it"),
    ]


def _overload_of_base(port: int, sent: _Requests, seconds: float) -> Row:
    """Return what is answered of four times the load with AST-base, for which a request is rare."""
    full, over = [], []
    for _ in range(_ROUNDS_OF_LOADS):
        full.append(http_load.closed(port, sent.first, _FEW, seconds).rate)
        over.append(http_load.offered(port, sent.first, 4 * full[-1], seconds).rate)
    ratio, rate = statistics.median(over) / statistics.median(full), statistics.median(over)
    what, against = "offered 4 times that, AST-base", f"{_FEW} clients"
    return _row(what, against, ratio, rate, "clips/s", 0.95, "", f"{min(over):.2f} to {max(over):.2f}", least=True)


def _beside_bare(port: int, sent: _Requests, surplus: float, seconds: float) -> Load:
    """Load the service with as many clients as it lets in, and send a surplus of requests a second to a bare server.

    That server does nothing else, so that the loss is what sending takes on the same cores, whatever a service does.
    """
    bare = _listening("-m", "benchmarks.bare_server", str(len(sent.first(0))))
    with bare as (other, _), ThreadPoolExecutor(1) as pool:
        sending = pool.submit(http_load.offered, other, sent.first, surplus, seconds)
        found = http_load.closed(port, sent.first, _QUEUE, seconds)
        sending.result()
    return found


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.0f} to {max(values):.0f}"


def _memory(port: int, process: int, sent: _Requests, requests: int) -> Row:
    """Return the growth of the service's memory from the first tenth of some requests to the last."""
    connection = Connection(port)
    sizes = []
    for tenth in range(10):
        for number in range(requests // 10):
            connection.answer(sent.any(number))
        if tenth in (0, 9):
            sizes.append(sum(memory_of("VmRSS", one) for one in (process, *_children(process))))
    return _row(f"memory after {requests:,} requests", "the first tenth", sizes[1] / sizes[0], sizes[1], "MB", 1.02, "")


def _children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _beside_litserve(registry: Path, clip: bytes, sent: _Requests, seconds: float) -> Row:
    """Return how many more clips of many tasks are answered than by LitServe, with batches or without, the better.

    Service and LitServe take turns; each is started again every time.
    """
    audio, kind = base64.b64encode(clip).decode(), {"Content-Type": "application/json"}
    bodies = [json.dumps({"task": f"t{n}", "audio": audio}).encode() for n in range(_TASKS)]
    theirs = _Requests([request_bytes("/predict", body, kind) for body in bodies])

    def rate(port: int, sent: _Requests) -> float:
        http_load.closed(port, sent.any, _CLIENTS, seconds / 5)
        return http_load.closed(port, sent.any, _CLIENTS, seconds).rate

    ours: list[float] = []
    rates: dict[int, list[float]] = {1: [], 8: []}
    for _ in range(_ROUNDS_OF_LOADS):
        with served(registry) as (port, _):
            ours.append(rate(port, sent))
        for rows, found in rates.items():
            with _litserve(registry, rows) as port:
                found.append(rate(port, theirs))
    best = max(rates, key=lambda rows: statistics.median(rates[rows]))
    middle, their = statistics.median(ours), statistics.median(rates[best])
    note = f"LitServe {their:.0f} clips/s ({_range(rates[best])}), in batches of {best}"
    what = f"{_TASKS} tasks, {_CLIENTS} clients"
    return _row(what, "LitServe", middle / their, middle, "clips/s", 1.5, note, _range(ours), least=True)


@contextmanager
def _litserve(registry: Path, rows: int) -> Iterator[int]:
    """Serve a registry with LitServe inside the block; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["-m", "benchmarks.litserve_app", str(registry), str(port), str(rows)]
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
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
        with suppress(ProcessLookupError):  # which outlives it for a while, and would take the processor from the next
            os.killpg(process.pid, signal.SIGKILL)


def _is_healthy(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
        return bool(reply.status == 200)
    return False


def _row(
    what: str, against: str, ratio: float, value: float, unit: str, target: float, note: str, spread: str = "one run",
    *, least: bool = False,
) -> Row:  # fmt: skip
    met = ratio >= target if least else ratio <= target
    return Row(
        f"service: {what}", against, ratio, value, unit, spread, f"{'≥' if least else '≤'} {target:g}", met, note
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--requests", type=int, default=10_000, help="after how many the memory is compared")
    given = parser.parse_args()
    for row in measure(given.seconds, given.requests):
        print(row)
