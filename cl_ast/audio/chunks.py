"""Headers of files made of chunks (wav, aiff, caf, w64, au): where the sound lies, and whether all of it is there.

libsndfile takes what a wrong size in a header leaves of a file, without a word. Here the sizes are compared with the
file. Writers that cannot know the length yet leave 0 or the largest number: then the sound goes on to the end.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cl_ast.audio.pieces import Part, Piece, Source
from cl_ast.errors import AudioError

# Programs that do not know the length yet write one of at least this size into the wav header: ffmpeg 0xFFFFFFFF, sox
# 0x7FFFF000, arecord 0x80000000. No chunk of 32 bits is that long.
_STREAMED = 0x7FFFF000
_MOST_CHUNKS = 10_000
SLACK = 64  # bytes that a header may say too many, as when a writer counts the header itself
_LARGER_SLACK = 4_096  # samples, where the size of the whole says that the file is complete
WHOLE_FILES = frozenset({b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b"fLaC", b"OggS", b".snd", b"riff"})
_W64_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # follows the four letters of every chunk but "riff"


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk.

    Attributes:
        size_at: where the number of its size lies.
        start, size: where its content begins, and how long it should be.
        next: where the next chunk begins.
    """

    name: bytes
    size_at: int
    start: int
    size: int
    next: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How a format writes chunks.

    Attributes:
        size: the `struct` format of a chunk's size.
        name_bytes: the length of a chunk's name.
        align: chunks begin at multiples of this many bytes.
        counts_header: whether the size includes the chunk's own header.
        sound: the chunk that has the sound.
        before_sound: how many bytes of that chunk come before the sound.
    """

    size: str
    sound: bytes
    name_bytes: int = 4
    align: int = 2
    counts_header: bool = False
    before_sound: int = 0

    @property
    def largest(self) -> int:
        """Sizes from here on stand for an unknown length."""
        return _STREAMED if self.size in ("<I", ">I") else 2**62


RIFF = Layout("<I", b"data")
RIFX = Layout(">I", b"data")
AIFF = Layout(">I", b"SSND", before_sound=8)
SVX = Layout(">I", b"BODY")
CAF = Layout(">Q", b"data", align=1, before_sound=4)
W64 = Layout("<Q", b"data", name_bytes=16, align=8, counts_header=True)


def chunks(source: Source, layout: Layout, position: int, origin: int) -> Iterator[Chunk]:
    """Yield chunks from `position` on, as far as something like a chunk is there.

    Raises:
        AudioError: there are more than 10,000, which no writer makes.
    """
    width = struct.calcsize(layout.size)
    for _ in range(_MOST_CHUNKS):
        head = source.at(position, layout.name_bytes + width)
        if len(head) < layout.name_bytes + width:
            return
        name = head[:4] if layout.name_bytes == 4 or head[4:16] == _W64_GUID else b""
        if not (name.isascii() and name.decode("ascii").isprintable() and name.strip()):
            return
        start = position + len(head)
        size = struct.unpack(layout.size, head[layout.name_bytes :])[0]
        if layout.counts_header and size:
            size -= len(head)
        if size < 0:
            return
        following = start + size
        following += -(following - origin) % layout.align
        yield Chunk(name, position + layout.name_bytes, start, size, following)
        position = following
    raise AudioError("its header has more than 10,000 parts; it is no recording")


def riff(source: Source, start: int, layout: Layout = RIFF) -> tuple[Part, int]:
    """Return the sound of a RIFF file that begins at `start`, and where the file ends."""
    whole = struct.unpack(layout.size, source.at(start + 4, 4))[0]
    return _chunked(source, layout, start, start + 12, start + 8 + whole)


def rf64(source: Source, start: int) -> tuple[Part, int]:
    """Return the sound of a RF64 or BW64 file, whose chunk `ds64` has the sizes in 64 bits."""
    whole, size = struct.unpack("<QQ", source.at(start + 20, 16).ljust(16, b"\0"))
    part, end = _chunked(source, RIFF, start, start + 12, start + 8 + whole, long_size=(size, start + 28))
    first, *others = part.pieces  # libsndfile knows BW64 by its older name only
    assert not isinstance(first, bytes)
    return Part((b"RF64", (start + 4, first[1]), *others)), end


def form(source: Source, start: int, layout: Layout = AIFF) -> tuple[Part, int]:
    """Return the sound of an AIFF or 8SVX file, and where the file ends."""
    whole = struct.unpack(">I", source.at(start + 4, 4))[0]
    return _chunked(source, layout, start, start + 12, start + 8 + whole)


def caf(source: Source, start: int) -> tuple[Part, int]:
    """Return the sound of a Core Audio file, and where the file ends."""
    return _chunked(source, CAF, start, start + 8, None)


def w64(source: Source, start: int) -> tuple[Part, int]:
    """Return the sound of a Wave64 file, and where the file ends."""
    whole = struct.unpack("<Q", source.at(start + 16, 8).ljust(8, b"\0"))[0]
    return _chunked(source, W64, start, start + 40, start + whole)


def au(source: Source, start: int) -> tuple[Part, int]:
    """Return the sound of a Sun/NeXT file, and where the file ends."""
    order = ">" if source.at(start, 4) == b".snd" else "<"
    offset, size, encoding, _, channels = struct.unpack(order + "5I", source.at(start + 4, 20).ljust(20, b"\0"))
    there = max(0, source.length - start - offset)
    block = channels * {2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8}.get(encoding, 1)
    end = min(start + offset + size, source.length)
    if size in (0, 0xFFFFFFFF):
        end = source.length
    else:
        _check_all_there(source, size, there, block, complete=False)
    return Part(_patched((start, end), start + 8, struct.pack(order + "I", 0xFFFFFFFF))), end


def _chunked(
    source: Source,
    layout: Layout,
    start: int,
    position: int,
    whole_end: int | None,
    long_size: tuple[int, int] | None = None,
) -> tuple[Part, int]:
    """Return the sound of a file of chunks, and where the last chunk ends.

    Args:
        start: where the file begins.
        position: where its first chunk begins.
        whole_end: where the file should end, as its header says.
        long_size: the size of the sound in 64 bits, which replaces one of 0xFFFFFFFF, and where it is written.
    """
    block = 1
    found = False
    end = position
    complete = whole_end is not None and start + 12 < whole_end <= source.length + SLACK
    for chunk in chunks(source, layout, position, start):
        if chunk.name in WHOLE_FILES:
            break
        if chunk.name == b"fmt ":
            block = int.from_bytes(source.at(chunk.start + 12, 2), "big" if layout is RIFX else "little")
        elif chunk.name == b"COMM":
            channels, _, bits = struct.unpack(">HIH", source.at(chunk.start, 8).ljust(8, b"\0"))
            block = channels * -(-bits // 8)
        elif chunk.name == b"desc":
            block = int.from_bytes(source.at(chunk.start + 16, 4), "big")  # 0 where packets differ in size
        elif chunk.name == b"pakt" and chunk.next > source.length:
            source.is_cut_off(truncated(chunk.next - source.length))
        elif chunk.name == layout.sound:
            if _goes_to_the_end(source, layout, chunk, start, long_size):
                return _to_end(source, layout, start, chunk, long_size), source.length
            size = long_size[0] if long_size and chunk.size == 0xFFFFFFFF else chunk.size
            _check_all_there(source, size, source.length - chunk.start, block, complete=complete)
            if source.cut_off is not None:
                return _to_end(source, layout, start, chunk, long_size), source.length
            found = True
            end = chunk.start + size + size % 2
            if size != chunk.size:
                break
        end = chunk.next
    end = min(end, source.length) if found else source.length
    return Part(((start, end),)), end


def _goes_to_the_end(
    source: Source, layout: Layout, chunk: Chunk, start: int, long_size: tuple[int, int] | None
) -> bool:
    """Return whether a chunk's size stands for "all that follows"."""
    if long_size and chunk.size == 0xFFFFFFFF:
        return long_size[0] in (0, 2**64 - 1) and source.length > chunk.start
    if chunk.size >= layout.largest:
        return True
    if chunk.size > layout.before_sound or source.length <= chunk.start + layout.before_sound:
        return False
    # Nothing, and chunks after it that fill the file, is a recording without samples.
    last = None
    for last in chunks(source, layout, chunk.next, start):  # noqa: B007, the last one counts
        pass
    return last is None or not source.length <= last.next <= source.length + 1


