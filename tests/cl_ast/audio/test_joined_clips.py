"""All the sound of a file is decoded, or a line says what was left out: after padding, joined on, damaged or cut."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from audio_files import RATE, encoded, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.audio import mpeg, ogg, reading
from cl_ast.audio.pieces import Source
from cl_ast.errors import AudioError

few = settings(max_examples=40, deadline=None, derandomize=True)
ID3 = b"ID3\x04\0\0\0\0\x10\0" + bytes(2_048)
ID3_OF_OLD = b"TAG" + bytes(125)
APE = b"APETAGEX" + (2_000).to_bytes(4, "little") + (32).to_bytes(4, "little") + bytes(7) + b"\x80" + bytes(8)

MP3, OTHER_MP3 = encoded(tone(), "MP3"), encoded(tone(1.0, 900, 44_100), "MP3", rate=44_100)
OGG, OPUS = encoded(tone(), "OGG"), encoded(tone(), "OGG", "OPUS")
WAV, FLAC, AIFF = encoded(tone()), encoded(tone(), "FLAC"), encoded(tone(), "AIFF")
W64, CAF, AU, RF64 = (encoded(tone(), form) for form in ("W64", "CAF", "AU", "RF64"))
GARBAGE = np.random.default_rng(0).bytes(5_000)


def _read(data: bytes) -> tuple[float, list[str]]:
    notes: list[str] = []
    return len(reading.read(data, notes=notes)) / RATE, notes


def _counting(data: bytes, frames: int) -> bytes:
    """Return an mp3 file whose first frame says that so many follow."""
    at = data.index(b"Xing") + 8
    return data[:at] + frames.to_bytes(4, "big") + data[at + 4 :]


BEFORE = {
    "mp3 after zeros": bytes(1_024) + MP3,
    "mp3 after many zeros": bytes(300_000) + MP3,
    "mp3 after a tag": ID3 + MP3,
    "mp3 after a tag and zeros": ID3 + bytes(777) + MP3,
    "mp3 after two tags": ID3 + ID3 + MP3,
    "mp3 after an APE tag": APE.replace(b"\x80", b"\xa0") + APE + MP3,
    "mp3 after garbage": GARBAGE + MP3,
    "mp3 after false frames": b"\xff\xfb\x90\x64" * 40 + MP3,
    "flac after a tag": ID3 + FLAC,
    "wav after a tag": ID3 + WAV,
    "wav after zeros": bytes(512) + WAV,
    "ogg after zeros": bytes(100) + OGG,
    "ogg after garbage": GARBAGE + OGG,
    "aiff after a line": b"\r\n" + AIFF,
}


@pytest.mark.parametrize("name", BEFORE)
def test_sound_after_other_bytes_is_found(name: str) -> None:
    assert _read(BEFORE[name]) == (1.0, [])


JOINED = {
    "two mp3": (MP3 + MP3, 2),
    "mp3 of two rates": (MP3 + OTHER_MP3 + MP3, 3),
    "mp3 with tags between": (ID3 + MP3 + ID3_OF_OLD + ID3 + MP3 + APE + MP3 + ID3_OF_OLD, 3),
    "mp3 that counts too few frames": (_counting(MP3, 10), 1),
    "two ogg": (OGG + OGG, 2),
    "vorbis and opus": (OGG + OPUS + OGG, 3),
    "ogg of two rates": (OGG + encoded(tone(1.0, 440, 44_100), "OGG", rate=44_100), 2),
    "two wav": (WAV + WAV, 2),
    "two flac": (FLAC + FLAC, 2),
    "two aiff": (AIFF + AIFF, 2),
    "two w64": (W64 + W64, 2),
    "two caf": (CAF + CAF, 2),
    "two au": (AU + AU, 2),
    "two rf64": (RF64 + RF64, 2),
    "everything": (WAV + FLAC + OGG + OPUS + AIFF + CAF + W64 + AU + RF64 + MP3, 10),
}


@pytest.mark.parametrize("name", JOINED)
def test_recordings_joined_on_are_all_decoded(name: str) -> None:
    data, seconds = JOINED[name]
    found, notes = _read(data)
    assert found == pytest.approx(seconds, abs=0.001)
    assert notes == []
    blocks = list(reading.stream(data, seconds=0.3))
    np.testing.assert_array_equal(np.concatenate(blocks), reading.read(data))


def _ogg_pages(data: bytes) -> list[tuple[int, int]]:
    source, at, found = Source(io.BytesIO(data)), 0, []
    while (page := ogg.page_at(source, at)) is not None:
        found.append((page.start, page.end))
        at = page.end
    return found


def _long_ogg() -> bytes:
    return encoded(tone(8.0), "OGG")


def _without_page(data: bytes) -> bytes:
    start, end = _ogg_pages(data)[4]
    return data[:start] + data[end:]


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


LONG_MP3 = encoded(tone(8.0), "MP3")
LEFT_OUT: dict[str, tuple[Callable[[], bytes], str]] = {
    "ogg cut within a page": (lambda: _long_ogg()[:-100], "truncated"),
    "ogg cut in the middle": (lambda: _long_ogg()[:20_000], "truncated"),
    "ogg cut between pages": (lambda: _long_ogg()[: _ogg_pages(_long_ogg())[-2][1]], "end mark"),
    "ogg without a page": (lambda: _without_page(_long_ogg()), "damaged or missing|samples are missing"),
    "ogg with a damaged page": (lambda: _flipped(_long_ogg(), 20_000), "damaged or missing|samples are missing"),
    "opus cut": (lambda: OPUS[:-50], "truncated"),
    "mp3 cut in the middle": (lambda: LONG_MP3[: len(LONG_MP3) // 2], "truncated"),
    "mp3 cut within its last frame": (lambda: LONG_MP3[:-20], "last frame is cut"),
    "mp3 with a hole": (lambda: LONG_MP3[:9_000] + GARBAGE + LONG_MP3[9_000:], "bytes between its frames"),
    "second mp3 cut": (lambda: MP3 + LONG_MP3[: len(LONG_MP3) // 2], "truncated"),
    "flac cut": (lambda: FLAC[: len(FLAC) // 2], "truncated"),
    "second wav cut": (lambda: WAV + WAV[: len(WAV) // 2], "truncated"),
    "something after the sound": (lambda: WAV + GARBAGE, "5000 bytes after the sound"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_said(name: str) -> None:
    make, said = LEFT_OUT[name]
    notes: list[str] = []
    try:
        reading.read(make(), notes=notes)
    except AudioError as error:
        notes.append(str(error))
    with pytest.raises(AssertionError, match=said):
        assert notes == [], notes


def test_tags_and_padding_after_the_sound_are_no_loss() -> None:
    for data in (WAV, FLAC, OGG, MP3, AIFF):
        for after in (ID3_OF_OLD, bytes(5_000), ID3 + ID3_OF_OLD, APE):
            seconds, notes = _read(data + after)
            assert (seconds, notes) == (1.0, [])


def test_the_sound_of_an_ogg_file_with_pictures_is_read() -> None:
    """Pages of another stream lie between those of the sound, its first page before all."""
    picture = b"\x80theora" + bytes(40)

    def page(flags: int, number: int, content: bytes) -> bytes:
        head = b"OggS\0" + bytes([flags]) + bytes(8) + b"PICT" + number.to_bytes(4, "little")
        whole = head + bytes(4) + bytes([1, len(content)]) + content
        return head + ogg.checksum(whole).to_bytes(4, "little") + whole[26:]

    pages = _ogg_pages(_long_ogg())
    data = _long_ogg()
    parts = [page(2, 0, picture), *(data[start:end] for start, end in pages[:1])]
    for number, (start, end) in enumerate(pages[1:], 1):
        parts += [page(0, number, b"x" * 50), data[start:end]]
    np.testing.assert_array_equal(reading.read(b"".join(parts)), reading.read(data))
    with pytest.raises(AudioError, match="without vorbis, opus or flac"):
        reading.read(page(2, 0, picture) + page(4, 1, b"x" * 50))


def test_the_checksum_is_that_of_ogg() -> None:
    for start, end in _ogg_pages(OGG):
        whole = OGG[start:end]
        assert ogg.checksum(whole[:22] + bytes(4) + whole[26:]) == int.from_bytes(whole[22:26], "little")


@pytest.mark.slow
@few
@given(st.lists(st.sampled_from(["mp3", "ogg", "wav", "flac", "zeros", "tag"]), min_size=1, max_size=6))
def test_anything_joined_in_any_order_is_decoded(names: list[str]) -> None:
    known = {"mp3": MP3, "ogg": OGG, "wav": WAV, "flac": FLAC, "zeros": bytes(40), "tag": ID3}
    data = b"".join(known[name] for name in names)
    expected = sum(name not in ("zeros", "tag") for name in names)
    if expected:
        assert _read(data)[0] == expected
    else:
        with pytest.raises(AudioError, match="not audio"):
            reading.read(data)


@few
@given(st.integers(0, 2**32 - 1))
def test_a_frame_header_gives_a_frame_that_ends(number: int) -> None:
    found = mpeg.frame(number.to_bytes(4, "big"))
    if found is not None:
        assert 20 < found.size < 3_000
        assert found.rate in (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
        assert found.samples in (384, 576, 1_152)


def test_the_working_folder_plays_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libsndfile would open a file called `._` there."""
    monkeypatch.chdir(tmp_path)
    for data in (b"", b"\0\5\x16\7" * 30):
        (tmp_path / "._").write_bytes(data)
        for clip in (MP3, OGG, WAV, ID3 + MP3):
            assert _read(clip) == (1.0, [])
