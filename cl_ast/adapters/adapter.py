"""The adapter of one task: its tensors, named by layer and site, and how they act on the backbone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from cl_ast.adapters.buffers import Flat, in_type, layout
from cl_ast.adapters.forms import (
    Anchored,
    ForTraining,
    Joined,
    Params,
    Penalised,
    ReadsShared,
    StartsFromBackbone,
)
from cl_ast.adapters.padding import padded
from cl_ast.adapters.placed_tensors import Placed, placed
from cl_ast.adapters.placement import Part, Placement, act
from cl_ast.adapters.spec import MethodSpec, owned, parse, shared_by_tasks
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import Act
from cl_ast.errors import MethodError

NONE: Mapping[str, Tensor] = MappingProxyType({})


class Adapter:
    """The tensors of one method on one backbone.

    `tensors` is the only definition of an adapter's state: training, saving and counting parameters all read it.
    `shared` are the tensors of the shared part that the method reads, which other tasks have in common with it.
    """

    def __init__(
        self, spec: MethodSpec, backbone: Backbone, tensors: Mapping[str, Tensor], shared: Mapping[str, Tensor] = NONE
    ) -> None:
        """Raise MethodError unless `tensors` and `shared` are exactly those of the method, each of the right shape."""
        self.spec = spec
        self.shared = shared
        self._mode = _Mode()
        self._backbone = backbone
        self._layout = layout(spec, backbone.shape)
        check_shapes(self._layout.shapes, tensors, f"the adapter ({spec})")
        if spec.acts_as and not shared:
            raise MethodError(
                f"{spec} reads a shared part, and none is named: `cl-ast share NAME --tasks ...` makes one, and "
                "`cl-ast add-task ... --share NAME` learns a task with it"
            )
        wanted = {name: one.weight.shape for name, one in shared_by_tasks(spec, backbone.shape).items()}
        check_shapes(wanted, shared, f"the shared part ({spec})")
        self._tensors: dict[str, Tensor] | None = dict(tensors)
        self._packed: dict[tuple[torch.dtype, MethodSpec], Flat] = {}
        self._built: dict[torch.dtype, dict[tuple[int, str], Act]] = {}
        self._acting: Adapter | None = None

    def pack(self) -> "Adapter":
        """Copy the tensors, which will not be trained any more, into one buffer for each kind; return this adapter.

        A mixed batch then gathers each adapter in one copy. `tensors` makes views of the buffers when it is first read.
        """
        self._packed = {(torch.float32, self.spec): self.flat()}
        self._tensors, self._built = None, {}
        return self

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by their names in a task's file."""
        if self._tensors is None:
            self._tensors = self._layout.views(self.flat())
        return self._tensors

    def flat(self, dtype: torch.dtype = torch.float32, wide: MethodSpec | None = None) -> Flat:
        """Return all numbers of the adapter in one buffer for each kind, in the order of the layout.

        A packed adapter keeps the buffers of every type and width that was needed.

        Args:
            dtype: the type that layers compute with.
            wide: the method in whose shapes they are (`padding.widest`); the adapter's own by default.
        """
        wide = wide or self.spec
        found = self._packed.get((dtype, wide))
        if found is None:
            tensors = self.tensors if wide == self.spec else padded(self.spec, wide, self._backbone.shape, self.tensors)
            found = in_type(layout(wide, self._backbone.shape).flatten(tensors), dtype)
            if self._packed:
                self._packed[dtype, wide] = found
        return found

    @property
    def acting(self) -> "Adapter":
        """The adapter of the ordinary method that this one acts as: itself, where the method reads no shared part.

        Of a packed adapter it is made once.
        """
        if not self.spec.acts_as:
            return self
        if self._acting is not None:
            return self._acting
        spec, made = parse(self.spec.acts_as), dict[str, Tensor]()
        shape = self._backbone.shape
        with torch.no_grad():
            for one, new in zip(placed(self.spec, shape), placed(spec, shape), strict=True):
                form = one.placement.form
                assert isinstance(form, ReadsShared)  # these methods are not combined with others
                expanded = form.expanded(one.own(self.tensors) | one.read_shared(self.shared))
                made |= {name: expanded[local] for local, name in new.names}
        found = Adapter(spec, self._backbone, made)
        if self._packed:
            self._acting = found.pack()
        return found

    @classmethod
    def fresh(
        cls, spec: MethodSpec, backbone: Backbone, generator: torch.Generator, shared: Mapping[str, Tensor] = NONE
    ) -> "Adapter":
        """Return an untrained adapter on the backbone's device, which reads the tensors `shared`.

        Where `spec.starts_plain`, the adapted backbone's output equals that of the plain backbone. Every form whose
        delta starts at zero has one factor at zero and the other at random: with both at zero it would never learn.
        """
        made: dict[str, Tensor] = {}
        initial: Mapping[str, Tensor] = {}
        at: tuple[int, str] | None = None
        for name, one in owned(spec, backbone.shape).items():
            form = one.placement.form
            if at != (one.layer, one.placement.key):
                # All tensors of a site start from one call: SORSA's is a singular value decomposition.
                at = (one.layer, one.placement.key)
                initial = {}
                if isinstance(form, StartsFromBackbone):
                    initial = form.start(backbone.stock(one.layer, one.placement.site))
            value = initial.get(one.local)
            made[name] = one.weight.make(generator) if value is None else value.cpu().float().clone().contiguous()
        return cls(spec, backbone, {name: tensor.to(backbone.device) for name, tensor in made.items()}, shared)

    @property
    def training(self) -> bool:
        """Return whether the adapter is inside `training_mode`."""
        return self._mode.training

    @contextmanager
    def training_mode(self) -> Iterator[None]:
        """Run the block in training mode: running statistics are updated, and mixtures draw their parts at random."""
        self._mode.training = True
        try:
            yield
        finally:
            self._mode.training = False

    def finished(self) -> "Adapter":
        """Return the trained adapter with the forms that a file has (`MethodSpec.finished`)."""
        spec, shape = self.spec.finished(), self._backbone.shape
        made: dict[str, Tensor] = {}
        parts: list[tuple[Placed, Params]] = []  # of a form that has one set of tensors for all places
        for one, new in zip(placed(self.spec, shape), placed(spec, shape), strict=True):
            form, kept = one.placement.form, one.own(self.tensors)
            if isinstance(form, ForTraining):
                kept = dict(form.finish(kept))
            if isinstance(new.placement.form, Joined):
                parts.append((new, kept))
            else:
                made |= new.stored(kept)
        for new, _ in parts[:1]:
            assert isinstance(new.placement.form, Joined)
            made |= new.stored(new.placement.form.joined([kept for _, kept in parts]))
        return Adapter(spec, self._backbone, made, self.shared)

    def acts(self) -> Mapping[tuple[int, str], Act]:
        """Return the function that acts at each (layer, site) of the backbone, in the type it computes with now."""
        if self._packed and self.spec.acts_as:
            return self.acting.acts()
        dtype = self._backbone.dtype
        if dtype not in self._built:
            packed = self._packed and dtype != torch.float32
            tensors = self._layout.views(self.flat(dtype)) if packed else self.tensors
            parts = parts_of(self.spec, self._backbone, tensors, self.shared)
            self._built[dtype] = {at: partial(_act, self._mode, several) for at, several in parts.items()}
        return self._built[dtype]

    def trainable(self) -> list[Tensor]:
        """Return the tensors that an optimiser may change, in a fixed order."""
        known = owned(self.spec, self._backbone.shape)
        return [self.tensors[name] for name, one in known.items() if one.weight.trained]

    def penalty(self) -> Tensor | None:
        """Return what the forms add to the loss, such as SORSA's regulariser; None if they add nothing."""
        terms = [one.form.penalty(p) for one, p in self.places() if isinstance(one.form, Penalised)]
        return torch.stack(terms).mean() if terms else None

    def anchors(self) -> list[tuple[Tensor, Tensor]]:
        """Return the trained tensors that weight decay pulls to other values than zero, each with these values."""
        return [
            (p[name], value)
            for one, p in self.places()
            if isinstance(one.form, Anchored)
            for name, value in one.form.anchors(p).items()
        ]

    def places(self) -> Iterator[tuple[Placement, dict[str, Tensor]]]:
        """Yield each placement in each layer, with its tensors and those that it reads, by the names of the form."""
        for one in placed(self.spec, self._backbone.shape):
            read = one.read(self._backbone.stock) | one.read_shared(self.shared)
            yield one.placement, one.own(self.tensors) | read


