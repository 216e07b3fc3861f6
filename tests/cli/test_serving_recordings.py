"""Recordings that stay with the service: what a browser sees of them is what the library computes."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cl_ast.audio.log_mel import frame_count, log_mel
from cl_ast.audio.reading import Waveform, read
from cl_ast.events import EventSettings, EventsOf, Threshold, WindowScorer
from cl_ast.manager import Manager
from cl_ast.serving.page_paths import PATHS
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.spectrogram import LogMelColumns
from cl_ast.serving.training import unpack_upload
from cl_ast.serving.uploads import Upload
from streams.catalog import Limit
from tests.cli.served import Server, served
from tests.cli.sounds import hiss_and_clicks

LIMIT = 60_000  # bytes of the page
QUERY = "task=noises&window=0.5&hop=0.16"


@pytest.fixture(scope="module")
def server(stages: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    temporary = tmp_path_factory.mktemp("temporary")
    with served(stages["chirps"], "--max-seconds", 600, temporary=temporary) as found:
        yield found
    assert not list(temporary.iterdir())


@pytest.fixture(scope="module")
def sound() -> Waveform:
    return hiss_and_clicks()


def wav(sound: Waveform) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, 16_000, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.fixture(scope="module")
def place(server: Server, sound: Waveform) -> str:
    reply = server.form("/v1/recordings", [("../<b>yard</b>.wav", wav(sound))])
    assert reply.status == 201, reply
    assert (reply.json["file"], reply.json["seconds"]) == ("b>.wav", 9.0)
    return str(reply.headers["location"])


def searched(server: Server, place: str, query: str) -> None:
    job = server.ask(f"{place}/events?{query}", b"").headers["location"]
    assert b"event: done" in server.ask(f"{job}/stream").body


@pytest.mark.slow
def test_the_spectrogram_is_the_log_mel_of_the_front_end_however_the_sound_comes(
    server: Server, place: str, sound: Waveform
) -> None:
    frames = frame_count(len(sound))
    energies = log_mel([sound], frames)[0].numpy()
    expected = np.round(((energies + 16) * 255 / 24).clip(0, 255)).astype(np.uint8)
    tiles = [server.ask(f"{place}/tiles/0/{number}").body for number in range(3)]
    assert [len(one) // 128 for one in tiles] == [512, frames - 512, 0]
    found = np.frombuffer(b"".join(tiles), np.uint8).reshape(-1, 128)
    assert np.abs(found.astype(int) - expected).max() <= 1
    wide = np.frombuffer(server.ask(f"{place}/tiles/3/0").body, np.uint8).reshape(-1, 128)
    np.testing.assert_array_equal(wide, np.maximum.reduceat(found, np.arange(0, frames, 8), axis=0))
    assert server.ask(place).json["loudest"] == found.max()
    columns = LogMelColumns()
    pieces = b"".join(columns.add(sound[at : at + 777]) for at in range(0, len(sound), 777)) + columns.finish()
    assert np.abs(np.frombuffer(pieces, np.uint8).astype(int) - found.ravel()).max() <= 1
    assert len(LogMelColumns().add(sound[:100])) == 0 and server.ask(f"{place}/tiles/13/0").code == "invalid"


def test_its_sound_comes_whole_in_ranges_and_in_parts(server: Server, place: str, sound: Waveform) -> None:
    whole = server.ask(f"{place}/sound")
    np.testing.assert_array_equal(read(whole.body), sound)
    part = server.ask(f"{place}/sound", Range="bytes=100-199")
    assert (part.status, part.body) == (206, whole.body[100:200])
    cut = server.ask(f"{place}/sound?start=1.5&end=2.25").body
    np.testing.assert_array_equal(read(cut), sound[24_000:36_000])
    assert server.ask(f"{place}/sound?start=9&end=10").code == "invalid"
    assert server.ask(f"{place}/sound?start=nan").code == "invalid"


def test_it_is_classified_as_if_it_were_sent_again(server: Server, place: str, sound: Waveform) -> None:
    (again,) = server.ask(f"{place}/classify?task=noises", b"").json["results"]
    (sent,) = server.ask("/v1/classify?task=noises", wav(sound)).json["results"]
    assert {**again, "file": ""} == {**sent, "file": ""}


@pytest.mark.slow
def test_its_events_are_cut_again_at_any_threshold(
    server: Server, place: str, sound: Waveform, stages: Mapping[str, Path]
) -> None:
    assert server.ask(f"{place}/scores").code == "not_found"
    searched(server, place, QUERY)
    with Manager.open(stages["chirps"], device="cpu") as manager:
        for on in (None, 0.3, 0.9):
            settings = EventSettings("noises", 0.5, 0.16, threshold=Threshold.of(on))
            expected = EventsOf(io.BytesIO(wav(sound)), WindowScorer(manager.session, settings))
            wanted = [(one.start, one.end, one.label, one.score_max) for one in expected if not one.why]
            query = "" if on is None else f"&on={on}"
            rows = server.ask(f"{place}/events?format=jsonl{query}").body.decode().splitlines()
            found = [one for one in map(json.loads, rows) if "why" not in one]
            assert [(one["start"], one["end"], one["label"], one["score_max"]) for one in found] == wanted
    assert server.ask(f"{place}/events?format=raven").body.startswith(b"Selection\t")


@pytest.mark.slow
def test_the_scores_leave_out_only_what_no_event_needs(server: Server, place: str) -> None:
    searched(server, place, QUERY)
    scores = server.ask(f"{place}/scores").json
    assert (scores["step"], scores["seconds"], scores["window"], scores["hop"]) == (0.16, 9.0, 0.5, 0.16)
    assert {(one["task"], one["label"]) for one in scores["classes"]} == {("noises", "hiss"), ("noises", "clicks")}
    cells = np.zeros((2, 56))
    for row, one in zip(cells, scores["classes"], strict=True):
        for first, values in one["runs"]:
            row[first : first + len(values)] = values
    assert (np.abs(cells.sum(axis=0) - 1) <= scores["least"] + 1e-3).all()
    searched(server, place, "task=auto")
    assert server.ask(f"{place}/scores").json["unknown"]


@pytest.mark.slow
def test_the_oldest_give_way_and_what_is_no_sound_is_refused(server: Server, sound: Waveform) -> None:
    assert server.ask("/v1/recordings", b"no sound").code == "unreadable_audio"
    assert server.ask("/v1/recordings", wav(np.zeros(601 * 16_000, np.float32))).code == "too_large"
    short = wav(sound[:200])
    places = [server.ask("/v1/recordings", short).headers["location"] for _ in range(17)]
    assert server.ask(places[0]).code == "not_found"
    assert len(server.ask(f"{places[1]}/tiles/0/0").body) == 128
    assert server.ask(places[1], method="DELETE").status == 204
    assert server.ask(places[1]).code == server.ask(f"{places[1]}/sound").code == "not_found"


def test_the_page_is_small_and_lets_nothing_else_in(server: Server) -> None:
    replies = {path: server.ask(path) for path in PATHS}
    assert {"/", "/page/app.js", "/page/style.css"} <= set(replies)
    assert sum(len(reply.body) for reply in replies.values()) <= LIMIT
    for reply in replies.values():
        assert reply.status == 200
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.slow
def test_a_zip_leads_nowhere_else_is_no_bomb_and_trains_only_where_changes_are_allowed(
    server: Server, tmp_path: Path
) -> None:
    reply = server.ask("/v1/trainings?name=more", zipped("a/b.wav", b""))
    assert reply.code == "forbidden"
    limit = Limit(1_000, 10)
    for number, (content, reason) in enumerate(
        ((zipped("../b.wav", b"x"), "leads outside"), (zipped("b.wav", bytes(10**6)), "more in it"), (b"x", "neither"))
    ):
        folder = tmp_path / str(number)
        with pytest.raises(Refusal, match=reason) as refused:
            unpack_upload(Upload("more.zip", content), folder, limit)
        assert str(tmp_path) not in refused.value.message
    assert not list(tmp_path.iterdir())
