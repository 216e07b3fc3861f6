"""Splits records at random by class, by fold, or as the data say. These functions touch no file.

Records are first sorted by path, and each class is drawn with a generator of its own. A split therefore depends on
the records and the seed alone: not on the order of the records, and one class's draw not on the other classes.
"""

import hashlib
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from cl_ast.errors import StreamError
from streams.records import Record, Splits
from streams.split_by_tag import parts_by_tag, some_of_each_tag
from streams.values import fold_key, fold_number, natural_key, nfc

SHARE = 0.15
"""The share of the clips that validates, and the share that tests, if no published split says otherwise."""


def stratified_split(records: Sequence[Record], seed: int, by_name_in: Path | None = None) -> Splits:
    """Split every class into about 70% train, 15% validation and 15% test.

    A class of three clips or more is in every split, and a class of one clip is in train.

    Args:
        records: all records.
        seed: the seed of the draw.
        by_name_in: the folder of the data, to rank the clips of a class by a hash of their names. A clip's rank then
            only falls when clips are added: unless a class more than doubles, none that was trained on comes to test.
            None shuffles them, as older releases did. Where clips have tags, they are always shuffled.
    """
    if _have_tags(records):
        parts = parts_by_tag(_shuffled(records, seed, "stratified"), _three_parts)
        return Splits(*map(sorted_by_path, (parts[0], parts[1], parts[2])))
    splits = Splits([], [], [])
    pairs = 0
    for label, rows in _by_label(records).items():
        if by_name_in is None:
            seeded_random(seed, "stratified", label).shuffle(rows)
        else:
            rows.sort(key=partial(_name_hash, seed, by_name_in, str(by_name_in) + os.sep))
        n_test, n_validation = _shares(len(rows))
        if len(rows) == 2:
            # One clip trains. The other tests or validates, in turn from class to class, so that neither split
            # stays empty if all classes are this small.
            n_test, n_validation = (1, 0) if pairs % 2 == 0 else (0, 1)
            pairs += 1
        splits.test.extend(rows[:n_test])
        splits.validation.extend(rows[n_test : n_test + n_validation])
        splits.train.extend(rows[n_test + n_validation :])
    return Splits(*map(sorted_by_path, splits))


def hold_out(records: Sequence[Record], seed: int) -> tuple[list[Record], list[Record]]:
    """Return train and validation: 15% of every class validate, and every class keeps a clip to train on."""
    if _have_tags(records):
        parts = parts_by_tag(_shuffled(records, seed, "carve"), _two_parts)
        return sorted_by_path(parts[0]), sorted_by_path(parts[1])
    train: list[Record] = []
    validation: list[Record] = []
    for label, rows in _by_label(records).items():
        # The word "carve" is part of the seed: another word would change every split made before.
        seeded_random(seed, "carve", label).shuffle(rows)
        n = _two_parts(len(rows))[1]
        validation.extend(rows[:n])
        train.extend(rows[n:])
    return sorted_by_path(train), sorted_by_path(validation)


def own_split(records: Sequence[Record]) -> Splits:
    """Return the splits that the records name (`train`, `validation`, `test`)."""
    return Splits(*(sorted_by_path(r for r in records if r.split == name) for name in Splits._fields))


def split_by_fold(records: Sequence[Record], test: str, validation: str | None) -> Splits:
    """Return the splits in which one fold tests, another validates (or none does), and the others train."""
    return Splits(
        sorted_by_path(r for r in records if r.fold not in (test, validation)),
        sorted_by_path(r for r in records if r.fold == validation),
        sorted_by_path(r for r in records if r.fold == test),
    )


def fold_names(records: Iterable[Record]) -> list[str]:
    """Return the names of the folds in their natural order: `9`, `10` and `fold9`, `fold10`."""
    return sorted({r.fold for r in records}, key=natural_key)