class _Mode:
    """Whether an adapter is in training mode.

    The functions that act at the sites refer to this. Were it the adapter itself, which keeps them, its memory would
    stay until Python looks for cyclic garbage.
    """

    training = False


def _act(mode: _Mode, parts: tuple[Part, ...], run: Callable[[Any], Tensor], x: Any) -> Tensor:
    return act(parts, run, x, training=mode.training)


def fresh_shared(spec: MethodSpec, backbone: Backbone, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the untrained tensors of a shared part of the method, on the backbone's device."""
    known = shared_by_tasks(spec, backbone.shape)
    return {name: one.weight.make(generator).to(backbone.device) for name, one in known.items()}


def parts_of(
    spec: MethodSpec, backbone: Backbone, tensors: Mapping[str, Tensor], shared: Mapping[str, Tensor] = NONE
) -> dict[tuple[int, str], tuple[Part, ...]]:
    """Return the placements that act at each (layer, site), with their tensors.

    Args:
        tensors: by stored name; of the usual shape, or with a leading batch dimension where each row has its own.
        shared: those of the shared part, of the usual shape.
    """
    parts: dict[tuple[int, str], tuple[Part, ...]] = {}
    for one in placed(spec, backbone.shape):
        params = one.own(tensors) | one.read(backbone.computing_with) | one.read_shared(shared)
        at = one.layer, one.placement.site
        parts[at] = (*parts.get(at, ()), Part(one.placement, params, one.single))
    return parts


def check_shapes(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor], what: str) -> None:
    """Check that every expected tensor is present with its shape, and that there is no other tensor.

    Args:
        what: whose tensors they are, for the error message.

    Raises:
        MethodError: a tensor is missing, unknown or of another shape; the message names the first.
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
