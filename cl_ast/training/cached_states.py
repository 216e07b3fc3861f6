"""Caches the output of the layers below the adapter, which training does not change.

An adapter that starts above layer k leaves the layers below it alone: their output is computed once a clip and kept in
half precision. A linear probe leaves the whole backbone alone, and all that its head's LayerNorm and pooling need of
the tokens is two vectors a clip: LayerNorm's gain and offset come after its standardisation, so they commute with the
pooling over the tokens,

    mean(γ ∘ x̂ + β) = γ ∘ mean(x̂) + β,    var(γ ∘ x̂ + β) = γ² ∘ var(x̂).

Where the backbone ends without a LayerNorm, the two vectors are those of the tokens themselves.
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.backbone.device import uses_bf16
from cl_ast.backbone.pooling import deviation
from cl_ast.batching import chunks
from cl_ast.progress import Progress, Step, silent
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.augmenting import Augment
from cl_ast.training.clips import ClipSet
from cl_ast.training.compilation import compiled
from cl_ast.training.distributed import ALONE, Group

_BATCH = 32
_GPU_SECONDS = 256


class SplitForward:
    """A task's forward pass in two parts: below the cut, where nothing is trained, and above it.

    Attributes:
        kind: the precision of the arithmetic, one of `PRECISIONS`.
        dtype: the type in which states at the cut are kept; None where keeping them would save nothing.
        key: what the states depend on besides the clip.
    """

    def __init__(self, model: TaskModel, kind: str = "auto", *, compile: bool = False) -> None:
        """
        Args:
            kind: the precision of the arithmetic, one of `PRECISIONS`.
            compile: whether `learn` is compiled when it is first called, for the shape of that batch.
        """
        self.model = model
        self.kind = kind
        self._fast = compiled(self._logits) if compile else self._logits
        self._cut = model.frozen_layers
        self._probe = model.settings.method.trains == "head"
        # Nothing is kept of the embedding alone, so that where the first layer is adapted it is a part of each step.
        self._from_features = self._cut == 0 and not self._probe
        self.dtype = None if self._from_features else torch.float32 if self._probe else torch.float16
        settings, bf16 = model.settings, uses_bf16(model.backbone.device, kind)
        self.key: Hashable = (
            model.backbone.fingerprint, self._cut, self._probe, settings.positions, settings.front_end, bf16,
        )  # fmt: skip

    def below(self, features: Tensor) -> Tensor:
        """Return the state at the cut for a batch of features: tokens, or the moments (batch, 2, width) of a probe.

        Where the first layer is adapted or trained there is nothing below the cut, and the features are returned.
        """
        if self._from_features:
            return features
        with torch.no_grad(), self.model.backbone.precision(self.kind):
            tokens = self.model.lower(features)
            return self._moments(tokens) if self._probe else tokens

    def above(self, state: Tensor) -> Tensor:
        """Return the logits (batch, classes) for states at the cut."""
        with self.model.acting():
            return self._logits(state)

    def learn(self, state: Tensor) -> Tensor:
        """Return the same as `above`, compiled if that was wished: for the steps of a training, all of one shape."""
        with self.model.acting():  # outside of what is compiled, because it changes the backbone's modules
            return self._fast(state)

    def vectors(self, state: Tensor) -> Tensor:
        """Return one vector a clip for states at the cut: the input of the head's linear map."""
        with self.model.acting():
            return self._vectors(state)

    def _logits(self, state: Tensor) -> Tensor:
        return self.model.decide(self._vectors(state))

    def _vectors(self, state: Tensor) -> Tensor:
        if self._probe:
            return self._from_moments(state)
        model, backbone = self.model, self.model.backbone
        tokens = model.embed(state) if self._from_features else state.to(backbone.dtype)
        return model.pool(backbone.run(tokens, first=self._cut))

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
        parts = list(chunks(len(self), self._batch_size))
        with self.clips.ahead(parts):
            for part in parts:
                found = self.forward.below(self.clips.batch(part)[0]).to(dtype)
                if states is None:
                    size = len(self) * found[0].numel() * found.element_size()
                    place = self.clips.states.place(size, found.device)
                    if place is None:
                        return
                    states = torch.empty(len(self), *found.shape[1:], dtype=dtype, device=place)
                if not torch.isfinite(found).all():
                    return  # They are beyond the range of half precision.
                states[part.start : part.stop] = found
                progress(Step(stage, part.stop, len(self)))
        if states is not None:
            self.clips.states.keep(self.forward.key, states)

    def ahead(self, batches: Sequence[Sequence[int]]) -> AbstractContextManager[None]:
        """Return a context in which `batch` is called with these, in order; each is prepared while a step runs."""
        wanted = batches if self._augment is not None else [self.group.share(batch) for batch in batches]
        return self.clips.ahead(wanted, self._cached())

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return states and targets (batch,) on the device, of this process's share of the batch."""
        mine = self.group.share(indices)
        states = self._cached()
        if states is not None:
            return self.clips.batch_of(states, mine)
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

        parts = list(chunks(len(self), self._batch_size))
        backbone = self.forward.model.backbone
        with torch.no_grad(), backbone.precision(self.forward.kind), self.ahead(parts[group.rank :: group.size]):
            found = group.map(run, parts)
        rows, targets = (torch.cat(one).to(device) for one in zip(*found, strict=True))
        return rows, targets

    @property
    def _batch_size(self) -> int:
        """How many clips go through the backbone at once where nothing is trained: on a GPU 256 seconds of sound."""
        if self.forward.model.backbone.device.type != "cuda":
            return _BATCH
        return max(_BATCH, int(_GPU_SECONDS / self.clips.front_end.seconds))

    def _cached(self) -> Tensor | None:
        return None if self._augment is not None else self.clips.states.get(self.forward.key)