def find_fold(names: Sequence[str], wanted: str | None) -> str:
    """Return the name of the fold that is wanted, or of the last one. A wanted `3` finds the fold `03` or `fold3`.

    Raises:
        StreamError: there is no such fold. The message lists those that exist.
    """
    if wanted is None:
        return names[-1]
    if wanted in names:
        return wanted
    for key in (fold_key, fold_number):
        same = [name for name in names if key(wanted) is not None and key(name) == key(wanted)]
        if len(same) == 1:
            return same[0]
    raise StreamError(f"there is no fold {wanted}; choose one of {', '.join(names)}")


def fold_before(names: Sequence[str], test: str) -> str:
    """Return the fold before the test fold, cyclically. It is the one that validates."""
    return names[names.index(test) - 1]


def keep_per_class(train: Sequence[Record], k: int, seed: int | None) -> list[Record]:
    """Return k randomly drawn clips of every class, or without a seed the first k by their paths.

    Where clips have tags, every tag is on at least k of them.

    Raises:
        StreamError: a class has fewer than k clips.
    """
    kept: list[Record] = []
    by_label = _by_label(train)
    for label, rows in by_label.items():
        if len(rows) < k:
            raise StreamError(
                f"class {label!r} has {len(rows)} clips to train on, fewer than the {k} of few_shot; ask for fewer"
            )
    if _have_tags(train):
        drawn = sorted_by_path(train) if seed is None else _shuffled(train, seed, "few")
        return sorted_by_path(some_of_each_tag(drawn, k))
    for label, rows in by_label.items():
        kept.extend(rows[:k] if seed is None else seeded_random(seed, "few", label).sample(rows, k))
    return sorted_by_path(kept)


def seeded_random(seed: int, *names: str) -> random.Random:
    """Return a random generator that depends on the seed and on the names of its purpose."""
    return random.Random("/".join((str(seed), *names)))


def sorted_by_path(records: Iterable[Record]) -> list[Record]:
    """Return the records sorted by path, and excerpts of one recording by their time.

    A copy on a disk that spells é in two characters has the same order.
    """
    found = list(records)
    if all(str(r.path).isascii() for r in found):
        # Tuples of parts have the order of paths, but are compared faster; only Windows ignores the case of letters.
        key = (lambda r: (r.path, r.span or ())) if os.name == "nt" else (lambda r: (r.path.parts, r.span or ()))
        return sorted(found, key=key)
    return sorted(found, key=lambda r: (tuple(map(nfc, r.path.parts)), r.path, r.span or ()))


def _by_label(records: Iterable[Record]) -> dict[str, list[Record]]:
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for r in sorted_by_path(records):
        for label in r.labels:
            groups[label].append(r)
    return dict(sorted(groups.items()))


def _name_hash(seed: int, root: Path, prefix: str, record: Record) -> bytes:
    """Return a hash of the seed and of a clip's label and path in the data; `prefix` is how paths in the root begin."""
    path = str(record.path)
    if path.startswith(prefix):  # nearly always, and much faster than `relative_to`
        place = path[len(prefix) :].replace(os.sep, "/")
    else:
        place = record.path.relative_to(root).as_posix() if record.path.is_relative_to(root) else record.path.name
    text = nfc("\0".join((str(seed), record.label, place)))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _have_tags(records: Sequence[Record]) -> bool:
    return any(r.tags for r in records)


def _shuffled(records: Sequence[Record], seed: int, purpose: str) -> list[Record]:
    rows = sorted_by_path(records)
    seeded_random(seed, purpose, "tags").shuffle(rows)
    return rows


def _three_parts(n: int) -> tuple[int, int, int]:
    """Return how many of n clips train, validate and test."""
    test, validation = (1, 0) if n == 2 else _shares(n)
    return n - test - validation, validation, test


def _two_parts(n: int) -> tuple[int, int]:
    """Return how many of n clips train and how many validate, without a test."""
    validation = min(n - 1, max(1, _round(SHARE * n)))
    return n - validation, validation


def _shares(n: int) -> tuple[int, int]:
    """Return how many of n clips test and how many validate. The second number evens out the rounding of the first."""
    if n < 3:
        return 0, 0
    test = max(1, _round(SHARE * n))
    return test, max(1, _round(2 * SHARE * n) - test)


def _round(x: float) -> int:
    return int(x + 0.5)  # halves go up, where round() would send them to the even number
