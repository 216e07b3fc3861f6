"""Finds the files that a table names, also where the disk spells their names in another way."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cl_ast.errors import StreamError
from streams.records import Record
from streams.values import nfc


def find_files(records: Sequence[Record], root: Path, advice: str) -> list[Record]:
    """Return the records with the paths of their files as the disk spells them.

    A name is looked for as it is first, then with its backslashes as slashes, in either Unicode form and, if only
    one file fits, in upper and lower case. No file outside the folder is found.

    Args:
        records: the records, whose paths are in the folder.
        root: the folder of the data; the message gives paths relative to it.
        advice: what the user can do, for the end of the message.

    Raises:
        StreamError: files are missing. The message says how many, names the first and gives the advice.
    """
    names = _Names()
    found: list[Record] = []
    missing: list[Path] = []
    for record in records:
        path = record.path if record.path.is_file() else names.find(root, record.path.relative_to(root).as_posix())
        if path is None:
            missing.append(record.path)
        else:
            found.append(record if path == record.path else replace(record, path=path))
    if missing:
        first = min(missing).relative_to(root).as_posix()
        raise StreamError(f"{len(missing)} of {len(records)} clips are missing, the first is {first}; {advice}")
    return found


class _Names:
    """Looks names up in folders, each of which is listed once."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, root: Path, name: str) -> Path | None:
        """Return the file that the name means, or None."""
        parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
        return None if ".." in parts else self._find(root, parts)

    def _find(self, folder: Path, parts: Sequence[str]) -> Path | None:
        if not parts:
            return folder if folder.is_file() else None
        if folder not in self._listed:
            self._listed[folder] = _by_form(folder)
        for form in _forms(parts[0]):
            same = self._listed[folder].get(form, ())
            found = [path for name in same if (path := self._find(folder / name, parts[1:])) is not None]
            if found:
                return found[0] if len(found) == 1 else None
        return None


def _by_form(folder: Path) -> dict[str, list[str]]:
    """Return the names in a folder by each of their forms."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for path in folder.iterdir() if folder.is_dir() else ():
        for form in _forms(path.name):
            names[form].append(path.name)
    return names


def _forms(name: str) -> tuple[str, ...]:
    """Return the forms of a name in the order in which they are looked up. The first character tells them apart."""
    composed = nfc(name)
    return f"={name}", f"u{composed}", f"i{nfc(composed.casefold())}"
