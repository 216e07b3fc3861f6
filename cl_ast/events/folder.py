"""A folder of results: the events of each recording in a file of its own, and what a later run needs to go on."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cl_ast.errors import ClAstError
from cl_ast.events.event import Event
from cl_ast.events.writers import Found, jsonl

INDEX = "index.json"


class ResultFolder:
    """A folder with a file of JSON lines for each recording, and `index.json`: the settings, and which are done.

    A file appears when its recording is done. So a run that was stopped is gone on with: what is there is not
    searched again, unless the recording could not be read to its end.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        """
        Args:
            settings: all that the events depend on, as plain values.
            resume: go on with what is there.

        Raises:
            ClAstError: the folder cannot be used, has results already, or to go on, results of other settings.
        """
        self._folder = folder
        self._settings = json.loads(json.dumps(settings))
        self._done: dict[str, dict[str, Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = (folder / INDEX).read_text(encoding="utf-8") if (folder / INDEX).exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise _refused(folder, error) from None
        if text:
            self._take(text, resume=resume)

    def _take(self, text: str, *, resume: bool) -> None:
        if not resume:
            raise ClAstError(f"{self._folder}: has results already; add --resume to go on, or name another folder")
        try:
            index = json.loads(text)
            settings, self._done = index["settings"], dict(index["recordings"])
        except (ValueError, KeyError, TypeError):
            raise ClAstError(f"{self._folder / INDEX}: is damaged; name another folder") from None
        if settings != self._settings:
            every = {*settings, *self._settings}
            names = sorted(name for name in every if settings.get(name) != self._settings.get(name))
            raise ClAstError(
                f"{self._folder}: its results were found with other settings ({', '.join(names)}); give the same ones, "
                "or name another folder"
            )

    def found(self, path: str) -> Found | None:
        """Return what was found in a recording before; None where it is still to be searched, to its end."""
        entry = self._done.get(path)
        if entry is None or "ended" in entry:
            return None
        with suppress(OSError, ValueError, KeyError, TypeError):
            lines = (self._folder / entry["file"]).read_text(encoding="utf-8").splitlines()
            return Found(path, int(entry["samples"]), [Event.from_json(json.loads(line)) for line in lines])
        return None

    def keep(self, stem: str, found: Found, trouble: str | None) -> None:
        """Write what was found in a recording. Raises ClAstError where it cannot be written."""
        self.write(f"{stem}.jsonl", "".join(f"{jsonl(event)}\n" for event in found.events))
        entry: dict[str, Any] = {"file": f"{stem}.jsonl", "samples": found.samples}
        self._done[found.path] = entry | ({"ended": trouble} if trouble else {})
        self.write(INDEX, json.dumps({"settings": self._settings, "recordings": self._done}, indent=1) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder, all of it or nothing. Raises ClAstError where it cannot be written."""
        place = self._folder / name
        part = place.with_name(f".{name}.part")
        try:
            part.write_text(text, encoding="utf-8", newline="\n")
            part.replace(place)
        except (OSError, ValueError) as error:
            part.unlink(missing_ok=True)
            raise _refused(place, error) from None


def _refused(path: Path, error: Exception) -> ClAstError:
    reason = getattr(error, "strerror", None) or str(error)
    return ClAstError(f"{path}: the events cannot be written there ({reason}); name another folder")
