"""Unpacking an archive from elsewhere: plain files and folders, inside the folder given, and nothing else."""

import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from cl_ast.errors import StreamError


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive to a new folder.

    Raises:
        StreamError: it is neither, is damaged, or holds a path that leads outside, a link or a device.
    """
    folder.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder)
        elif tarfile.is_tarfile(archive):
            _untar(archive, folder)
        else:
            raise StreamError(f"{archive} is neither a zip nor a tar archive; download it again")
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise StreamError(f"{archive} cannot be unpacked ({error}); download it again") from None


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the system that made it had no kinds
            _check(archive, info.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
        zipped.extractall(folder)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            # Links could be allowed if they stayed inside; no data set has any, and filters have had holes
            # there.
            _check(archive, member.name, plain=member.isreg() or member.isdir())
            tar.extract(member, folder, filter="data")


def _check(archive: Path, name: str, plain: bool) -> None:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    outside = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts
    if outside or not plain:
        reason = "leads outside" if outside else "is a link or a device"
        raise StreamError(f"{archive} is not safe to unpack: {name!r} {reason}; get the data from their page")
