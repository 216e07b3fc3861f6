"""The options of a method as data: the words that may follow `NAME:`, and what each means.

Every option has `parse`, which returns the value that a word gives it, or None if the word is not for this option,
and `text`, which writes a value as it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cl_ast.errors import MethodError

Value = str | int | float
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words, such as parallel or sequential. With an empty default, other options decide the value."""

    name: str
    words: tuple[str, ...]
    default: str = ""

    def parse(self, word: str) -> Value | None:
        return word if word in self.words else None

    def text(self, value: Value) -> str:
        return str(value)

    @property
    def help(self) -> str:
        return "|".join(self.words)


@dataclass(frozen=True, slots=True)
class Letters:
    """Several sites of one letter each, such as qv, or one word that stands for other sites."""

    name: str
    alphabet: str
    words: tuple[str, ...]
    default: str

    def parse(self, word: str) -> Value | None:
        if word in self.words:
            return word
        if word and set(word) <= set(self.alphabet) and len(set(word)) == len(word):
            return "".join(letter for letter in self.alphabet if letter in word)
        return None

    def text(self, value: Value) -> str:
        return str(value)

    @property
    def help(self) -> str:
        return f"any of {' '.join(self.alphabet)}|{'|'.join(self.words)}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number, written as name=value, within bounds."""

    name: str
    default: int | float
    low: float
    high: float
    meaning: str

    def parse(self, word: str) -> Value | None:
        key, equals, value = word.partition("=")
        if not equals or key != self.name:
            return None
        whole = isinstance(self.default, int)
        try:
            number = int(value) if whole else float(value)
        except ValueError:
            kind = "a whole number" if whole else "a number"
            raise MethodError(f"{self.name}={value}: {self.meaning} takes {kind}") from None
        if not self.low <= number <= self.high:
            raise MethodError(f"{self.name}={value}: {self.meaning} must lie between {self.low:g} and {self.high:g}")
        return number

    def text(self, value: Value) -> str:
        # All digits, since a stored task is rebuilt from this text: 0.1234567 must not be cut short. 8.0 is written 8.
        whole = isinstance(value, float) and value.is_integer()
        return f"{self.name}={int(value)}" if whole else f"{self.name}={value!r}"

    @property
    def help(self) -> str:
        return f"{self.name}=N"


Option = Choice | Letters | Number

# Every adapter has this option besides its own. Layers are counted from 0, as in the names of stored tensors.
FROM = Number("from", 0, 0, 999, "the lowest adapted layer")
TOP = Number("top", 0, 0, 999, "the number of highest layers that are trained")


def resolve(method: str, options: tuple[Option, ...], words: list[str]) -> dict[str, Value]:
    """Return the value of every option: from the words, in any order, or else its default.

    Raises:
        MethodError: a word belongs to no option, or two words set the same option.
    """
    given: dict[str, Value] = {}
    for word in words:
        for option in options:
            value = option.parse(word)
            if value is None:
                continue
            if option.name in given:
                raise MethodError(
                    f"{method}: {word!r} and {option.text(given[option.name])!r} both set {option.name}; keep one"
                )
            given[option.name] = value
            break
        else:
            takes = ", ".join(option.help for option in options) or "no options"
            raise MethodError(f"{method}: does not know the option {word!r}; it takes {takes}")
    return {option.name: given.get(option.name, option.default) for option in options}
