"""Reads Speech Commands v2 with its 35 words (Warden, 2018): https://arxiv.org/abs/1804.03209

    yes/0a7c2a8d_nohash_0.wav
    validation_list.txt  testing_list.txt     one path per line, such as yes/0a7c2a8d_nohash_0.wav
    _background_noise_/                       left out, because it is not a word

The clips of the two lists validate and test, and all others train. No speaker is in two splits. Labels are sorted.
"""

from pathlib import Path

from cl_ast.errors import StreamError
from streams.records import Collection, Record, with_sorted_labels

LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def read(root: Path) -> Collection:
    """Read every clip of every word.

    Raises:
        StreamError: a list is missing, or a clip that it names is missing.
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
                " unpack the whole archive again"
            )
        split.update(dict.fromkeys(listed, name))
    return with_sorted_labels(
        [Record(clip, clip.parent.name, split=split.get(name, "train")) for name, clip in clips.items()]
    )


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise StreamError(f"{path.name} is not text; unpack the archive again") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
