"""Finds the streams of Ogg files (vorbis, opus, flac), so that all of them are decoded: joined on, or beside video.

The decoder reads the first stream of a file, leaves out pages that are damaged, and says nothing of a missing end.
"""

import zlib
from dataclasses import dataclass, field

from cl_ast.audio.pieces import MOST_PARTS, Part, Source
from cl_ast.errors import AudioError

_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC")
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_CONTINUED, _FIRST, _LAST = 1, 2, 4  # flags of a page


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        whole: whether the checksum fits.
        codec: the first eight bytes of its content.
    """

    start: int
    end: int
    flags: int
    serial: bytes
    number: int
    whole: bool
    codec: bytes


@dataclass
class _Link:
    """Streams that run beside each other, one of which is the sound: from its first page to the next link."""

    serial: bytes | None = None
    others: bool = False
    pages: list[tuple[int, int]] = field(default_factory=list)
    next_number: int = 0
    begun: bool = False  # whether pages with content came
    ended: bool = False
    missing: int = 0


def checksum(page: bytes) -> int:
    """Return the CRC of a page whose field for it is zero: polynomial 0x04c11db7, nothing reflected or inverted.

    zlib has the same polynomial with bits in the other order, so bits are reversed before and after.
    """
    found = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2)


def page_at(source: Source, position: int) -> Page | None:
    """Return the page there, or None if none begins there.

    Raises:
        AudioError: the file ends within the page.
    """
    head = source.at(position, 27)
    if head[:4] != b"OggS"[: len(head)] or not head:
        return None
    sizes = source.at(position + 27, head[26]) if len(head) == 27 else b""
    end = position + 27 + len(sizes) + sum(sizes)
    if len(head) < 27 or len(sizes) < head[26] or end > source.length:
        source.is_cut_off(
            AudioError("truncated within its last page, the end of the recording is missing; copy the file again")
        )
        return None
    page = source.at(position, end - position)
    whole = checksum(page[:22] + bytes(4) + page[26:]) == int.from_bytes(page[22:26], "little")
    body = 27 + len(sizes)
    number = int.from_bytes(head[18:22], "little")
    return Page(position, end, head[5], head[14:18], number, whole, page[body : body + 8])


def parts(source: Source, start: int) -> tuple[list[Part], int, list[str]]:
    """Return the streams of sound of an Ogg file, where they end, and what to say of them.

    Raises:
        AudioError: it ends within a page, has no sound that can be read, or more than 1,000 streams.
    """
    links: list[_Link] = []
    position, damaged, skipped = start, 0, 0
    while True:
        page = page_at(source, position)
        if source.cut_off is not None:
            position = source.length
            break
        if page is None and links and links[-1].ended:
            break  # Another format may be joined on.
        if page is None or not page.whole:
            # A page with a wrong length hides those after it: look for the next one.
            following = source.find(b"OggS\0", position + (page is not None))
            damaged += page is not None
            if following < 0:
                skipped += 0 if page is None else page.end - position
                position = position if page is None else page.end
                break
            if page is None and source.at(position, following - position).strip(b"\0"):
                skipped += following - position
            position = following
            continue
        _take(links, page)
        position = page.end
    found = [link for link in links if link.serial is not None]
    if not found:
        raise AudioError("an Ogg file without vorbis, opus or flac sound; convert it or leave it out")
    return (
        [Part(tuple(link.pages)) for link in found],
        position,
        [] if source.cut_off else _notes(found, damaged, skipped),
    )


def _take(links: list[_Link], page: Page) -> None:
    """Add a page to the last link, or begin another link with it."""
    first = bool(page.flags & _FIRST)
    if not links or (first and links[-1].begun):
        if len(links) == MOST_PARTS:
            raise AudioError("more than 1,000 Ogg recordings are joined in it; cut it")
        links.append(_Link())
    link = links[-1]
    link.begun |= not first
    if first and link.serial is None and page.codec.startswith(_AUDIO):
        link.serial, link.next_number = page.serial, page.number
    if page.serial != link.serial:
        return
    link.missing += max(0, page.number - link.next_number)
    link.next_number = page.number + 1
    link.ended |= bool(page.flags & _LAST)
    if link.pages and link.pages[-1][1] == page.start:
        link.pages[-1] = link.pages[-1][0], page.end
    else:
        link.pages.append((page.start, page.end))


def _notes(links: list[_Link], damaged: int, skipped: int) -> list[str]:
    notes = []
    missing = sum(link.missing for link in links)
    if missing or damaged:
        notes.append(f"{max(missing, damaged)} of its pages are damaged or missing, and their sound is left out")
    elif skipped:
        notes.append(f"{skipped} bytes between its pages are no Ogg, and are left out")
    if not links[-1].ended:
        notes.append("it has no end mark; the end of the recording may be missing")
    return notes
