"""A method in one word, `NAME[:option,...][+NAME...]`, to its placements and what they cost."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from cl_ast.adapters.forms import Norm, Weight
from cl_ast.adapters.method import Method, Trains
from cl_ast.adapters.methods import METHODS, PRESETS
from cl_ast.adapters.options import FROM, Option, Values, resolve
from cl_ast.adapters.placement import Placement
from cl_ast.backbone.pooling import POOLINGS
from cl_ast.backbone.sites import Shape
from cl_ast.errors import MethodError


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method with every option decided.

    Attributes:
        text: canonical; parsing it gives the same spec.
        family: names of its rows, joined by +.
        source: paper and table of each row.
        trains: besides the head: an adapter, nothing, or the whole backbone.
        placements: what acts in the layers.
        learning_rate: the papers' for this method.
        counts: tensors of the head that the papers count with it.
        still: endings of the names of tensors that no loss can move.
    """

    text: str
    family: str
    source: str
    trains: Trains
    placements: tuple[Placement, ...]
    learning_rate: float
    counts: tuple[str, ...] = ()
    still: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def starts_plain(self) -> bool:
        """Whether a fresh task is the plain backbone under its head."""
        return all(placement.starts_plain for placement in self.placements)

    def frozen_layers(self, depth: int) -> int:
        """How many of a backbone's layers, from the lowest, are left as they are: nothing acts there or is trained."""
        if self.trains == "backbone":
            return 0
        return min((placement.first for placement in self.placements), default=depth)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a task costs: numbers trained as the papers count them, and bytes stored in single precision."""

    trainable_parameters: int
    bytes: int


def parse(text: str, methods: Mapping[str, Method] = METHODS, *, from_layer: int | None = None) -> MethodSpec:
    """Read a method as it is written on the command line; options in any order, defaults from the papers.

    Args:
        methods: the table. A row of your own: `parse("mine:r=4", {**METHODS, "mine": row})`.
        from_layer: as if `from=N` were written behind each of its parts.

    Raises:
        MethodError: no such method, an option it does not have, or methods that cannot be combined.
    """
    written = "+".join(_expanded(part.strip()) for part in text.strip().lower().split("+"))
    rows = [_row(part, methods, from_layer) for part in written.split("+")]
    if len(rows) > 1:
        alone = [method.name for method, _ in rows if method.trains != "adapter"]
        if alone:
            raise MethodError(f"{alone[0]} cannot be combined; use it alone, or combine adapters")
    names = [method.name for method, _ in rows]
    return MethodSpec(
        text="+".join(_canonical(method, values) for method, values in rows),
        family="+".join(names),
        source="; ".join(dict.fromkeys(method.source for method, _ in rows)),
        trains=rows[0][0].trains,
        placements=_joined(text, [placement for method, values in rows for placement in _placed(method, values)]),
        learning_rate=min(method.learning_rate for method, _ in rows),
        counts=tuple(dict.fromkeys(name for method, _ in rows for name in method.counts)),
        still=tuple(name for method, _ in rows for name in method.still),
    )


def _placed(method: Method, values: Values) -> list[Placement]:
    first = int(values[FROM.name] or 0)
    return [replace(placement, first=first) for placement in method.place(values)]


def _joined(text: str, placements: list[Placement]) -> tuple[Placement, ...]:
    """Placements of several rows beside one another."""
    found: dict[tuple[str, str], Placement] = {}
    for placement in placements:
        key = (placement.key, placement.layers)
        # Two adapters at one block share that block's LayerNorm.
        if key in found and not isinstance(placement.form, Norm):
            twice = f"{placement.form.label} at {placement.site}"
            raise MethodError(f"{text}: two deltas of the form {twice}; use one with a larger r or n")
        lowest = min(placement.first, found.get(key, placement).first)
        found[key] = replace(placement, first=lowest)
    inside = [one.form.label for one in found.values() if one.insertion == "attend"]
    if len(inside) > 1:
        raise MethodError(f"{text}: {' and '.join(inside)} both act inside attention; keep one of them")
    replaced = {one.site for one in found.values() if one.insertion == "replace"}
    for one in found.values():
        if one.site in replaced and one.insertion != "replace":
            raise MethodError(
                f"{text}: the LayerNorm at {one.site} is trained as a whole already; {one.form.label} cannot act there"
            )
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Owned:
    """One tensor of a method over a backbone.

    Attributes:
        layer, placement: where it acts; of a shared one, the first place.
        local: what its form calls it.
    """

    layer: int
    placement: Placement
    local: str
    weight: Weight


@lru_cache(maxsize=256)
def owned(spec: MethodSpec, shape: Shape) -> Mapping[str, Owned]:
    """Every tensor that the method owns over a backbone of this shape, by its stored name, in a fixed order.

    Remembered: loading one of a thousand tasks asks this several times.

    Raises:
        MethodError: a size does not fit the backbone's widths, or it has no such layers.
    """
    highest = max((placement.first for placement in spec.placements), default=0)
    if highest >= shape.depth:
        raise MethodError(f"{spec}: from={highest} is above the backbone's layers, which are 0 to {shape.depth - 1}")
    found: dict[str, Owned] = {}
    for layer in range(shape.depth):
        for placement in spec.placements:
            if placement.acts_in(layer):
                for local, weight in placement.form.weights(*shape.of(placement.site)).items():
                    name = stored_name(layer, placement, local, weight)
                    found.setdefault(name, Owned(layer, placement, local, weight))
    return MappingProxyType(found)


def stored_name(layer: int, placement: Placement, local: str, weight: Weight) -> str:
    """By our own layer and site, never by module paths."""
    if weight.shared:
        return f"shared.{placement.form.label}.{local}"
    return f"layers.{layer}.{placement.key}.{local}"


def head_shapes(shape: Shape, classes: int, pooling: str) -> Mapping[str, tuple[int, ...]]:
    """The head: the final LayerNorm, where the backbone has one, and one linear map."""
    width = shape.width * (2 if pooling == POOLINGS[1] else 1)
    norm = {"head.norm.weight": (shape.width,), "head.norm.bias": (shape.width,)}
    return {
        **(norm if shape.final_norm else {}),
        "head.weight": (classes, width),
        "head.bias": (classes,),
    }


def cost(
    spec: MethodSpec,
    shape: Shape,
    *,
    classes: int | None = None,
    backbone_parameters: int = 0,
    pooling: str = "mean",
) -> Cost:
    """What the method trains and stores over a backbone of this shape, without weights.

    `trainable_parameters` counts the adapter, and of the head only what the papers count with the method (all of it
    for `linear`, the final LayerNorm's bias for `bitfit`); the linear map of the head is counted where `classes` is
    given. `bytes` adds the head where `classes` is given.
    """
    weights = [one.weight for one in owned(spec, shape).values()]
    trained = sum(weight.numbers for weight in weights if weight.trained)
    stored = sum(weight.bytes for weight in weights)
    head = {name: math.prod(sizes) for name, sizes in head_shapes(shape, classes or 0, pooling).items()}
    # A linear probe is nothing without its classes.
    whole = classes or spec.trains != "head"
    counted = sum(head.get(name, 0) for name in spec.counts) if whole else 0
    if spec.trains == "backbone":
        trained, stored = backbone_parameters - shape.frozen, 4 * backbone_parameters
    return Cost(trained + counted, stored + (4 * sum(head.values()) if classes else 0))


def _expanded(text: str) -> str:
    """A preset, as what it stands for."""
    name, _, choice = text.partition(":")
    if name.strip() != "auto":
        return text
    if choice.strip() not in PRESETS:
        raise MethodError(f"auto: no preset called {choice.strip()!r}; there are {', '.join(PRESETS)}")
    return PRESETS[choice.strip()][0]


def _row(text: str, methods: Mapping[str, Method], from_layer: int | None) -> tuple[Method, Values]:
    name, _, options = text.partition(":")
    if name not in methods:
        near = difflib.get_close_matches(name, methods, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        known = ", ".join([*methods, *(f"auto:{one}" for one in PRESETS)])
        raise MethodError(f"no method called {name!r}; {hint}there are {known}")
    method = methods[name]
    words = [word.strip() for word in options.split(",") if word.strip()]
    words += [] if from_layer is None else [FROM.text(from_layer)]
    values = resolve(name, _options(method), words)
    first = values.pop(FROM.name, 0)
    # Nothing is written for the lowest layer of all.
    return method, {**method.settle(values), FROM.name: first or ""}


def _options(method: Method) -> tuple[Option, ...]:
    """The row's own, and what every adapter takes."""
    return (*method.options, FROM) if method.trains == "adapter" else method.options


def _canonical(method: Method, values: Values) -> str:
    words = [option.text(values[option.name]) for option in _options(method) if values[option.name] != ""]
    return f"{method.name}:{','.join(words)}" if words else method.name
