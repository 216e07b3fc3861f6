"""Lengths, rates and channels in headers are compared with the file, and every container says when it is cut."""

import resource
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from audio_files import RATE, chunk, encoded, fmt, pcm, riff, tone, writable
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.audio import reading
from cl_ast.errors import AudioError

CLIP = tone()
PCM = pcm(CLIP)
# Nothing in these files says how long they are.
ENDLESS = {"PAF", "PVF", "IRCAM", "XI"}
often = settings(max_examples=150, deadline=None, derandomize=True)


def _samples(data: bytes) -> int:
    return len(reading.read(data))


def _flac(total: int) -> bytes:
    """Return a FLAC clip whose header promises so many samples; 0 stands for an unknown number."""
    data = bytearray(encoded(CLIP, "FLAC"))
    fields = int.from_bytes(data[18:26], "big") >> 36 << 36
    data[18:26] = (fields | total).to_bytes(8, "big")
    return bytes(data)


def _sized(form: str, name: bytes, size: bytes, skip: int = 4) -> bytes:
    """Return a clip of a format of chunks with another size in the header of one chunk."""
    data = encoded(CLIP, form)
    at = data.index(name) + skip
    return data[:at] + size + data[at + len(size) :]


def _au(size: int) -> bytes:
    data = encoded(CLIP, "AU")
    return data[:8] + size.to_bytes(4, "big") + data[12:]


def _aiff_without_lengths() -> bytes:
    data = bytearray(_sized("AIFF", b"SSND", bytes(4)))
    data[4:8] = bytes(4)
    at = data.index(b"COMM") + 10
    data[at : at + 4] = bytes(4)
    return bytes(data)


UNKNOWN = {
    "wav 0": riff(fmt(), chunk(b"data", PCM, 0), size=0),
    "wav 0 in a whole of the right size": riff(fmt(), chunk(b"data", PCM, 0)),
    "wav 0xffffffff": riff(fmt(), chunk(b"data", PCM, 0xFFFFFFFF), size=0xFFFFFFFF),
    "wav 0x7ffff000": riff(fmt(), chunk(b"data", PCM, 0x7FFFF000), size=0x7FFFF024),
    "wav after a list": riff(fmt(), chunk(b"LIST", b"INFOISFT\4\0\0\0sox\0"), chunk(b"data", PCM, 0), size=0),
    "flac": _flac(0),
    "aiff": _aiff_without_lengths(),
    "aiff 0xffffffff": _sized("AIFF", b"SSND", b"\xff" * 4),
    "au 0": _au(0),
    "au 0xffffffff": _au(0xFFFFFFFF),
    "caf -1": _sized("CAF", b"data", b"\xff" * 8),
    "w64 0": _sized("W64", b"data\xf3", bytes(8), 16),
    "w64 2^63-1": _sized("W64", b"data\xf3", (2**63 - 1).to_bytes(8, "little"), 16),
    "rf64 0": _sized("RF64", b"ds64", bytes(24), 8),
    "rf64 -1": _sized("RF64", b"ds64", b"\xff" * 24, 8),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_length_is_all_that_follows(name: str) -> None:
    np.testing.assert_allclose(reading.read(UNKNOWN[name]), CLIP, atol=1e-4)


def test_no_samples_and_other_chunks_after_them_is_an_empty_recording() -> None:
    with pytest.raises(AudioError, match="no samples"):
        reading.read(riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"INFOISFT\4\0\0\0sox\0")))


MISCOUNTED = {
    "wav by 16": riff(fmt(), chunk(b"data", PCM, len(PCM) + 16)),
    "wav by its header": riff(fmt(), chunk(b"data", PCM, len(PCM) + 44), size=len(PCM) + 80),
    "wav by 2": riff(fmt(), chunk(b"data", PCM, len(PCM) + 2), size=len(PCM) + 38),
    "wav by 1,000 in a whole of the right size": riff(fmt(), chunk(b"data", PCM, len(PCM) + 1_000)),
    "wav with a whole of the wrong size": riff(fmt(), chunk(b"data", PCM), size=7),
    "aiff by 8": _sized("AIFF", b"SSND", (len(PCM) + 16).to_bytes(4, "big")),
    "au by 24": _au(len(PCM) + 24),
    "w64 by 24": _sized("W64", b"data\xf3", (len(PCM) + 48).to_bytes(8, "little"), 16),
    "flac by 100": _flac(len(CLIP) + 100),
    "flac by -8000": _flac(len(CLIP) - 8_000),
}


@pytest.mark.parametrize("name", MISCOUNTED)
def test_a_writer_that_miscounts_by_some_bytes_cuts_nothing(name: str) -> None:
    np.testing.assert_allclose(reading.read(MISCOUNTED[name]), CLIP, atol=1e-4)


