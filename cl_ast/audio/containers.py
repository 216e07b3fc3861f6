"""Which formats are read, known by their first bytes, and the parts of sound that a file of each of them has."""

import re
from collections.abc import Callable
from functools import partial

from cl_ast.audio import chunks, mpeg, ogg, old_formats
from cl_ast.audio.pieces import MOST_PARTS, Part, Source
from cl_ast.errors import AudioError

FORMATS = "wav, flac, ogg, opus, mp3, aiff, au, caf, w64"
_LEADING = 2**20  # bytes that may come before the sound
_TRAILING = 1_024  # bytes after the sound that are not worth a word: tags and padding
_SHORTEST = 12  # bytes of a recording
_PADDING = 64  # bytes between files that were joined
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")

_AFTER_FLAC = (
    b"fLaC\0\0\0\x22", b"OggS\0\x02", b"RIFF", b"RF64\xff\xff\xff\xff", b"FORM", b"caff\0\1\0\0",
    b"riff\x2e\x91\xcf\x11",
)  # fmt: skip
_BEGINNINGS = re.compile(rb"RIFF....WAVE|RF64....WAVE|FORM....AIF[FC]|OggS\x00\x02|" + _FLAC.pattern, re.DOTALL)

Found = tuple[list[Part], int, list[str]]


def parts(source: Source, start: int = 0) -> tuple[list[Part], list[str]]:
    """Return the parts of sound in a file, in order, and what was left out, as lines to be shown.

    Files that were joined are read as one recording, also those of different formats.

    Raises:
        AudioError: it is not audio that can be read, or it is truncated.
    """
    found: list[Part] = []
    notes: list[str] = []
    position = _beginning(source, start)
    if position is None:
        raise AudioError(f"not audio that can be read ({FORMATS}); convert it or leave it out")
    while position is not None:
        reader = _reader(source, position)
        assert reader is not None
        more, end, said = reader(source, position)
        found += more
        notes += said
        if len(found) > MOST_PARTS:
            raise AudioError("more than 1,000 recordings are joined in it; cut it")
        end = max(end, position + _SHORTEST)
        position = _next(source, end, position + _SHORTEST)
        if position is None and end < source.length:
            position = _beginning(source, end)
            if position is not None and source.at(end, min(position - end, _LEADING)).strip(b"\0"):
                notes.append(f"{position - end} bytes between recordings are not read")
    rest = source.length - mpeg.after_tags(source, end)
    if rest > _TRAILING and source.at(source.length - rest, 2**16).strip(b"\0"):
        notes.append(f"{rest} bytes after the sound are not read")
    return found, list(dict.fromkeys(notes))


def parts_after_flac(source: Source, part: Part) -> tuple[list[Part], list[str]]:
    """Return what follows a FLAC part after whose last sample came other bytes, as `parts` does.

    Where FLAC ends can be told from its frames only, so this is found out once they are decoded.
    """
    frames = _flac_frames(source, int(part.pieces[0][0]))
    begin = [source.find(name, frames) for name in _AFTER_FLAC]
    end = min((at for at in begin if at >= 0 and _reader(source, at)), default=source.length)
    mp3 = mpeg.first_frame(source, frames, end)
    if mp3 is not None or end < source.length:
        return parts(source, end if mp3 is None else mp3)
    tail = source.at(source.length - 128, 128)
    if tail.startswith(b"TAG") or tail[-32:].startswith(b"APETAGEX") or not tail.strip(b"\0"):
        return [], []
    return [], ["what follows its last sample cannot be decoded, and is left out"]


def _beginning(source: Source, position: int) -> int | None:
    """Return where the first format that is read begins: after tags, padding or other bytes, up to 1 MiB of them."""
    start = mpeg.after_tags(source, position)
    if _reader(source, start):
        return start
    match = _BEGINNINGS.search(source.at(start, _LEADING))
    other = None if match is None else start + match.start()
    frames = mpeg.first_frame(source, start, min(start + _LEADING, source.length) if other is None else other)
    return other if frames is None else frames


def _next(source: Source, end: int, earliest: int) -> int | None:
    """Return where another file begins that was joined on, after tags and a few bytes of padding; None without one.

    Some writers leave out the padding that a format asks for, so it may begin a little earlier, too.
    """
    if end >= source.length:
        return None
    position = mpeg.after_tags(source, end)
    padding = source.at(position, _PADDING + 1)
    after = position + len(padding) - len(padding.lstrip(b"\0"))
    places = (after, *range(max(earliest, end - 7), end))
    return next((at for at in places if at < source.length and _reader(source, at)), None)


def _reader(source: Source, position: int) -> Callable[[Source, int], Found] | None:
    """Return what reads the format that begins there, or None."""
    head = source.at(position, 20)
    name, kind = head[:4], head[8:12]
    for names, kinds, reader in _CHUNKED:
        if name in names and (not kinds or kind in kinds):
            return lambda source, start: _one(*reader(source, start))
    if name == b"OggS":
        return ogg.parts
    if name == b"fLaC":
        return _flac
    if mpeg.frame(head) is not None and mpeg.first_frame(source, position, position + 2) == position:
        return mpeg.parts
    try:
        old_formats.declared_end(source, position)
    except KeyError:
        return None
    return _old


_CHUNKED: tuple[tuple[tuple[bytes, ...], tuple[bytes, ...], Callable[[Source, int], tuple[Part, int]]], ...] = (
    ((b"RIFF",), (b"WAVE",), chunks.riff),
    ((b"RIFX",), (b"WAVE",), partial(chunks.riff, layout=chunks.RIFX)),
    ((b"RF64", b"BW64"), (b"WAVE",), chunks.rf64),
    ((b"FORM",), (b"AIFF", b"AIFC"), chunks.form),
    ((b"FORM",), (b"8SVX", b"16SV"), partial(chunks.form, layout=chunks.SVX)),
    ((b"caff",), (b"desc",), chunks.caf),
    ((b"riff",), (), chunks.w64),
    ((b".snd", b"dns."), (), chunks.au),
)


def _one(part: Part, end: int) -> Found:
    return [part], end, []


def _flac(source: Source, start: int) -> Found:
    """Return one FLAC stream, up to the end of the file or, if it does not say how long it is, to another stream.

    The decoder is told that the number of samples is unknown, so that it reads to the end whatever the header says.
    """
    block = source.at(start + 4, 22)
    if len(block) < 22 or block[0] & 0x7F or block[1:4] != b"\0\0\x22":
        raise AudioError("truncated or damaged: its FLAC header cannot be read; copy the file again")
    samples = int.from_bytes(block[17:22], "big") & (2**36 - 1)
    end = -1 if samples else source.find(_AFTER_FLAC[0], _flac_frames(source, start))
    end = source.length if end < 0 else end
    unknown = bytes([block[17] & 0xF0]) + bytes(4)
    return _one(Part(((start, start + 21), unknown, (start + 26, end)), samples or None), end)


def _flac_frames(source: Source, start: int) -> int:
    """Return where the frames begin, after the metadata, which may contain the header of another format."""
    position, last = start + 4, False
    while not last:
        head = source.at(position, 4)
        last = len(head) < 4 or head[0] >= 0x80
        position += 4 + int.from_bytes(head[1:], "big")
    return position


def _old(source: Source, start: int) -> Found:
    end = old_formats.declared_end(source, start)
    if end is None:
        return _one(Part(((start, source.length),)), source.length)
    if end - source.length > chunks.SLACK:
        source.is_cut_off(chunks.truncated(end - source.length))
    end = min(end, source.length)
    return _one(Part(((start, end),)), end)
