"""Reads FSD50K (Fonseca et al., TASLP 2022): https://zenodo.org/records/4060432

    FSD50K.ground_truth/dev.csv          fname,labels,mids,split       64760,"Electric_guitar,Guitar,Music",…,train
    FSD50K.ground_truth/eval.csv         fname,labels,mids
    FSD50K.ground_truth/vocabulary.csv   0,Accelerating_and_revving_and_vroom,/m/07q2z82      (no names of columns)
    FSD50K.dev_audio/64760.wav           FSD50K.eval_audio/37199.wav

A clip has several labels, which are tags here. The publishers' split is used; in it no uploader is in two splits.
Labels are in the order of the vocabulary.
"""

from pathlib import Path

from cl_ast.errors import StreamError
from streams.find_files import find_files
from streams.metadata import SPLIT_NAMES
from streams.records import Collection, Record, with_numbered_labels
from streams.table_files import Row, read_rows

_TRUTH = "FSD50K.ground_truth"
DEV, EVAL, VOCABULARY = (f"{_TRUTH}/{name}.csv" for name in ("dev", "eval", "vocabulary"))
DEV_AUDIO, EVAL_AUDIO = "FSD50K.dev_audio", "FSD50K.eval_audio"


def read(root: Path) -> Collection:
    """Read every clip of the two tables.

    Raises:
        StreamError: a table or a clip is missing, a table does not fit, or a label is not in the vocabulary.
    """
    numbers = _vocabulary(root)
    known = {label for _, label in numbers}
    records = [
        _record(row, root / DEV_AUDIO, known, split=row.need("split"))
        for row in read_rows(root / DEV, root, ("fname", "labels", "split"))
    ]
    records += [
        _record(row, root / EVAL_AUDIO, known, split="test")
        for row in read_rows(root / EVAL, root, ("fname", "labels"))
    ]
    return with_numbered_labels(find_files(records, root, "unpack the whole archive again"), numbers)


def _vocabulary(root: Path) -> list[tuple[str, str]]:
    try:
        lines = (root / VOCABULARY).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise StreamError(f"{VOCABULARY} is not UTF-8 text; unpack the whole archive again") from None
    cells = [line.split(",") for line in lines if line.strip()]
    if not cells or any(len(one) != 3 for one in cells):
        raise StreamError(f"{VOCABULARY} is not a list of number,label,mid; unpack the whole archive again")
    return [(number, label) for number, label, _ in cells]


def _record(row: Row, folder: Path, known: set[str], split: str) -> Record:
    tags = row.need("labels").split(",")
    unknown = sorted(set(tags) - known)
    if unknown:
        raise StreamError(f"{row.place}: {unknown[0]!r} is not in {VOCABULARY}; unpack the whole archive again")
    name = SPLIT_NAMES.get(split.lower())
    if name is None:
        raise StreamError(f"{row.place}: {split!r} is no split; unpack the whole archive again")
    path = folder / f"{row.need_path('fname')}.wav"
    return Record(path, "", split=name).with_tags(tags)
