"""Unpacks an archive from elsewhere: plain files and folders inside the folder given, and nothing else."""

import stat
import tarfile
import zipfile
import zlib
from pathlib import Path

from cl_ast.errors import StreamError
from streams.safe_paths import leads_outside


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into a new folder.

    Raises:
        StreamError: the file is neither a zip nor a tar archive, is damaged, or holds a link, a device or a
            path that leads outside the folder.
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
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the system that made the archive has no file types
            _check_member(archive, info.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
        zipped.extractall(folder)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            # Links that stay inside would be harmless, but no data set has any, and checks of links have had
            # security holes before.
            _check_member(archive, member.name, plain=member.isreg() or member.isdir())
            tar.extract(member, folder, filter="data")


def _check_member(archive: Path, name: str, plain: bool) -> None:
    outside = leads_outside(name)
    if outside or not plain:
        reason = "leads outside" if outside else "is a link or a device"
        raise StreamError(f"{archive} is not safe to unpack: {name!r} {reason}; get the data from the publisher's page")
