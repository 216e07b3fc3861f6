"""Parses a method as it is written, `NAME[:option,...][+NAME...]`, and counts what it trains and stores."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from cl_ast.adapters.forms import ForTraining, Norm, ReadsShared, Weight
from cl_ast.adapters.method import Method, Trains
from cl_ast.adapters.methods import METHODS, PRESETS
from cl_ast.adapters.options import FROM, TOP, Option, Values, resolve
from cl_ast.adapters.placement import Placement
from cl_ast.backbone.pooling import POOLINGS
from cl_ast.backbone.sites import Shape
from cl_ast.errors import MethodError


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method with the values of all its options.

    Attributes:
        text: the method as it is written, in canonical form; parsing it gives the same spec.
        family: the names of its rows of the table, joined by +.
        source: paper and table of each row.
        trains: what is trained besides the head: an adapter, nothing ("head"), or the whole backbone.
        placements: the forms that act in the layers.
        learning_rate: the papers' initial learning rate for this method.
        top: how many of the highest layers are trained where the backbone is; 0 for the whole backbone.
        counted_in_head: the head's tensors that the papers count as parameters of the method.
        without_gradient: endings of the names of tensors whose gradient is always zero.
        acts_as: the ordinary method that a method with a shared part is once that is read; "" for all others.
    """

    text: str
    family: str
    source: str
    trains: Trains
    placements: tuple[Placement, ...]
    learning_rate: float
    top: int = 0
    counted_in_head: tuple[str, ...] = ()
    without_gradient: tuple[str, ...] = ()
    acts_as: str = ""

    def __str__(self) -> str:
        return self.text

    @property
    def starts_plain(self) -> bool:
        """Whether the untrained adapter leaves the backbone's output as it is."""
        return all(placement.starts_plain for placement in self.placements)

    def finished(self) -> "MethodSpec":
        """Return the method with the forms that a file has, where others are for training only."""
        return replace(self, placements=tuple(map(_finished, self.placements)))

    def frozen_layers(self, depth: int) -> int:
        """Return how many of the backbone's layers, from the lowest, have no adapter and are not trained."""
        if self.trains == "backbone":
            return depth - self.top if self.top else 0
        return min((placement.first for placement in self.placements), default=depth)


@dataclass(frozen=True, slots=True)
class Cost:
    """The size of a task: parameters trained, as the papers count them, and bytes stored in single precision."""

    trainable_parameters: int
    bytes: int


def parse(
    text: str, methods: Mapping[str, Method] = METHODS, *, from_layer: int | None = None, stored: bool = False
) -> MethodSpec:
    """Read a method as it is written on the command line: options in any order, the papers' values by default.

    Args:
        methods: the table of methods. With a row of your own: `parse("mine:r=4", {**METHODS, "mine": row})`.
        from_layer: adds `from=N` to each part of the method.
        stored: whether the text is that of a stored task. Such a text keeps the meaning that it had in the release that
            wrote it (`Method.formerly`); the text of the returned spec means the same either way. The forms are those
            that a file has (`MethodSpec.finished`).

    Raises:
        MethodError: there is no such method or option, or the methods cannot be combined.
    """
    written = "+".join(_without_preset(part.strip()) for part in text.strip().lower().split("+"))
    rows = [_row(part, methods, from_layer, stored) for part in written.split("+")]
    if len(rows) > 1:
        alone = [method.name for method, values in rows if method.trains != "adapter" or method.acts_as(values)]
        if alone:
            raise MethodError(f"{alone[0]} cannot be combined; use it alone, or combine adapters")
    names = [method.name for method, _ in rows]
    spec = MethodSpec(
        text="+".join(_canonical(method, values) for method, values in rows),
        family="+".join(names),
        source="; ".join(dict.fromkeys(method.source for method, _ in rows)),
        trains=rows[0][0].trains,
        placements=_combined(text, [placement for method, values in rows for placement in _placed(method, values)]),
        learning_rate=min(method.learning_rate for method, _ in rows),
        top=int(rows[0][1].get(TOP.name) or 0),
        counted_in_head=tuple(
            dict.fromkeys(name for method, values in rows for name in method.counted_in_head(values))
        ),
        without_gradient=tuple(name for method, _ in rows for name in method.without_gradient),
        acts_as=_acting(*rows[0]),
    )
    return spec.finished() if stored else spec


def _finished(placement: Placement) -> Placement:
    form = placement.form
    return replace(placement, form=form.finished()) if isinstance(form, ForTraining) else placement


def _acting(method: Method, values: Values) -> str:
    """Return the ordinary method, in canonical form, that a method with a shared part acts as; "" for all others."""
    text = method.acts_as(values)
    return parse(text, from_layer=int(values[FROM.name] or 0)).text if text else ""


def _placed(method: Method, values: Values) -> list[Placement]:
    first = int(values[FROM.name] or 0)
    return [replace(placement, first=first) for placement in method.place(values)]


