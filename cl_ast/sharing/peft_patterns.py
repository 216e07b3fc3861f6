"""Matches the names of modules against the patterns of peft's `adapter_config.json`, as peft does.

Which modules have a LoRA follows from `target_modules`, `exclude_modules`, `layers_to_transform` and `layers_pattern`
(`check_target_module_exists` in `peft.tuners.tuners_utils`). Their ranks and alphas follow from `rank_pattern` and
`alpha_pattern`: the first key that matches the end of the module's full name, from a dot on, as a regular expression
(`get_pattern_key` in `peft.utils.other`).

The patterns may come from anybody. A regular expression can take for ever, so one that repeats a group, or repeats too
often, is refused.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from cl_ast.errors import MethodError

ALL_LINEAR = "all-linear"
_LONGEST = 1_000  # characters of a pattern
_MOST_REPEATS = 5  # in one pattern
_FIRST_NUMBER = re.compile(r".*?\.[^.]*\.(?P<idx>\d+)\.")
_MOST_EXPENSIVE = 100  # patterns with repeats in one configuration


class Patterns:
    """The patterns of one configuration.

    Attributes:
        ranks, alphas: `rank_pattern` and `alpha_pattern`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Raise MethodError if a pattern is missing, of another type, or no regular expression that can be used."""
        self.ranks = _mapping(config, "rank_pattern")
        self.alphas = _mapping(config, "alpha_pattern")
        self._targets = _words(config, "target_modules") or []
        self._excluded = _words(config, "exclude_modules") or []
        self._layers = _layers(config)
        self._layer_names = _words(config, "layers_pattern") or []
        if not self._targets:
            raise MethodError(
                "the LoRA's adapter_config.json has no target_modules, which name the modules that it updates"
            )
        patterns = [
            *self.ranks,
            *self.alphas,
            *(one for one in (self._targets, self._excluded) if isinstance(one, str)),
        ]
        if sum(1 for pattern in patterns if _repeats(pattern)) > _MOST_EXPENSIVE:
            raise MethodError("the LoRA's adapter_config.json has too many regular expressions to be used")

    def targets(self, module: str) -> bool:
        """Return whether peft updates the linear map with this full name."""
        if _matches(self._excluded, module) or not _matches(self._targets, module, all_linear=True):
            return False
        if self._layers is None or isinstance(self._targets, str) or module in self._targets:
            return True
        return self._layer_of(module) in self._layers

    def rank(self, module: str, default: Any) -> Any:
        """Return the rank that `rank_pattern` gives to a module, or the default."""
        return _looked_up(self.ranks, module, default)

    def alpha(self, module: str, default: Any) -> Any:
        """Return the alpha that `alpha_pattern` gives to a module, or the default."""
        return _looked_up(self.alphas, module, default)

    def check_used(self, modules: Iterable[str]) -> None:
        """Raise MethodError if a key of the patterns matches none of these modules, so that peft reads past it."""
        names = list(modules)
        for where, keys in (("rank_pattern", self.ranks), ("alpha_pattern", self.alphas)):
            for key in keys:
                if not any(_key(key).match(name) for name in names):
                    raise MethodError(
                        f"the LoRA's {where} has {key[:80]!r}, which matches no linear map of the backbone (they are "
                        f"called {names[0]} and so on): correct it in adapter_config.json, or take it out"
                    )

    def _layer_of(self, module: str) -> int | None:
        names = [self._layer_names] if isinstance(self._layer_names, str) else self._layer_names
        # Without a layers_pattern, peft takes the first number after two names.
        patterns = [_compiled(rf"(?:^|.*?\.){name}\.(?P<idx>\d+)\.", given=name) for name in names] or [_FIRST_NUMBER]
        found = next((match for pattern in patterns if (match := pattern.match(module))), None)
        return int(found["idx"]) if found else None


def _looked_up(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    return next((value for key, value in patterns.items() if _key(key).match(module)), default)


def _matches(names: str | list[str], module: str, *, all_linear: bool = False) -> bool:
    if isinstance(names, str):
        if all_linear and names.lower() == ALL_LINEAR:
            return True
        return _compiled(names).fullmatch(module) is not None
    return any(module == name or module.endswith(f".{name}") for name in names)


def _key(key: str) -> re.Pattern[str]:
    return _compiled(rf"(.*\.)?({key})$", given=key)


@lru_cache(maxsize=4_096)
def _compiled(pattern: str, *, given: str | None = None) -> re.Pattern[str]:
    given = pattern if given is None else given
    # A repeated group can take exponential time. Spaces between it and its `*` are allowed in verbose mode only.
    if len(given) > _LONGEST or _repeats(given) > _MOST_REPEATS or re.search(r"\)[*+{]|\(\?[a-zA-Z-]*x", pattern):
        raise MethodError(
            f"the LoRA's adapter_config.json has the pattern {given[:80]!r}, which is too complex: write it without "
            "repeated groups, or name the modules"
        )
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise MethodError(
            f"the LoRA's adapter_config.json has the pattern {given[:80]!r}, which is no regular expression "
            f"({str(error)[:100]!r}): correct it"
        ) from None


def _repeats(pattern: str) -> int:
    return len(re.findall(r"[*+{]", pattern))


def _mapping(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    if value is not None and not isinstance(value, dict):
        raise MethodError(f"the LoRA's {key} in adapter_config.json is no JSON object")
    return value or {}


def _words(config: Mapping[str, Any], key: str) -> str | list[str] | None:
    value = config.get(key)
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise MethodError(f"the LoRA's {key} in adapter_config.json is neither a text nor a list of texts")
    return value


def _layers(config: Mapping[str, Any]) -> frozenset[int] | None:
    value = config.get("layers_to_transform")
    if value is None or value == []:
        return None
    layers = value if isinstance(value, list) else [value]
    if not all(type(layer) is int for layer in layers):
        raise MethodError("the LoRA's layers_to_transform in adapter_config.json are no layer numbers")
    return frozenset(layers)
