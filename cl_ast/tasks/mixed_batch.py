"""Classifies a batch whose rows belong to different tasks in one run of the backbone.

Rows with the same method, whatever its rank, are computed together, with one set of weights for each row, which is
gathered from the buffers of the adapters in one copy. Rows with different methods share the stock blocks: at each site,
every method acts on its own rows. Each row has its own head.

The logits of a row differ from those of its task run alone in the last digits, since a matrix product of another size
is summed in another order. Results that must be bit-identical are computed by the task alone (`TaskModel.logits`).
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cl_ast.adapters.adapter import Adapter, parts_of
from cl_ast.adapters.buffers import gathered, layout
from cl_ast.adapters.padding import family, widest
from cl_ast.adapters.placement import Part, act, enter_block, leave_block, replaces_block
from cl_ast.adapters.spec import MethodSpec
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import Act, Heads
from cl_ast.tasks.mixed_heads import classify
from cl_ast.tasks.task_model import TaskModel

Row = tuple[TaskModel, Tensor]
"""A task, and the features of one clip, such as (frames, 128), from that task's front end."""


def logits(batch: Sequence[Row], kind: str = "auto") -> list[Tensor]:
    """Return the logits (classes,) of each clip under its task, in order; for classifying, not for training.

    The backbone runs once for all rows that can share a run: those of the same length whose methods do not change the
    number of tokens. Rows with prompts only share a run with rows of the same method. A fully fine-tuned task has its
    own backbone.

    Args:
        kind: the precision of the backbone's arithmetic (`Backbone.precision`).
    """
    passes: dict[object, list[int]] = defaultdict(list)
    first_row: dict[int, int] = {}  # of each task
    for row, (model, features) in enumerate(batch):
        passes[_pass_key(model, features)].append(row)
        first_row.setdefault(id(model), row)
    out: list[Tensor] = [torch.empty(0)] * len(batch)
    for rows in passes.values():
        # `MixedBatch` needs rows whose methods differ in their ranks at most next to each other.
        rows.sort(key=lambda row: (family(batch[row][0].adapter.acting.spec), first_row[id(batch[row][0])]))
        for row, values in zip(rows, _one_pass([batch[row] for row in rows], kind), strict=True):
            out[row] = values
    return out


def _pass_key(model: TaskModel, features: Tensor) -> object:
    """Return a key that is equal for rows that can share a run of the backbone."""
    spec = model.settings.method
    lengthens = any(one.site == "layer" for one in spec.placements)
    return id(model.backbone), len(features), model.settings.positions, spec.text if lengthens else ""


def _one_pass(batch: Sequence[Row], kind: str) -> list[Tensor]:
    models = [model for model, _ in batch]
    backbone = models[0].backbone
    features = torch.stack([one for _, one in batch])
    with backbone.precision(kind):
        if all(model is models[0] for model in models):
            return list(models[0].logits(features).unbind())
        with backbone.attached(MixedBatch(backbone, [model.adapter.acting for model in models])):
            tokens = backbone.run(models[0].embed(features))
    return classify(tokens, models)


@dataclass(frozen=True, slots=True)
class Share:
    """Neighbouring rows of a batch, and the parts of their method at one site; empty if nothing acts on these rows."""

    rows: slice
    parts: tuple[Part, ...]


class MixedBatch:
    """The adapters of a batch, one for each row.

    Rows whose methods differ in their ranks at most are next to each other, and run as one method.
    """

    def __init__(self, backbone: Backbone, adapters: Sequence[Adapter]) -> None:
        self._rows = len(adapters)
        self._at: dict[tuple[int, str], list[Share]] = defaultdict(list)
        first = 0
        for _, several in itertools.groupby(adapters, key=lambda adapter: family(adapter.spec)):
            group = list(several)
            spec = widest([adapter.spec for adapter in group])
            rows = slice(first, first + len(group))
            for at, parts in parts_of(spec, backbone, _weights(spec, backbone, group)).items():
                self._at[at].append(Share(rows, parts))
            first = rows.stop

    def acts(self) -> Mapping[tuple[int, str], Act]:
        """Return the function that acts at each (layer, site)."""
        return {at: self._act(shares) for at, shares in self._at.items()}

    def _act(self, shares: Sequence[Share]) -> Act:
        if shares[0].rows == slice(0, self._rows):
            return partial(act, shares[0].parts)
        return partial(_mixed, self._all_rows(shares))

    def _all_rows(self, shares: Sequence[Share]) -> list[Share]:
        """Return the shares, and between them empty ones for the rows on which nothing acts."""
        found, first = [], 0
        for share in shares:
            found += [Share(slice(first, share.rows.start), ()), share]
            first = share.rows.stop
        found.append(Share(slice(first, self._rows), ()))
        return [share for share in found if share.rows.start < share.rows.stop]


def _weights(spec: MethodSpec, backbone: Backbone, adapters: Sequence[Adapter]) -> Mapping[str, Tensor]:
    """Return the tensors by stored name: one set if all rows have the same adapter, else one for each row."""
    if all(adapter is adapters[0] for adapter in adapters):
        return adapters[0].tensors
    return layout(spec, backbone.shape).views(gathered([adapter.flat(backbone.dtype, spec) for adapter in adapters]))


def _mixed(shares: Sequence[Share], run: Callable[[Any], Tensor], x: Any) -> Tensor:
    """Run one site at which several methods act, each on its own rows; the stock block runs once for all rows."""
    if isinstance(x, Heads):  # attention runs once for each share, since methods add different numbers of keys
        return torch.cat([act(share.parts, run, x.rows(share.rows)) for share in shares])
    given = [x[share.rows] for share in shares]
    entered = [enter_block(share.parts, part) for share, part in zip(shares, given, strict=True)]
    if all(replaces_block(share.parts) for share in shares):
        pairs = zip(shares, entered, strict=True)
        return torch.cat([leave_block(share.parts, delta_input, None) for share, (delta_input, _) in pairs])
    same = all(block_input is part for (_, block_input), part in zip(entered, given, strict=True))
    out = run(x if same else torch.cat([block_input for _, block_input in entered]))
    for share, (delta_input, _) in zip(shares, entered, strict=True):
        if share.parts:
            # In place, which is safe since `run` has just made this tensor.
            out[share.rows] = leave_block(share.parts, delta_input, out[share.rows])
    return out