def _to_end(source: Source, layout: Layout, start: int, chunk: Chunk, long_size: tuple[int, int] | None) -> Part:
    """Return a part whose header says that the chunk goes on to the end of the file."""
    size = source.length - chunk.start
    if long_size:
        return Part(_patched((start, source.length), long_size[1], struct.pack("<Q", size)))
    if layout is RIFF and size > 0xFFFFFFFF - 8:
        return Part((_rf64_header(source, start, chunk, size), (chunk.start, source.length)))
    if layout.counts_header:
        size += chunk.start - chunk.size_at + layout.name_bytes
    number = struct.pack(layout.size, min(size, 0xFFFFFFFF if layout.size.endswith("I") else size))
    return Part(_patched((start, source.length), chunk.size_at, number))


def _rf64_header(source: Source, start: int, chunk: Chunk, size: int) -> bytes:
    """Return a header of 64-bit sizes for a wav file of more than 4 GiB."""
    described = source.at(start + 12, min(chunk.start - start - 20, 2**16))
    sizes = struct.pack("<QQQI", size + len(described) + 44, size, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28) + sizes + described + b"data\xff\xff\xff\xff"


def _patched(span: tuple[int, int], position: int, new: bytes) -> tuple[Piece, ...]:
    """Return a span of the source with other bytes at one place."""
    return (span[0], position), new, (position + len(new), span[1])


def _check_all_there(source: Source, size: int, there: int, block: int, *, complete: bool) -> None:
    """Tell the source if sound is missing, unless it is only a writer that counted some bytes too many.

    Then the file ends with a whole sample, which one that was cut somewhere seldom does. Where the size of the whole
    file is right, more bytes may be too many.
    """
    missing = size - there
    if missing <= 0:
        return
    slack = _LARGER_SLACK * block if complete else SLACK
    if there <= 0 or not block or there % block or missing > min(slack, there):
        source.is_cut_off(truncated(missing))


def truncated(missing: int) -> AudioError:
    """Return the error of a file that lacks bytes."""
    return AudioError(f"truncated, {missing} bytes of sound are missing; copy the file again")
