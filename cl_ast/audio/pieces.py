"""The bytes of a clip: read by position, and shown to the decoder as a file that is put together from pieces."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from cl_ast.errors import AudioError

_SMALL = 2**22  # bytes; a file of at most this size is read at once
MOST_PARTS = 1_000  # of a clip: more recordings are not joined in one file
_CALLS = 100_000  # reads of a decoder that are always allowed, see `View`

Piece = bytes | tuple[int, int]
"""Bytes as they are, or where they begin and end in the source."""


@dataclass(frozen=True, slots=True)
class Part:
    """One stream of sound inside a clip; most clips have one.

    Attributes:
        pieces: what the decoder is shown as a file.
        samples: how many samples of each channel its header promises; None where the decoder is to say.
    """

    pieces: tuple[Piece, ...]
    samples: int | None = None


class Source:
    """A seekable file, read by position. A small file is read once.

    Attributes:
        lenient: whether a file that is cut off is read as far as it goes.
        cut_off: why a part of the file is missing, where it is read as far as it goes; None where nothing is.
    """

    def __init__(self, file: BinaryIO, *, lenient: bool = False) -> None:
        self._file = file
        self.lenient = lenient
        self.cut_off: AudioError | None = None
        self.length = file.seek(0, io.SEEK_END)
        self._whole: bytes | None = None
        if self.length <= _SMALL:
            file.seek(0)
            self._whole = file.read(_SMALL)
            self.length = len(self._whole)

    def is_cut_off(self, error: AudioError) -> None:
        """Take note that a part of the file is missing. Raise the error, unless the file is read as far as it goes."""
        if not self.lenient:
            raise error
        self.cut_off = self.cut_off or error

    @property
    def has_grown(self) -> bool:
        """Whether the file is longer now than when it was opened: it is still being written."""
        return self._file.seek(0, io.SEEK_END) > self.length

    def at(self, position: int, size: int) -> bytes:
        """Return the bytes there, fewer at the end of the file."""
        if self._whole is not None:
            return self._whole[position : position + size]
        self._file.seek(position)
        return self._file.read(max(0, min(size, self.length - position)))

    def view(self, pieces: Sequence[Piece]) -> "Memory | View":
        """Return pieces as the read-only file that soundfile asks for."""
        if self._whole is None:
            return View(self, pieces)
        return Memory(b"".join(p if isinstance(p, bytes) else self._whole[p[0] : p[1]] for p in pieces))

    def find(self, what: bytes, start: int, end: int | None = None) -> int:
        """Return where some bytes begin at or after `start`, or -1."""
        end = self.length if end is None else min(end, self.length)
        if self._whole is not None:
            return self._whole.find(what, start, end)
        while start < end:
            found = self.at(start, min(_SMALL, end - start)).find(what)
            if found >= 0:
                return start + found
            if end - start <= _SMALL:
                break
            start += _SMALL - len(what) + 1
        return -1


class Memory(io.BytesIO):
    """Bytes as the read-only file that soundfile asks for; see `View`."""

    error: Exception | None = None

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return self.getbuffer().nbytes

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, which is never before the beginning."""
        return super().seek(max(0, offset) if whence == io.SEEK_SET else offset, whence)


class View:
    """A part of a source as the read-only file that soundfile asks for.

    An exception in one of these methods would be printed by the foreign-function interface, and then ignored. So none
    is raised: what went wrong is kept in `error`, and the file seems to end. A decoder that reads without end, as one
    does that was given a header of millions of chunks, is stopped in the same way.
    """

    def __init__(self, source: Source, pieces: Sequence[Piece]) -> None:
        self.error: Exception | None = None
        self._source = source
        self._pieces = [piece for piece in pieces if isinstance(piece, bytes) or piece[1] > piece[0]]
        self._starts = [0]
        for piece in self._pieces:
            size = len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
            self._starts.append(self._starts[-1] + size)
        self.length = self._starts[-1]
        self._position = 0
        self._calls_left = _CALLS + self.length // 16

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, which is never before the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer as far as there are bytes; return how many there were."""
        self._calls_left -= 1
        if self._calls_left < 0:
            self.error = AudioError("its header does not end; it is no recording")
            return 0
        try:
            return self._read(memoryview(buffer).cast("B"))
        except Exception as error:
            self.error = error
            return 0

    def write(self, _: bytes) -> int:
        """Do nothing; soundfile only asks whether it is there."""
        return 0

    def _read(self, buffer: memoryview) -> int:
        done = 0
        while done < len(buffer) and self._position < self.length:
            index = bisect_right(self._starts, self._position) - 1
            piece, offset = self._pieces[index], self._position - self._starts[index]
            wanted = min(len(buffer) - done, self._starts[index + 1] - self._position)
            if isinstance(piece, bytes):
                found = piece[offset : offset + wanted]
            else:
                found = self._source.at(piece[0] + offset, wanted)
            if not found:
                break  # The file has become shorter.
            buffer[done : done + len(found)] = found
            done += len(found)
            self._position += len(found)
        return done
