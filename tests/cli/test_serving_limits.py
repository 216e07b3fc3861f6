"""What the service refuses, and that this costs nobody else an answer: keys, foreign pages, overload, the end."""

import asyncio
import base64
import io
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import uvicorn
from hypothesis import HealthCheck, given, settings
from starlette.responses import Response
from uvicorn.server import ServerState
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from cl_ast.serving.connections import bounded_protocol
from cl_ast.serving.uploads import safe_name
from tests.cli.conftest import Run
from tests.cli.served import PATIENCE, Reply, Server, served, until

DRAIN = 40  # seconds
KEY = "a key of 32 letters, not to guess".replace(" ", "-")


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps what is temporary."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(stages: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[Server]:
    """One that takes little, and demands a key."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(f"another-key-of-somebody-else\n{KEY}\n")
    limits = (
        "--max-upload",
        "2MB",
        "--max-seconds",
        90,
        "--queue",
        8,
        "--timeout",
        5,
        "--no-page",
        "--api-key-file",
        keys,
    )
    with served(stages["chirps"], *limits, key=KEY, temporary=temporary) as found:
        yield found


@pytest.fixture(scope="module")
def clip(data: Path) -> bytes:
    return (data / "tones" / "low" / "00.wav").read_bytes()


def sound(seconds: float, form: str = "FLAC", loud: float = 0.0) -> bytes:
    file = io.BytesIO()
    samples = loud * np.random.default_rng(0).normal(size=round(seconds * 16_000)).astype(np.float32)
    soundfile.write(file, samples, 16_000, format=form)
    return file.getvalue()


@pytest.mark.slow
def test_without_a_key_nothing_but_health_is_answered(server: Server, clip: bytes) -> None:
    for wrong in ("", "Bearer", f"Bearer {KEY}x", f"Basic {KEY}", KEY, "Bearer \xe9"):
        reply = server.ask("/v1/classify", clip, Authorization=wrong)
        assert (reply.code, reply.status) == ("unauthorized", 401) and reply.headers["www-authenticate"] == "Bearer"
        assert server.ask("/openapi.json", Authorization=wrong).code == "unauthorized"
        for path in ("/livez", "/readyz", "/metrics"):
            assert server.ask(path, Authorization=wrong).status == 200
        assert server.ask("/", Authorization=wrong).code == server.ask("/page/app.js").code == "not_found"
    assert server.ask("/v1/classify", clip).status == 200
    assert server.ask("/v1/classify", clip, Authorization="bearer another-key-of-somebody-else").status == 200


def test_a_web_page_sends_the_key_of_a_stream_as_a_subprotocol(server: Server) -> None:
    url = server.url.replace("http", "ws") + "/v1/stream"

    def offered(key: str) -> list[Subprotocol]:
        text = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
        return [Subprotocol("cl-ast"), Subprotocol(f"cl-ast.key.{text}")]

    for key in (KEY, "another-key-of-somebody-else"):
        with connect(url, subprotocols=offered(key)) as socket:
            assert socket.subprotocol == "cl-ast"  # and the key does not come back
            socket.send('{"type": "session.update"}')
            assert json.loads(socket.recv(20))["type"] == "session.created"
    with connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as socket:
        assert socket.subprotocol is None
    for wrong in (
        offered(f"{KEY}x"),
        offered("")[:1],
        [Subprotocol("cl-ast.key.%%%")],
        [Subprotocol("plain-key-1234567890")],
    ):
        with pytest.raises(InvalidStatus, match="403"), connect(url, subprotocols=wrong):
            pass
    name = offered(KEY)[1]
    assert server.ask("/v1/models", Authorization="", Sec_WebSocket_Protocol=name).code == "unauthorized"


def test_the_hubs_client_sends_the_key_as_its_token(
    server: Server, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import InferenceClient, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert InferenceClient(model=f"{server.url}/hf/tones", token=KEY).audio_classification(clip)


@pytest.mark.slow
def test_any_other_address_needs_a_key_and_a_key_file_has_keys(
    stages: Mapping[str, Path], run: Run, tmp_path: Path
) -> None:
    home = stages["chirps"]
    run(home, "serve", "--host", "0.0.0.0").refused("0.0.0.0", "--api-key-file")
    (tmp_path / "keys").write_text("short\n")
    run(home, "serve", "--api-key-file", tmp_path / "keys").refused("16 characters")
    run(home, "serve", "--api-key-file", tmp_path / "none").refused("cannot be read")
    run(home, "serve", "--pin", "nothing", "--port", "0").refused("nothing")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run(home, "serve", "--port", taken.getsockname()[1]).refused("cannot listen", "--port")
    assert run(home, "serve", "--max-upload", "lots").code == 2


def test_other_web_pages_are_not_answered(server: Server, clip: bytes) -> None:
    own = server.url.removeprefix("http://")
    assert server.ask("/v1/classify", clip, Origin=server.url).status == 200
    for origin in ("https://evil.example", "null", f"{server.url}0"):
        assert server.ask("/v1/classify", clip, Origin=origin).code == "forbidden"
    behind_a_proxy = {"Host": "sounds.example", "Origin": "https://sounds.example"}
    assert server.ask("/v1/classify", clip, **behind_a_proxy).status == 200
    reply = server.ask("/v1/classify", b"", "OPTIONS", Origin="http://evil.example", Host=own)
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_tasks_are_not_changed_without_the_option(server: Server) -> None:
    assert server.form("/v1/tasks", [("adapter_config.json", b"{}")]).code == "forbidden"
    assert server.ask("/v1/tasks/tones", method="DELETE").code == "forbidden"


def test_malformed_input_is_named_and_answered_in_one_shape(server: Server, clip: bytes) -> None:
    cases: dict[tuple[str, bytes | None, str], str] = {
        ("/v1/classify", b"", ""): "unreadable_audio",
        ("/v1/classify", b"RIFF\0\0\0\0WAVE", ""): "unreadable_audio",
        ("/v1/classify", clip[:100], ""): "unreadable_audio",
        ("/v1/classify?task=nothing", clip, ""): "unknown_task",
        ("/v1/classify?task=/../..", clip, ""): "unknown_task",
        ("/v1/classify?top_k=0", clip, ""): "invalid",
        ("/v1/classify?top_k=many", clip, ""): "invalid",
        ("/v1/classify?window=99", clip, ""): "invalid",
        ("/v1/classify?window=nan", clip, ""): "invalid",
        ("/v1/classify?hop=1", clip, ""): "invalid",
        ("/v1/classify?timeout_ms=0", clip, ""): "invalid",
        ("/v1/classify", b"--x", "multipart/form-data; boundary=x"): "invalid",
        ("/v1/classify", b"", "multipart/form-data"): "invalid",
        ("/hf/tones", b"{", "application/json"): "invalid",
        ("/hf/tones", b'{"inputs": "%%%"}', "application/json"): "invalid",
        ("/hf/tones", b'{"inputs": "", "parameters": {"top_k": -1}}', "application/json"): "invalid",
        ("/hf/tones", b'{"inputs": "bm8="}', "application/json"): "unreadable_audio",
        ("/hf/nothing", clip, ""): "unknown_task",
        ("/nothing", clip, ""): "not_found",
        ("/v1/tasks/nothing", None, ""): "unknown_task",
        ("/v1/classify", None, ""): "not_allowed",
    }
    for (path, body, kind), code in cases.items():
        reply = server.ask(path, body, **({"Content_Type": kind} if kind else {}))
        assert reply.code == code, (path, reply)
        assert reply.status < 500
    assert server.form("/v1/classify", [("a.wav", clip)], name="audio").code == "invalid"
    assert server.ask("/v1/classify", clip).status == 200


def test_names_of_files_are_shown_and_never_used() -> None:
    assert safe_name("../../etc/passwd") == "passwd" == safe_name("C:\\windows\\passwd")
    assert safe_name("a\x1b]52;c;eA==\x07\u202e.wav") == "a\\x1b]52;c;eA==\\x07\\u202e.wav"
    assert safe_name("") == safe_name("/") == "audio" and len(safe_name("x" * 10_000)) == 100


@pytest.mark.slow
def test_too_large_is_known_from_the_head_while_reading_and_by_what_is_decoded(server: Server) -> None:
    connection = server.connect()
    connection.putrequest("POST", "/v1/classify")
    connection.putheader("Authorization", f"Bearer {KEY}")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    assert connection.getresponse().status == 413  # before a byte of the body was sent
    connection.close()

    with socket.create_connection(server.address) as raw:
        head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with suppress(BrokenPipeError, ConnectionResetError):  # it has answered and closed
            for _ in range(64):
                raw.sendall(b"10000\r\n" + bytes(2**16) + b"\r\n")
            assert b" 413 " in raw.recv(2**16)

    quiet = sound(600)
    assert len(quiet) < 200_000  # ten minutes of silence are a small file
    reply = server.ask("/v1/classify", quiet)
    assert (reply.code, reply.status) == ("too_large", 413) and "90 s" in reply.json["error"]["message"]
    assert server.ask("/v1/classify?window=1", quiet).code == "too_large"
    assert server.ask("/v1/classify?task=tones", sound(80, loud=0.1, form="OGG")).json["usage"]["audio_seconds"] == 80


@pytest.mark.slow
def test_an_answer_that_takes_too_long_is_given_up(server: Server) -> None:
    long = sound(80, loud=0.1, form="OGG")
    started = time.monotonic()
    reply = server.ask("/v1/classify?window=0.2&hop=0.01&timeout_ms=300", long)
    assert (reply.code, reply.status) == ("deadline", 504)
    assert time.monotonic() - started < 4  # the service itself gives up after 5 s
    until(lambda: b"cl_ast_requests_inside 0.0" in server.ask("/metrics").body)


@pytest.mark.slow
def test_a_slow_upload_is_given_up_and_who_leaves_leaves_nothing(server: Server, clip: bytes) -> None:
    slow = server.connect()
    slow.putrequest("POST", "/v1/classify?timeout_ms=300")
    slow.putheader("Authorization", f"Bearer {KEY}")
    slow.putheader("Content-Length", "1000000")
    slow.endheaders(b"R")
    assert slow.getresponse().status == 504
    slow.close()
    for _ in range(50):
        with socket.create_connection(server.address) as raw:
            head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
            raw.sendall(f"{head}Content-Length: {len(clip)}\r\n\r\n".encode() + clip[: len(clip) // 2])
    until(lambda: b"cl_ast_requests_inside 0.0" in server.ask("/metrics").body)
    assert server.ask("/v1/classify", clip).status == 200


@pytest.mark.slow
def test_a_connection_without_a_whole_head_is_closed(server: Server) -> None:
    """Whatever trickles in: nothing, a head that does not end, or more of a body that was answered already."""
    answered = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    sockets = {
        start: socket.create_connection(server.address) for start in (b"", b"GET /livez HTTP/1.1\r\nX: ", answered)
    }
    started = time.monotonic()
    for start, raw in sockets.items():
        raw.sendall(start)
        raw.settimeout(0.2)
    open_now = dict(sockets)
    while open_now:
        assert time.monotonic() - started < 20
        for start, raw in list(open_now.items()):
            try:
                raw.sendall(b"x" if start else b"")
                if not raw.recv(2**16):
                    del open_now[start]
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                del open_now[start]
    assert time.monotonic() - started > 4  # the service has a --timeout of 5 s
    for raw in sockets.values():
        raw.close()


async def _never(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("no request comes through")


@asynccontextmanager
async def _connected(
    app: Any, most: int, refusal_by_head: Callable[[Any], Response | None], seconds: float = 30
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Serve an app over the protocol inside the block, and connect to it."""
    config, state = uvicorn.Config(app, log_config=None, ws="websockets-sansio"), ServerState()
    protocol = bounded_protocol(seconds, most, refusal_by_head)
    listening = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    async with listening:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        yield reader, writer
        writer.close()


