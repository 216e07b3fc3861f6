"""The options of a method, as data: what may be written after `NAME:`, and what each means."""

from collections.abc import Mapping
from dataclasses import dataclass

from cl_ast.errors import MethodError

Value = str | int | float
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a few, such as parallel or sequential. An empty default means: decided by the others."""

    name: str
    words: tuple[str, ...]
    default: str = ""

    def take(self, word: str) -> Value | None:
        return word if word in self.words else None

    def text(self, value: Value) -> str:
        return str(value)

    @property
    def help(self) -> str:
        return "|".join(self.words)


@dataclass(frozen=True, slots=True)
class Letters:
    """A subset of single-letter sites such as qv, or one word that stands for other sites."""

    name: str
    alphabet: str
    words: tuple[str, ...]
    default: str

    def take(self, word: str) -> Value | None:
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
    """key=value, within bounds."""

    name: str
    default: int | float
    low: float
    high: float
    meaning: str

    def take(self, word: str) -> Value | None:
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
        # Every digit, since a stored task is rebuilt from this: 8.0 is written 8, and 0.1234567 is not cut short.
        whole = isinstance(value, float) and value.is_integer()
        return f"{self.name}={int(value)}" if whole else f"{self.name}={value!r}"

    @property
    def help(self) -> str:
        return f"{self.name}=N"


Option = Choice | Letters | Number

# Every adapter has it beside its own options. Layers are counted from 0, as the stored tensors' names count them.
FROM = Number("from", 0, 0, 999, "the lowest adapted layer")


def resolve(method: str, options: tuple[Option, ...], words: list[str]) -> dict[str, Value]:
    """The values of every option: those written, in any order, and the defaults of the rest.

    Raises:
        MethodError: a word that no option takes, or two words for one option.
    """
    given: dict[str, Value] = {}
    for word in words:
        for option in options:
            value = option.take(word)
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
