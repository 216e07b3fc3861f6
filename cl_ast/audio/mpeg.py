"""Finds the frames of mp3 files, so that all of them are decoded: after padding, between tags, in files joined on.

The decoder follows the first header of a file. It takes the number of frames from there, stops where the sampling rate
changes, and finds no sound after other bytes. So a file is cut here into parts that the decoder reads to their end.
"""

import re
from dataclasses import dataclass, field

from cl_ast.audio.chunks import WHOLE_FILES
from cl_ast.audio.pieces import MOST_PARTS, Part, Source
from cl_ast.errors import AudioError

# An empty tag: with one, libsndfile knows mp3 by its content. Without, it looks for a resource fork first, and takes
# a file called "._" in the working folder for it.
TAG = b"ID3\x04\0\0\0\0\0\x10" + bytes(16)
_SYNC = re.compile(rb"\xff[\xe2-\xff]")
_WINDOW = 2**20
_SLACK = 4_096  # samples that may be missing: encoders count them differently

_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}
_KBITS = {
    (True, 3): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # by whether it is MPEG-1, and by the bits of the layer


@dataclass(frozen=True, slots=True)
class Frame:
    """What the four bytes of a frame's header say.

    Attributes:
        size: bytes, header included.
        stream: equal for frames that one decoding can take: version, layer, rate, and one channel or two.
    """

    size: int
    samples: int
    rate: int
    stream: tuple[int, int, int, bool]


def frame(header: bytes) -> Frame | None:
    """Return the frame of a header, or None if it is none, or one whose size it does not say."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bits, rate_bits, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 0 or bits in (0, 15) or rate_bits == 3:
        return None
    rate, first = _RATES[version][rate_bits], version == 3
    speed = _KBITS[first, layer][bits] * 1000
    if layer == 3:
        size, samples = (12 * speed // rate + padding) * 4, 384
    elif layer == 2 or first:
        size, samples = 144 * speed // rate + padding, 1152
    else:
        size, samples = 72 * speed // rate + padding, 576
    return Frame(size, samples, rate, (version, layer, rate, header[3] >> 6 == 3))


@dataclass
class _Walk:
    """What was found so far: the parts, as lists of where bytes begin and end, and what is left out."""

    parts: list[list[tuple[int, int]]] = field(default_factory=list)
    frames: int = 0  # of the part, besides the one that counts them
    announced: int | None = None  # by the part's first frame
    stream: tuple[int, int, int, bool] | None = None
    skipped: int = 0


def first_frame(source: Source, start: int, end: int) -> int | None:
    """Return where the first of several frames in a row begins, or None."""
    position = start
    while position < end:
        window = source.at(position, min(_WINDOW, end - position))
        for match in _SYNC.finditer(window):
            at = position + match.start()
            if _is_row(source, at):
                return at
        position += max(1, len(window) - 1)
    return None


def _is_row(source: Source, position: int) -> bool:
    """Return whether frames of one kind follow each other there: four, or two that end with the file."""
    kind = None
    for number in range(4):
        found = frame(source.at(position, 4))
        if found is None or (kind is not None and found.stream != kind):
            return number > 1 and position >= source.length - 4
        kind = found.stream
        position += found.size
    return True


def parts(source: Source, start: int) -> tuple[list[Part], int, list[str]]:
    """Return the parts of an mp3 file whose first frame is at `start`, where they end, and what to say of them.

    Raises:
        AudioError: it is truncated, or it has more than 1,000 parts.
    """
    walk, position, cut = _Walk(), start, False
    window, base = b"", 0
    known: dict[bytes, Frame | None] = {}
    while True:
        if not base <= position <= base + len(window) - 4:
            window, base = source.at(position, _WINDOW), position
        header = window[position - base : position - base + 4]
        if header not in known:
            known[header] = frame(header)
        found = known[header]
        if found is None:
            following = _after_gap(source, position, walk)
            if following is None:
                break
            position = following
            continue
        if position + found.size > source.length:
            cut = True
            break
        _take(source, walk, position, found)
        position += found.size
    _check_complete(source, walk)
    notes = []
    if walk.skipped:
        notes.append(f"{walk.skipped} bytes between its frames are no mp3, and are left out")
    if cut:
        position = source.length
        if source.cut_off is None:
            notes.append("its last frame is cut; the end of the recording may be missing")
    return [Part((TAG, *pieces)) for pieces in walk.parts], position, notes


def _take(source: Source, walk: _Walk, position: int, found: Frame) -> None:
    """Add a frame to the last part, or begin another one with it."""
    count = _announced(source, position, found)
    ended = walk.announced is not None and walk.frames >= walk.announced
    if walk.stream != found.stream or count is not None or ended:
        if walk.parts:
            _check_complete(source, walk)
        if len(walk.parts) == MOST_PARTS:
            raise AudioError("more than 1,000 mp3 recordings are joined in it; cut it")
        walk.parts.append([(position, position + found.size)])
        walk.stream, walk.announced = found.stream, count or None
        walk.frames = 0 if count is not None else 1
        return
    walk.frames += 1
    begin, end = walk.parts[-1][-1]
    if end == position:
        walk.parts[-1][-1] = begin, position + found.size
    else:
        walk.parts[-1].append((position, position + found.size))


def _announced(source: Source, position: int, found: Frame) -> int | None:
    """Return how many frames a first frame says that follow (0 where it does not say), or None if it is sound."""
    version, layer, _, mono = found.stream
    if layer != 1:
        return None
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    tag = source.at(position + 4 + side, 12)
    if tag[:4] in (b"Xing", b"Info"):
        return int.from_bytes(tag[8:12], "big") if tag[7:8] and tag[7] & 1 else 0
    tag = source.at(position + 36, 18)
    return int.from_bytes(tag[14:18], "big") if tag[:4] == b"VBRI" else None


def _check_complete(source: Source, walk: _Walk) -> None:
    if walk.announced is None or walk.stream is None:
        return
    version, _, rate, _ = walk.stream
    samples = (walk.announced - walk.frames) * (1152 if version == 3 else 576)
    if samples > _SLACK:
        source.is_cut_off(
            AudioError(f"truncated, {samples} samples ({samples / rate:.1f} s) are missing; copy it again")
        )


def _after_gap(source: Source, position: int, walk: _Walk) -> int | None:
    """Return where frames go on after tags, padding or other bytes, or None if none follow."""
    after = after_tags(source, position)
    if after >= source.length:
        return None
    if frame(source.at(after, 4)) is not None and _is_row(source, after):
        return after
    if source.at(after, 4) in WHOLE_FILES:
        return None  # Another format is joined on.
    following = first_frame(source, after, source.length)
    if following is not None and source.at(after, following - after).strip(b"\0"):
        walk.skipped += following - after
    return following


def after_tags(source: Source, position: int) -> int:
    """Return where the bytes after tags (ID3 in both versions, APE) end, if some are there."""
    while True:
        head = source.at(position, 32)
        if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
            a, b, c, d = head[6:10]
            position += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
        elif head[:3] == b"TAG" and source.length - position >= 128:
            position += 128
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            is_header = head[23] & 0x20  # its size leaves out this header, and counts the footer
            position += 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
        else:
            return position
