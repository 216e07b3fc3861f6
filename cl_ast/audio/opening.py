"""Opens clips as seekable files: paths of regular files, open files, pipes and bytes."""

import errno
import io
import os
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from cl_ast.errors import AudioError

_IN_MEMORY = 2**26  # bytes of a pipe; more go into a temporary file
_MOST_PIPED = 2**30
_ADVICE = {errno.EACCES: "check its permissions", errno.EPERM: "check its permissions"}


def opened(clip: Path | str | BinaryIO | bytes) -> BinaryIO:
    """Return a clip as an open file that is not empty; the caller closes it.

    Raises:
        AudioError: there is no such file, it is a folder, a pipe or a device, it is empty or it cannot be read.
    """
    if isinstance(clip, str | Path):
        file = _file(clip)
    elif isinstance(clip, bytes):
        file = io.BytesIO(clip)
    else:
        file = _spooled(clip)
    if not file.seek(0, io.SEEK_END):
        file.close()
        raise AudioError("the file is empty; record or copy it again")
    file.seek(0)
    return file


def _file(path: Path | str) -> BinaryIO:
    try:
        # A named pipe that nobody writes into would otherwise not open at all.
        file = open(path, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115
    except FileNotFoundError:
        raise AudioError("no such file; check the path") from None
    except IsADirectoryError:
        raise AudioError("a folder, not a clip") from None
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "check the path")
        raise AudioError(f"cannot be read ({error.strerror}); {advice}") from None
    except ValueError as error:  # a NUL, or letters that the file system's encoding lacks
        raise AudioError(f"not a path ({error}); check it") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise AudioError("a pipe or a device, not a file; pipe its sound into `cl-ast predict -`")
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _spooled(clip: BinaryIO) -> BinaryIO:
    """Return the rest of an open file as a file of its own."""
    spool = cast(BinaryIO, tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115
    try:
        left = _MOST_PIPED
        while found := clip.read(2**20):
            left -= len(found)
            if left < 0:
                raise AudioError("more than 1 GiB came; save it as a file, and give its path")
            spool.write(found)
    except (OSError, ValueError) as error:
        spool.close()
        raise AudioError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except BaseException:
        spool.close()
        raise
    return spool
