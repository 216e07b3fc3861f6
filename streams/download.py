"""Fetching a free data set: resumed, checked, and unpacked so that half of it is never taken for the whole.

The archive is kept beside the data until it is unpacked. A cut download continues where it stopped, in this
run or the next; the data appear under their name only when they are complete.
"""

import shutil
import tempfile
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from cl_ast.errors import StreamError
from streams.catalog import Archive, DataSet, Progress
from streams.unpack import unpack

DOWNLOADS = ".downloads"
ATTEMPTS = 5  # in a row without a single new byte
BLOCK = 1 << 20
TIMEOUT = 60.0


def install(dataset: DataSet, base: Path, progress: Progress | None = None) -> Path:
    """Fetch a data set and unpack it to `base/NAME`.

    Raises:
        StreamError: it is not free, the server or the disk fails, a hash is wrong, or the archive is not safe
            to unpack.
    """
    target = base / dataset.name
    archive = dataset.archive
    if archive is None:
        raise StreamError(f"{dataset.title} cannot be downloaded freely; get it from {dataset.page}")
    if target.exists():
        raise StreamError(f"{target} is there but is not {dataset.title}; move it away to download the data")
    try:
        downloads = base / DOWNLOADS
        downloads.mkdir(parents=True, exist_ok=True)
        file = _fetch(archive, downloads, progress)
        with tempfile.TemporaryDirectory(dir=base, prefix=f".{dataset.name}-") as scratch:
            # One folder further in: the scratch folder itself is private, and the data need not be.
            unpacked = Path(scratch, dataset.name)
            try:
                unpack(file, unpacked)
                root = _root(dataset, archive, unpacked)
            except StreamError:
                file.unlink()  # it would only be found, and fail, again
                raise
            root.rename(target)
        file.unlink()
        if not any(downloads.iterdir()):
            downloads.rmdir()
    except OSError as error:
        raise StreamError(f"{dataset.title} could not be stored in {base} ({error}); make room, or try again") from None
    return target


def _fetch(archive: Archive, folder: Path, progress: Progress | None) -> Path:
    """The archive, downloaded and with the right hash."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # we report our own progress
    resume = _Resume(folder / f"{archive.file}.part", archive.hash is not None, progress)
    try:
        return Path(
            pooch.retrieve(archive.url, known_hash=archive.hash, fname=archive.file, path=folder, downloader=resume)
        )
    except ValueError:
        # pooch has thrown the bad file away already.
        raise StreamError(
            f"{archive.url} is not the file it should be (its {str(archive.hash).partition(':')[0]}"
            " differs); try again, or get the data from their page"
        ) from None
    except (OSError, HTTPException) as error:
        raise StreamError(
            f"{archive.url} cannot be downloaded ({error}); try again, it continues where it stopped"
        ) from None


def _root(dataset: DataSet, archive: Archive, unpacked: Path) -> Path:
    """The folder that holds the data, with its files' hashes checked."""
    import pooch

    folders = [unpacked, *sorted(path for path in unpacked.iterdir() if path.is_dir())]
    root = next((folder for folder in folders if all((folder / need).exists() for need in dataset.needs)), None)
    if root is None:
        raise StreamError(f"{archive.url} has no {dataset.needs[0]} in it; get {dataset.title} from {dataset.page}")
    for name, known in archive.contents:
        algorithm, _, digest = known.partition(":")
        if pooch.file_hash(str(root / name), algorithm) != digest:
            raise StreamError(
                f"{archive.url} is not {dataset.title} as known ({algorithm} of its {name} differs); get it from"
                f" {dataset.page}"
            )
    return root


class _Resume:
    """A downloader for pooch that continues a part of an earlier one.

    The part's entity tag is kept with it: a server whose file has changed sends it from the start again.
    """

    def __init__(self, part: Path, hashed: bool, progress: Progress | None) -> None:
        self.part = part
        self.tag = part.with_name(f"{part.name}.tag")
        self.hashed = hashed
        self.progress = progress

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Download url to output_file, as pooch asks."""
        failures, most = 0, self._size()
        while True:
            try:
                self._continue(url)
                break
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code not in (408, 429):
                    raise
                problem: Exception = error
            except (OSError, HTTPException) as error:
                problem = error
            # Against the most there ever was: a server that cannot resume starts again each time.
            failures = 0 if self._size() > most else failures + 1
            most = max(most, self._size())
            if failures >= ATTEMPTS:
                raise problem
            time.sleep(min(0.1 * 2**failures, 10.0))
        shutil.move(self.part, output_file)
        self.tag.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _continue(self, url: str) -> None:
        have = self._size()
        tag = self.tag.read_text(encoding="latin-1") if self.tag.exists() else ""
        headers = {"User-Agent": "cl-ast"}
        # Without a tag or a hash nothing would tell two versions of the file apart.
        if have and (tag or self.hashed):
            headers["Range"] = f"bytes={have}-"
            if tag:
                headers["If-Range"] = tag
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
                self._receive(response, have)
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            # Nothing after what is here: either all of it is here, or the file is another one now.
            if error.headers.get("Content-Range", "") != f"bytes */{have}":
                self.part.unlink()
                raise ConnectionError("the file on the server has changed") from None

    def _receive(self, response: HTTPResponse, have: int) -> None:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status == 206 and not resumed:
            raise ConnectionError("the server sent another part than was asked for")
        done = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        if not resumed:
            etag = response.headers.get("ETag", "")
            tag = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
            self.tag.write_text(tag, encoding="latin-1")
        with self.part.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                done += len(block)
                if self.progress is not None:
                    self.progress(done, total)
        if total is not None and done < total:
            raise ConnectionError(f"the connection was cut after {done} of {total} bytes")
