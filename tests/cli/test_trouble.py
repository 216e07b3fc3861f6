"""One clip's trouble is that clip's line: the others are answered, and the command ends with 1."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import Fork, Run

RATE = 16_000


def _tone(seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)


def _flac_that_lies(folder: Path) -> str:
    path = folder / "lies.flac"
    soundfile.write(path, _tone(), RATE)
    data = bytearray(path.read_bytes())
    data[18:26] = (int.from_bytes(data[18:26], "big") | 2**36 - 1).to_bytes(8, "big")
    path.write_bytes(data)
    return str(path)


def _rate_that_lies(folder: Path) -> str:
    path = folder / "rate.wav"
    soundfile.write(path, _tone(), RATE, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[24:28] = (0x7FFFFFFF).to_bytes(4, "little")
    path.write_bytes(data)
    return str(path)


def _pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe.wav")
    return str(folder / "pipe.wav")


def _link_to_nowhere(folder: Path) -> str:
    (folder / "link.wav").symlink_to(folder / "nowhere.wav")
    return str(folder / "link.wav")


def _link_to_itself(folder: Path) -> str:
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    return str(folder / "loop.wav")


TROUBLE: dict[str, tuple[Callable[[Path], str], str]] = {
    "a long name": (lambda _: "x" * 300 + ".wav", "File name too long"),
    "a long path": (lambda _: "x/" * 3_000 + "a.wav", "File name too long"),
    "a NUL": (lambda _: "a\0b.wav", "not a path"),
    "half a letter": (lambda _: "a\ud800.wav", "not a path"),
    "nothing": (lambda _: "", "'' is no clip"),
    "a pipe": (_pipe, "a pipe or a device"),
    "a device": (lambda _: "/dev/zero", "a pipe or a device"),
    "a link to nowhere": (_link_to_nowhere, "no such file"),
    "a link to itself": (_link_to_itself, "cannot be read"),
    "a path through a file": (lambda folder: str(folder / "good.wav" / "a.wav"), "cannot be read"),
    "a length that lies": (_flac_that_lies, "samples are missing"),
    "a rate that lies": (_rate_that_lies, "sampling rate of 2,147,483,647 Hz"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TROUBLE)
def test_the_others_are_answered(cl: Run, tmp_path: Path, name: str) -> None:
    good = tmp_path / "good.wav"
    soundfile.write(good, _tone(), RATE)
    make, said = TROUBLE[name]
    bad = make(tmp_path)
    for window in ([], ["--window", 0.25]):
        answer = cl("predict", good, bad, good, *window, "--format", "json").refused(said)
        # A long recording is answered as far as it can be read.
        answered = [one["path"] for one in answer.json if one["path"] == str(good) or not window]
        assert answered == [str(good)] * (4 if window else 2)


@pytest.mark.parametrize("error", [ValueError("odd"), MemoryError(), OSError(5, "Input/output error"), TypeError()])
@pytest.mark.parametrize("window", [[], ["--window", 0.25]])
def test_whatever_a_decoder_raises(
    cl: Run, data: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, window: list[object]
) -> None:
    from cl_ast.audio import decoding
    from cl_ast.audio.decoding import Samples

    blocks = decoding.Decoder.blocks
    errors = [error]

    def fail(self: decoding.Decoder) -> Iterator[Samples]:
        if errors:
            raise errors.pop()
        return blocks(self)

    monkeypatch.setattr(decoding.Decoder, "blocks", fail)
    clips = [data / "tones" / "low" / f"{number:02}.wav" for number in range(3)]
    answer = cl("predict", *clips, *window, "--format", "json")
    assert answer.code == 1
    assert "unexpected" not in answer.err
    answered = {one["path"] for one in answer.json}
    assert len(answered) == 2
    (missing,) = {*map(str, clips)} - answered
    assert answer.err.startswith(f"cl-ast: {missing}: ")


@pytest.mark.slow
def test_standard_input_may_be_closed(registry: Path, data: Path, fork: Fork) -> None:
    """Python has no `sys.stdin` then."""
    good = data / "tones" / "low" / "00.wav"
    closed = "import os, sys; os.close(0); sys.stdin = None"
    predict = fork(registry, "predict", good, "-", "--format", "csv", first=closed)
    out, err = predict.communicate()
    assert predict.returncode == 1
    assert out.count(str(good)) == 2
    assert err == "cl-ast: standard input: it is closed; give the path of a clip\n"


@pytest.mark.slow
def test_standard_input_that_cannot_be_read(registry: Path, data: Path, fork: Fork, tmp_path: Path) -> None:
    good = data / "tones" / "low" / "00.wav"
    with (tmp_path / "to-write").open("wb") as only_to_write:
        predict = fork(registry, "predict", "-", good, "--format", "csv", stdin=only_to_write.fileno())
    out, err = predict.communicate()
    assert predict.returncode == 1
    assert out.count(str(good)) == 2
    assert "cl-ast: standard input: cannot be read" in err


FULL = Path("/dev/full")


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("kind", ["table", "json", "jsonl", "csv", "audacity"])
def test_a_full_disk_is_said_in_plain_words(registry: Path, data: Path, kind: str, fork: Fork) -> None:
    _refused_by_a_full_disk(fork, registry, "predict", data / "tones" / "low", "--format", kind)


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["tasks"], ["show", "tones"], ["stats", "--format", "json"], ["verify"]])
def test_a_full_disk_is_said_by_commands_that_only_read(registry: Path, words: list[str], fork: Fork) -> None:
    _refused_by_a_full_disk(fork, registry, *words)


def _refused_by_a_full_disk(fork: Fork, registry: Path, *words: object) -> None:
    with FULL.open("w") as full:
        run = fork(registry, *words, stdout=full.fileno())
    _, err = run.communicate()
    assert run.returncode == 1
    assert err == (
        "cl-ast: the output cannot be written (No space left on device); free some space or write it elsewhere\n"
    )


@pytest.mark.parametrize("words", [["tasks"], ["verify"]])
def test_nothing_is_said_to_a_reader_that_has_left(registry: Path, words: list[str], fork: Fork) -> None:
    """As `cl-ast tasks | head -0` does."""
    reader, writer = os.pipe()
    os.close(reader)
    run = fork(registry, *words, stdout=writer)
    os.close(writer)
    assert (run.communicate()[1], run.returncode) == ("", 1)


# Folders


def test_a_folder_from_another_system(cl: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", _tone(), RATE)
    (tmp_path / "deep.wav").mkdir()
    soundfile.write(tmp_path / "deep.wav" / "b.AIFF", _tone(), RATE, format="AIFF")
    for name in ("._a.wav", ".b.wav", "__MACOSX/._a.wav", ".trash/old.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7" * 30)
    (tmp_path / "empty.wav").mkdir()
    answers = cl("predict", tmp_path, "--format", "json").fine().json
    assert [one["path"] for one in answers] == [str(tmp_path / "a.wav"), str(tmp_path / "deep.wav" / "b.AIFF")]


def test_nothing_is_no_folder(cl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", _tone(), RATE)
    monkeypatch.chdir(tmp_path)
    assert cl("predict", "", "--format", "json").refused("'' is no clip").json == []


def test_a_folder_that_cannot_be_entered_is_named_and_the_rest_answered(
    cl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", _tone(), RATE)
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def refuse(path: str = ".") -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    answer = cl("predict", tmp_path, "--format", "json").refused(f"{tmp_path / 'locked'}: cannot be entered")
    assert [one["path"] for one in answer.json] == [str(tmp_path / "a.wav")]


# What is said of an answer


@pytest.mark.slow
def test_how_much_of_a_long_clip_its_task_takes(cl: Run, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    soundfile.write(long, _tone(60), RATE)
    (answer,) = cl("predict", long, "--task", "tones", "--format", "json").fine().json
    assert (answer["heard"], answer["clip_seconds"], answer["windows"]) == ([0, 60], 60, 120)
    assert answer["notes"] == ["joined over 120 windows of 0.5 s"]
    assert "joined over 120 windows of 0.5 s" in cl("predict", long).fine().out
    (first,) = cl("predict", long, "--task", "tones", "--whole", "--format", "json").fine().json
    assert (first["heard"], first["clip_seconds"]) == ([0, 0.5], 60)
    assert first["notes"] == ["heard 0.5 of 60 s; leave out --whole to hear all of it"]
    assert "windows" not in first
    windows = cl("predict", long, "--window", 0.5, "--format", "json").fine().json
    assert len(windows) == 120
    assert [one["heard"] for one in windows] == [pytest.approx([one["start"], one["end"]]) for one in windows]
    assert not any("notes" in one for one in windows)
    too_long = cl("predict", long, "--window", 5, "--format", "json").fine().json
    assert too_long[1]["heard"] == [5, 10]
    assert too_long[0]["notes"] == ["joined over 10 windows of 0.5 s"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
@pytest.mark.parametrize("window", [[], ["--window", 0.25]])
def test_channels_that_cancel_each_other_out(cl: Run, tmp_path: Path, form: str, window: list[object]) -> None:
    path, alone = tmp_path / "both", tmp_path / "one"
    left = _tone()
    soundfile.write(path, np.stack([left, -0.9 * left], axis=1), RATE, format=form)
    soundfile.write(alone, left, RATE, format=form)
    soundfile.write(tmp_path / "opposite", np.stack([left, -left], axis=1), RATE, format=form)
    answer = cl("predict", tmp_path / "opposite", *window, "--format", "json").fine()
    assert answer.err == (
        f"cl-ast: {tmp_path / 'opposite'}: its channels cancel each other out, so only the loudest of them is used\n"
    )
    assert answer.json[0]["notes"] == ["its channels cancel each other out, so only the loudest of them is used"]
    assert sum("notes" in one for one in answer.json) == 1
    (expected, *_) = cl("predict", alone, *window, "--format", "json").fine().json
    assert answer.json[0]["labels"][0]["label"] == expected["labels"][0]["label"]
    assert "notes" not in cl("predict", path, *window, "--format", "json").fine().json[0]


def test_what_was_left_out_of_a_recording(cl: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, _tone(8) + np.random.default_rng(0).normal(0, 0.02, 8 * RATE), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"OggS")])
    answer = cl("predict", path, "--format", "jsonl").fine()
    assert answer.err == f"cl-ast: {path}: it has no end mark; the end of the recording may be missing\n"
    assert answer.json["notes"][0] == "it has no end mark; the end of the recording may be missing"
