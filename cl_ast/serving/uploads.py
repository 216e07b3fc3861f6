"""Uploads: the body of a request, in memory while it is small and in the service's own folder beyond."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request

from cl_ast.escaping import escaped
from cl_ast.serving.refusals import Refusal

_IN_MEMORY = 2**20  # bytes
_MOST_FILES = 64
_LONGEST_NAME = 100
_FILE = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "properties": {"file": {"type": "array", "items": _FILE}}, "required": ["file"]}
FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}
"""What the schema says of an endpoint that takes files of a form."""
AUDIO = {"schema": _FILE}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": AUDIO, "multipart/form-data": {"schema": _FORM}},
    }
}
"""What it says of one that takes a recording as its body, too."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a client sent.

    Attributes:
        name: as the client calls it, without folders and made safe to show.
        content: its bytes, or where they are.
    """

    name: str
    content: bytes | Path

    def write(self, path: Path) -> None:
        """Write its bytes to a file."""
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            shutil.copyfile(self.content, path)

    def delete(self) -> None:
        """Delete its file, if it has one."""
        if isinstance(self.content, Path):
            self.content.unlink(missing_ok=True)


class Spool:
    """A folder of this process for larger uploads, each of which is deleted when its request ends."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cl-ast-serve-")

    def close(self) -> None:
        """Delete the folder."""
        self._folder.cleanup()

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield a new folder, which is deleted after the block."""
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            yield Path(folder)

    def place(self, name: str) -> Path:
        """Return where a file of this name lies in the folder; who writes it deletes it."""
        return Path(self._folder.name, name)

    def kept(self, upload: Upload) -> Upload:
        """Return an upload that stays when its request ends, until its file is deleted."""
        if isinstance(upload.content, bytes):
            return upload
        return Upload(upload.name, upload.content.rename(upload.content.with_suffix(".kept")))

    async def receive(self, request: Request) -> list[Upload]:
        """Receive the body of a request, one file or several of a form, which the caller deletes.

        Raises Refusal for an empty or wrong form, and whatever `request.stream` raises; nothing is left then.
        """
        if media_type(request) != "multipart/form-data":
            return [await self._receive_body(request)]
        found: list[Upload] = []
        try:
            await self._receive_form(request, found)
        except BaseException:
            delete(found)
            raise
        return found

    async def _receive_body(self, request: Request) -> Upload:
        start = bytearray()
        chunks = request.stream()
        async for chunk in chunks:
            start += chunk
            if len(start) > _IN_MEMORY:
                break
        else:
            return Upload("audio", bytes(start))
        with self._new_file() as file:
            file.write(start)
            async for chunk in chunks:
                file.write(chunk)
        return Upload("audio", Path(file.name))

    async def _receive_form(self, request: Request, found: list[Upload]) -> None:
        async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FILES) as form:
            for name, one in form.multi_items():
                if name != "file" or not isinstance(one, UploadFile):
                    raise Refusal(
                        "invalid",
                        f"{escaped(name[:40])}: a form has files only, each called `file`; "
                        "what else is wanted is in the query, as ?task=NAME",
                    )
                found.append(await self._of_form(one))
        if not found:
            raise Refusal("invalid", "the form has no `file`; with curl: -F file=@clip.wav")

    async def _of_form(self, one: UploadFile) -> Upload:
        name = safe_name(one.filename or "audio")
        if (one.size or 0) <= _IN_MEMORY:
            return Upload(name, await one.read())
        with self._new_file() as file:
            await run_in_threadpool(shutil.copyfileobj, one.file, file)
        return Upload(name, Path(file.name))

    @contextmanager
    def _new_file(self) -> Iterator[BinaryIO]:
        """Yield a new file, open for writing, which stays after the block unless an error ends it."""
        with tempfile.NamedTemporaryFile(dir=self._folder.name, delete=False) as file:
            try:
                yield file  # type: ignore[misc]
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def delete(uploads: Sequence[Upload]) -> None:
    """Delete the files of uploads."""
    for upload in uploads:
        upload.delete()


def only(uploads: Sequence[Upload]) -> Upload:
    """Return the upload of a request that takes one. Raises Refusal where there are several."""
    if len(uploads) != 1:
        raise Refusal("invalid", "send one file; /v1/classify takes several recordings")
    return uploads[0]


def media_type(request: Request) -> str:
    """Return the type of a request's body, without parameters such as a boundary; empty where none is given."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def safe_name(name: str) -> str:
    """Return the last part of a file's name, made safe to show."""
    last = PurePosixPath(PureWindowsPath(name).name).name
    return escaped(last[:_LONGEST_NAME]) or "audio"
