"""Keeps features of clips in files of the cache folder, for sets that do not fit into memory and for later runs.

A file has the features of one set of clips, row after row, then a description of them (JSON), its length (8 bytes) and
a mark. The description says which clips are longer than what was taken of them. It has a checksum for every 4 MiB, and
one for that list, so a file that is truncated or damaged is never used. A file is written under another name and
renamed when it is whole, so several processes can read and write at once. One that is removed while it is in use can
still be read.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
import weakref
import zlib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from io import FileIO
from math import prod
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from cl_ast import caches
from cl_ast.audio.clip_reader import clip_key
from cl_ast.audio.front_ends import FrontEnd
from cl_ast.errors import TrainingError
from cl_ast.excerpts import Place
from cl_ast.training.file_lock import try_lock

SIZE = "CL_AST_CACHE_GB"
"""The environment variable for the most gigabytes of the cache."""

MOST_BYTES = 16 * 2**30
_VERSION = 2  # must be increased whenever a front end gives other numbers, or the form of a file changes
_MARK = b"cl-ast features\n"
_BLOCK = 2**22  # bytes that have a checksum of their own
_LONGEST = 2**24  # bytes of a description
_PACKAGES = ("cl-ast", "torch", "numpy", "soundfile", "soxr")  # those that decide the numbers
_ENDING, _PARTIAL = ".features", ".part"
_DAY = 24 * 3600.0
_WINDOWS = os.name == "nt"


def key_of(
    places: Sequence[Place],
    stretches: tuple[str, Sequence[int | None]],
    front_end: FrontEnd,
    dtype: torch.dtype,
    device: torch.device,
) -> str:
    """Return what identifies the features of some clips: their files, the front end, and what computes them.

    Args:
        stretches: what is taken of clips that are longer: the crop, and where the stretch of each clip begins.
    """
    how: tuple[Hashable, ...] = (
        _VERSION, type(front_end).__name__, tuple(asdict(front_end).items()), str(dtype), device.type,
        tuple((name, _version(name)) for name in _PACKAGES),
    )  # fmt: skip
    digest = hashlib.sha256(repr(how).encode())
    crop, starts = stretches
    digest.update(repr(crop).encode())
    for place, start in zip(places, starts, strict=True):
        digest.update(repr((clip_key(place.absolute()), start)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # cl-ast itself, run from a checkout
        return ""


class FeatureFiles:
    """The files of features in one folder, within a number of bytes; the one used longest ago goes first.

    No error of the file system stops a training: what cannot be written is not kept.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self._most = most_bytes

    @classmethod
    def of_user(cls) -> "FeatureFiles":
        """Return the files of the user's cache folder, or of the one that the environment names.

        Raises:
            TrainingError: the number of gigabytes in the environment is none.
        """
        return cls(caches.features(), _most_bytes(os.environ.get(SIZE, "")))

    def open(self, key: str, shape: Sequence[int], dtype: torch.dtype) -> "Rows | None":
        """Return the features (n, …) that were kept under a key, or None if there are none that are whole."""
        path = self.folder / (key + _ENDING)
        try:
            rows = Rows(path, tuple(shape), dtype)
            longer = _longer(rows.file, key, tuple(shape), dtype)
            if longer is None:
                del rows
                path.unlink()
                return None
            rows.longer = longer
            os.utime(path)
        except OSError:
            return None
        return rows

    def create(self, key: str, shape: Sequence[int], dtype: torch.dtype) -> "Writer | None":
        """Return a writer for features of this shape; None where they do not fit, or where nothing can be written."""
        size = prod(shape) * dtype.itemsize
        size += max(1_024, 512 + 12 * shape[0]) + 16 * (size // _BLOCK)  # with its description
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone():
                if not self._make_room(size):
                    return None
                return Writer(self.folder, key, tuple(shape), dtype)
        except OSError:
            return None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process make room at the same time."""
        with (self.folder / "lock").open("ab") as file:
            try_lock(file, wait=True)
            yield

    def _make_room(self, size: int) -> bool:
        """Remove files until this many bytes fit, and return whether they do. Nothing is removed if they cannot."""
        there = []
        for path in self.folder.iterdir():
            with suppress(OSError):
                if path.suffix == _PARTIAL and _is_left(path):
                    path.unlink()
                elif path.suffix in (_ENDING, _PARTIAL):
                    there.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        used = sum(one[1] for one in there)
        # Another half of the disk stays free for everything else.
        most = min(self._most, (shutil.disk_usage(self.folder).free + used) // 2)
        removable = sorted(one for one in there if one[2].suffix == _ENDING)
        if used - sum(one[1] for one in removable) + size > most:
            return False
        for _, there_size, path in removable:
            if used + size <= most:
                break
            with suppress(OSError):  # on Windows a file in use cannot be removed
                path.unlink()
                used -= there_size
        return used + size <= most


class Writer:
    """Writes the features of one set of clips. Until it is finished, they have a name under which nobody looks."""

    def __init__(self, folder: Path, key: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._target = folder / (key + _ENDING)
        self._path = folder / f"{key}.{secrets.token_hex(8)}{_PARTIAL}"
        self._key, self._shape, self._dtype = key, shape, dtype
        self._sums: list[int] = []
        self._rest = b""
        self._file: IO[bytes] | None = self._path.open("w+b")
        try_lock(self._file)
        self._file.truncate(prod(shape) * dtype.itemsize)  # so that other processes count all of it

    def append(self, rows: Tensor) -> None:
        """Write the next rows. Where the disk is full, all that was written is given up."""
        if self._file is None:
            return
        data = memoryview(self._rest + rows.to("cpu", self._dtype).contiguous().numpy().tobytes())
        whole = len(data) // _BLOCK * _BLOCK
        self._sums += [zlib.crc32(data[start : start + _BLOCK]) for start in range(0, whole, _BLOCK)]
        self._rest = bytes(data[whole:])
        try:
            self._file.write(data[:whole])
        except OSError:
            self.close()

    def finish(self, longer: Sequence[int] = ()) -> "Rows | None":
        """Give the file its name, and return its features; None where they could not be written.

        Args:
            longer: the rows of clips that are longer than what was taken of them.
        """
        if self._file is None:
            return None
        if self._rest:
            self._sums.append(zlib.crc32(self._rest))
        about = json.dumps(_about(self._key, self._shape, self._dtype, self._sums, longer)).encode()
        try:
            self._file.write(self._rest + about + len(about).to_bytes(8, "little") + _MARK)
            self._file.flush()
            # Another process may remove the file as soon as it has its name, so it is opened before that.
            rows = None if _WINDOWS else Rows(self._path, self._shape, self._dtype)
            if _WINDOWS:
                self._file.close()  # A file that is open cannot be renamed there.
            self._path.replace(self._target)
            self._file.close()
            self._file = None
            rows = rows or Rows(self._target, self._shape, self._dtype)
            rows.longer = list(longer)
            return rows
        except OSError:
            self.close()
            return None

    def close(self) -> None:
        """Remove what was written, unless it is finished."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                self._path.unlink()
            self._file = None


class Rows:
    """The rows of a file, which are read when they are needed.

    They are not mapped into memory: mapped pages would count as memory of this process, and an error of the disk would
    end it.

    Attributes:
        longer: the rows of clips that are longer than what was taken of them.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """Open a file, until this object is gone. Raises OSError."""
        self.file = path.open("rb", buffering=0)
        weakref.finalize(self, self.file.close)
        self._folder, self._shape, self._dtype = path.parent, shape, dtype
        self._row = prod(shape[1:]) * dtype.itemsize
        self.longer: list[int] = []

    def take(self, indices: Sequence[int]) -> Tensor:
        """Return some rows.

        Raises:
            TrainingError: the disk fails, or something else has changed the file.
        """
        found = torch.empty(len(indices), *self._shape[1:], dtype=self._dtype)
        array: Any = found.numpy()
        data = memoryview(array).cast("B")
        start = 0
        while start < len(indices):
            end = start + 1
            while end < len(indices) and indices[end] == indices[end - 1] + 1:
                end += 1  # rows that follow each other are read together
            self._read(indices[start] * self._row, data[start * self._row : end * self._row])
            start = end
        return found

    def _read(self, place: int, data: memoryview) -> None:
        try:
            self.file.seek(place)
            while len(data):
                count = self.file.readinto(data)
                if not count:
                    raise OSError("it has become shorter")
                data = data[count:]
        except OSError as error:
            raise TrainingError(
                f"cached features in {self._folder} cannot be read ({error}); delete that folder, or set {SIZE}=0"
            ) from None


def _longer(file: FileIO, key: str, shape: tuple[int, ...], dtype: torch.dtype) -> list[int] | None:
    """Return the rows of longer clips of an open file; None unless it has what is wanted, and nothing is damaged."""
    size = prod(shape) * dtype.itemsize
    file.seek(size)
    end = file.read(_LONGEST + 1)
    about, length, mark = end[: -len(_MARK) - 8], end[-len(_MARK) - 8 : -len(_MARK)], end[-len(_MARK) :]
    if mark != _MARK or int.from_bytes(length, "little") != len(about):
        return None
    try:
        said: Any = json.loads(about)
        longer = [int(row) for row in said["longer"]]
    except (ValueError, TypeError, KeyError):
        return None
    file.seek(0)
    sums = [zlib.crc32(file.read(min(_BLOCK, size - start))) for start in range(0, size, _BLOCK)]
    is_whole = said == _about(key, shape, dtype, sums, longer) and all(0 <= row < shape[0] for row in longer)
    return longer if is_whole else None


def _about(
    key: str, shape: tuple[int, ...], dtype: torch.dtype, sums: Sequence[int], longer: Sequence[int]
) -> dict[str, Any]:
    """Return the description of a file."""
    rows = list(longer)
    all_sums = [*sums, zlib.crc32(repr(rows).encode())]
    return {"key": key, "shape": list(shape), "dtype": str(dtype), "longer": rows, "sums": all_sums}


def _most_bytes(given: str) -> int:
    """Return the bound that the environment gives in gigabytes, or the usual one."""
    if not given.strip():
        return MOST_BYTES
    try:
        most = float(given)
        if not 0 <= most <= 1e9:
            raise ValueError
    except ValueError:
        raise TrainingError(f"{SIZE} is {given!r}; give the most gigabytes of cached features, or 0 for none") from None
    return int(most * 2**30)


def _is_left(path: Path) -> bool:
    """Return whether nobody writes this file any more, because its process was killed."""
    with path.open("rb") as file:
        return try_lock(file) or time.time() - path.stat().st_mtime > _DAY
