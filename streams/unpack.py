"""Unpacks an archive from elsewhere: plain files and folders inside the folder given, and nothing else.

Nothing that the archive says of its own size is trusted. Bytes, files and folders are counted while they are written,
and what is too much is stopped before it is there: an archive of some hundred kilobytes can hold terabytes.
"""

import bz2
import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from cl_ast.errors import StreamError
from streams.catalog import Limit
from streams.safe_paths import leads_outside

_BLOCK = 1 << 16  # bytes
_DEEPEST = 16  # folders in one another; the data sets have four at most
_OF_A_MEMBER = 4_096  # bytes that a tar archive may have around each member
_COMPRESSED: Mapping[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File}
# zipfile unpacks the others block by block as a whole, and a block of them can take gigabytes of memory.
_ZIPPED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack(archive: Path, folder: Path, limit: Limit) -> None:
    """Unpack a zip or tar archive into a new folder, whole or not at all.

    Raises:
        StreamError: the file is neither a zip nor a tar archive, is damaged, has more in it than `limit` says, or holds
            a link, a device or a path that leads outside the folder.
    """
    folder.mkdir(parents=True)
    try:
        _unpack(archive, _Target(archive, folder, limit))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _unpack(archive: Path, target: "_Target") -> None:
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, target)
        else:
            _untar(archive, target)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise StreamError(f"{archive} cannot be unpacked ({error}); download it again") from None


class _Target:
    """The folder that an archive is unpacked to, and how much is in it already."""

    def __init__(self, archive: Path, folder: Path, limit: Limit) -> None:
        self.limit = limit
        self._archive = archive
        self._folder = folder
        self._bytes = self._files = 0

    def add(self, name: str, source: IO[bytes] | None) -> None:
        """Write a file, or make a folder where there is no source. Raises StreamError where that is too much."""
        parts = PurePosixPath(name).parts
        if len(parts) > _DEEPEST:
            raise self.unsafe(name, f"has more than {_DEEPEST} folders in one another")
        place = self._folder
        try:
            for part in parts if source is None else parts[:-1]:
                place /= part
                if not place.is_dir():
                    self._count(files=1)
                    place.mkdir()
            if source is not None:
                self._count(files=1)
                with self._folder.joinpath(*parts).open("xb") as file:
                    while block := source.read(_BLOCK):
                        self._count(bytes=len(block))
                        file.write(block)
        except FileExistsError:
            raise self.unsafe(name, "is in it twice") from None

    def check(self, name: str, *, plain: bool) -> None:
        """Raise StreamError for a path that leads outside, and for what is no plain file or folder."""
        if leads_outside(name):
            raise self.unsafe(name, "leads outside")
        if not plain:
            raise self.unsafe(name, "is a link or a device")

    def unsafe(self, name: str, reason: str) -> StreamError:
        """Return the error for a member that must not be unpacked."""
        return StreamError(
            f"{self._archive} is not safe to unpack: {name!r:.200} {reason}; get the data from the publisher's page"
        )

    def too_much(self) -> StreamError:
        """Return the error for an archive with more in it than there should be."""
        return StreamError(
            f"{self._archive} is not safe to unpack: it has more in it than {self.limit.bytes:,} bytes or "
            f"{self.limit.files:,} files, about twice what it should have; get the data from the publisher's page"
        )

    def _count(self, *, bytes: int = 0, files: int = 0) -> None:
        self._bytes += bytes
        self._files += files
        if self._bytes > self.limit.bytes or self._files > self.limit.files:
            raise self.too_much()


def _unzip(archive: Path, target: _Target) -> None:
    with zipfile.ZipFile(archive) as zipped:
        members = zipped.infolist()
        if len(members) > target.limit.files:
            raise target.too_much()
        for info in members:
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the system that made the archive has no file types
            target.check(info.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if info.compress_type not in _ZIPPED:
                raise target.unsafe(info.filename, "is compressed in a way that cannot be read within bounds")
        for info in members:
            if info.is_dir():
                target.add(info.filename, None)
            else:
                with zipped.open(info) as source:
                    target.add(info.filename, source)


def _untar(archive: Path, target: _Target) -> None:
    most = target.limit.bytes + _OF_A_MEMBER * target.limit.files
    with archive.open("rb") as file:
        start = file.read(6)
    open_stream = next((one for magic, one in _COMPRESSED.items() if start.startswith(magic)), _open)
    with open_stream(archive) as stream:
        bounded = _Bounded(stream, most, target)
        try:
            tar = tarfile.TarFile(fileobj=bounded)  # type: ignore[arg-type]  # it has all that this needs
        except (tarfile.ReadError, gzip.BadGzipFile):
            raise StreamError(f"{archive} is neither a zip nor a tar archive; download it again") from None
        with tar:
            while (member := tar.next()) is not None:
                # Links that stay inside would be harmless, but no data set has any, and checks of links have had
                # security holes before. A sparse file claims more bytes than it has.
                plain = (member.isreg() and not member.issparse()) or member.isdir()
                target.check(member.name, plain=plain)
                target.add(member.name, tar.extractfile(member) if member.isreg() else None)
                # Else all of them stay in memory, with whatever a header says of the members after it.
                tar.members.clear()  # type: ignore[attr-defined]  # which typeshed does not list
                tar.pax_headers = {}


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


class _Bounded:
    """An uncompressed tar archive, of which no more is read than a limit, and never much at once.

    `tarfile` reads a member's long name or its extended header as a whole, however long it claims to be.
    """

    def __init__(self, stream: IO[bytes], most: int, target: _Target) -> None:
        self._stream = stream
        self._most = most
        self._target = target

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _BLOCK or self._stream.tell() + size > self._most + _BLOCK:
            raise self._target.too_much()
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        if position > self._most + _BLOCK:
            raise self._target.too_much()
        return self._stream.seek(position)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()
