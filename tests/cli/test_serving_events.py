"""Events over HTTP, as jobs and over a WebSocket: those of the events' own library, however they are asked for."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from cl_ast.audio.reading import Waveform
from cl_ast.errors import CorruptRegistryError
from cl_ast.events import EventSettings, EventsOf, WindowScorer
from cl_ast.manager import Manager
from cl_ast.serving.jobs import Job, Jobs
from cl_ast.serving.metrics import Metrics
from tests.cli.served import Server, served, until
from tests.cli.sounds import hiss_and_clicks

SETTINGS = "task=noises&window=0.5&hop=0.16&median=0.2&min_gap=0.2"


@pytest.fixture(scope="module")
def server(stages: Mapping[str, Path]) -> Iterator[Server]:
    with served(stages["chirps"], "--max-seconds", 600, "--drain", 20) as found:
        yield found


@pytest.fixture(scope="module")
def sound() -> Waveform:
    """Few enough seconds to wait together."""
    return hiss_and_clicks()


@pytest.fixture(scope="module")
def wav(sound: Waveform) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture(scope="module")
def expected(stages: Mapping[str, Path], wav: bytes) -> list[dict[str, Any]]:
    """What the library finds."""
    settings = EventSettings("noises", 0.5, 0.16, median=0.2, min_gap=0.2)
    with Manager.open(stages["chirps"], device="cpu") as manager:
        scorer = WindowScorer(manager.session, settings)
        found = [one.to_json() for one in EventsOf(io.BytesIO(wav), scorer) if not one.why]
    assert len(found) > 3
    return found


def plain(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return events without their file and scores."""
    return sorted((one["start"], one["end"], one["task"], one["label"]) for one in events)


@pytest.mark.slow
def test_events_are_those_of_the_library(server: Server, wav: bytes, expected: list[dict[str, Any]]) -> None:
    reply = server.ask(f"/v1/events?{SETTINGS}", wav)
    assert reply.status == 200, reply
    assert [{**one, "path": "-"} for one in reply.json["events"]] == [{"file": "audio", **one} for one in expected]
    assert (reply.json["settings"]["hop"], reply.json["settings"]["off"]) == (0.16, 0.45)
    query = "task window hop on off median min_duration min_gap pad timeline alpha events"
    assert set(reply.json["settings"]) == set(query.split())


@pytest.mark.slow
def test_they_come_in_the_forms_of_other_tools(server: Server, wav: bytes, expected: list[dict[str, Any]]) -> None:
    def lines(form: str) -> list[str]:
        reply = server.ask(f"/v1/events?{SETTINGS}&format={form}", wav)
        assert reply.status == 200 and reply.headers["content-type"].startswith("text/plain")
        return reply.body.decode().splitlines()

    assert len(lines("audacity")) == len(expected)
    assert lines("raven")[0].startswith("Selection\t") and len(lines("raven")) == len(expected) + 1
    rows = list(csv.DictReader(lines("csv")))
    assert [row["label"] for row in rows] == [one["label"] for one in expected]
    routed = server.ask("/v1/events?task=auto&window=0.5&hop=0.16&format=csv", wav).body.decode().splitlines()
    assert {row["task"] for row in csv.DictReader(routed)} == {"noises"}
    assert sum("why" not in json.loads(line) for line in lines("jsonl")) == len(expected)
    assert sum("-->" in line for line in lines("srt")) == len(expected)


def test_what_cannot_be_is_refused(server: Server, wav: bytes) -> None:
    for query in ("on=0.3&off=0.5", "median=-1", "window=99", "hop=9&window=1", "events=guess", "format=pdf"):
        assert server.ask(f"/v1/events?task=noises&{query}", wav).code == "invalid", query
    assert server.ask("/v1/events?task=nothing", wav).code == "unknown_task"
    assert server.ask("/v1/events", b"no sound").code == "unreadable_audio"
    assert server.form("/v1/events", [("a.wav", wav), ("b.wav", wav)]).code == "invalid"
    assert server.ask("/v1/jobs/nothing").code == "not_found"
    assert server.ask("/v1/jobs/nothing/stream").code == "not_found"


