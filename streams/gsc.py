"""Reads Speech Commands v2 with its 35 words (Warden, 2018): https://arxiv.org/abs/1804.03209

    yes/0a7c2a8d_nohash_0.wav
    validation_list.txt  testing_list.txt     one path per line, such as yes/0a7c2a8d_nohash_0.wav
    _background_noise_/                       left out, and said, because it is not a word

The clips of the two lists validate and test, and all others train. No speaker is in two splits. Labels are sorted.
"""

from pathlib import Path

from cl_ast.errors import StreamError
from streams.folders import files_in, folders_in, is_clip, is_other_audio
from streams.left_out import LeftOut
from streams.records import Collection, Record, with_sorted_labels
from streams.values import nfc

LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def read(root: Path) -> Collection:
    """Read every clip of every word.

    Raises:
        StreamError: a list is missing, a clip that it names is missing, or most of a word is in other formats.
    """
    left_out = LeftOut(root)
    clips = {
        f"{clip.parent.name}/{clip.name}": clip for word in _words(root, left_out) for clip in _clips(word, left_out)
    }
    spellings = {_spelling(name): name for name in clips}
    split: dict[str, str] = {}
    for name, table in LISTS.items():
        listed = [(line, spellings.get(_spelling(line))) for line in _lines(root / table)]
        missing = [line for line, clip in listed if clip is None]
        if missing:
            raise StreamError(
                f"{len(missing)} of {len(listed)} clips of {table} are missing, the first is {missing[0]};"
                " unpack the whole archive again"
            )
        split.update((clip, name) for _, clip in listed if clip is not None)
    collection = with_sorted_labels(
        [Record(clip, nfc(clip.parent.name), split=split.get(name, "train")) for name, clip in clips.items()]
    )
    return collection._replace(notes=left_out.notes())


def _words(root: Path, left_out: LeftOut) -> list[Path]:
    words = []
    for folder in folders_in(root):
        if folder.name.startswith("_"):
            left_out.skip(folder)
        else:
            words.append(folder)
    return words


def _clips(word: Path, left_out: LeftOut) -> list[Path]:
    files = files_in(word)
    clips = [path for path in files if path.suffix.lower() == ".wav"]
    if not clips:
        left_out.empty(word)
    others = [path for path in files if path.suffix.lower() != ".wav" and (is_clip(path) or is_other_audio(path))]
    return left_out.check(word, clips, left_out.others(word, others))


def _spelling(name: str) -> str:
    """Return what all spellings of a name in a list share: slashes, Unicode form and case do not count."""
    return nfc(nfc(name).casefold()).replace("\\", "/").removeprefix("./")


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise StreamError(f"{path.name} is not text; unpack the archive again") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