_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("most", "sent", "code", "status"),
    [
        (2, b"nonsense\r\n\r\n", "malformed", 400),
        (2, b"\r\n" * 200_000, "malformed", 400),
        (2, b"GET /" + 400_000 * b"a", "malformed", 400),
        (2, b"GET / HTTP/1.1\r\nHost: " + 400_000 * b"a", "malformed", 400),
        (2, b"GET / HTTP/1.1\r\n" + 100_000 * b"a: b\r\n", "malformed", 400),
        (2, _CHUNKED + b"1;" + 400_000 * b"a", "malformed", 400),
        (2, _CHUNKED + b"1\r\na\r\n0\r\n" + 100_000 * b"a: b\r\n", "malformed", 400),
        (1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "overloaded", 429),
    ],
    ids=[
        "nonsense",
        "blank lines",
        "long path",
        "long header",
        "headers",
        "chunk extension",
        "trailers",
        "connections",
    ],
)
def test_what_comes_through_to_no_endpoint_is_refused_in_the_same_shape(
    most: int, sent: bytes, code: str, status: int
) -> None:
    """No request, one whose head does not end, and one over more connections than there may be; all are closed."""

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        assert sent.startswith(_CHUNKED)
        while (await receive())["type"] != "http.disconnect":
            pass

    async def answered() -> bytes:
        async with _connected(waiting, most, lambda scope: None) as (reader, writer):
            answer = asyncio.create_task(reader.read())
            for first in range(0, len(sent), 2**14):
                if answer.done():  # what is sent to a closed connection could take the answer with it
                    break
                writer.write(sent[first : first + 2**14])
                await asyncio.sleep(0.002)
            return await asyncio.wait_for(answer, 20)

    head, _, body = asyncio.run(answered()).partition(b"\r\n\r\n")
    first, *lines = head.decode().lower().split("\r\n")
    reply = Reply(int(first.split()[1]), dict(line.split(": ") for line in lines), body)
    assert (reply.code, reply.status, reply.headers["connection"]) == (code, status, "close")


