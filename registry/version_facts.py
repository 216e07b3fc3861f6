"""What is known of a learned version of a task: the one list of its fields, and what each of them may hold.

From this list follow the columns that `rows` reads and writes, the keys in an adapter file's header (`manifest`), and
the records that callers see. A new field needs a line here, a column in `models.VersionRow` and a migration.
"""

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, TypeGuard

from cl_ast.errors import RegistryError
from cl_ast.escaping import refused_in_label
from registry.limits import BYTES, COUNTS, DEPTH, TEXTS

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
# As a union in a check, these would be made each time.
_NUMBERS, _LISTS = (int, float), (list, tuple)


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field is checked and stored.

    Attributes:
        check: returns the value as its field has it, and raises ValueError where it cannot be one. The value comes
            from a caller or from the JSON of a file that anybody may have written.
        json: whether the column holds JSON; otherwise it holds the value itself.
    """

    check: Callable[[Any], Any]
    json: bool = False


def _stored(check: Callable[[Any], Any], *, json: bool = False) -> dict[str, Rule]:
    return {"rule": Rule(check, json)}


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"must be text that UTF-8 can hold, not {text!r:.80}: rename the file or folder") from None
    return text


def check_text(what: str, value: Any) -> str:
    """Return a text that is not longer than `limits.TEXTS` says. Raises ValueError for anything else."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"must be text without NUL characters, not {value!r:.80}")
    if len(value) > TEXTS[what]:
        raise ValueError(f"must be at most {TEXTS[what]:,} characters long, and has {len(value):,}")
    return value if value.isascii() else _encodable(value)


def _method(value: Any) -> str:
    if not check_text("method", value):
        raise ValueError("must not be empty")
    return str(value)


def _labels(value: Any) -> tuple[str, ...]:
    # This is quick, because listing tasks checks the labels of each.
    if not isinstance(value, _LISTS) or not all(map(isinstance, value, repeat(str))):
        raise ValueError(f"must be a list of labels that are text, not {value!r:.80}")
    different = set(value)
    if not value or "" in different:
        raise ValueError("must be at least one label, and no label may be empty")
    if len(value) > COUNTS["labels"]:
        raise ValueError(f"must be at most {COUNTS['labels']:,} labels, and are {len(value):,}")
    joined = "".join(value)
    if len(joined) > TEXTS["label"]:  # else none is
        longest = max(map(len, value))
        if longest > TEXTS["label"]:
            raise ValueError(f"must have at most {TEXTS['label']:,} characters each, and one has {longest:,}")
    size = len(joined) if joined.isascii() else len(joined.encode(errors="replace"))
    if size > BYTES["labels"]:
        raise ValueError(f"must have at most {BYTES['labels']:,} bytes together, and have {size:,}")
    if "\0" in joined:
        raise ValueError("must be text without NUL characters")
    if len(different) != len(value):
        raise ValueError("must differ from each other")
    return tuple(value) if joined.isascii() else tuple(map(_encodable, value))


