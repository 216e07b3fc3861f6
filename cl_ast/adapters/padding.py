"""Runs adapters of different ranks together: the smaller ones are padded with zeros, which add nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from torch import Tensor

from cl_ast.adapters.forms import Paddable
from cl_ast.adapters.placement import Placement
from cl_ast.adapters.spec import MethodSpec, stored_name
from cl_ast.backbone.sites import Shape


@lru_cache(maxsize=1024)
def family(spec: MethodSpec) -> str:
    """Return a text that is equal for methods that differ in their ranks only."""
    return repr([_with_rank(placement, 0) for placement in spec.placements])


def widest(specs: Sequence[MethodSpec]) -> MethodSpec:
    """Return the method in whose shapes adapters of one `family` run together: that with the largest ranks."""
    if all(spec == specs[0] for spec in specs):
        return specs[0]
    ranks = [max(_rank(one) for one in same) for same in zip(*(spec.placements for spec in specs), strict=True)]
    pairs = zip(specs[0].placements, ranks, strict=True)
    return replace(specs[0], placements=tuple(_with_rank(placement, rank) for placement, rank in pairs))


def padded(spec: MethodSpec, wide: MethodSpec, shape: Shape, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an adapter's tensors in the shapes of `wide`, by their names in a file.

    Args:
        spec: the adapter's own method.
        wide: `widest` of several of its family.
        tensors: the adapter's, by the same names.
    """
    found = dict(tensors)
    for own, larger in zip(spec.placements, wide.placements, strict=True):
        if own == larger or not isinstance(own.form, Paddable):
            continue
        for layer in filter(own.acts_in, range(shape.depth)):
            weights = own.weights(shape, layer)
            names = {local: stored_name(layer, own, local, weight) for local, weight in weights.items()}
            more = own.form.padded({local: tensors[name] for local, name in names.items()}, _rank(larger))
            found |= {names[local]: tensor for local, tensor in more.items()}
    return found


def _rank(placement: Placement) -> int:
    return placement.form.rank if isinstance(placement.form, Paddable) else 0


def _with_rank(placement: Placement, rank: int) -> Placement:
    form = placement.form
    return replace(placement, form=form.widened(rank)) if isinstance(form, Paddable) else placement
