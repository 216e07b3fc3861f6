"""`cl-ast listen`: events in live sound are those of the same sound as a recording."""

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.audio.reading import Waveform
from cl_ast.events.raw_sound import RawSound, Resampler, Ring, SoundFormat
from tests.cli.conftest import Fork, Run
from tests.cli.sounds import RATE
from tests.cli.test_events import OPTIONS
from tests.cli.test_streams import soundscape


def _spans(lines: str) -> list[tuple[float, float, str, int, str]]:
    found = [json.loads(line) for line in lines.splitlines()]
    return [(one["start"], one["end"], one["label"], one["windows"], one.get("why", "")) for one in found]


@pytest.mark.slow
def test_a_pipe_gives_the_events_of_the_recording(cl: Run, tmp_path: Path) -> None:
    samples = (soundscape() * 2**15).clip(-(2**15), 2**15 - 1).astype("<i2")
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    words = [*OPTIONS, "--format", "jsonl"]
    wanted = _spans(cl("events", tmp_path / "a.wav", *words).fine().out)
    assert any(not why for *_, why in wanted)
    piped = cl("listen", "--input", "-", *words, stdin=samples.tobytes()).fine().out
    assert sorted(_spans(piped)) == sorted(wanted)
    played = cl("listen", "--input", tmp_path / "a.wav", *words).fine().out
    assert sorted(_spans(played)) == sorted(wanted)


def test_other_rates_channels_and_encodings(cl: Run, tmp_path: Path) -> None:
    stereo = np.stack([soundscape().repeat(3)] * 2, axis=1).astype("<f4")
    words = ["--input", "-", "--rate", 3 * RATE, "--encoding", "pcm_f32le", "--channels", 2, *OPTIONS]
    clips = tmp_path / "clips"
    answer = cl("listen", *words, "--save-clips", clips, stdin=stereo.tobytes()).fine()
    lines = answer.out.splitlines()
    assert lines
    assert all("(tones, 0." in line or "(tones, 1." in line for line in lines)
    saved = sorted(clips.iterdir())
    assert len(saved) == len(lines)
    for path in saved:
        samples, rate = soundfile.read(path, dtype="float32")
        assert (rate, samples.shape[1]) == (3 * RATE, 2)
        start = float(path.name.split("_")[1].partition("-")[0])
        first = round(start * rate)
        assert np.array_equal(samples, stereo[first : first + len(samples)])


@pytest.mark.slow
def test_a_program_gets_each_event(cl: Run, tmp_path: Path) -> None:
    got = tmp_path / "got"
    program = tmp_path / "keep.py"
    program.write_text(f"import sys\nopen({str(got)!r}, 'a').write(sys.stdin.read())\n")
    words = ["listen", "--input", "-", *OPTIONS, "--format", "jsonl"]
    sound = soundscape().astype("<f4").tobytes()
    answer = cl(*words, "--encoding", "pcm_f32le", "--exec", f"{sys.executable} {program}", stdin=sound).fine()
    wanted = sorted(line for line in answer.out.splitlines() if "why" not in line)
    until = time.monotonic() + 20
    while time.monotonic() < until and (not got.exists() or len(got.read_text().splitlines()) < len(wanted)):
        time.sleep(0.05)
    assert sorted(got.read_text().splitlines()) == wanted
    answer = cl(*words, "--encoding", "pcm_f32le", "--exec", "./no-such-program", stdin=sound).fine()
    assert answer.err.count("cannot be run") == 1
    assert sorted(line for line in answer.out.splitlines() if "why" not in line) == wanted


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=8), st.sampled_from([8_000, 44_100, 48_000, 16_000]))
def test_pieces_of_any_length_are_resampled_alike(sizes: list[int], rate: int) -> None:
    data = np.random.default_rng(0).normal(0, 0.1, rate).astype("<f4").tobytes()

    def through(pieces: list[bytes]) -> Waveform:
        sound, resampler = RawSound(SoundFormat(rate, "pcm_f32le")), Resampler(rate)
        return np.concatenate([*(resampler.add(sound.add(piece)) for piece in pieces), resampler.finish()])

    cuts = [0, *np.cumsum(sizes).tolist(), len(data)]
    pieces = [data[first:stop] for first, stop in pairwise(cuts)]
    assert np.array_equal(through(pieces), through([data]))


def test_the_ring_keeps_the_last_seconds() -> None:
    ring = Ring(8_000, 1.0)
    samples = np.arange(20_000, dtype=np.float32)[:, None]
    for first in range(0, 20_000, 700):
        ring.add(samples[first : first + 700])
    assert np.array_equal(ring.cut(28_000, 40_000), samples[14_000:20_000])
    assert len(ring.cut(0, 2_000)) == 0
    assert 8_000 <= len(ring.cut(0, 40_000)) <= 8_700


def _microphone(pieces: list[bytes]) -> SimpleNamespace:
    """A module like sounddevice, whose device gives these pieces at once and then nothing more."""

    class Stream:
        def __init__(self, callback: Callable[..., None], **_: Any) -> None:
            self._callback = callback

        def __enter__(self) -> None:
            for piece in pieces:
                self._callback(piece, len(piece), None, None)

        def __exit__(self, *_: object) -> None:
            pass

    device = {"index": 0, "name": "Mic", "max_input_channels": 1, "default_samplerate": float(RATE)}
    return SimpleNamespace(
        RawInputStream=Stream,
        PortAudioError=RuntimeError,
        query_devices=lambda *wanted: device if wanted else [device],
    )


def test_a_device_that_is_unplugged_closes_the_last_event(
    cl: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It gives six seconds at once, of which the first 3.75 s are left out, and then nothing."""
    monkeypatch.setattr("cl_ast.events.sources._PATIENCE", 0.05)
    sound = (soundscape() * 2**15).astype("<i2").tobytes()
    monkeypatch.setitem(sys.modules, "sounddevice", _microphone([sound]))
    answer = cl("listen", *OPTIONS, "--format", "jsonl")
    assert answer.code == 1
    assert "lag: left out 15 windows" in answer.err
    assert "is it still plugged in?; the last event was closed at 6.00 s" in answer.err
    assert all(start >= 3.68 for start, *_ in _spans(answer.out))


def test_a_microphone_needs_an_extra(cl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    cl("listen", "-q").refused("pip install 'cl-ast[live]'")
    cl("listen", "--input", "gone.wav", "-q").refused("gone.wav: there is no such recording; give --input")
    cl("listen", "--input", "-", "--rate", 5, "-q", stdin=b"").refused("5 samples a second")


@pytest.mark.slow
def test_ctrl_c_closes_the_last_event(fork: Fork, registry: Path, tmp_path: Path) -> None:
    """Python interrupts itself when the first window was scored, while the pipe stays open."""
    read = (
        "import io, os, signal, sys, time, numpy as np\n"
        "t = np.arange(32000) / 16000\n"
        "sound = io.BytesIO((9000 * np.sin(2 * np.pi * 300 * t)).astype('<i2').tobytes())\n"
        "class Pipe:\n"
        "    def read1(self, size):\n"
        "        data = sound.read(size)\n"
        "        if not data:\n"
        "            time.sleep(1)\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "            time.sleep(60)\n"
        "        return data\n"
        "    read = read1\n"
        "class Stdin:\n"
        "    buffer = Pipe()\n"
        "sys.stdin = Stdin()\n"
    )
    running = fork(registry, "listen", "--input", "-", *OPTIONS, "--on", 0.3, "--format", "jsonl", first=read)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert any(end == 1.92 for _, end, *_ in _spans(out))
