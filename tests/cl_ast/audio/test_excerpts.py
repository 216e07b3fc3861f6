"""Parts of recordings are the samples that the whole recording has there, whichever of them are read together."""

import os
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cl_ast.audio import reading
from cl_ast.audio.cache import DecodedClips
from cl_ast.audio.clip_reader import ClipReader, read_all
from cl_ast.audio.reading import SAMPLE_RATE, read
from cl_ast.batching import chunks
from cl_ast.errors import AudioError
from cl_ast.excerpts import Excerpt, Place, in_folder, short_name


@pytest.fixture(
    scope="module", params=[("wav", 16_000, 1), ("wav", 44_100, 2), ("flac", 22_050, 1), ("ogg", 48_000, 2)]
)
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ending, rate, channels = request.param
    path = tmp_path_factory.mktemp("long") / f"long.{ending}"
    soundfile.write(path, 0.1 * np.random.default_rng(0).normal(size=(25 * rate, channels)), rate)
    return path


@pytest.mark.slow
def test_parts_are_cut_out_of_the_whole(recording: Path) -> None:
    whole = read(recording)
    # They overlap, touch the borders of blocks, and reach beyond the end.
    spans = [(19.9, 20.1), (0.0, 0.01), (9.5, 21.0), (10.0, 10.5), (24.5, 25.05), (3.123456, 4.0)]
    places: list[Place] = [recording, *(Excerpt(recording, *span) for span in spans)]
    found = read_all(places)
    np.testing.assert_array_equal(found[0], whole)
    for one, (start, end) in zip(found[1:], spans, strict=True):
        np.testing.assert_array_equal(one, whole[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)])
        np.testing.assert_array_equal(one, read_all([Excerpt(recording, start, end)])[0])


def test_a_part_that_begins_after_the_end_is_an_error(recording: Path) -> None:
    with pytest.raises(AudioError, match=r"long\.\w+: ends before 25\.5 s"):
        read_all([Excerpt(recording, 1, 2), Excerpt(recording, 25.5, 26)])


def test_parts_of_one_recording_are_cached_one_by_one(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = DecodedClips()
    parts: list[Place] = [Excerpt(recording, 1, 2), Excerpt(recording, 2, 3)]
    before = clips.read(parts)
    assert clips.bytes == 2 * 4 * SAMPLE_RATE
    monkeypatch.setattr("cl_ast.audio.reading.stream", None)  # nothing is read again
    for one, again in zip(reversed(before), clips.read(parts[::-1]), strict=True):
        assert one is again


@pytest.mark.slow
def test_parts_in_the_order_of_their_time_are_read_in_one_pass(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    stream = reading.stream

    def counted(path: Path) -> Generator[reading.Waveform, None, None]:
        opened.append(path)
        return stream(path)

    monkeypatch.setattr(reading, "stream", counted)
    whole = np.concatenate(list(stream(recording)))
    # The second reaches far beyond the third, and two overlap across calls.
    spans = [(0.5, 1.0), (1.0, 20.5), (1.5, 2.0), (2.0, 2.5), (9.8, 10.2), (21.0, 24.0), (23.5, 25.0)]
    parts: list[Place] = [Excerpt(recording, *span) for span in spans]
    reader = ClipReader()
    found = [one for part in chunks(len(parts), 2) for one in reader.read(parts[part.start : part.stop])]
    for one, (start, end) in zip(found, spans, strict=True):
        np.testing.assert_array_equal(one, whole[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)])
    assert opened == [recording]
    np.testing.assert_array_equal(reader.read(parts[:1])[0], found[0])  # from the beginning again
    assert len(opened) == 2
    os.utime(recording, ns=(1, 1))  # as if it were written again
    reader.read(parts[1:2])
    assert len(opened) == 3
    reader.close()
    assert len(reader.read(parts)) == len(parts)


def test_a_part_is_named_with_its_time() -> None:
    place = Excerpt(Path("/data/north/site.wav"), 12.5, 14.0)
    assert str(place) == f"{place.path} (12.5–14 s)"
    assert short_name(place) == "north/site.wav (12.5–14 s)"
    assert in_folder(place, Path("/data")) == "north/site.wav (12.5–14 s)"
