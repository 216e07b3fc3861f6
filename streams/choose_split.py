"""Which split a collection gets, and the sentence that says so.

`auto` goes down this list:

1. a fold was asked for: that fold tests;
2. the data name their splits: those, unless their speakers are on several sides, then by speaker;
3. the data have folds: the last one tests;
4. the data have speakers: by whole speakers;
5. otherwise: a seeded draw, stratified by class.
"""

from collections.abc import Callable, Sequence

from cl_ast.errors import StreamError
from streams import split
from streams.split_by_speaker import by_speaker, carve_speakers
from streams.task import Record, Splits

SPLIT_BY = ("auto", "split", "fold", "speaker", "random")

Validates = Callable[[Sequence[str], str], str]
"""Given the folds and the one that tests, the one that validates."""

_PART = f"{split.SHARE:.0%}"


def divide(
    records: Sequence[Record],
    *,
    fold: str | None,
    split_by: str,
    seed: int,
    validates: Validates = split.fold_before,
) -> tuple[Splits, str]:
    """The three splits, all with clips in them, and their protocol in a sentence.

    Raises:
        StreamError: the data do not have what was asked for, or a split or a trained class would be empty.
    """
    mode, why = _mode(records, fold, split_by)
    if mode == "fold":
        splits, protocol = _folds(records, fold, seed, validates)
    elif mode == "split":
        splits, protocol = _named(records, seed)
    elif mode == "speaker":
        splits, protocol = _speakers(records, seed)
    else:
        splits, protocol = split.stratified(records, seed), _random_protocol(seed)
    _check(splits)
    return splits, protocol + why


def _mode(records: Sequence[Record], fold: str | None, split_by: str) -> tuple[str, str]:
    """One of SPLIT_BY but `auto`, and the reason where it is not what the data would lead one to expect."""
    if split_by not in SPLIT_BY:
        raise StreamError(f"split_by is {split_by!r}; choose one of {', '.join(SPLIT_BY)}")
    if fold is not None:
        if split_by not in ("auto", "fold"):
            raise StreamError(f"fold {fold} was asked for together with split_by={split_by!r}; leave one out")
        if not _has(records, "fold"):
            raise StreamError(f"fold {fold} was asked for, but these data have no folds; leave --fold out")
        return "fold", ""
    if split_by != "auto":
        if split_by != "random" and not _has(records, split_by):
            raise StreamError(f"split_by={split_by!r}, but these data have no {split_by} column")
        return split_by, ""
    if _has(records, "split"):
        if _shared_speakers(records):
            return "speaker", "; the data's own split is not used: its parts share speakers"
        return "split", ""
    return next((name for name in ("fold", "speaker") if _has(records, name)), "random"), ""


def _has(records: Sequence[Record], column: str) -> bool:
    return any(getattr(r, column) for r in records)


def _shared_speakers(records: Sequence[Record]) -> bool:
    pairs = {(r.speaker, r.split) for r in records if r.speaker}
    return len(pairs) > len({speaker for speaker, _ in pairs})


def _folds(records: Sequence[Record], fold: str | None, seed: int, validates: Validates) -> tuple[Splits, str]:
    names = split.fold_names(records)
    if len(names) < 2:
        raise StreamError(
            f"fold {names[0]} is the only fold, and a test needs another; give more, or split_by='random'"
        )
    test = split.find_fold(names, fold)
    if len(names) > 2:
        validation = validates(names, test)
        train = [name for name in names if name not in (test, validation)]
        sentence = f"{_fold_list([test])} tests, {_fold_list([validation])} validates, {_fold_list(train)} train"
        sentence += "s" if len(train) == 1 else ""
        return split.by_fold(records, test, validation), sentence
    splits = split.by_fold(records, test, None)
    train_records, validation_records, how = _hold_out(splits.train, seed)
    other = next(name for name in names if name != test)
    sentence = f"fold {test} tests, {_PART} of fold {other} validates ({how}), the rest of it trains"
    return Splits(train_records, validation_records, splits.test), sentence


