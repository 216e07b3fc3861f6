"""A method in one word, `NAME[:option,...][+NAME...]`, to its placements and what they cost."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from cl_ast.adapters.forms import Norm, Weight
from cl_ast.adapters.methods import METHODS, Method, Trains
from cl_ast.adapters.options import Values, resolve
from cl_ast.adapters.placement import Placement
from cl_ast.backbone import POOLINGS, Shape
from cl_ast.errors import MethodError


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method with every option decided.

    Attributes:
        text: canonical; parsing it gives the same spec.
        family: names of its rows, joined by +.
        source: paper and table of each row.
        trains: besides the head: an adapter, nothing, or the whole trunk.
        placements: what acts in every layer.
        learning_rate: the papers' for this method.
    """

    text: str
    family: str
    source: str
    trains: Trains
    placements: tuple[Placement, ...]
    learning_rate: float

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Cost:
    """What a task costs: numbers trained as the papers count them, and bytes stored in single precision."""

    trainable_parameters: int
    bytes: int


def parse(text: str) -> MethodSpec:
    """Read a method as it is written on the command line; options in any order, defaults from the papers.

    Raises:
        MethodError: no such method, an option it does not have, or methods that cannot be combined.
    """
    rows = [_row(part.strip()) for part in text.strip().lower().split("+")]
    if len(rows) > 1:
        alone = [method.name for method, _ in rows if method.trains != "adapter"]
        if alone:
            raise MethodError(f"{alone[0]} cannot be combined; use it alone, or combine adapters")
    placements: dict[str, Placement] = {}
    for method, values in rows:
        for placement in method.place(values):
            # Two adapters at one block share that block's LayerNorm.
            if placement.key in placements and not isinstance(placement.form, Norm):
                raise MethodError(
                    f"{text}: two deltas of the form {placement.form.label} at {placement.site}; "
                    "use one with a larger r"
                )
            placements[placement.key] = placement
    methods = [method for method, _ in rows]
    return MethodSpec(
        text="+".join(_canonical(method, values) for method, values in rows),
        family="+".join(method.name for method in methods),
        source="; ".join(dict.fromkeys(method.source for method in methods)),
        trains=methods[0].trains,
        placements=tuple(placements.values()),
        learning_rate=min(method.learning_rate for method in methods),
    )


def layer_weights(spec: MethodSpec, shape: Shape, layer: int) -> Mapping[str, tuple[Placement, str, Weight]]:
    """Every tensor that the method owns in a layer, by its stored name."""
    return {
        f"layers.{layer}.{placement.key}.{name}": (placement, name, weight)
        for placement in spec.placements
        for name, weight in placement.form.weights(*shape.of(placement.site)).items()
    }


def head_shapes(shape: Shape, classes: int, pooling: str) -> Mapping[str, tuple[int, ...]]:
    """The head: the final LayerNorm and one linear map."""
    width = shape.width * (2 if pooling == POOLINGS[1] else 1)
    return {
        "head.norm.weight": (shape.width,),
        "head.norm.bias": (shape.width,),
        "head.weight": (classes, width),
        "head.bias": (classes,),
    }


def cost(
    spec: MethodSpec,
    shape: Shape,
    *,
    classes: int | None = None,
    trunk_parameters: int = 0,
    pooling: str = "mean",
) -> Cost:
    """What the method trains and stores over a trunk of this shape, without weights.

    `trainable_parameters` counts the adapter without the head, as the papers do; `linear` has nothing but its
    head, so that is counted where `classes` is given. `bytes` adds the head where `classes` is given.
    """
    weights = [weight for layer in range(shape.depth) for _, _, weight in layer_weights(spec, shape, layer).values()]
    trained = sum(_size(weight.shape) for weight in weights if weight.trained)
    stored = sum(_size(weight.shape) for weight in weights)
    head = sum(map(_size, head_shapes(shape, classes, pooling).values())) if classes else 0
    if spec.trains == "trunk":
        trained = stored = trunk_parameters
    if spec.trains == "head":
        trained = head
    return Cost(trained, 4 * (stored + head))


def _row(text: str) -> tuple[Method, Values]:
    name, _, options = text.partition(":")
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise MethodError(f"no method called {name!r}; {hint}there are {', '.join(METHODS)}")
    method = METHODS[name]
    words = [word.strip() for word in options.split(",") if word.strip()]
    return method, method.settle(resolve(name, method.options, words))


def _canonical(method: Method, values: Values) -> str:
    words = [option.text(values[option.name]) for option in method.options if values[option.name] != ""]
    return f"{method.name}:{','.join(words)}" if words else method.name


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