def _combined(text: str, placements: list[Placement]) -> tuple[Placement, ...]:
    """Combine the placements of several methods. Raises MethodError where two cannot act at the same site."""
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
    """One tensor of a method on a backbone.

    Attributes:
        layer, placement: where it acts; for a tensor that layers share, the first of these places.
        local: the name that its form uses for it.
        weight: its shape, and how it starts.
    """

    layer: int
    placement: Placement
    local: str
    weight: Weight


@lru_cache(maxsize=256)
def owned(spec: MethodSpec, shape: Shape) -> Mapping[str, Owned]:
    """Return every tensor that the method owns on a backbone of this shape, by its stored name, in a fixed order.

    The result is cached, since loading a task needs it several times.

    Raises:
        MethodError: a size does not fit the backbone's widths, `from` is above its last layer, or `top` is more layers
            than it has.
    """
    if spec.top > shape.depth:
        raise MethodError(f"{spec}: top={spec.top} is more than the backbone's {shape.depth} layers")
    highest = max((placement.first for placement in spec.placements), default=0)
    if highest >= shape.depth:
        raise MethodError(f"{spec}: from={highest} is above the backbone's layers, which are 0 to {shape.depth - 1}")
    return _named(spec, shape, lambda placement, layer: placement.weights(shape, layer))


@lru_cache(maxsize=256)
def shared_by_tasks(spec: MethodSpec, shape: Shape) -> Mapping[str, Owned]:
    """Return every tensor of the shared part that the method reads, as `owned` does; none for most methods."""

    def shared(placement: Placement, layer: int) -> Mapping[str, Weight]:
        form = placement.form
        return form.shared(*shape.of(placement.site)) if isinstance(form, ReadsShared) else {}

    return _named(spec, shape, shared)


def _named(
    spec: MethodSpec, shape: Shape, weights_of: Callable[[Placement, int], Mapping[str, Weight]]
) -> Mapping[str, Owned]:
    """Return the tensors that `weights_of` gives for each placement in each layer, by stored name."""
    found: dict[str, Owned] = {}
    for layer in range(shape.depth):
        for placement in spec.placements:
            if placement.acts_in(layer):
                for local, weight in weights_of(placement, layer).items():
                    name = stored_name(layer, placement, local, weight)
                    found.setdefault(name, Owned(layer, placement, local, weight))
    return MappingProxyType(found)


def stored_name(layer: int, placement: Placement, local: str, weight: Weight) -> str:
    """Return the name of a tensor in a file: by layer and site, so that it does not depend on module paths."""
    if weight.shared:
        return f"shared.{placement.form.label}.{local}"
    return f"layers.{layer}.{placement.key}.{local}"


def head_shapes(shape: Shape, classes: int, pooling: str) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of the head's tensors: a final LayerNorm, if the backbone has one, and one linear map."""
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
    """Return how many parameters the method trains and stores on a backbone of this shape; no weights are needed.

    `trainable_parameters` counts the adapter, and only those tensors of the head that the papers count with the method:
    all for `linear`, the final LayerNorm for `ssf`, its bias for `bitfit`. The head's linear map is counted if
    `classes` is given. `bytes` includes the head if `classes` is given.
    """
    weights = [one.weight for one in owned(spec, shape).values()]  # also checks that the method fits the backbone
    trained = sum(weight.numbers for weight in weights if weight.trained)
    stored = sum(one.weight.bytes for one in owned(spec.finished(), shape).values())
    head = {name: math.prod(sizes) for name, sizes in head_shapes(shape, classes or 0, pooling).items()}
    # A linear probe has no size of its own until the number of classes is known.
    has_size = classes or spec.trains != "head"
    counted = sum(head.get(name, 0) for name in spec.counted_in_head) if has_size else 0
    if spec.trains == "backbone":
        trained, stored = backbone_parameters - shape.frozen, 4 * backbone_parameters
    if spec.top:
        trained = spec.top * shape.layer_parameters
        stored = 4 * trained
    return Cost(trained + counted, stored + (4 * sum(head.values()) if classes else 0))


def _without_preset(text: str) -> str:
    """Return the method that a preset stands for; any other text as it is."""
    name, _, choice = text.partition(":")
    if name.strip() != "auto":
        return text
    if choice.strip() not in PRESETS:
        raise MethodError(f"auto: no preset called {choice.strip()!r}; there are {', '.join(PRESETS)}")
    return PRESETS[choice.strip()][0]


def _row(text: str, methods: Mapping[str, Method], from_layer: int | None, stored: bool) -> tuple[Method, Values]:
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
    settled = method.settle(method.formerly(values) if stored else values)
    # `from=0` is the default, so the canonical text leaves it out.
    return method, {**settled, FROM.name: first or ""}


def _options(method: Method) -> tuple[Option, ...]:
    """Return the options of the row, and `from` for an adapter."""
    return (*method.options, FROM) if method.trains == "adapter" else method.options


def _canonical(method: Method, values: Values) -> str:
    words = [option.text(values[option.name]) for option in _options(method) if values[option.name] != ""]
    return f"{method.name}:{','.join(words)}" if words else method.name
