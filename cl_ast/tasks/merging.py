"""A task's adapter folded into a backbone of its own, where the maths allows it: the same answers at no extra cost."""

from dataclasses import replace

import torch
from torch import Tensor

from cl_ast.adapters.adapter import Adapter, params_of
from cl_ast.adapters.forms import Foldable, Simplifiable
from cl_ast.adapters.placement import Placement
from cl_ast.adapters.spec import MethodSpec, owned, stored_name
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import LEAVES
from cl_ast.errors import MethodError
from cl_ast.tasks.task_model import TaskModel

_FOLDING = ("replace", "parallel", "output")  # in the order in which they act


def merged(model: TaskModel) -> TaskModel:
    """The same task over a copy of its backbone with the deltas folded in.

    LoRA, SSF, SORSA, PaCA, Bone, BitFit and LayerNorms disappear into the backbone's weights; MoSA becomes one plain
    bottleneck. The result is to answer with, not to store: the backbone it stands on is no longer the registry's.

    Raises:
        MethodError: a part of the method is no update of the backbone's weights, such as a bottleneck or a prompt.
    """
    spec, backbone = model.settings.method, model.backbone
    for placement in spec.placements:
        if not (_folds(placement) or isinstance(placement.form, Simplifiable)):
            raise MethodError(f"{spec}: {placement.form.label} at {placement.site} cannot be merged into the backbone")
    own = backbone.copy()
    with torch.no_grad():
        for layer in range(backbone.shape.depth):
            for site in LEAVES:
                _fold(model, own, layer, site)
    kept = tuple(_plain(placement) for placement in spec.placements if not _folds(placement))
    settings = replace(model.settings, method=replace(spec, placements=kept))
    return TaskModel(settings, own, Adapter(settings.method, own, _renamed(model, spec)), model.head)


def _folds(placement: Placement) -> bool:
    at_weights = placement.site in LEAVES and placement.insertion in _FOLDING
    return at_weights and isinstance(placement.form, Foldable)


def _plain(placement: Placement) -> Placement:
    assert isinstance(placement.form, Simplifiable)
    return replace(placement, form=placement.form.simplified())


def _fold(model: TaskModel, own: Backbone, layer: int, site: str) -> None:
    """Write into `own` what the site's weights become."""
    stock = model.backbone.stock(layer, site)
    now: dict[str, Tensor] = dict(stock)
    placed = [one for one in model.settings.method.placements if one.site == site and one.acts_in(layer)]
    for placement in sorted(placed, key=lambda one: _FOLDING.index(one.insertion)):
        assert isinstance(placement.form, Foldable)
        params = params_of(model.adapter.tensors, own.shape, layer, placement)
        if placement.insertion == "parallel":  # deltas do not see one another
            new = placement.form.folded(stock, params)
            now = {kind: now[kind] + (new[kind] - stock[kind]) for kind in now}
        else:
            now = dict(placement.form.folded(now, params))
    for kind, tensor in now.items():
        own.tensors()[f"layers.{layer}.{site}.{kind}"].copy_(tensor)


def _renamed(model: TaskModel, spec: MethodSpec) -> dict[str, Tensor]:
    """What is left of the adapter, under the names of the plainer forms."""
    return {
        stored_name(one.layer, _plain(one.placement), one.local, one.weight): model.adapter.tensors[name]
        for name, one in owned(spec, model.backbone.shape).items()
        if not _folds(one.placement)
    }
