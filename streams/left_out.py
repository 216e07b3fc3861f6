"""Says which clips of the data are left out, or refuses the data where a class would suffer."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cl_ast.errors import StreamError
from cl_ast.wording import plural
from streams.folders import is_clip, is_other_audio, walk
from streams.metadata import FORMATS
from streams.records import Collection


class LeftOut:
    """Collects what is left out of a folder of data, and says it in sentences."""

    def __init__(self, root: Path) -> None:
        """Collect for the data in `root`. Sentences give paths relative to it."""
        self._root = root
        self._formats: list[tuple[str, list[Path]]] = []
        self._folders: list[str] = []
        self._tables: list[str] = []
        self._empty: list[str] = []

    def clips(self, folder: Path) -> list[Path]:
        """Return the clips in the folder of a class, and remember its audio in other formats.

        Raises:
            StreamError: the audio in other formats is more than the clips.
        """
        files = list(walk(folder, self.skip))
        return self.check(folder, list(filter(is_clip, files)), self.formats(folder, files))

    def check(self, folder: Path, clips: list[Path], others: list[Path]) -> list[Path]:
        """Return the clips in the folder of a class.

        Raises:
            StreamError: the audio in other formats is more than the clips.
        """
        if len(others) > len(clips):
            raise StreamError(
                f"{self._name(others[0])} is not {FORMATS} ({len(others)} of the {len(others) + len(clips)} clips of"
                f" {self._name(folder)!r} are not); convert them, or take them out"
            )
        return clips

    def formats(self, folder: Path, files: Iterable[Path]) -> list[Path]:
        """Return, and remember, the audio in other formats among the files of a folder."""
        return self.others(folder, list(filter(is_other_audio, files)))

    def others(self, folder: Path, files: list[Path]) -> list[Path]:
        """Return, and remember, files of a folder that are audio in other formats."""
        if files:
            self._formats.append((self._name(folder), files))
        return files

    def skip(self, folder: Path) -> None:
        """Remember a folder that is not entered: background noise, or clips without labels."""
        n = sum(is_clip(path) for path in walk(folder))
        self._folders.append(f"{self._name(folder)} ({plural(n, 'clip')})")

    def empty(self, folder: Path) -> None:
        """Remember a folder without clips."""
        self._empty.append(self._name(folder))

    def unlisted(self, folder: Path, listed: Iterable[Path], why: str) -> list[Path]:
        """Return, and remember, the audio in a folder that is not listed. `why` is such as "a.csv does not list"."""
        known = set(listed)

        def skip(path: Path) -> None:
            if not any(path in other.parents for other in known):
                self.skip(path)

        more = [path for path in walk(folder, skip) if path not in known and (is_clip(path) or is_other_audio(path))]
        if more:
            self._tables.append(f"{plural(len(more), 'clip')} that {why}; the first is {self._name(more[0])}")
        return more

    def rows(self, why: str, places: Sequence[str]) -> None:
        """Remember rows of tables or lines of label files, and where they are; `why` is such as "without a label"."""
        if places:
            self._tables.append(f"{plural(len(places), 'clip')} {why}; the first is {places[0]}")

    def notes(self) -> tuple[str, ...]:
        """Return a sentence for each kind of clips that are left out."""
        notes = []
        if self._folders:
            notes.append(f"left out, because they are no class: {', '.join(self._folders)}")
        if self._formats:
            per_class = ", ".join(f"{len(paths)} in {name}" for name, paths in self._formats)
            first = self._name(self._formats[0][1][0])
            notes.append(f"left out, because they are not {FORMATS}: {per_class}; the first is {first}")
        notes += [f"left out: {sentence}" for sentence in self._tables]
        if self._empty:
            notes.append(f"no clips are in {', '.join(self._empty)}")
        return tuple(notes)

    def _name(self, path: Path) -> str:
        return "the folder itself" if path == self._root else path.relative_to(self._root).as_posix()


def with_unlisted(collection: Collection, root: Path, folder: Path, table: str, *, whole: bool) -> Collection:
    """Return the records of a published data set with a note on the clips that its table does not list.

    Args:
        collection: the records.
        root: the folder of the data set.
        folder: the folder of its clips.
        table: the name of its table, for the note.
        whole: whether the table lists clips of every folder with clips, as that of folds does.

    Raises:
        StreamError: the table lists less than half of the clips, or none of a folder.
    """
    if not folder.is_dir():
        return collection
    left_out = LeftOut(root)
    listed = [r.path for r in collection.records]
    more = left_out.unlisted(folder, listed, f"{table} does not list")
    folders = {path.parent for path in more} - {path.parent for path in listed} if whole else set()
    if folders or len(more) > len(listed):
        where = min(folders, default=folder).relative_to(root).as_posix()
        raise StreamError(
            f"{table} lists {'none' if folders else 'less than half'} of the clips in {where}; unpack the whole archive"
            " again"
        )
    return collection._replace(notes=(*collection.notes, *left_out.notes()))
