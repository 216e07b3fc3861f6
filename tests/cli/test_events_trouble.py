"""`cl-ast events` on what a day in the field brings: a full disk, and files that grow, change their rate or are cut."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cl_ast.audio import reading
from cl_ast.audio.reading import Waveform
from cl_ast.audio.windows import Segment
from cl_ast.events import Event, StreamDetector
from tests.cli.conftest import Run
from tests.cli.sounds import RATE
from tests.cli.test_events import OPTIONS

pytestmark = pytest.mark.slow

FULL = Path("/dev/full")


def _turns(rate: int = RATE) -> Waveform:
    """Return six seconds in which a low tone and a high one take turns."""
    time = np.arange(6 * rate) / rate
    return (0.4 * np.sin(2 * np.pi * np.where(time % 2 < 1, 300, 3_000) * time)).astype(np.float32)


def _spans(found: list[dict[str, Any]]) -> list[tuple[float, float, str]]:
    return [(one["start"], one["end"], one["label"]) for one in found]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_events_go_on_when_the_disk_is_full(cl: Run, tmp_path: Path) -> None:
    """A clip is a link to a device that is always full."""
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", _turns(), RATE)
    clips = tmp_path / "clips"
    words = ["events", tmp_path / "a.wav", tmp_path / "b.wav", *OPTIONS, "--format", "json", "-q"]
    found = cl(*words, "--save-clips", clips).fine().json
    first, *others = sorted(clips.iterdir())
    assert len(found) == 1 + len(others) > 2
    for path in (first, *others):
        path.unlink()
    first.symlink_to(FULL)
    answer = cl(*words, "--save-clips", clips).refused(first.name, "the disk may be full", "the events go on")
    assert answer.json == found
    assert list(clips.iterdir()) == []  # not even a part of that clip
    first.symlink_to(FULL)
    listened = cl("listen", "--input", tmp_path / "a.wav", *OPTIONS, "--format", "jsonl", "--save-clips", clips, "-q")
    assert listened.fine().err.count("the disk may be full") == len(listened.err.splitlines()) == 1
    assert len([line for line in listened.out.splitlines() if "why" not in line]) == len(found) / 2


def test_a_file_that_is_being_written_is_searched_as_far_as_it_is(
    cl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a minute long, of which a thread reads half a minute ahead, and grows with each group of windows."""
    path, out = tmp_path / "night.wav", tmp_path / "out"
    soundfile.write(path, np.tile(_turns(), 10), RATE)
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + bytes(4) + whole[44:])  # as long as it is written, nothing says how long it is
    take = StreamDetector.take

    def growing(self: StreamDetector, windows: list[Segment]) -> list[Event]:
        with path.open("ab") as file:
            file.write(bytes(2 * RATE))
        return take(self, windows)

    words = ["events", path, *OPTIONS, "--format", "csv", "--out", out, "-q"]
    with monkeypatch.context() as patch:
        patch.setattr(StreamDetector, "take", growing)
        cl(*words).refused("night.wav: it is still being written", "events were found up to 60.00 s")
    assert (out / "night.jsonl").read_text()
    cl(*words, "--resume").fine()  # it is searched again, now to its end
    assert json.loads((out / "index.json").read_text())["recordings"][str(path)]["samples"] > 66 * RATE


@pytest.mark.parametrize("form", ["OGG", "FLAC", "MP3"])
def test_a_file_that_changes_its_rate_is_searched_to_its_end(cl: Run, tmp_path: Path, form: str) -> None:
    parts = []
    for samples, rate in ((_turns(), RATE), (_turns(3 * RATE), 3 * RATE)):
        part = io.BytesIO()
        soundfile.write(part, samples, rate, format=form)
        parts.append(part.getvalue())
    joined, plain = tmp_path / "joined", tmp_path / "plain.wav"
    joined.write_bytes(b"".join(parts))
    soundfile.write(plain, np.concatenate(list(map(reading.read, parts))), RATE, subtype="FLOAT")
    words = [*OPTIONS, "--format", "json"]
    found = _spans(cl("events", joined, *words, "--save-clips", tmp_path / "clips").fine().json)
    assert found == _spans(cl("events", plain, *words).fine().json)
    assert any(start > 6 for start, *_ in found)
    rates = {soundfile.info(path).samplerate for path in (tmp_path / "clips").iterdir()}
    assert rates == {RATE, 3 * RATE}
    joined.write_bytes(b"".join(parts)[: -len(parts[1]) // 2])
    cl("events", joined, *words, "-q").refused("joined: ", "events were found up to ")
