"""Downloads a free data set, checks it and unpacks it.

A download that was cut continues where it stopped, in the same run or the next. The archive is kept until it is
unpacked, and the data appear under their name only when they are complete.
"""

import shutil
import tempfile
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from cl_ast.errors import StreamError
from streams.catalog import Archive, Clips, DataSet, Progress
from streams.unpack import unpack

DOWNLOADS = ".downloads"
ATTEMPTS = 5  # attempts in a row that may bring no new byte
BLOCK = 1 << 20  # bytes
TIMEOUT = 60.0  # seconds


def install(dataset: DataSet, base: Path, progress: Progress | None = None) -> Path:
    """Download a data set, unpack it to `base/NAME` and return that folder.

    Raises:
        StreamError: the data set is not free, the server or the disk fails, a hash is wrong, or the archive is
            not safe to unpack.
    """
    target = base / dataset.name
    archive = dataset.archive
    if archive is None:
        raise StreamError(f"{dataset.title} cannot be downloaded freely; get it from {dataset.page}")
    if target.exists():
        raise StreamError(f"{target} is there but is not {dataset.title}; move it away, then download again")
    try:
        downloads = base / DOWNLOADS
        downloads.mkdir(parents=True, exist_ok=True)
        file = _download(archive, downloads, progress)
        with tempfile.TemporaryDirectory(dir=base, prefix=f".{dataset.name}-") as scratch:
            # The data go one folder deeper, because the temporary folder itself is private to the user.
            unpacked = Path(scratch, dataset.name)
            try:
                unpack(file, unpacked, archive.limit)
                root = _checked_root(dataset, archive, unpacked)
            except StreamError:
                file.unlink()  # Otherwise the next run would find it and fail again.
                raise
            root.rename(target)
        file.unlink()
        if not any(downloads.iterdir()):
            downloads.rmdir()
    except OSError as error:
        raise StreamError(
            f"{dataset.title} could not be stored in {base} ({error}); free some space, or try again"
        ) from None
    return target


def _download(archive: Archive, folder: Path, progress: Progress | None) -> Path:
    """Download the archive, check its hash and return the file."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # It would report progress of its own.
    resume = _Resume(folder / f"{archive.file}.part", archive.hash is not None, progress)
    try:
        return Path(
            pooch.retrieve(archive.url, known_hash=archive.hash, fname=archive.file, path=folder, downloader=resume)
        )
    except ValueError:
        # pooch has already deleted the bad file.
        raise StreamError(
            f"{archive.url} is not the file it should be (its {str(archive.hash).partition(':')[0]}"
            " differs); try again, or get the data from the publisher's page"
        ) from None
    except (OSError, HTTPException) as error:
        raise StreamError(
            f"{archive.url} cannot be downloaded ({error}); try again, the download continues where it stopped"
        ) from None


def _checked_root(dataset: DataSet, archive: Archive, unpacked: Path) -> Path:
    """Return the folder that has the data, after checking the hashes of its files."""
    import pooch

    folders = [unpacked, *sorted(path for path in unpacked.iterdir() if path.is_dir())]
    root = next((folder for folder in folders if all((folder / need).exists() for need in dataset.needs)), None)
    if root is None:
        raise StreamError(f"{archive.url} has no {dataset.needs[0]} in it; get {dataset.title} from {dataset.page}")
    for name, known in archive.contents:
        algorithm, _, digest = known.partition(":")
        if pooch.file_hash(str(root / name), algorithm) != digest:
            raise StreamError(
                f"{archive.url} is not the {dataset.title} that was published ({algorithm} of its {name} differs);"
                f" get it from {dataset.page}"
            )
    if archive.clips is not None:
        _check_clips(dataset, archive.url, archive.clips, root)
    return root


def _check_clips(dataset: DataSet, url: str, clips: Clips, root: Path) -> None:
    """Raise a StreamError where the clips in a folder are not exactly those that were published."""
    import hashlib  # Imported here, because it loads OpenSSL.

    lines = []
    for path in (root / clips.folder).rglob("*"):
        if not path.is_dir():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "md5").hexdigest()
            lines.append(f"{digest}  {path.relative_to(root).as_posix()}\n".encode("utf-8", "surrogateescape"))
    if len(lines) != clips.count:
        what = f"it has {len(lines):,} files in {clips.folder}, not {clips.count:,}"
    elif hashlib.sha256(b"".join(sorted(lines))).hexdigest() != clips.sha256:
        what = f"the SHA-256 over all files in {clips.folder} differs"
    else:
        return
    raise StreamError(f"{url} is not the {dataset.title} that was published ({what}); get it from {dataset.page}")


class _Resume:
    """A downloader for pooch that continues an earlier download.

    The part that was downloaded is kept with its entity tag, so that a server whose file has changed since sends
    it from the start again.
    """

    def __init__(self, part: Path, hashed: bool, progress: Progress | None) -> None:
        self.part = part
        self.tag = part.with_name(f"{part.name}.tag")
        self.hashed = hashed
        self.progress = progress

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Download `url` to `output_file`. pooch calls this."""
        failures, largest = 0, self._size()
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
            # The size is compared to the largest so far, because a server that cannot resume starts from zero again.
            failures = 0 if self._size() > largest else failures + 1
            largest = max(largest, self._size())
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
        # Without a tag or a hash, parts of two versions of the file could be joined unnoticed.
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
            # The server has nothing after this part: either the part is complete, or the file has changed.
            if error.headers.get("Content-Range", "") != f"bytes */{have}":
                self.part.unlink()
                raise ConnectionError("the file on the server has changed") from None

    def _receive(self, response: HTTPResponse, have: int) -> None:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status == 206 and not resumed:
            raise ConnectionError("the server sent a different part from the one requested")
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
