"""Folds a task's adapter into a copy of the backbone, if the method allows it: the same answers at no extra cost."""

from dataclasses import replace

import torch
from torch import Tensor

from cl_ast.adapters.adapter import Adapter
from cl_ast.adapters.forms import Foldable, Simplifiable
from cl_ast.adapters.placed_tensors import params_of
from cl_ast.adapters.placement import Placement
from cl_ast.adapters.spec import owned, stored_name
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import EMBEDDING, LEAVES
from cl_ast.errors import MethodError
from cl_ast.tasks.task_model import TaskModel

_FOLDABLE = ("replace", "parallel", "output")  # in the order in which they act


def merged(model: TaskModel) -> TaskModel:
    """Return the same task on a copy of its backbone into whose weights the deltas are folded.

    LoRA, SSF, SORSA, PaCA, Bone, BitFit, LT-SFT and LayerNorms become part of the backbone's weights, and so does a
    method with a shared part that acts as LoRA; MoSA becomes one ordinary bottleneck. The result can answer but cannot
    be stored, since its backbone is not the registry's any more.

    Raises:
        MethodError: a part of the method is no update of the backbone's weights, such as a bottleneck or a prompt.
    """
    adapter, backbone = model.adapter.acting, model.backbone
    spec = adapter.spec
    for placement in spec.placements:
        if not (_can_fold(placement) or isinstance(placement.form, Simplifiable)):
            raise MethodError(f"{spec}: {placement.form.label} at {placement.site} cannot be merged into the backbone")
    copy = backbone.copy()
    with torch.no_grad():
        for layer in range(backbone.shape.depth):
            for site in LEAVES:
                _fold(adapter, backbone, copy, layer, site)
        _fold(adapter, backbone, copy, 0, EMBEDDING)
    remaining = tuple(_simplified(placement) for placement in spec.placements if not _can_fold(placement))
    settings = replace(model.settings, method=replace(spec, placements=remaining))
    return TaskModel(settings, copy, Adapter(settings.method, copy, _remaining_tensors(adapter, copy)), model.head)


def _can_fold(placement: Placement) -> bool:
    at_weights = placement.site in (*LEAVES, EMBEDDING) and placement.insertion in _FOLDABLE
    return at_weights and isinstance(placement.form, Foldable)


def _simplified(placement: Placement) -> Placement:
    assert isinstance(placement.form, Simplifiable)
    return replace(placement, form=placement.form.simplified())


def _fold(adapter: Adapter, backbone: Backbone, copy: Backbone, layer: int, site: str) -> None:
    """Fold what acts at a site into the site's weights in `copy`."""
    stock = backbone.stock(layer, site)
    folded: dict[str, Tensor] = dict(stock)
    placements = adapter.spec.placements
    placed = [one.in_layer(copy.shape, layer) for one in placements if one.site == site and one.acts_in(layer)]
    for placement in sorted(placed, key=lambda one: _FOLDABLE.index(one.insertion)):
        assert isinstance(placement.form, Foldable)
        params = params_of(adapter.tensors, copy.shape, layer, placement)
        if placement.insertion == "parallel":
            # Parallel deltas are all computed from the stock weights, so their changes are added up.
            new = placement.form.folded(stock, params)
            folded = {kind: folded[kind] + (new[kind] - stock[kind]) for kind in folded}
        else:
            folded = dict(placement.form.folded(folded, params))
    for kind, tensor in folded.items():
        copy.tensors()[f"{copy.name_of(layer, site)}.{kind}"].copy_(tensor)


def _remaining_tensors(adapter: Adapter, backbone: Backbone) -> dict[str, Tensor]:
    """Return the tensors of the adapter that were not folded, by their names in the simplified forms."""
    return {
        stored_name(one.layer, _simplified(one.placement), one.local, one.weight): adapter.tensors[name]
        for name, one in owned(adapter.spec, backbone.shape).items()
        if not _can_fold(one.placement)
    }
