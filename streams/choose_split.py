"""Chooses how a data set is split, and says so in a sentence, the protocol.

`auto` takes the first of these that applies:

1. If a fold is given, that fold tests.
2. If the data name their splits, those are used. If the same speaker is in several of them, the data are split by
   speaker instead.
3. If the data have folds, the last fold tests.
4. If the data name speakers, they are split by whole speakers.
5. Otherwise the split is random, repeatable (by its seed) and balanced by class.

Parts of one recording are never in two splits: folds or splits that divide one are not used, and what would be a split
by speaker or a random one is a split by recording.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from cl_ast.errors import StreamError
from streams import protocol, split
from streams.records import Record, Splits
from streams.split_by_recording import by_recording, check_apart, folds_share_recordings, split_by_recording
from streams.split_by_speaker import hold_out_speakers, split_by_speaker

SPLIT_BY = ("auto", "split", "fold", "speaker", "random")

Validates = Callable[[Sequence[str], str], str]
"""A function that takes the names of the folds and of the test fold, and returns the fold that validates."""

_PERCENT = f"{split.SHARE:.0%}"


def choose_split(
    records: Sequence[Record],
    *,
    fold: str | None,
    split_by: str,
    seed: int,
    validates: Validates = split.fold_before,
    by_name_in: Path | None = None,
) -> tuple[Splits, str]:
    """Return three splits, none of them empty, and the protocol: a sentence that says how they were made.

    Args:
        records: all records of the data set.
        fold: the fold that tests, if one was given.
        split_by: one of `SPLIT_BY`.
        seed: the seed of every random draw.
        by_name_in: the folder of the data, where a random split ranks clips by their names (see `stratified_split`).
        validates: chooses the fold that validates.

    Raises:
        StreamError: the data lack the fold or column given, a split would be empty, or a class would have no clip to
            train on.
    """
    excerpts = any(r.span for r in records)
    if excerpts:
        records = by_recording(records)
    mode, why = _choose_mode(records, fold, split_by)
    if excerpts and mode in ("speaker", "random"):
        splits, sentence = split_by_recording(records, seed)
        _check(splits)
        return splits, sentence + why
    if mode == "fold":
        splits, sentence = _by_fold(records, fold, seed, validates)
    elif mode == "split":
        splits, sentence = _by_own_split(records, seed)
    elif mode == "speaker":
        splits, sentence = _by_speaker(records, seed)
    else:
        splits, sentence = split.stratified_split(records, seed, by_name_in), _random_protocol(seed)
    if excerpts:
        check_apart(splits)
    _check(splits)
    return splits, sentence + why


def _choose_mode(records: Sequence[Record], fold: str | None, split_by: str) -> tuple[str, str]:
    """Return one of SPLIT_BY other than `auto`, and the end of the protocol if that choice needs a reason."""
    if split_by not in SPLIT_BY:
        raise StreamError(f"split_by is {split_by!r}; choose one of {', '.join(SPLIT_BY)}")
    if fold is not None:
        if split_by not in ("auto", "fold"):
            raise StreamError(f"fold {fold} was given together with split_by={split_by!r}; leave one out")
        if not _has(records, "fold"):
            raise StreamError(f"fold {fold} was given, but these data have no folds; leave --fold out")
        return "fold", ""
    if split_by != "auto":
        if split_by != "random" and not _has(records, split_by):
            raise StreamError(f"split_by={split_by!r}, but these data have no {split_by} column; choose another")
        return split_by, ""
    if _has(records, "split"):
        if _splits_share_speakers(records):
            shared = "recordings" if any(r.span for r in records) else "speakers"
            return "speaker", f"; the data's own split is not used: its parts share {shared}"
        return "split", ""
    if any(r.span for r in records) and _has(records, "fold") and folds_share_recordings(records):
        return "speaker", "; the data's own folds are not used: they share recordings"
    return next((name for name in ("fold", "speaker") if _has(records, name)), "random"), ""


def _has(records: Sequence[Record], column: str) -> bool:
    return any(getattr(r, column) for r in records)


def _splits_share_speakers(records: Sequence[Record]) -> bool:
    pairs = {(r.speaker, r.split) for r in records if r.speaker}
    return len(pairs) > len({speaker for speaker, _ in pairs})


def _by_fold(records: Sequence[Record], fold: str | None, seed: int, validates: Validates) -> tuple[Splits, str]:
    names = split.fold_names(records)
    if len(names) < 2:
        raise StreamError(
            f"fold {names[0]} is the only fold, and a test needs another; give more, or use split_by='random'"
        )
    test = split.find_fold(names, fold)
    if len(names) > 2:
        validation = validates(names, test)
        train = [name for name in names if name not in (test, validation)]
        sentence = (
            f"{protocol.folds([test], 'test')}, {protocol.folds([validation], 'validate')},"
            f" {protocol.folds(train, 'train')}"
        )
        return split.split_by_fold(records, test, validation), sentence
    splits = split.split_by_fold(records, test, None)
    train_records, validation_records, how = _hold_out(splits.train, seed)
    other = next(name for name in names if name != test)
    named = f"fold {other}" if all(map(protocol.is_public, names)) else "the other"
    sentence = f"{protocol.folds([test], 'test')}, {_PERCENT} of {named} validates ({how}), the rest of it trains"
    return Splits(train_records, validation_records, splits.test), sentence


def _by_own_split(records: Sequence[Record], seed: int) -> tuple[Splits, str]:
    splits = split.own_split(records)
    for name in ("train", "test"):
        if not getattr(splits, name):
            raise StreamError(f"no clip is in the {name} split; name some, or leave the split column (or folders) out")
    if splits.validation:
        return splits, "the data's own train, validation and test split"
    train, validation, how = _hold_out(splits.train, seed)
    sentence = f"the data's own train and test split, {_PERCENT} of the training clips validate ({how})"
    return Splits(train, validation, splits.test), sentence


def _hold_out(train: Sequence[Record], seed: int) -> tuple[list[Record], list[Record], str]:
    """Return train, validation and how they were drawn: by whole speakers if possible, otherwise by class."""
    if _has(train, "speaker"):
        parts = hold_out_speakers(train, seed)
        if parts is not None:
            return *parts, f"whole speakers, seed {seed}"
    return *split.hold_out(train, seed), f"balanced by class, seed {seed}"


def _by_speaker(records: Sequence[Record], seed: int) -> tuple[Splits, str]:
    names = sorted({r.speaker for r in records})
    if len(names) < 2:
        raise StreamError(
            f"{names[0]!r} is the only speaker, and a test on unseen speakers needs another; leave the"
            " speaker column out, or use split_by='random'"
        )
    if len(names) == 2:
        return _by_two_speakers(records, seed)
    splits = split_by_speaker(records, seed)
    train, validation, test = (len({r.speaker for r in part}) for part in splits)
    tested = protocol.speakers(test, "test")
    if not validation:
        train_records, validation_records = split.hold_out(splits.train, seed)
        return Splits(train_records, validation_records, splits.test), (
            f"by speaker: {tested}, the others train, and {_PERCENT} of their clips validate (balanced by"
            f" class, seed {seed}: no other speaker can be spared)"
        )
    return splits, (
        f"by speaker, no speaker is in two splits (seed {seed}): {tested},"
        f" {protocol.speakers(validation, 'validate')}, {protocol.speakers(train, 'train')}"
    )


def _by_two_speakers(records: Sequence[Record], seed: int) -> tuple[Splits, str]:
    """Test on one speaker, and train and validate on the other, because the test needs an unseen speaker most."""
    names = sorted({r.speaker for r in records})
    split.seeded_random(seed, "two speakers").shuffle(names)
    labels = {name: {label for r in records if r.speaker == name for label in r.labels} for name in names}
    # The speaker with more classes trains, so that every tested class is trained. The seed decides a tie.
    test, other = sorted(names, key=lambda name: len(labels[name]))
    train, validation = split.hold_out([r for r in records if r.speaker == other], seed)
    tested = split.sorted_by_path(r for r in records if r.speaker == test)
    sentence = (
        f"by speaker: 1 speaker tests, the other trains, and {_PERCENT} of the other's clips validate (balanced"
        f" by class, seed {seed}: there is no third speaker)"
    )
    return Splits(train, validation, tested), sentence


def _random_protocol(seed: int) -> str:
    return (
        f"a repeatable random split, balanced by class: 70% train, {_PERCENT} validate, {_PERCENT} test (seed {seed})"
    )


def _check(splits: Splits) -> None:
    trained = {label for r in splits.train for label in r.labels}
    for name in ("test", "validation"):
        untrained = sorted({label for r in getattr(splits, name) for label in r.labels} - trained)
        if untrained:
            more = f" (and {len(untrained) - 1} more classes)" if len(untrained) > 1 else ""
            raise StreamError(
                f"class {untrained[0]!r} has clips in the {name} split but none to train on{more};"
                " move some, or choose another split"
            )
    for name in Splits._fields:
        if not getattr(splits, name):
            raise StreamError(f"too few clips (or speakers) for a {name} split; add some, or choose another split")
