"""One task's adapter: its tensors, named by our own layers and sites, and how they act on the backbone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cl_ast.adapters.buffers import Flat, layout
from cl_ast.adapters.forms import Params, Penalised, Reading, Started
from cl_ast.adapters.one_bit import packed, unpacked
from cl_ast.adapters.placement import Part, Placement, act
from cl_ast.adapters.spec import MethodSpec, owned, stored_name
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import Act, Shape
from cl_ast.errors import MethodError


class Adapter:
    """The tensors of one method over one backbone.

    `tensors` is the only definition of an adapter's state: the trainer, the file and the counter all read it.
    """

    def __init__(self, spec: MethodSpec, backbone: Backbone, tensors: Mapping[str, Tensor]) -> None:
        """Raises MethodError unless `tensors` are exactly those of the method, each of its shape."""
        self.spec = spec
        self._training = False
        self._backbone = backbone
        self._layout = layout(spec, backbone.shape)
        check_shapes(self._layout.shapes, tensors, f"the adapter ({spec})")
        self._tensors: dict[str, Tensor] | None = dict(tensors)
        self._flat: Flat | None = None
        self._built: tuple[dict[tuple[int, str], Act], list[tuple[Penalised, Params]]] | None = None

    def pack(self) -> "Adapter":
        """The same, in one buffer a type: what a bank gathers at once. Made views of when it is asked by name."""
        self._flat, self._tensors, self._built = self.flat(), None, None
        return self

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By their stored names."""
        if self._tensors is None:
            self._tensors = self._layout.views(self.flat())
        return self._tensors

    def flat(self) -> Flat:
        """All of its numbers, one buffer a type, in the layout's order."""
        return self._layout.flatten(self.tensors) if self._flat is None else self._flat

    @classmethod
    def fresh(cls, spec: MethodSpec, backbone: Backbone, generator: torch.Generator) -> "Adapter":
        """A new adapter on the backbone's device. Where `spec.starts_plain`, its output equals the plain backbone's.

        Every form that starts at zero has one side at zero and the other at random: both at zero would never learn.
        """
        made: dict[str, Tensor] = {}
        started: Mapping[str, Tensor] = {}
        at: tuple[int, str] | None = None
        for name, one in owned(spec, backbone.shape).items():
            form = one.placement.form
            if at != (one.layer, one.placement.key):  # once for all tensors of a site
                at = (one.layer, one.placement.key)
                started = form.start(backbone.stock(one.layer, one.placement.site)) if isinstance(form, Started) else {}
            own = started.get(one.local)
            made[name] = one.weight.make(generator) if own is None else own.cpu().float().clone().contiguous()
        return cls(spec, backbone, {name: tensor.to(backbone.device) for name, tensor in made.items()})

    @property
    def training(self) -> bool:
        """Return whether the adapter is inside `training_mode`."""
        return self._training

    @contextmanager
    def training_mode(self) -> Iterator[None]:
        """Let forms act as in training inside the block: running statistics are updated, mixtures drawn at random."""
        self._training = True
        try:
            yield
        finally:
            self._training = False

    def acts(self) -> Mapping[tuple[int, str], Act]:
        """What acts at each (layer, site)."""
        return self._parts()[0]

    def trainable(self) -> list[Tensor]:
        """The tensors that an optimiser may move, in a fixed order."""
        known = owned(self.spec, self._backbone.shape)
        return [self.tensors[name] for name, one in known.items() if one.weight.trained]

    def penalty(self) -> Tensor | None:
        """What the forms add to the loss (SORSA's regulariser); None for nothing."""
        terms = [form.penalty(params) for form, params in self._parts()[1]]
        return torch.stack(terms).sum() if terms else None

    def _parts(self) -> tuple[dict[tuple[int, str], Act], list[tuple[Penalised, Params]]]:
        if self._built is None:
            parts = parts_of(self.spec, self._backbone, self.tensors)
            self._built = (
                {at: partial(self._act, several) for at, several in parts.items()},
                [(one.form, p) for several in parts.values() for one, p in several if isinstance(one.form, Penalised)],
            )
        return self._built

    def _act(self, parts: tuple[Part, ...], run: Callable[[Any], Tensor], x: Any) -> Tensor:
        return act(parts, run, x, training=self._training)


def parts_of(
    spec: MethodSpec, backbone: Backbone, tensors: Mapping[str, Tensor]
) -> dict[tuple[int, str], tuple[Part, ...]]:
    """What of a method acts at each (layer, site), with its tensors: one set for the batch, or one a row."""
    parts: dict[tuple[int, str], tuple[Part, ...]] = {}
    for layer in range(backbone.shape.depth):
        for placement in spec.placements:
            if not placement.acts_in(layer):
                continue
            params = params_of(tensors, backbone.shape, layer, placement)
            if isinstance(placement.form, Reading):
                stock = backbone.stock(layer, placement.site)
                params |= {f"stock.{kind}": stock[kind] for kind in placement.form.reads}
            at = layer, placement.site
            parts[at] = (*parts.get(at, ()), (placement.fitted(backbone.shape), params))
    return parts


def params_of(tensors: Mapping[str, Tensor], shape: Shape, layer: int, placement: Placement) -> dict[str, Tensor]:
    """The tensors of one placement in one layer, as its form calls them."""
    weights = placement.form.weights(*shape.of(placement.site))
    return {local: tensors[stored_name(layer, placement, local, weight)] for local, weight in weights.items()}


# What a file holds: 1-bit weights packed, everything else as it is.


def to_stored(spec: MethodSpec, backbone: Backbone, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapter's tensors as a file holds them."""
    bits = {name: one.weight.bits for name, one in owned(spec, backbone.shape).items()}
    return {name: packed(tensor) if bits.get(name) == 1 else tensor for name, tensor in tensors.items()}


def from_stored(spec: MethodSpec, backbone: Backbone, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `to_stored` made, as tensors that act the same to the bit.

    Raises:
        MethodError: packed weights are not of the size that the method has, or not numbers.
    """
    found = dict(tensors)
    for name, one in owned(spec, backbone.shape).items():
        if one.weight.bits == 1 and name in found:
            check_shapes({name: (one.weight.bytes,)}, {name: found[name]}, f"the adapter ({spec})")
            values = unpacked(found[name].cpu(), one.weight.shape)
            if not torch.isfinite(values.view(-1)[0]):  # they differ in their signs alone
                raise MethodError(f"the adapter ({spec}) has values that are not numbers in {name}")
            found[name] = values.to(found[name].device)
    return found


def check_shapes(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor], what: str) -> None:
    """Strict: every expected tensor is there with its shape, and nothing else.

    Raises:
        MethodError: naming the first tensor that is missing, unknown or of another shape.
    """
    for name, shape in expected.items():
        if name not in found:
            raise MethodError(f"{what} lacks the tensor {name}; train or import the task again")
        if tuple(found[name].shape) != shape:
            raise MethodError(
                f"{what}: {name} is {tuple(found[name].shape)}, expected {shape}; it was made for another backbone"
            )
    unknown = sorted(set(found) - set(expected))
    if unknown:
        raise MethodError(f"{what} holds a tensor it should not have: {unknown[0]}")
