"""Pure functions that split records; no file is touched.

Everything is sorted by path first and drawn from `random.Random` seeded with a string, so a split depends on
the records and the seed alone: not on the order they came in, and one class's draw not on the other classes.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

from cl_ast.errors import StreamError
from streams.task import Record, Splits

SHARE = 0.15
"""The part of the clips that validates, and the part that tests, where nothing published says otherwise."""


def stratified(records: Sequence[Record], seed: int) -> Splits:
    """About 70/15/15 in every class; three clips are enough to be in every split, one to be in train."""
    splits = Splits([], [], [])
    pairs = 0
    for label, rows in _by_label(records).items():
        seeded(seed, "stratified", label).shuffle(rows)
        n_test, n_validation = _shares(len(rows))
        if len(rows) == 2:
            # One trains; the others take turns, so that neither split stays empty if every class is that
            # small.
            n_test, n_validation = (1, 0) if pairs % 2 == 0 else (0, 1)
            pairs += 1
        splits.test.extend(rows[:n_test])
        splits.validation.extend(rows[n_test : n_test + n_validation])
        splits.train.extend(rows[n_test + n_validation :])
    return _ordered(splits)


def carve(records: Sequence[Record], seed: int) -> tuple[list[Record], list[Record]]:
    """Train and validation: a stratified part is held out, and every class keeps a clip to train on."""
    train: list[Record] = []
    held: list[Record] = []
    for label, rows in _by_label(records).items():
        seeded(seed, "carve", label).shuffle(rows)
        n = min(len(rows) - 1, max(1, _round(SHARE * len(rows))))
        held.extend(rows[:n])
        train.extend(rows[n:])
    return in_order(train), in_order(held)


def by_name(records: Sequence[Record]) -> Splits:
    """The splits as the records name them (`train`, `validation`, `test`)."""
    return Splits(*(in_order(r for r in records if r.split == name) for name in Splits._fields))


def by_fold(records: Sequence[Record], test: str, validation: str | None) -> Splits:
    """One fold tests, another validates (or none), the rest train."""
    return Splits(
        in_order(r for r in records if r.fold not in (test, validation)),
        in_order(r for r in records if r.fold == validation),
        in_order(r for r in records if r.fold == test),
    )


def fold_names(records: Iterable[Record]) -> list[str]:
    """The folds in their order: as numbers where all are numbers."""
    names = {r.fold for r in records}
    return sorted(names, key=lambda name: (int(name), name)) if _numeric(names) else sorted(names)


def find_fold(names: Sequence[str], wanted: str | None) -> str:
    """The fold that is meant: the last by default; `3` finds `03`.

    Raises:
        StreamError: no such fold; the message lists those there are.
    """
    if wanted is None:
        return names[-1]
    if wanted in names:
        return wanted
    if _numeric([*names, wanted]):
        same = [name for name in names if int(name) == int(wanted)]
        if same:
            return same[0]
    raise StreamError(f"there is no fold {wanted}; choose one of {', '.join(names)}")


def fold_before(names: Sequence[str], test: str) -> str:
    """The fold before that one, cyclically: it validates."""
    return names[names.index(test) - 1]


def keep_few(train: Sequence[Record], k: int, seed: int) -> list[Record]:
    """K clips of every class.

    Raises:
        StreamError: a class has fewer.
    """
    kept: list[Record] = []
    for label, rows in _by_label(train).items():
        if len(rows) < k:
            raise StreamError(
                f"class {label!r} has {len(rows)} clips to train on, fewer than the {k} of few_shot; ask for fewer"
            )
        kept.extend(seeded(seed, "few", label).sample(rows, k))
    return in_order(kept)


# --- small tools


def _by_label(records: Iterable[Record]) -> dict[str, list[Record]]:
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for r in in_order(records):
        groups[r.label].append(r)
    return dict(sorted(groups.items()))


def _shares(n: int) -> tuple[int, int]:
    """How many of n clips test and validate; the second evens out how the first was rounded."""
    if n < 3:
        return 0, 0
    test = max(1, _round(SHARE * n))
    return test, max(1, _round(2 * SHARE * n) - test)


def _round(x: float) -> int:
    return int(x + 0.5)  # halves go up; round() would send them to the even number


def seeded(seed: int, *names: str) -> random.Random:
    """A generator of its own for each seed and purpose."""
    return random.Random("/".join((str(seed), *names)))


def _numeric(names: Iterable[str]) -> bool:
    return all(name.isascii() and name.isdigit() for name in names)


def in_order(records: Iterable[Record]) -> list[Record]:
    """The records sorted by path."""
    return sorted(records, key=lambda r: r.path)


def _ordered(splits: Splits) -> Splits:
    return Splits(*map(in_order, splits))
