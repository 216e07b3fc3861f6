"""The service is two processes: who is sent a signal, what becomes of one when the other dies, and who counts."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.served import PATIENCE, Reply, Server, served, until
from tests.cli.test_serving_limits import sound

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the processes are looked for in /proc"),
]


def listener(server: Server) -> int:
    """Return the id of the process that speaks HTTP."""
    number = server.process.pid
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    (found,) = [one for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
    return int(found)


def is_alive(process: int) -> bool:
    """Return whether a process runs, which one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def refuses_connections(server: Server) -> bool:
    try:
        socket.create_connection(server.address, timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_both_get_lets_them_answer_what_was_accepted(
    stages: Mapping[str, Path], number: signal.Signals
) -> None:
    """A service manager sends SIGTERM to all processes of a service, and a terminal Ctrl-C."""
    with served(stages["chirps"]) as server, ThreadPoolExecutor(1) as pool:
        other = listener(server)
        asked = pool.submit(server.ask, "/v1/classify?task=tones&window=0.5&hop=0.1", sound(20, "OGG", 0.1))
        until(lambda: b"cl_ast_requests_inside 1.0" in server.ask("/metrics").body)
        os.kill(other, number)
        server.process.send_signal(number)
        assert asked.result().status == 200
        assert server.process.wait(PATIENCE) == 0
        assert not is_alive(other)


def test_without_the_process_that_speaks_http_the_service_ends_and_says_so(stages: Mapping[str, Path]) -> None:
    with served(stages["chirps"]) as server:
        os.kill(listener(server), signal.SIGKILL)
        assert server.process.wait(PATIENCE) == 1
    assert any("the process that speaks HTTP has ended" in line for line in server.errors)


def test_without_the_process_that_computes_nothing_listens(stages: Mapping[str, Path]) -> None:
    with served(stages["chirps"]) as server:
        other = listener(server)
        server.process.kill()
        until(lambda: not is_alive(other))
        assert refuses_connections(server)


def test_refusals_are_counted_by_reason_and_status(stages: Mapping[str, Path]) -> None:
    """They are made in one process and counted in the other, before anyone can ask."""
    clip = sound(1, "WAV", 0.1)

    def counted(server: Server) -> list[float]:
        text = server.ask("/metrics").body.decode()
        patterns = [r'cl_ast_rejected_total\{reason="queue_full"\} (\S+)']
        patterns.append(r'cl_ast_requests_total\{route="other",status="429"\} (\S+)')
        return [float(found[1]) if (found := re.search(one, text)) else 0.0 for one in patterns]

    def ask(server: Server, _: int) -> Reply:
        return server.ask("/v1/classify?task=tones", clip)

    with served(stages["chirps"], "--queue", 1) as server, ThreadPoolExecutor(8) as pool:
        assert counted(server) == [0, 0]
        refused = [one for one in pool.map(lambda number: ask(server, number), range(40)) if one.status == 429]
        assert refused and {one.code for one in refused} == {"overloaded"}
        assert counted(server)[0] == len(refused)
        assert 0 < counted(server)[1] <= len(refused)  # a few may have reached the app
        for _ in range(5):  # the place is free again when an answer has come
            assert ask(server, 0).status == 200


def test_a_large_body_comes_through_whole_and_one_that_is_too_large_is_refused_before_it_comes(
    stages: Mapping[str, Path],
) -> None:
    with served(stages["chirps"], "--max-upload", "60MB") as server:
        started = time.monotonic()
        answered = server.ask("/v1/classify?task=tones", sound(1600, "WAV", 0.1)).json  # 51 MB
        assert answered["usage"]["audio_seconds"] == 1600
        assert time.monotonic() - started < PATIENCE
        with socket.create_connection(server.address, timeout=PATIENCE) as raw:
            head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000000\r\n"
            raw.sendall(head + b"Expect: 100-continue\r\n\r\n")
            assert raw.recv(2**16).startswith(b"HTTP/1.1 413 ")