@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_of_a_request_that_its_head_refuses_is_thrown_away(chunked: bool) -> None:
    """The refusal comes before the body, which is no part of the next request over the same connection."""
    asked: list[tuple[str, str]] = []

    def refused(scope: Any) -> Response | None:
        asked.append((scope["method"], scope["path"]))
        return Response(b"full", 429) if scope["method"] == "POST" else None

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/after"
        await Response(b"served")(scope, receive, send)

    async def answers() -> None:
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 44"
        part = b"22\r\nGET /inside HTTP/1.1\r\nHost: a\r\n\r\n.\r\n" if chunked else b"GET /inside HTTP/1.1\r\n"
        async with _connected(app, 2, refused) as (reader, writer):
            for _ in range(2):
                writer.write(b"POST /before?task=a HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\n")
                assert (await reader.readuntil(b"full")).startswith(b"HTTP/1.1 429 ")
                writer.write(part)
                await asyncio.sleep(0.01)
                writer.write((part + b"0\r\n\r\n" if chunked else part) + b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await reader.readuntil(b"served")).startswith(b"HTTP/1.1 200 ")

    asyncio.run(answers())
    assert asked == [("POST", "/before"), ("GET", "/after")] * 2


@pytest.mark.slow
def test_a_stream_outlives_the_time_that_the_head_of_a_request_may_take() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "text": "still here"})
        await send({"type": "websocket.close"})

    async def answer() -> bytes:
        head = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        async with _connected(app, 2, lambda scope: None, seconds=0.2) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: %b\r\n%b\r\n" % (b"a" * 22 + b"==", head))
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.6)
            writer.write(b"\x82\x81aaaa\x00")  # a frame of one masked byte
            return await asyncio.wait_for(reader.readexactly(12), 20)

    assert asyncio.run(answer()).endswith(b"still here")