def sent(body: bytes) -> list[tuple[str, Any]]:
    """Return the server-sent events of a body."""
    found = []
    for block in body.decode().strip().split("\n\n"):
        kind, data = block.split("\n")
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_job_is_followed_to_its_end(server: Server, wav: bytes, expected: list[dict[str, Any]]) -> None:
    reply = server.ask(f"/v1/jobs?{SETTINGS}", wav)
    assert reply.status == 202
    place = reply.headers["location"]
    followed = sent(server.ask(f"{place}/stream").body)
    assert followed[-1] == ("done", {"events": len(expected), "seconds": 9.0})
    assert plain([data for kind, data in followed if kind == "event"]) == plain(expected)
    assert "progress" in {kind for kind, _ in followed}
    state = server.ask(place).json
    assert state["state"] == "done" and plain(state["events"]) == plain(expected)
    assert sent(server.ask(f"{place}/stream").body)[-1][0] == "done"  # and again, from its beginning
    assert server.ask(place, method="DELETE").status == 204
    assert server.ask(place).code == "not_found"


def test_a_job_that_fails_says_so_at_its_end(server: Server, wav: bytes) -> None:
    place = server.ask("/v1/jobs?task=noises", wav[: len(wav) // 2]).headers["location"]
    kind, error = sent(server.ask(f"{place}/stream").body)[-1]
    assert kind == "error" and error["code"] == "unreadable_audio"
    assert server.ask(place).json["state"] == "failed"


def test_the_log_says_what_is_wrong_with_the_task_of_a_job() -> None:
    lines: list[str] = []

    async def work(job: Job) -> None:
        raise CorruptRegistryError("here/tones.safetensors: is damaged")

    async def run() -> Job:
        job = Jobs(Metrics(), lines.append).start(work, lambda: None)
        await job.changed.wait()
        return job

    job = asyncio.run(run())
    assert job.error is not None and job.error["code"] == "broken_task"
    assert lines == [f"job {job.id}: CorruptRegistryError: here/tones.safetensors: is damaged"]


@pytest.mark.slow
def test_a_job_is_stopped(server: Server) -> None:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).normal(size=300 * 16_000), 16_000, format="FLAC")
    place = server.ask("/v1/jobs?task=noises&window=0.5&hop=0.01", file.getvalue()).headers["location"]
    assert server.ask(place).json["state"] == "running"
    assert server.ask(place, method="DELETE").status == 204
    until(lambda: b"cl_ast_jobs_running 0.0" in server.ask("/metrics").body)


# Streams


def stream(server: Server, sound: Waveform, **update: Any) -> list[dict[str, Any]]:
    """Send sound as frames of uneven lengths, some of which end within a sample, and return what comes."""
    kind = update.get("encoding", "pcm_s16le")
    data = (sound * 32_768).astype("<i2").tobytes() if kind == "pcm_s16le" else sound.astype("<f4").tobytes()
    with connect(server.url.replace("http", "ws") + "/v1/stream") as socket:
        socket.send(json.dumps({"type": "session.update", **update}))
        created = json.loads(socket.recv(20))
        assert created["type"] == "session.created", created
        random, at = np.random.default_rng(1), 0
        while at < len(data):
            size = int(random.integers(1, 20_000))
            socket.send(data[at : at + size])
            at += size
        socket.send(json.dumps({"type": "session.finish"}))
        return _all(socket)


def _all(socket: ClientConnection) -> list[dict[str, Any]]:
    found = []
    with suppress(ConnectionClosedError):  # an error closes it with a code that says so
        for message in socket:
            found.append(json.loads(message))
    assert found[-1]["type"] in ("session.done", "error"), found[-1]
    return found


