"""Which uploads are decoded at once: those that cannot take long, whatever their bytes say."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cl_ast.serving.decoding import is_quick
from cl_ast.serving.uploads import Upload


def wav(
    samples: int = 16_000, rate: int = 16_000, subtype: str = "PCM_16", form: str = "WAV", channels: int = 1
) -> bytes:
    file = io.BytesIO()
    sound = np.random.default_rng(0).normal(0, 0.1, (samples, channels))
    soundfile.write(file, sound, rate, format=form, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [wav(), wav(rate=8_000), wav(rate=48_000, channels=2), wav(subtype="FLOAT", samples=16_000)]
)
def test_a_small_wav_file_is(content: bytes) -> None:
    assert is_quick(Upload("a", content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        wav(form="FLAC"),
        wav(subtype="ULAW"),  # fewer bytes a sample, and other kinds far fewer
        wav(rate=4_000),
        wav(rate=96_000),
        wav(samples=40_000),
        wav()[:-1],
        wav() + wav(form="FLAC"),
    ],
    ids=["nothing", "no header", "flac", "coded", "slow", "fast", "large", "cut off", "something after it"],
)
def test_nothing_else_is(content: bytes) -> None:
    assert not is_quick(Upload("a", content))


def test_a_file_on_disk_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav())
    assert not is_quick(Upload("a", tmp_path / "a.wav"))
