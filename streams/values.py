"""Puts the values of tables into one form: missing values, Unicode, numbers, and the order of folds.

Tables are written by many programs. The same fold is `1` to one of them and `1.0` or `01` to another, a missing cell
is empty, `nan` or `null`, and `é` is one character or two. These functions touch no file.
"""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

from streams.records import Record

# Spreadsheets, pandas, R and SQL write a missing value in these ways. `none` in small letters is not among them: data
# sets use it for a class.
_MISSING = frozenset({"None", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaT", r"\N"})
_MISSING_IN_ANY_CASE = frozenset({"nan", "+nan", "-nan", "null", "1.#qnan", "1.#ind", "-1.#ind"})

_INVISIBLE = "\ufeff\u200b\u2060"
"""Characters of no width that programs leave at the ends of a cell."""

# Longer numbers are left as text, because Python refuses to read numbers of many thousand digits.
_NUMBER = r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?"

Key = tuple[object, ...]


def nfc(text: str) -> str:
    """Return the text in Unicode's composed form (NFC), in which `é` is one character."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def clean(text: str) -> str:
    """Return the text of a cell stripped, or an empty string if it stands for a missing value."""
    text = text.strip().strip(_INVISIBLE).strip()
    return "" if text in _MISSING or text.casefold() in _MISSING_IN_ANY_CASE else text


def shortest_number(text: str) -> str:
    """Return `3` for `3.0` and for `03`, and any text that is no whole number unchanged."""
    number = _number(text)
    return text if number is None or number.denominator > 1 else str(number)


def whole_number(text: str) -> str:
    """Return `3` for `3.0`, and any text that is no such number unchanged."""
    decimal = re.fullmatch(r"([0-9]+)\.0*", text)
    return decimal[1] if decimal else text


def seconds_of(text: str) -> float | None:
    """Return a number of seconds, whose decimal mark may be a comma; None for any other text."""
    try:
        seconds = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return round(seconds, 6) if math.isfinite(seconds) else None


def natural_key(text: str) -> Key:
    """Return a sort key: numbers come first and by their size, then text, in which numbers count by their size too."""
    number = _number(text)
    if number is not None:
        return (0, number, text)
    parts = re.split(r"([0-9]{1,30})", text)
    return (1, tuple((int(part), "") if i % 2 else (-1, part.strip(" _-")) for i, part in enumerate(parts)), text)


def fold_key(text: str) -> Key:
    """Return a key that all spellings of one fold share: `1`, `01` and `1.0`, or `Fold1`, `fold_1` and `fold 01`."""
    number = _number(text)
    return (_spoken(text) or text,) if number is None else (number,)


def fold_number(text: str) -> int | None:
    """Return the number in the name of a fold, such as 3 in `fold_03`, or None if it has none or several."""
    numbers = re.findall(r"[0-9]{1,30}", whole_number(text))
    return int(numbers[0]) if len(numbers) == 1 else None


def speaker_key(text: str) -> Key:
    """Return a key that `1`, `01` and `1.0` share. Text that is no number is its own key."""
    number = _number(text)
    return (text,) if number is None else (number,)


def label_key(text: str) -> Key:
    """Return a key that `1` and `1.0` share, and `true` and `True`. Other text, `01` too, is its own key."""
    if text.casefold() in ("true", "false"):
        return (text.casefold(),)
    number = None if re.match(r"0[0-9]|[+-]", text) else _number(text)
    return (text,) if number is None else (number,)


def one_spelling(values: Iterable[str], key: Callable[[str], Key]) -> dict[str, str]:
    """Return for every value the shortest of the values that share its key."""
    groups: defaultdict[Key, set[str]] = defaultdict(set)
    for value in values:
        groups[key(value)].add(value)
    return {value: min(group, key=lambda text: (len(text), text)) for group in groups.values() for value in group}


def in_one_spelling(records: Sequence[Record]) -> tuple[list[Record], tuple[str, ...]]:
    """Return the records with one spelling for each label, fold and speaker, and sentences that say what was merged.

    A value that is spelled in one way only is left as it is, apart from its Unicode form and a fold such as `3.0`.
    """
    labels = one_spelling({nfc(label) for r in records for label in r.labels}, label_key)
    folds = one_spelling({whole_number(nfc(r.fold)) for r in records}, fold_key)
    speakers = one_spelling({nfc(r.speaker) for r in records}, speaker_key)
    changed = []
    for r in records:
        new = replace(r, fold=folds[whole_number(nfc(r.fold))], speaker=speakers[nfc(r.speaker)])
        own = [labels[nfc(label)] for label in r.labels]
        changed.append(new.with_tags(own) if r.tags else replace(new, label=own[0]))
    notes = _merged("label", {(label, labels[nfc(label)]) for r in records for label in r.labels})
    for noun in ("fold", "speaker"):
        notes += _merged(
            noun, {(getattr(r, noun), getattr(new, noun)) for r, new in zip(records, changed, strict=True)}
        )
    return changed, (*notes, *_alike(labels.values()))


def _merged(noun: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return a sentence for each value that several spellings, given with it in pairs, were merged into."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for value, written in pairs:
        groups[written].add(value)
    notes = []
    for written, values in sorted(groups.items()):
        if len(values) > 1:
            spellings = sorted(set(map(nfc, values)))
            how = "in two Unicode forms" if len(spellings) == 1 else f"as {' and '.join(map(repr, spellings))}"
            notes.append(f"the {noun} {written!r} is written {how}, which are taken as one")
    return notes


def _alike(labels: Iterable[str]) -> list[str]:
    """Return a sentence for each group of labels that differ in case, separators or leading zeros only."""
    groups: defaultdict[tuple[object, ...], set[str]] = defaultdict(set)
    for label in labels:
        groups[_spoken(label)].add(label)
    return [
        f"the classes {' and '.join(map(repr, sorted(group)))} are spelled alike; give them one name if they are one"
        for spoken, group in groups.items()
        if spoken and len(group) > 1
    ]


def _spoken(text: str) -> tuple[object, ...]:
    """Return the words and numbers of a text without case, separators and leading zeros."""
    parts = re.findall(r"[0-9]{1,30}|[^0-9\s_-]+", nfc(text).casefold())
    return tuple(int(part) if part[0] in "0123456789" else part for part in parts)


def _number(text: str) -> Fraction | None:
    return Fraction(text.rstrip(".")) if re.fullmatch(_NUMBER, text) else None
