"""Learning to prompt: a pool of prompts, some of which are chosen for a clip by keys near its frozen features.

Wang et al. (2022), Learning to prompt for continual learning. As in the authors' code, a step is trained over its own
classes alone. The head reads the mean over all tokens, as all heads here do; the paper's reads the prompts' alone.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms import Weight
from cl_ast.backbone.sites import Act
from cl_ast.baselines.examples import Examples
from cl_ast.baselines.naive import Naive
from cl_ast.baselines.network import start_head
from cl_ast.baselines.outputs import Outputs, cross_entropy
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.clips import ClipSet
from cl_ast.training.options import Hyperparameters


class PromptedClips:
    """The clips of a set with their features and their queries: what the plain backbone makes of them."""

    def __init__(self, clips: ClipSet, queries: Tensor) -> None:
        """
        Args:
            queries: (n, d).
        """
        self._clips = clips
        self._queries = queries

    def inputs(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return self._clips.batch(rows)[0], self._queries[list(rows)]


class PromptPool:
    """A pool of prompts with their keys, and a head, on the frozen backbone."""

    def __init__(
        self,
        model: TaskModel,
        size: int,
        length: int,
        chosen: int,
        generator: torch.Generator,
        precision: str = "auto",
    ) -> None:
        """
        Args:
            model: a fresh linear probe, of which the head is used.
            size: how many prompts there are.
            length: how many tokens a prompt has.
            chosen: how many prompts a clip gets.
            precision: one of `PRECISIONS`.
        """
        backbone = model.backbone
        self._model = model
        self._chosen = chosen
        self._precision = precision
        queries = model.head["head.weight"].shape[1]
        width = backbone.shape.width

        def made(*shape: int) -> Tensor:
            # Uniform within ±1, as the authors' keys and prompts are.
            return Weight(shape, "uniform", 1).make(generator).to(backbone.device)

        self.keys = made(size, queries)
        self.prompts = made(size, length, width)

    def logits(self, *inputs: Tensor) -> Tensor:
        return self._model.decide(self.vectors(*inputs))

    def vectors(self, *inputs: Tensor) -> Tensor:
        features, queries = inputs
        backbone = self._model.backbone
        prompts = self.prompts[self.choice(queries)].flatten(1, 2)
        with backbone.precision(self._precision), backbone.attached(Prepended(prompts)):
            return self._model.pool(backbone.run(self._model.embed(features)))

    def choice(self, queries: Tensor) -> Tensor:
        """Return the prompts (batch, chosen) whose keys have the highest cosine with queries (batch, d)."""
        return self.cosines(queries).topk(self._chosen, dim=1).indices

    def cosines(self, queries: Tensor) -> Tensor:
        """Return the cosines (batch, size) of queries (batch, d) with all keys."""
        return F.normalize(queries, dim=1) @ F.normalize(self.keys, dim=1).T

    def pull(self, *inputs: Tensor) -> Tensor:
        """Return the mean cosine (batch,) of queries with the keys that they choose, summed over these."""
        _, queries = inputs
        return self.cosines(queries).gather(1, self.choice(queries)).sum(dim=1)

    def trainable(self) -> list[Tensor]:
        return [self.keys, self.prompts, *self._model.head.values()]

    def training_mode(self) -> AbstractContextManager[None]:
        return nullcontext()

    def penalty(self) -> Tensor | None:
        return None

    def start(self, examples: Examples, classes: Tensor) -> None:
        if len(classes) > 1:
            start_head(self._model.head, examples.gather(self.vectors), examples.targets, classes)


class Prepended:
    """Puts tokens (batch, n, width) before the input of the backbone's first layer, each clip its own."""

    def __init__(self, tokens: Tensor) -> None:
        self._tokens = tokens

    def acts(self) -> Mapping[tuple[int, str], Act]:
        return {(0, "layer"): partial(_prepended, self._tokens)}


def _prepended(tokens: Tensor, run: Callable[[Any], Tensor], x: Tensor) -> Tensor:
    return run(torch.cat([tokens.to(x.dtype), x], dim=1))


class LearningToPrompt(Naive):
    """Adds a pull of the chosen keys towards the queries to the loss."""

    network: PromptPool

    def __init__(self, network: PromptPool, outputs: Outputs, options: Hyperparameters, pull: float) -> None:
        """
        Args:
            pull: the weight of the pull.
        """
        super().__init__(network, outputs, options)
        self._pull = pull

    def loss(self, train: Examples, batch: Sequence[int]) -> Tensor:
        clips = train.pick(batch)
        logits = clips.apply(self.network.logits)
        loss = cross_entropy(logits, self.outputs.of_step[clips.steps], clips.targets)
        return loss - self._pull * clips.apply(self.network.pull).mean()
