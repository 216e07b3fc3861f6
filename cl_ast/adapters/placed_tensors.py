"""Names the tensors of each placement in each layer: its own, and those of the backbone and of a shared part."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from torch import Tensor

from cl_ast.adapters.forms import Params, ReadsBackbone, ReadsShared
from cl_ast.adapters.placement import Placement
from cl_ast.adapters.spec import MethodSpec, stored_name
from cl_ast.backbone.sites import Shape


class Placed(NamedTuple):
    """A placement in one layer: the names of its tensors, its own and in a file, and what else it reads.

    Attributes:
        single: the names of the tensors that stay in single precision where the layers compute in bf16.
        reads: the names of the backbone's tensors that it reads.
        shared: the names of the tensors that it reads of a shared part, its own and in a file.
    """

    layer: int
    placement: Placement
    names: tuple[tuple[str, str], ...]
    single: frozenset[str]
    reads: tuple[str, ...]
    shared: tuple[tuple[str, str], ...]

    def own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return its tensors, by the names that its form uses; `tensors` are those of the adapter by stored name."""
        return {local: tensors[name] for local, name in self.names}

    def stored(self, params: Params) -> dict[str, Tensor]:
        """Return its tensors by stored name; `params` are by the names of its form."""
        return {name: params[local] for local, name in self.names}

    def read(self, stock: Callable[[int, str], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return the backbone's tensors that its form reads, as `stock.NAME`; `stock` returns those of a site."""
        found = stock(self.layer, self.placement.site) if self.reads else {}
        return {f"stock.{kind}": found[kind] for kind in self.reads}

    def read_shared(self, shared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of the shared part that its form reads, as `shared.NAME`; `shared` are by stored name."""
        return {f"shared.{local}": shared[name] for local, name in self.shared}


@lru_cache(maxsize=256)
def placed(spec: MethodSpec, shape: Shape) -> tuple[Placed, ...]:
    """Return the placements of a method in all layers; cached, because a mixed batch needs them in every pass."""
    found = []
    for layer in range(shape.depth):
        for placement in spec.placements:
            if not placement.acts_in(layer):
                continue
            weights = placement.weights(shape, layer)
            form, widths = placement.form, shape.of(placement.site)
            common = form.shared(*widths) if isinstance(form, ReadsShared) else {}
            names, shared = (
                tuple((local, stored_name(layer, placement, local, weight)) for local, weight in some.items())
                for some in (weights, common)
            )
            single = [local for local, weight in weights.items() if weight.single]
            single += [f"shared.{local}" for local, weight in common.items() if weight.single]
            reads = form.reads if isinstance(form, ReadsBackbone) else ()
            found.append(Placed(layer, placement.in_layer(shape, layer), names, frozenset(single), reads, shared))
    return tuple(found)


def params_of(tensors: Mapping[str, Tensor], shape: Shape, layer: int, placement: Placement) -> dict[str, Tensor]:
    """Return the tensors of one placement in one layer, by the names that its form uses."""
    weights = placement.weights(shape, layer)
    return {local: tensors[stored_name(layer, placement, local, weight)] for local, weight in weights.items()}
