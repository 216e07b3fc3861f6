"""Says which clips of the data are left out, or refuses the data where a class would suffer."""

from collections.abc import Iterable
from pathlib import Path

from cl_ast.errors import StreamError
from streams.folder_names import is_noise
from streams.folders import is_clip, is_other_audio, walk
from streams.metadata import FORMATS


class LeftOut:
    """Collects what is left out of a folder of data, and says it in sentences."""

    def __init__(self, root: Path) -> None:
        """Collect for the data in `root`. Sentences give paths relative to it."""
        self._root = root
        self._formats: list[tuple[str, list[Path]]] = []
        self._folders: list[str] = []
        self._tables: list[str] = []
        self._empty: list[str] = []
        self._links: list[str] = []

    def clips(self, folder: Path) -> list[Path]:
        """Return the clips in the folder of a class, and remember its audio in other formats.

        Raises:
            StreamError: the audio in other formats is more than the clips.
        """
        files = list(walk(folder, self.skip))
        clips = list(filter(is_clip, files))
        others = self.formats(folder, files)
        if len(others) > len(clips):
            raise StreamError(
                f"{self._name(others[0])} is not {FORMATS}, and so are {len(others)} of the"
                f" {len(others) + len(clips)} clips of {self._name(folder)!r}; convert them, or take them out"
            )
        return clips

    def formats(self, folder: Path, files: Iterable[Path]) -> list[Path]:
        """Return, and remember, the audio in other formats among the files of a folder."""
        others = list(filter(is_other_audio, files))
        if others:
            self._formats.append((self._name(folder), others))
        return others

    def skip(self, folder: Path) -> None:
        """Remember a folder that is not entered: background noise, a link, or clips without labels."""
        if folder.is_symlink() and not is_noise(folder.name):
            self._links.append(self._name(folder))
        else:
            n = sum(is_clip(path) for path in walk(folder))
            self._folders.append(f"{self._name(folder)} ({n} clip{'' if n == 1 else 's'})")

    def empty(self, folder: Path) -> None:
        """Remember a folder without clips."""
        self._empty.append(self._name(folder))

    def unlisted(self, folder: Path, listed: Iterable[Path], table: str) -> list[Path]:
        """Return, and remember, the audio in a folder that its table does not list."""
        known = set(listed)

        def skip(path: Path) -> None:
            if not any(path in other.parents for other in known):
                self.skip(path)

        more = [path for path in walk(folder, skip) if path not in known and (is_clip(path) or is_other_audio(path))]
        if more:
            self._tables.append(f"{len(more)} clips that {table} does not list; the first is {self._name(more[0])}")
        return more

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
        if self._links:
            notes.append(f"links to folders in a class are not followed: {', '.join(self._links)}")
        if self._empty:
            notes.append(f"no clips are in {', '.join(self._empty)}")
        return tuple(notes)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()