NOISES = {"task": "noises", "window": 0.5, "hop": 0.16, "median": 0.2, "min_gap": 0.2}


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le"])
def test_a_stream_gives_the_events_of_the_recording(
    server: Server, sound: Waveform, expected: list[dict[str, Any]], encoding: str
) -> None:
    exact = ((sound * 32_768).astype("<i2") / 32_768).astype(np.float32)
    found = stream(server, exact, encoding=encoding, **NOISES)
    assert not [one for one in found if one["type"] == "lag"]
    ends = [one for one in found if one["type"] == "event.end"]
    assert plain(ends) == plain(expected)
    begins = [(one["start"], one["task"], one["label"]) for one in found if one["type"] == "event.begin"]
    assert sorted(begins) == sorted((one["start"], one["task"], one["label"]) for one in ends)
    first = next(one for one in found if one["type"] == "window")
    assert (first["start"], first["end"]) == (0.0, 0.5) and first["labels"][0]["label"] == "hiss"


def test_a_stream_of_another_rate_is_resampled(server: Server, sound: Waveform) -> None:
    doubled = np.repeat(sound[:48_000], 6)  # 48 kHz, stereo
    found = stream(server, doubled, sample_rate=48_000, channels=2, **NOISES)
    windows = [one for one in found if one["type"] == "window"]
    assert windows[-1]["end"] == pytest.approx(3.0, abs=0.2) and found[-1]["type"] == "session.done"


@pytest.mark.slow
def test_more_sound_than_can_wait_is_left_out_and_said(server: Server, sound: Waveform) -> None:
    found = stream(server, np.tile(sound, 4), **NOISES)
    lags = [one for one in found if one["type"] == "lag"]
    windows = [one for one in found if one["type"] == "window"]
    assert lags and all(one["seconds"] > 10 and one["dropped"] > 0 for one in lags)
    assert len(windows) + sum(one["dropped"] for one in lags) == pytest.approx(4 * 9 / 0.16, abs=4)
    assert found[-1]["type"] == "session.done"


def test_a_stream_that_goes_wrong_ends_with_an_error(server: Server) -> None:
    url = server.url.replace("http", "ws") + "/v1/stream"
    for first, then, code in (
        ("{}", None, "invalid"),
        ('{"type": "session.update", "sample_rate": 1}', None, "invalid"),
        ('{"type": "session.update", "task": "nothing"}', None, "unknown_task"),
        ('{"type": "session.update", "window": 99}', None, "invalid"),
        ('{"type": "session.update", "median": -1}', None, "invalid"),
        ('{"type": "session.update", "on": 0.3, "off": 0.5}', None, "invalid"),
        ('{"type": "session.update", "task": "noises"}', "what?", "invalid"),
        ('{"type": "session.update", "encoding": "pcm_f32le"}', b"\xff" * 4, "unreadable_audio"),
    ):
        with connect(url) as socket:
            socket.send(first)
            if then is not None:
                assert json.loads(socket.recv(20))["type"] == "session.created"
                socket.send(then)
            assert _all(socket)[-1]["error"]["code"] == code, first
    with pytest.raises(InvalidStatus, match="403"), connect(url, origin=Origin("https://evil.example")):
        pass
    with connect(url) as socket:
        socket.send('{"type": "session.update", "task": "noises"}')
    until(lambda: b"cl_ast_stream_sessions 0.0" in server.ask("/metrics").body)


@pytest.mark.slow
def test_at_the_end_streams_are_told(stages: Mapping[str, Path], server: Server) -> None:
    with connect(server.url.replace("http", "ws") + "/v1/stream") as socket:
        socket.send('{"type": "session.update", "task": "noises"}')
        assert json.loads(socket.recv(20))["type"] == "session.created"
        server.process.terminate()
        assert _all(socket)[-1]["error"]["code"] == "draining"
    assert server.process.wait(60) == 0
