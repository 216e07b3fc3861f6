"""Caches the output of the layers below the adapter, which training does not change.

An adapter that starts above layer k leaves the layers below it alone: their output is computed once a clip and kept in
half precision. A linear probe leaves the whole backbone alone, and all that its head's LayerNorm and pooling need of
the tokens is two vectors a clip: LayerNorm's gain and offset come after its standardisation, so they commute with the
pooling over the tokens,

    mean(γ ∘ x̂ + β) = γ ∘ mean(x̂) + β,    var(γ ∘ x̂ + β) = γ² ∘ var(x̂).

Where the backbone ends without a LayerNorm, the two vectors are those of the tokens themselves.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.backbone.device import precision, uses_bf16
from cl_ast.backbone.pooling import deviation
from cl_ast.batching import chunks
from cl_ast.progress import Progress, Step, silent
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.augmenting import Augment
from cl_ast.training.clips import ClipSet
from cl_ast.training.compilation import compiled
from cl_ast.training.distributed import ALONE, Group

_BATCH = 32


class SplitForward:
    """A task's forward pass in two parts: below the cut, where nothing is trained, and above it.

    Attributes:
        kind: the precision of the arithmetic, one of `PRECISIONS`.
        learn: `above`, as the steps of a training call it.
        dtype: the type in which states at the cut are kept; None where keeping them would save nothing.
        key: what the states depend on besides the clip.
    """

    def __init__(self, model: TaskModel, kind: str = "auto", *, compile: bool = False) -> None:
        """
        Args:
            kind: the precision of the arithmetic, one of `PRECISIONS`.
            compile: whether `learn` is compiled when it is first called.
        """
        self.model = model
        self.kind = kind
        self.learn = compiled(self.above) if compile else self.above
        self._whole = model.settings.method.trains == "backbone"
        self._probe = model.settings.method.trains == "head"
        saves = self._probe or (model.frozen_layers > 0 and not self._whole)
        self.dtype = None if not saves else torch.float32 if self._probe else torch.float16
        settings, bf16 = model.settings, uses_bf16(model.backbone.device, kind)
        self.key: Hashable = (
            model.backbone.fingerprint, model.frozen_layers, self._probe, settings.positions, settings.front_end, bf16,
        )  # fmt: skip

    def below(self, features: Tensor) -> Tensor:
        """Return the state at the cut for a batch of features: tokens, or the moments (batch, 2, width) of a probe.

        Where the whole backbone is trained there is nothing below the cut, and the features are returned.
        """
        if self._whole:
            return features
        with torch.no_grad(), precision(self.model.backbone.device, self.kind):
            tokens = self.model.lower(features)
            return self._moments(tokens) if self._probe else tokens

    def above(self, state: Tensor) -> Tensor:
        """Return the logits (batch, classes) for states at the cut."""
        return self.model.decide(self.vectors(state))

    def vectors(self, state: Tensor) -> Tensor:
        """Return one vector a clip for states at the cut: the input of the head's linear map."""
        if self._probe:
            return self._from_moments(state)
        model = self.model
        return model.pool(model.tokens(state) if self._whole else model.upper(state.float()))

    def _moments(self, tokens: Tensor) -> Tensor:
        shape = self.model.backbone.shape
        return moments(tokens, shape.norm_eps if shape.final_norm else None)

    def _from_moments(self, state: Tensor) -> Tensor:
        head = self.model.head
        mean, variance = state.float().unbind(dim=1)
        if self.model.backbone.shape.final_norm:
            gain = head["head.norm.weight"]
            mean, variance = torch.addcmul(head["head.norm.bias"], mean, gain), variance * gain.square()
        if self.model.settings.pooling == "mean":
            return mean
        return torch.cat([mean, deviation(variance)], dim=-1)


def moments(tokens: Tensor, eps: float | None) -> Tensor:
    """Return mean and variance over the tokens of their standardised values: (batch, n, width) to (batch, 2, width).

    Args:
        eps: the epsilon of the standardisation; None leaves it out.
    """
    plain = tokens.float()
    if eps is not None:
        plain = F.layer_norm(plain, tokens.shape[-1:], eps=eps)
    return torch.stack([plain.mean(dim=1), plain.var(dim=1, correction=0)], dim=1)


class CachedStates:
    """Labelled clips as states at the cut, cached beside their features where both fit into the clips' budget."""

    def __init__(
        self,
        clips: ClipSet,
        forward: SplitForward,
        augment: Augment | None = None,
        group: Group = ALONE,
    ) -> None:
        """
        Args:
            augment: changes features and targets in another way each time, so that nothing can be cached.
            group: the processes that share every batch.
        """
        self.clips = clips
        self.forward = forward
        self.group = group
        self._augment = augment

    def __len__(self) -> int:
        return len(self.clips)

    def load(self, stage: str, progress: Progress = silent) -> None:
        """Compute the states now, in the order of the clips, so that they are the same whoever needs them first."""
        dtype = self.forward.dtype
        if dtype is None or self._augment is not None or self._cached() is not None:
            return
        self.clips.states.clear()
        states: Tensor | None = None
        for part in chunks(len(self), _BATCH):
            found = self.forward.below(self.clips.batch(part)[0]).to("cpu", dtype)
            if states is None:
                size = len(self) * found[0].numel() * found.element_size()
                if size > self.clips.states.room:
                    return
                states = found.new_empty(len(self), *found.shape[1:])
            if not torch.isfinite(found).all():
                return  # They are beyond the range of half precision.
            states[part.start : part.stop] = found
            progress(Step(stage, part.stop, len(self)))
        if states is not None:
            self.clips.states.keep(self.forward.key, states)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return states and targets (batch,) on the device, of this process's share of the batch."""
        mine = self.group.share(indices)
        states = self._cached()
        if states is not None:
            return self.clips.moved(states[list(mine)], self.clips.targets[list(mine)])
        if self._augment is None:
            features, targets = self.clips.batch(mine)
        else:
            # The whole batch is changed, so that every process draws the same random numbers.
            features, targets = self.clips.batch(indices)
            rows = list(self.group.share(range(len(indices))))
            features, targets = (one[rows] for one in self._augment(features, targets))
        return self.forward.below(features), targets

    def gather(
        self, what: Callable[[Tensor], Tensor], group: Group = ALONE, stage: str = "", progress: Progress = silent
    ) -> tuple[Tensor, Tensor]:
        """Apply a function to the states of every clip; return its rows (n, …) and the targets (n,), in order.

        Args:
            what: maps the states of a batch to a row a clip, such as `SplitForward.above`.
            group: the processes that share the batches; all of them get the whole result.
        """
        device = self.forward.model.backbone.device
        meeting = device if group.size == 1 else torch.device("cpu")

        def run(part: range) -> tuple[Tensor, Tensor]:
            states, targets = self.batch(part)
            progress(Step(stage, part.stop, len(self)))
            return what(states).float().to(meeting), targets.to(meeting)

        with torch.no_grad(), precision(device, self.forward.kind):
            found = group.map(run, list(chunks(len(self), _BATCH)))
        rows, targets = (torch.cat(one).to(device) for one in zip(*found, strict=True))
        return rows, targets

    def _cached(self) -> Tensor | None:
        return None if self._augment is not None else self.clips.states.get(self.forward.key)
