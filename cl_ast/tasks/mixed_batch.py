"""Many tasks over the one backbone at once: a batch whose rows belong to different tasks runs the backbone once.

Rows of one method share a form, with a set of weights a row, gathered from the adapters' buffers in one copy. Rows of
different methods share the stock blocks: at each site every method acts on its own rows. Each row has its own head.

A row's answer equals that of its task asked alone, but for the last digits: a matrix product of another size is summed
in another order. What must be the same to the bit is asked by name (`measuring.logits_of`).
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
from cl_ast.adapters.placement import Part, act, enter_block, leave_block, replaces_block
from cl_ast.adapters.spec import MethodSpec
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import Act, Heads
from cl_ast.tasks.task_model import TaskModel

Row = tuple[TaskModel, Tensor]
"""A task, and one clip's features, such as (frames, 128), as that task's front end makes them."""


def logits(batch: Sequence[Row]) -> list[Tensor]:
    """The logits (classes,) of each clip under its task, in order; for answering, not for training.

    The backbone runs once for all rows that can share it: those of one length, and of methods that leave the number of
    tokens as it is. Prompts share it with their own method only; full fine-tuning has a backbone of its own.
    """
    passes: dict[object, list[int]] = defaultdict(list)
    seen: dict[int, int] = {}  # where a task first appears
    for row, (model, features) in enumerate(batch):
        passes[_shared_by(model, features)].append(row)
        seen.setdefault(id(model), row)
    out: list[Tensor] = [torch.empty(0)] * len(batch)
    for rows in passes.values():
        # Rows of one method act together, and rows of one task share its head.
        rows.sort(key=lambda row: (batch[row][0].settings.method.text, seen[id(batch[row][0])]))
        for row, values in zip(rows, _one_pass([batch[row] for row in rows]), strict=True):
            out[row] = values
    return out


def _shared_by(model: TaskModel, features: Tensor) -> object:
    """Equal for rows that one pass through the backbone can serve."""
    spec = model.settings.method
    lengthens = any(one.site == "layer" for one in spec.placements)
    return id(model.backbone), len(features), model.settings.positions, spec.text if lengthens else ""


def _one_pass(batch: Sequence[Row]) -> list[Tensor]:
    models = [model for model, _ in batch]
    backbone = models[0].backbone
    features = torch.stack([one for _, one in batch])
    if all(model is models[0] for model in models):
        return list(models[0].logits(features).unbind())
    tokens = models[0].embed(features)
    with backbone.attached(MixedBatch(backbone, [model.adapter for model in models])):
        tokens = backbone.run(tokens)
    out: list[Tensor] = []
    for _, several in itertools.groupby(models, key=id):
        count = sum(1 for _ in several)
        rows = slice(len(out), len(out) + count)
        out += models[rows.start].classify(tokens[rows]).unbind()
    return out


@dataclass(frozen=True, slots=True)
class Share:
    """Neighbouring rows of a batch, and what acts on them at one site; nothing where there are no parts."""

    rows: slice
    parts: tuple[Part, ...]


class MixedBatch:
    """The adapters of a batch, one a row; rows of one method are neighbours."""

    def __init__(self, backbone: Backbone, adapters: Sequence[Adapter]) -> None:
        self._rows = len(adapters)
        self._at: dict[tuple[int, str], list[Share]] = defaultdict(list)
        first = 0
        for spec, several in itertools.groupby(adapters, key=lambda adapter: adapter.spec):
            group = list(several)
            rows = slice(first, first + len(group))
            for at, parts in parts_of(spec, backbone, _weights(spec, backbone, group)).items():
                self._at[at].append(Share(rows, parts))
            first = rows.stop

    def acts(self) -> Mapping[tuple[int, str], Act]:
        """What acts at each (layer, site)."""
        return {at: self._act(shares) for at, shares in self._at.items()}

    def _act(self, shares: Sequence[Share]) -> Act:
        if shares[0].rows == slice(0, self._rows):
            return partial(act, shares[0].parts)
        return partial(_mixed, self._all_rows(shares))

    def _all_rows(self, shares: Sequence[Share]) -> list[Share]:
        """The shares, with those between them on which nothing acts."""
        found, first = [], 0
        for share in shares:
            found += [Share(slice(first, share.rows.start), ()), share]
            first = share.rows.stop
        found.append(Share(slice(first, self._rows), ()))
        return [share for share in found if share.rows.start < share.rows.stop]


def _weights(spec: MethodSpec, backbone: Backbone, adapters: Sequence[Adapter]) -> Mapping[str, Tensor]:
    """By stored name: one set where all rows have the same adapter, else one a row."""
    if all(adapter is adapters[0] for adapter in adapters):
        return adapters[0].tensors
    return layout(spec, backbone.shape).views(gathered([adapter.flat() for adapter in adapters]))


def _mixed(shares: Sequence[Share], run: Callable[[Any], Tensor], x: Any) -> Tensor:
    """One site under several methods, each on its own rows; the stock block runs once for all of them."""
    if isinstance(x, Heads):  # methods give attention keys of different numbers
        return torch.cat([act(share.parts, run, Heads(*(part[share.rows] for part in x))) for share in shares])
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