LYING = {
    "wav": (riff(fmt(), chunk(b"data", PCM, 0x70000000), size=0x70000024), "truncated"),
    "flac 2^36": (_flac(2**36 - 1), "missing"),
    "flac twice": (_flac(2 * len(CLIP)), "missing"),
    "aiff": (_sized("AIFF", b"SSND", (2**30).to_bytes(4, "big")), "truncated"),
    "au": (_au(2**31), "truncated"),
    "caf": (_sized("CAF", b"data", (2**60).to_bytes(8, "big")), "truncated"),
    "w64": (_sized("W64", b"data\xf3", (2**60).to_bytes(8, "little"), 16), "truncated"),
    "rf64": (_sized("RF64", b"ds64", struct.pack("<QQQ", 2**60, 2**60, 2**60), 8), "truncated"),
}


@pytest.mark.parametrize("name", LYING)
def test_a_length_in_a_header_is_never_allocated(name: str) -> None:
    data, word = LYING[name]
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match=word):
            reading.read(data)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("form", "subtype"), writable())
def test_every_container_is_read_whole_and_says_when_it_is_cut(form: str, subtype: str) -> None:
    data = encoded(tone(2.0), form, subtype)
    notes: list[str] = []
    whole = len(reading.read(data, notes=notes))
    assert notes == []
    if form == "XI":  # a sample of an instrument, always at 44.1 kHz
        assert whole == round(32_000 / 44_100 * 16_000)
    elif form != "WVE":  # always at 8 kHz
        assert 31_700 < whole < 33_000
    for cut in (len(data) // 3, len(data) // 2, len(data) - 1_500):
        if form in ENDLESS:
            assert len(reading.read(data[:cut])) < whole
        else:
            with pytest.raises(AudioError, match=r"truncated|not audio"):
                reading.read(data[:cut])


@pytest.mark.parametrize("rate", [0, 1, 100, 999, 1_000_001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_rate_that_no_recorder_has_is_refused_in_a_sentence(rate: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AudioError, match=r"sampling rate|header is damaged"):
        reading.read(riff(fmt(rate=rate), chunk(b"data", PCM)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize("channels", [0, 257, 1_024, 4_000])
def test_so_many_channels_are_refused(channels: int) -> None:
    with pytest.raises(AudioError, match=r"channels|header is damaged"):
        reading.read(riff(fmt(channels), chunk(b"data", PCM)))


def test_many_channels_and_the_outermost_rates_are_read() -> None:
    assert _samples(riff(fmt(64), chunk(b"data", PCM))) == 250
    assert _samples(riff(fmt(rate=1_000), chunk(b"data", PCM))) == 256_000
    assert _samples(riff(fmt(rate=1_000_000), chunk(b"data", PCM))) == 256


@pytest.mark.parametrize("rate", [5_513, 11_025, 11_127, 15_999, 16_001, 44_099, 44_100, 47_999, 96_001, 384_000])
@pytest.mark.parametrize("seconds", [0.0501, 0.3, 0.58, 1.0])
def test_the_length_is_kept_at_any_rate(rate: int, seconds: float) -> None:
    count = round(seconds * rate)
    data = riff(fmt(rate=rate), chunk(b"data", bytes(2 * count)))
    assert abs(_samples(data) - count * RATE / rate) <= 0.5 + 1e-9


@pytest.mark.slow
@often
@given(st.integers(1_000, 1_000_000), st.integers(1, 40_000))
def test_the_length_is_kept_at_every_rate_and_in_blocks(rate: int, count: int) -> None:
    samples = np.linspace(-0.5, 0.5, count, dtype=np.float32)
    data = riff(fmt(rate=rate), chunk(b"data", pcm(samples)))
    found = reading.read(data)
    assert abs(len(found) - max(1, count * RATE / rate)) <= 0.5 + 1e-9
    np.testing.assert_array_equal(np.concatenate(list(reading.stream(data, seconds=0.5))), found)


@pytest.mark.slow
@often
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 400), st.sampled_from([8, 16, 24]))
def test_whatever_sizes_a_wav_header_gives_the_sound_is_read_or_refused(
    whole: int, size: int, count: int, bits: int
) -> None:
    content = bytes(range(1, 251)) * 4
    content = content[: count * bits // 8]
    data = riff(fmt(bits=bits), chunk(b"data", content, size), size=whole)
    there = len(content) // (bits // 8)
    try:
        found = _samples(data)
    except AudioError as error:
        assert size > len(content) or not there or not size, error
    else:
        if size >= len(content):
            assert found == there
        elif size:
            assert found == max(1, size // (bits // 8)) or size < bits // 8


@often
@given(st.binary(max_size=600), st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS\0\2", b"FORM\0\0\0\0AIFF"]))
def test_any_bytes_are_read_or_refused_in_one_line(data: bytes, beginning: bytes) -> None:
    try:
        assert np.isfinite(reading.read(beginning + data)).all()
    except AudioError as error:
        assert str(error).startswith("standard input: ")
        assert "\n" not in str(error)


def test_a_header_without_end_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "chunks.wav"
    path.write_bytes(riff(chunk(b"LIST", b"") * 1_000_000))
    with pytest.raises(AudioError, match=r"chunks\.wav: its header has more than 10,000 parts"):
        reading.read(path)