@pytest.mark.slow
def test_more_than_the_queue_takes_is_refused_at_once_and_what_is_accepted_is_answered(
    server: Server, clip: bytes
) -> None:
    def ask(n: int) -> tuple[Reply, float]:
        started = time.monotonic()
        reply = server.ask("/v1/classify", clip)
        return reply, time.monotonic() - started

    with ThreadPoolExecutor(48) as pool:
        found = list(pool.map(ask, range(200)))
    refused = [reply for reply, _ in found if reply.status != 200]
    assert {reply.code for reply in refused} <= {"overloaded"}
    assert len(refused) < 200
    for reply in refused:
        assert reply.status == 429 and int(reply.headers["retry-after"]) >= 1
        assert 0 < reply.json["error"]["retry_after"] <= 60
    assert refused, "48 clients at once fit into a queue of 8"


@pytest.mark.slow
def test_nothing_of_an_upload_stays(server: Server, temporary: Path) -> None:
    """Larger uploads lie in a folder of the process, whose files are gone after the answer."""
    (folder,) = temporary.glob("cl-ast-serve-*")
    assert server.ask("/v1/classify?task=tones", sound(40, "WAV", 0.1)).status == 200
    assert server.form("/v1/classify?task=tones", [("a.wav", sound(40, "WAV", 0.1)), ("b", b"")]).status == 200
    assert not list(folder.iterdir())
    assert list(temporary.iterdir()) == [folder]


