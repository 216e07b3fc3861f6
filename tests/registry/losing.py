"""What a power cut may leave of a folder: the calls that changed it, read from strace, and the states between them.

The model is as strict as POSIX: until fsync of a file any part of what was written may be missing, in any order; until
fsync of the folder so may the latest of its renames, links, new and deleted names. (File systems keep the order of
names; so does this.) SQLite's shared memory is left out: it does not outlive a process.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "openat,close,write,pwrite64,lseek,fsync,fdatasync,rename,unlink,ftruncate,link,mkdir"
_LINE = re.compile(r"(?:(\d+) +)?(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_SECTOR = 512


@dataclass
class Disk:
    """What is on the disk for good, and what is only on its way there."""

    files: dict[int, bytes] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    data: list[tuple[int, int, bytes | None]] = field(default_factory=list)  # file, offset, bytes (None: cut there)
    moves: list[tuple[str, str, int]] = field(default_factory=list)  # what, name, file

    def sync_file(self, file: int) -> None:
        for one in [one for one in self.data if one[0] == file]:
            _put(self.files, *one)
        self.data = [one for one in self.data if one[0] != file]

    def sync_names(self, folder: str) -> None:
        kept = []
        for move in self.moves:
            if str(Path(move[1]).parent) == folder:
                _move(self.names, *move)
            else:
                kept.append(move)
        self.moves = kept

    def now(self) -> dict[str, int]:
        """Names as a program sees them, which knows of no disk."""
        names = dict(self.names)
        for move in self.moves:
            _move(names, *move)
        return names

    def after_a_cut(self, dice: random.Random, data: float, moves: float) -> dict[str, bytes]:
        """Contents by name, each unsynced write there with probability `data`, and that share of the moves."""
        files, names = dict(self.files), dict(self.names)
        for file, at, content in self.data:
            if dice.random() < data:
                torn = content if content is None or data == 1 else content[: dice.randrange(0, 9) * _SECTOR or None]
                _put(files, file, at, torn)
        for move in self.moves[: round(moves * len(self.moves))]:
            _move(names, *move)
        return {name: files.get(file, b"") for name, file in names.items() if not name.endswith("-shm")}


def load(folder: Path) -> Disk:
    """A folder that nobody has touched for a while."""
    disk = Disk()
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        disk.files[number], disk.names[str(path)] = path.read_bytes(), number
    return disk


def replay(disk: Disk, trace: str, folder: str) -> Iterator[str]:
    """Each call of a trace that concerned `folder`, once the disk is as it was just before it.

    "returned" is said once the process has written the folder's name to its output, and at the end.
    """
    opened: dict[str, tuple[str, int]] = {}  # descriptor: name, file (-1: a folder)
    places: dict[str, int] = {}
    for call, words, result in _calls(trace):
        paths = [text for text in map(_text, _TEXT.findall(words)) if text.startswith(folder)]
        descriptor = words.split(",")[0]
        if call == "openat" and paths:
            yield call
            number = disk.now().get(paths[0], -1)
            if number < 0 and "O_CREAT" in words:
                number = len(disk.files)
                disk.files[number] = b""
                disk.moves.append(("name", paths[0], number))
            opened[result], places[result] = (paths[0], number), 0
        elif call in ("write", "pwrite64") and descriptor in opened:
            yield call
            content = bytes.fromhex(_TEXT.findall(words)[0].replace("\\x", ""))
            at = places[descriptor] if call == "write" else int(words.rsplit(",", 1)[1])
            disk.data.append((opened[descriptor][1], at, content))
            places[descriptor] += len(content) if call == "write" else 0
        elif call == "lseek" and descriptor in opened:
            places[descriptor] = int(result)
        elif call == "ftruncate" and descriptor in opened:
            yield call
            disk.data.append((opened[descriptor][1], int(words.split(",")[1]), None))
        elif call in ("fsync", "fdatasync") and descriptor in opened:
            yield call
            name, number = opened[descriptor]
            disk.sync_file(number) if number >= 0 else disk.sync_names(name)
        elif call == "close":
            opened.pop(descriptor, None)
        elif call in ("rename", "link") and paths:
            yield call
            number = disk.now()[paths[0]]
            disk.moves.append((f"{call} {paths[0]}", paths[1], number))
        elif call == "unlink" and paths:
            yield call
            disk.moves.append(("unname", paths[0], -1))
        elif call == "write" and descriptor == "1" and paths:
            yield "returned"
    yield "returned"


def _calls(trace: str) -> Iterator[tuple[str, str, str]]:
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        who = line.split(" ", 1)[0]
        if line.endswith(" <unfinished ...>"):
            begun[who] = line.removesuffix(" <unfinished ...>")
            continue
        if " resumed>" in line:
            line = begun.pop(who) + line.partition(" resumed>")[2]
        found = _LINE.match(line)
        if found and not found[4].startswith("-"):
            yield found[2], found[3], found[4]


def _text(hexed: str) -> str:
    return bytes.fromhex(hexed.replace("\\x", "")).decode(errors="replace")


def _put(files: dict[int, bytes], file: int, at: int, content: bytes | None) -> None:
    old = files.get(file, b"")
    if content is None:
        files[file] = old[:at].ljust(at, b"\0")
    else:
        files[file] = old[:at].ljust(at, b"\0") + content + old[at + len(content) :]


def _move(names: dict[str, int], what: str, name: str, file: int) -> None:
    if what == "unname":
        names.pop(name, None)
        return
    if what.startswith("rename "):
        names.pop(what.removeprefix("rename "), None)
    names[name] = file