def _fold_list(names: Sequence[str]) -> str:
    return f"fold{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _named(records: Sequence[Record], seed: int) -> tuple[Splits, str]:
    splits = split.by_name(records)
    for name in ("train", "test"):
        if not getattr(splits, name):
            raise StreamError(f"no clip is in the {name} split; name some, or leave the split column (or folders) out")
    if splits.validation:
        return splits, "the data's own train, validation and test split"
    train, validation, how = _hold_out(splits.train, seed)
    sentence = f"the data's own train and test split, {_PART} of train held out to validate ({how})"
    return Splits(train, validation, splits.test), sentence


def _hold_out(train: Sequence[Record], seed: int) -> tuple[list[Record], list[Record], str]:
    """A validation part from the training clips: whole speakers if possible, else a stratified draw."""
    if _has(train, "speaker"):
        carved = carve_speakers(train, seed)
        if carved is not None:
            return *carved, f"whole speakers, seed {seed}"
    return *split.carve(train, seed), f"stratified by class, seed {seed}"


def _speakers(records: Sequence[Record], seed: int) -> tuple[Splits, str]:
    names = sorted({r.speaker for r in records})
    if len(names) < 2:
        raise StreamError(
            f"{names[0]!r} is the only speaker, and a test on unseen speakers needs another; leave the"
            " speaker column out, or split_by='random'"
        )
    if len(names) == 2:
        return _two_speakers(records, seed)
    splits = by_speaker(records, seed)
    if not splits.validation:
        train_records, held = split.carve(splits.train, seed)
        splits = Splits(train_records, held, splits.test)
        tested = _speakers_do({r.speaker for r in splits.test}, "test")
        return splits, (
            f"by speaker: {tested}, the others train, and {_PART} of their clips validate (stratified by"
            f" class, seed {seed}: no other speaker can be spared)"
        )
    train, validation, test = ({r.speaker for r in part} for part in splits)
    told = (_speakers_do(test, "test"), _speakers_do(validation, "validate"), _speakers_do(train, "train"))
    return splits, f"by speaker, none in two splits (seed {seed}): {', '.join(told)}"


def _two_speakers(records: Sequence[Record], seed: int) -> tuple[Splits, str]:
    """One speaker tests, the other trains and validates: the side that must be unseen is the test."""
    names = sorted({r.speaker for r in records})
    split.seeded(seed, "two speakers").shuffle(names)
    labels = {name: {r.label for r in records if r.speaker == name} for name in names}
    # The one with more classes trains, so that no class is tested unlearned; the seed decides a tie.
    test, other = sorted(names, key=lambda name: len(labels[name]))
    train, validation = split.carve([r for r in records if r.speaker == other], seed)
    tested = split.in_order(r for r in records if r.speaker == test)
    sentence = (
        f"speaker {test} tests, speaker {other} trains, and {_PART} of {other}'s clips validate (stratified"
        f" by class, seed {seed}: there is no third speaker)"
    )
    return Splits(train, validation, tested), sentence


def _speakers_do(names: set[str], verb: str) -> str:
    if len(names) == 1:
        return f"speaker {next(iter(names))} {verb}s"
    return f"{len(names)} speakers {verb}" if len(names) > 5 else f"speakers {', '.join(sorted(names))} {verb}"


def _random_protocol(seed: int) -> str:
    return f"a seeded draw, stratified by class: 70% train, {_PART} validate, {_PART} test (seed {seed})"


def _check(splits: Splits) -> None:
    trained = {r.label for r in splits.train}
    for name in ("test", "validation"):
        untrained = sorted({r.label for r in getattr(splits, name)} - trained)
        if untrained:
            raise StreamError(
                f"class {untrained[0]!r} has clips in the {name} split but none to train"
                f" on{_and_more(len(untrained) - 1)}; move some, or choose another split"
            )
    for name in Splits._fields:
        if not getattr(splits, name):
            raise StreamError(f"too few clips (or speakers) for a {name} split; add some, or choose another split")


def _and_more(n: int) -> str:
    return f" (and {n} more classes)" if n else ""
