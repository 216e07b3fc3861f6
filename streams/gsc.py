"""Speech Commands v2, 35 words (Warden, 2018): https://arxiv.org/abs/1804.03209

    yes/0a7c2a8d_nohash_0.wav
    validation_list.txt  testing_list.txt     one `yes/0a7c2a8d_nohash_0.wav` a line
    _background_noise_/                       not a word, left out

The lists validate and test, everything else trains; a speaker is on one side only. Labels sorted.
"""

from pathlib import Path

from cl_ast.errors import StreamError
from streams.table_files import sorted_labels
from streams.task import Collection, Record

LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def read(root: Path) -> Collection:
    """Every clip of every word.

    Raises:
        StreamError: a list is missing, or names clips that are not there.
    """
    words = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
    clips = {f"{word.name}/{clip.name}": clip for word in words for clip in sorted(word.glob("[!.]*.wav"))}
    split: dict[str, str] = {}
    for name, table in LISTS.items():
        listed = _lines(root / table)
        missing = [line for line in listed if line not in clips]
        if missing:
            raise StreamError(
                f"{len(missing)} of {len(listed)} clips of {table} are missing, the first is {missing[0]};"
                " unpack the archive again, to its end"
            )
        split.update(dict.fromkeys(listed, name))
    return sorted_labels(
        [Record(clip, clip.parent.name, split=split.get(name, "train")) for name, clip in clips.items()]
    )


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise StreamError(f"{path.name} is not text; unpack the archive again") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
