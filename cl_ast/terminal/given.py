"""The recordings that a command is given: files, folders of them, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cl_ast.audio.reading import AudioInput


def recordings_in(given: Sequence[str]) -> tuple[list[AudioInput], list[str]]:
    """Return files as they are, folders as the audio files in them, - as standard input; and what is wrong with some.

    Folders are walked as those that tasks are learned from: hidden files are left out, and links are followed.
    """
    wanted: list[AudioInput] = []
    problems: list[str] = []
    for name in given:
        if not name:
            problems.append("'' is no clip; give a file, a folder, or - for standard input")
        elif name == "-":
            if sys.stdin is None:
                problems.append("standard input: it is closed; give the path of a clip")
            else:
                wanted.append(sys.stdin.buffer)
        elif _is_folder(name):
            found, obstacles = audio_files_in(Path(name))
            wanted += found
            problems += obstacles
        else:
            wanted.append(name)
    return wanted, problems


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # such as a name that is too long; reading it will say so
        return False


def audio_files_in(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the audio files of a folder, sorted, and what is to be said of it."""
    from cl_ast.audio.containers import FORMATS
    from streams.walk import Obstacle, audio_files

    found: list[Path] = []
    problems = []
    for one in audio_files(folder):
        if isinstance(one, Obstacle):
            problems.append(f"{one.path}: cannot be entered ({one.reason}); what is in it is left out")
        else:
            found.append(one)
    if not found and not problems:
        problems.append(f"{folder}: no audio files ({FORMATS}) in this folder")
    return sorted(found), problems
