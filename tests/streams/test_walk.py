"""One walk of a folder for learning and predicting: what is hidden stays out, links are followed once."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from cl_ast.errors import StreamError
from streams.durations import typical_seconds
from streams.records import Record
from streams.walk import EXTENSIONS, Obstacle, audio_files, walk

NAMES = st.sampled_from(["a.wav", "b.FLAC", "._a.wav", ".hidden", "notes.txt", "c.mp3", "d.wav", "e"])
FOLDERS = st.sampled_from(["", "in", "in/deep", ".trash", "__MACOSX", "x.wav", "in/.git"])


def _put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def _found(folder: Path) -> list[str]:
    return [one.relative_to(folder).as_posix() for one in audio_files(folder) if isinstance(one, Path)]


LEFT_BEHIND = ["._a.wav", ".a.wav", "__MACOSX/a.wav", "__MACOSX/._a.wav", ".trash/a.wav", "in/.git/a.wav", "in/._a.wav"]


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_what_systems_and_archives_leave_behind_is_left_out(name: str, tmp_path: Path) -> None:
    _put(tmp_path / "in" / "good.wav")
    _put(tmp_path / name)
    assert _found(tmp_path) == ["in/good.wav"]


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp3.wav", "a b.ogg", "é.aiff"])
def test_a_folder_with_the_name_of_a_clip_is_a_folder(name: str, tmp_path: Path) -> None:
    _put(tmp_path / name / "inside.wav")
    (tmp_path / "empty.wav").mkdir()
    assert _found(tmp_path) == [f"{name}/inside.wav"]


@pytest.mark.parametrize("ending", sorted(EXTENSIONS))
def test_every_ending_that_is_read_is_taken_in_both_cases(ending: str, tmp_path: Path) -> None:
    _put(tmp_path / f"a{ending}")
    _put(tmp_path / f"b{ending.upper()}")
    _put(tmp_path / f"c{ending}.txt")
    assert _found(tmp_path) == [f"a{ending}", f"b{ending.upper()}"]


def test_links_are_followed_and_those_that_lead_back_have_no_effect(tmp_path: Path) -> None:
    outside = _put(tmp_path / "outside" / "far.wav").parent
    root = _put(tmp_path / "root" / "near.wav").parent
    (root / "linked").symlink_to(outside)
    (root / "again").symlink_to(outside)
    (root / "self").symlink_to(root)
    (outside / "back").symlink_to(root)
    (root / "file.wav").symlink_to(outside / "far.wav")
    (root / "broken.wav").symlink_to(root / "nowhere.wav")
    (root / "loop.wav").symlink_to(root / "loop.wav")
    assert _found(root) == ["broken.wav", "file.wav", "loop.wav", "near.wav", "again/far.wav"]


def _no_entry(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_a_folder_that_cannot_be_entered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(tmp_path / "a.wav")
    _put(tmp_path / "locked" / "b.wav")
    _put(tmp_path / "open" / "c.wav")
    _no_entry(monkeypatch, "locked")
    found = list(walk(tmp_path))
    assert found == [tmp_path / "a.wav", Obstacle(tmp_path / "locked", "Permission denied"), tmp_path / "open/c.wav"]


def test_a_folder_to_learn_that_cannot_be_entered_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("dog", "cat"):
        for number in range(4):
            _put(tmp_path / label / "deep" / f"{number}.wav")
    _no_entry(monkeypatch, "deep")
    with pytest.raises(StreamError, match=r"deep: cannot be read \(Permission denied\); check its permissions"):
        streams.load(tmp_path)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sets(st.tuples(FOLDERS, NAMES), max_size=14))
def test_what_is_learned_is_what_is_predicted(paths: set[tuple[str, str]]) -> None:
    """That is every visible audio file below a folder, once."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder, file in paths:
            if not (root / folder / file).is_dir():
                _put(root / folder / file)
        expected = {
            "/".join(filter(None, (folder, file)))
            for folder, file in paths
            if Path(file).suffix.lower() in EXTENSIONS
            and not any(part.startswith(".") or part == "__MACOSX" for part in (*folder.split("/"), file))
        }
        found = _found(root)
        assert len(found) == len(set(found))
        assert set(found) == expected


# Durations


def _records(*paths: Path) -> list[Record]:
    return [Record(path, "dog") for path in paths]


def _flac(path: Path, total: int, seconds: float = 1.0) -> Path:
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, round(16_000 * seconds)), 16_000)
    data = bytearray(path.read_bytes())
    data[18:26] = (int.from_bytes(data[18:26], "big") >> 36 << 36 | total).to_bytes(8, "big")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("total", [0, 2**30, 2**33, 2**36 - 1])
def test_a_length_that_cannot_be_right_is_measured(total: int, tmp_path: Path) -> None:
    assert typical_seconds(_records(_flac(tmp_path / "a.flac", total)), 0) == 1.0


def test_a_length_that_cannot_be_right_is_measured_no_further_than_needed(tmp_path: Path) -> None:
    assert typical_seconds(_records(_flac(tmp_path / "a.flac", 0, 12)), 0) == 10.24


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert typical_seconds(_records(tmp_path / "a.wav", _flac(tmp_path / "b.flac", 0)), 0) == 1.0


@pytest.mark.parametrize("ending", [".mp3", ".wav", ".flac", ".ogg"])
def test_files_of_a_mac_beside_clips_and_in_the_working_folder_play_no_part(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile takes them for resource forks."""
    clip = tmp_path / f"a{ending}"
    soundfile.write(clip, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    for name in ("._", f"._{clip.name}"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert typical_seconds(_records(clip), 0) == 1.0