@pytest.mark.slow
def test_at_the_end_it_answers_what_it_has_accepted(stages: Mapping[str, Path], clip: bytes) -> None:
    long = sound(40, loud=0.1, form="OGG")
    with served(stages["chirps"]) as server, ThreadPoolExecutor(8) as pool:
        asked: list[Future[Reply]] = [
            pool.submit(server.ask, "/v1/classify?task=tones&window=0.5&hop=0.1", long) for _ in range(4)
        ]
        until(lambda: b"cl_ast_requests_inside 4.0" in server.ask("/metrics").body)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.ask("/readyz").json["why"] == "draining")
        refused = server.ask("/v1/classify", clip)
        assert (refused.code, refused.status) == ("draining", 503)
        assert [one.result().status for one in asked] == [200] * 4
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_the_second_signal_leaves_at_once(stages: Mapping[str, Path]) -> None:
    long = sound(80, loud=0.1, form="OGG")
    with served(stages["chirps"], "--drain", DRAIN) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.ask, "/v1/classify?task=tones&window=0.2&hop=0.01", long)
        until(lambda: b"cl_ast_requests_inside 1.0" in server.ask("/metrics").body)
        started = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        until(lambda: server.ask("/readyz").status == 503)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0
        assert time.monotonic() - started < DRAIN
        assert asked.exception() is not None or asked.result().status != 200


@pytest.mark.slow
def test_whatever_the_schema_allows_is_answered_as_it_says(server: Server) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="pip install '.[dev]'")
    from schemathesis import checks as known

    checks = [
        known.not_a_server_error,
        known.status_code_conformance,
        known.content_type_conformance,
        known.response_schema_conformance,
    ]
    schema = schemathesis.openapi.from_dict(server.ask("/openapi.json").json)
    paths = set()
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=3, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            reply = case.call(base_url=server.url, headers={"Authorization": f"Bearer {KEY}"})
            case.validate_response(reply, checks=checks)

        answers()
        paths.add(operation.path)
    assert {"/v1/classify", "/hf/{task}", "/v1/tasks", "/v1/models", "/readyz"} <= paths
