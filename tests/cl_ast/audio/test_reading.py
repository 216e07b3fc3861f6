"""Any clip becomes mono 16 kHz samples, or one clear line that names it."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cl_ast.audio import reading as audio
from cl_ast.errors import AudioError
from streams.walk import EXTENSIONS
from tests.cl_ast.conftest import Sine

FORMATS = [
    # suffix, rate, channels, subtype, how far the level may be off
    (".wav", 44_100, 1, "PCM_16", 1e-3),
    (".wav", 48_000, 2, "PCM_24", 1e-3),
    (".wav", 8_000, 1, "FLOAT", 1e-3),
    (".wav", 16_000, 6, "DOUBLE", 1e-3),
    (".wav", 22_050, 1, "PCM_U8", 1e-2),
    (".wav", 11_025, 1, "ULAW", 2e-2),
    (".flac", 44_100, 2, "PCM_24", 1e-3),
    (".flac", 96_000, 1, "PCM_16", 1e-3),
    (".ogg", 48_000, 2, "VORBIS", 2e-2),
    (".mp3", 44_100, 2, "MPEG_LAYER_III", 2e-2),
    (".opus", 48_000, 1, "OPUS", 2e-2),
    (".oga", 44_100, 2, "VORBIS", 2e-2),
    (".aiff", 44_100, 2, "PCM_24", 1e-3),
    (".aif", 22_050, 1, "PCM_16", 1e-3),
    (".aifc", 8_000, 1, "ULAW", 2e-2),
    (".au", 8_000, 1, "ULAW", 2e-2),
    (".snd", 44_100, 2, "PCM_16", 1e-3),
    (".caf", 44_100, 2, "ALAC_16", 1e-3),
    (".w64", 96_000, 2, "PCM_24", 1e-3),
    (".rf64", 48_000, 2, "FLOAT", 1e-3),
    (".wave", 16_000, 1, "PCM_16", 1e-3),
]
CONTAINERS = {
    ".opus": "OGG", ".oga": "OGG", ".aif": "AIFF", ".aifc": "AIFF", ".snd": "AU", ".wave": "WAV",
}  # fmt: skip


def _encoded(samples: np.ndarray, rate: int = 16_000, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


def _level(samples: np.ndarray) -> float:
    """Root mean square in dB, the edges left out."""
    edge = len(samples) // 8
    return float(10 * np.log10(np.mean(samples[edge:-edge].astype(np.float64) ** 2) + 1e-30))


@pytest.mark.parametrize(("suffix", "rate", "channels", "subtype", "tolerance"), FORMATS)
def test_every_format_becomes_mono_16_khz(
    suffix: str, rate: int, channels: int, subtype: str, tolerance: float, tmp_path: Path, sine: Sine
) -> None:
    path = tmp_path / f"clip{suffix}"
    samples = np.stack([sine(440, rate=rate)] * channels, axis=1)
    soundfile.write(path, samples, rate, subtype=subtype, format=CONTAINERS.get(suffix))
    waveform = audio.read(path)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert waveform.flags.c_contiguous
    assert abs(audio.seconds(waveform) - 1) < 0.001
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    assert abs(np.argmax(spectrum) * 16_000 / len(waveform) - 440) < 2
    assert _level(waveform) == pytest.approx(_level(sine(440)), abs=20 * np.log10(1 + tolerance) + 0.01)


def test_every_suffix_that_is_promised_is_tested() -> None:
    assert {row[0] for row in FORMATS} == EXTENSIONS
    page = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert all(f"`{suffix}`" in page for suffix in EXTENSIONS)


def test_channels_are_averaged(sine: Sine) -> None:
    left, right = sine(440), sine(1000)
    both = audio.read(_encoded(np.stack([left, right], axis=1), subtype="FLOAT"))
    np.testing.assert_allclose(both, (left + right) / 2, atol=1e-6)


def test_16_khz_samples_are_kept_as_they_are_peaks_above_one_too(sine: Sine) -> None:
    loud = sine(440, level=3.0)
    np.testing.assert_array_equal(audio.read(_encoded(loud, subtype="FLOAT")), loud)


@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100, 48_000, 96_000])
def test_the_top_of_the_band_keeps_its_level_and_nothing_aliases_into_it(rate: int, sine: Sine) -> None:
    tone = audio.resample(sine(7_000, 2, rate), rate)
    assert abs(_level(tone) - _level(sine(7_000, 2))) < 0.5
    above = audio.resample(sine(9_000, 2, rate), rate)
    assert _level(above) - _level(sine(7_000, 2)) < -60


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
@pytest.mark.parametrize("samples", [1, 2, 100])
def test_the_shortest_clips_do_not_vanish(samples: int, rate: int) -> None:
    waveform = audio.resample(np.full(samples, 0.5, np.float32), rate)
    assert len(waveform)
    assert np.isfinite(waveform).all()


def test_paths_words_bytes_and_open_files_are_the_same_clip(tmp_path: Path, sine: Sine) -> None:
    data = _encoded(sine(440, rate=44_100), 44_100)
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    expected = audio.read(path)
    np.testing.assert_array_equal(audio.read(str(path)), expected)
    np.testing.assert_array_equal(audio.read(data), expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(audio.read(file), expected)


def test_the_content_decides_and_not_the_suffix(tmp_path: Path, sine: Sine) -> None:
    path = tmp_path / "really-flac.wav"
    path.write_bytes(_encoded(sine(440), form="FLAC"))
    assert len(audio.read(path)) == 16_000


@pytest.mark.parametrize("announced", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000])
def test_a_wav_streamed_by_a_program_that_could_not_know_its_length_is_read(announced: int, sine: Sine) -> None:
    """As ffmpeg, sox and arecord write into a pipe."""
    data = bytearray(_encoded(sine(440)))
    at = data.find(b"data") + 4
    data[at : at + 4] = announced.to_bytes(4, "little")
    data[4:8] = min(announced + 36, 0xFFFFFFFF).to_bytes(4, "little")
    np.testing.assert_array_equal(audio.read(bytes(data)), audio.read(_encoded(sine(440))))


def test_chunks_around_the_sound_do_not_count_as_missing(sine: Sine) -> None:
    data = _encoded(sine(440))
    at = data.find(b"data")
    note = b"LIST" + (5).to_bytes(4, "little") + b"hello\0"  # odd sizes are padded to even ones
    padded = data[:at] + note + data[at:] + note
    whole = padded[:4] + (len(padded) - 8).to_bytes(4, "little") + padded[8:]
    np.testing.assert_array_equal(audio.read(whole), audio.read(data))
    with pytest.raises(AudioError, match="truncated, 100 bytes"):
        audio.read(whole[: -100 - len(note)])


def _bad_files(sine: Sine) -> dict[str, tuple[bytes, str]]:
    """Content, and a word of the error."""
    good = _encoded(sine(440, 2))
    broken = sine(440)
    broken[500] = np.nan
    endless = sine(440)
    endless[500] = np.inf
    absurd = sine(440)
    absurd[500] = 1e25
    return {
        "empty.wav": (b"", "empty"),
        "text.wav": (b"this is a letter, not a sound\n" * 20, "not audio"),
        "truncated.wav": (good[: len(good) // 2], "truncated"),
        "one-byte-short.wav": (good[:-1], "truncated"),
        "header-cut.wav": (good[:20], "not audio"),
        "absurd.wav": (_encoded(absurd, subtype="FLOAT"), "beyond any scale"),
        "nan.wav": (_encoded(broken, subtype="FLOAT"), "not numbers"),
        "infinite.wav": (_encoded(endless, subtype="FLOAT"), "not numbers"),
        "zero-length.wav": (_encoded(np.zeros(0, np.float32)), "no samples"),
        "truncated.flac": (_encoded(sine(440, 2), form="FLAC")[:4000], "truncated"),
        "zeros.mp3": (bytes(2000), "not audio"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "empty.wav", "text.wav", "truncated.wav", "one-byte-short.wav", "header-cut.wav", "nan.wav", "absurd.wav",
        "infinite.wav", "zero-length.wav", "truncated.flac", "zeros.mp3",
    ],
)  # fmt: skip
def test_a_bad_clip_is_one_clear_line_that_names_it(name: str, tmp_path: Path, sine: Sine) -> None:
    content, word = _bad_files(sine)[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AudioError, match=word) as caught:
        audio.read(path)
    _check_line(str(caught.value), str(path))


def test_a_missing_clip_a_folder_and_a_path_through_a_file_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, word in (
        (tmp_path / "nowhere.wav", "no such file"),
        (tmp_path, "a folder"),
        (tmp_path / "file" / "clip.wav", "cannot be read"),
    ):
        with pytest.raises(AudioError, match=word) as caught:
            audio.read(path)
        _check_line(str(caught.value), str(path))


def test_an_error_uses_the_name_that_was_given() -> None:
    with pytest.raises(AudioError) as caught:
        audio.read(b"nothing", name="upload 7")
    _check_line(str(caught.value), "upload 7")
    with pytest.raises(AudioError) as caught:
        audio.read(io.BytesIO(b""))
    _check_line(str(caught.value), "standard input")


def _check_line(message: str, name: str) -> None:
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    assert len(message) > len(name) + 10