def _integer(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(f"must be a whole number of at most 63 bits and a sign, not {value!r:.80}")
    return value


def _count(value: Any) -> int:
    if _integer(value) < 0:
        raise ValueError(f"must not be negative, but is {value}")
    return int(value)


def _seconds(value: Any) -> float:
    if not _is_number(value) or value < 0:
        raise ValueError(f"must be a finite number of seconds that is not negative, not {value!r:.80}")
    return float(value)


def _fraction(value: Any) -> float | None:
    if value is not None and not (_is_number(value) and 0 <= value <= 1):
        raise ValueError(f"must be a fraction in [0, 1], not {value!r:.80}")
    return None if value is None else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and abs(value) < 2**63


def is_sha256(value: object) -> TypeGuard[str]:
    """Return whether a value is a SHA-256 as files are named by: 64 small hexadecimal digits."""
    return isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef")


def _shared(value: Any) -> str | None:
    if value is not None and not is_sha256(value):
        raise ValueError(f"must be a SHA-256 or nothing, not {value!r:.80}")
    return None if value is None else str(value)


def _json_object(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"must be a JSON object, not {value!r:.80}")
    try:
        size = len(_ENCODER.encode(value if type(value) is dict else dict(value)).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be stored as JSON: {error}") from error
    if size > BYTES[what]:
        raise ValueError(f"must take at most {BYTES[what]:,} bytes as JSON, and takes {size:,}")
    if not is_shallow(value.values(), DEPTH - 1):
        raise ValueError(f"must not be nested more than {DEPTH} deep")
    return dict(value)


def is_shallow(values: Iterable[Any], deep: int) -> bool:
    """Return whether lists and objects among these values of JSON are nested at most so deep."""
    for value in values:
        kind = type(value)
        if (kind is list or kind is dict or kind is tuple) and not (
            deep and is_shallow(value.values() if kind is dict else value, deep - 1)
        ):
            return False
    return True


def _packages(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping) and len(value) > COUNTS["packages"]:
        raise ValueError(f"must be at most {COUNTS['packages']:,} packages, and are {len(value):,}")
    found = _json_object("packages", value)
    if not all(isinstance(text, str) for text in found.values()):
        raise ValueError(f"must have text as its values, not {value!r:.80}")
    longest = max((len(text) for pair in found.items() for text in pair), default=0)
    if longest > TEXTS["package"]:
        raise ValueError(
            f"must have at most {TEXTS['package']:,} characters in a name or a version, and one has {longest:,}"
        )
    return found


def check_new_labels(labels: Collection[str], known: Collection[str] = ()) -> None:
    """Raise RegistryError for labels that a new version cannot have: too long, too many, or not to be shown.

    Args:
        labels: all labels of the version.
        known: labels that the task has already. A release that allowed control and format characters may have kept
            such labels, and the task can still be given new routing.
    """
    try:
        RULES["labels"].check(labels)
    except ValueError as error:
        raise RegistryError(f"the labels of a version {error}") from error
    for label in labels:
        refused = refused_in_label(label)
        if refused and label not in known:
            raise RegistryError(
                f"a label has no control or format characters, and {label!r:.80} has {refused}: rename it"
            )


_source, _training = partial(_json_object, "source"), partial(_json_object, "training")
_data_fingerprint, _protocol = partial(check_text, "data_fingerprint"), partial(check_text, "protocol")


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What is known of a learned version, whether it is new or read from the registry.

    Attributes:
        method: the method and its options in one line, as "lora:qv,r=6".
        labels: the classes of the task, in the order of the head's outputs.
        trainable_parameters: how many numbers the training could change.
        seed: what the random numbers of the training came from.
        seconds: how long the training took.
        source: where the data came from.
        data_fingerprint: differs wherever the data differ.
        protocol: how the data were split, in words.
        packages: the versions of the installed packages, by name.
        learned_accuracy: test accuracy in [0, 1] right after the training; None where it was not measured.
        training: the options of the training and what it went through; empty for what an older cl-ast learned.
        shared: the SHA-256 of the shared part that the method reads; None where it reads none.
    """

    method: str = field(metadata=_stored(_method))
    labels: tuple[str, ...] = field(metadata=_stored(_labels, json=True))
    trainable_parameters: int = field(default=0, metadata=_stored(_count))
    seed: int = field(default=0, metadata=_stored(_integer))
    seconds: float = field(default=0.0, metadata=_stored(_seconds))
    source: Mapping[str, object] = field(default_factory=dict, metadata=_stored(_source, json=True))
    data_fingerprint: str = field(default="", metadata=_stored(_data_fingerprint))
    protocol: str = field(default="", metadata=_stored(_protocol))
    packages: Mapping[str, str] = field(default_factory=dict, metadata=_stored(_packages, json=True))
    learned_accuracy: float | None = field(default=None, metadata=_stored(_fraction))
    training: Mapping[str, object] = field(default_factory=dict, metadata=_stored(_training, json=True))
    shared: str | None = field(default=None, metadata=_stored(_shared))

    @property
    def classes(self) -> int:
        """How many classes the task has."""
        return len(self.labels)

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name as JSON has them, for a header or for the columns of a row."""
        return {name: _as_json(getattr(self, name)) for name in RULES}


RULES: Mapping[str, Rule] = {one.name: one.metadata["rule"] for one in dataclasses.fields(VersionFacts)}
_REQUIRED = [
    one.name
    for one in dataclasses.fields(VersionFacts)
    if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
]


@dataclass(frozen=True, slots=True)
class NewVersion(VersionFacts):
    """What the caller of `Registry.commit` knows of an adapter that was just learned.

    Every field is checked: RegistryError is raised where one has another type than it should, is too large, or holds
    labels that are missing, empty or repeated, a negative count, or an accuracy outside [0, 1].
    """

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            try:
                checked = rule.check(getattr(self, name))
            except ValueError as error:
                raise RegistryError(f"the {name.replace('_', ' ')} of a version {error}") from error
            object.__setattr__(self, name, checked)

    @classmethod
    def from_json(cls, words: Mapping[str, Any]) -> "NewVersion":
        """Return the version that a header describes; what it leaves out, or gives as null, has its usual value.

        Raises:
            RegistryError: the method or the labels are missing, or a value cannot be one.
        """
        given = {name: words[name] for name in RULES if words.get(name) is not None}
        for name in _REQUIRED:
            if name not in given:
                raise RegistryError(f"the {name} of the version must be given")
        return cls(**given)


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
