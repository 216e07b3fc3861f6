"""The table of all ways to learn a stream: a row each, with its options and how it is made.

The module of each says what it does, and after which paper.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import torch

from cl_ast.adapters.options import Number, Values, resolve
from cl_ast.adapters.spec import MethodSpec
from cl_ast.adapters.spec import parse as parse_method
from cl_ast.baselines.clips import StreamClips, View, plain_view
from cl_ast.baselines.derpp import DarkReplay
from cl_ast.baselines.er import Replay
from cl_ast.baselines.ewc import ElasticWeights
from cl_ast.baselines.joint import Joint
from cl_ast.baselines.l2p import LearningToPrompt, PromptedClips, PromptPool
from cl_ast.baselines.learner import ClipLearner, Learner, Strategy
from cl_ast.baselines.lwf import Distilled
from cl_ast.baselines.naive import Naive
from cl_ast.baselines.ncm import NearestMean
from cl_ast.baselines.network import AdaptedNetwork, Network
from cl_ast.baselines.ours import Ours
from cl_ast.baselines.outputs import Outputs
from cl_ast.baselines.ranpac import RandomProjection
from cl_ast.errors import MethodError
from cl_ast.inference.session import Session
from cl_ast.training.options import Hyperparameters


@dataclass(frozen=True, slots=True)
class Bench:
    """What a learner is made of.

    Attributes:
        clips: those of the stream.
        order: the number of the order of its steps.
        seed: of all random numbers.
        method: how the backbone is adapted.
        learning_rate: of all methods that train; None for the method's own.
        session: opens an empty registry over the same backbone.
    """

    clips: StreamClips
    order: int
    seed: int
    method: MethodSpec
    learning_rate: float | None
    session: Callable[[], Session]

    def outputs(self) -> Outputs:
        """Return which classes the steps have, with none of them seen."""
        stream = self.clips.stream
        return Outputs(stream.scenario, [step.classes for step in stream.steps(self.order)], stream.class_count)

    def network(self) -> AdaptedNetwork:
        """Return an untrained adapter and head for all steps."""
        options = self.clips.options
        model = self.clips.fresh(self.method, self.seed)
        return AdaptedNetwork(model, options.precision, probe=options.head == "probe")

    def options(self, values: Values, method: MethodSpec | None = None) -> Hyperparameters:
        """Return the options of a training, with the factor of the learning rate that `values` has."""
        rate = self.learning_rate or (method or self.method).learning_rate
        return replace(self.clips.options, learning_rate=rate * float(values.get(_RATE.name, 1.0)), seed=self.seed)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A row of the table.

    Attributes:
        name: the word that names it.
        make: makes the learner for the values of the options.
        options: those that may follow the name.
        tuned: the option that is chosen on validation clips where it is not given; empty for none.
        choices: the values of that option that are tried; as many for all that train.
    """

    name: str
    make: Callable[[Bench, Values], Learner]
    options: tuple[Number, ...] = ()
    tuned: str = ""
    choices: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """A row with the values of its options.

    Attributes:
        given: the options that were given.
    """

    row: Baseline
    values: Values
    given: frozenset[str]

    @property
    def text(self) -> str:
        """The canonical form, which `parse` takes: the name, and the options that are not the default."""
        words = [one.text(self.values[one.name]) for one in self.row.options if self.values[one.name] != one.default]
        return f"{self.row.name}:{','.join(words)}" if words else self.row.name

    def trials(self) -> list["Spec"]:
        """Return the specs to choose from on validation clips; none where nothing is left to choose."""
        if not self.row.tuned or self.row.tuned in self.given:
            return []
        return [replace(self, values={**self.values, self.row.tuned: value}) for value in self.row.choices]


_RATE = Number("lr", 1.0, 1e-4, 1e4, "the factor of the learning rate")
_CLIPS = Number("m", 5, 1, 10_000, "the number of clips kept per class")
_RATES = (1.0, 0.3, 3.0)


def _adapted(
    bench: Bench, values: Values, strategy: Callable[[Network, Outputs, Hyperparameters], Strategy]
) -> Learner:
    """Return a learner of a strategy that trains an adapter and a head."""
    network = bench.network()
    made = strategy(network, bench.outputs(), bench.options(values))
    return ClipLearner(made, View(bench.clips, network.source))


def _naive(bench: Bench, values: Values) -> Learner:
    return _adapted(bench, values, Naive)


def _joint(bench: Bench, values: Values) -> Learner:
    view = View(bench.clips, bench.network().source)
    return ClipLearner(Joint(bench.network, bench.outputs(), bench.options(values)), view)


def _er(bench: Bench, values: Values) -> Learner:
    return _adapted(bench, values, partial(Replay, per_class=int(values["m"])))


def _derpp(bench: Bench, values: Values) -> Learner:
    alpha, beta = float(values["alpha"]), float(values["beta"])
    return _adapted(bench, values, partial(DarkReplay, per_class=int(values["m"]), alpha=alpha, beta=beta))


def _ewc(bench: Bench, values: Values) -> Learner:
    return _adapted(bench, values, partial(ElasticWeights, strength=float(values["lambda"])))


def _lwf(bench: Bench, values: Values) -> Learner:
    return _adapted(bench, values, partial(Distilled, alpha=float(values["alpha"])))


def _l2p(bench: Bench, values: Values) -> Learner:
    clips = bench.clips
    head = clips.fresh(parse_method("linear"), bench.seed)
    generator = torch.Generator().manual_seed(bench.seed)
    sizes = int(values["size"]), int(values["length"]), min(int(values["top"]), int(values["size"]))
    pool = PromptPool(head, *sizes, generator, clips.options.precision)
    options = bench.options(values, parse_method("prompt"))
    strategy = LearningToPrompt(pool, bench.outputs(), options, float(values["pull"]))
    return ClipLearner(strategy, View(clips, lambda some: PromptedClips(some, clips.vectors(some))))


def _ncm(bench: Bench, values: Values) -> Learner:
    width = bench.clips.fresh(parse_method("linear"), 0).head["head.weight"].shape[1]
    return ClipLearner(NearestMean(bench.outputs(), width), plain_view(bench.clips))


def _ranpac(bench: Bench, values: Values) -> Learner:
    width = bench.clips.fresh(parse_method("linear"), 0).head["head.weight"].shape[1]
    return ClipLearner(RandomProjection(bench.outputs(), width, int(values["n"])), plain_view(bench.clips))


def _ours(bench: Bench, values: Values) -> Learner:
    same = bench.clips.stream.scenario == "dil"
    options = bench.options(values)
    return Ours(bench.session(), bench.method, options, bench.clips.pooling, same_labels=same)


_ROWS = (
    Baseline("naive", _naive, (_RATE,), _RATE.name, _RATES),
    Baseline("joint", _joint, (_RATE,), _RATE.name, _RATES),
    Baseline("ncm", _ncm),
    Baseline("ranpac", _ranpac, (Number("n", 1000, 1, 20_000, "the number of random features"),)),
    Baseline(
        "ewc",
        _ewc,
        (Number("lambda", 100.0, 0, 1e12, "the strength of the penalty"), _RATE),
        "lambda",
        (100.0, 10_000.0, 1_000_000.0),
    ),
    Baseline(
        "lwf",
        _lwf,
        (Number("alpha", 1.0, 0, 1e6, "the weight of the distillation loss"), _RATE),
        "alpha",
        (1.0, 0.3, 3.0),
    ),
    Baseline("er", _er, (_CLIPS, _RATE), _RATE.name, _RATES),
    Baseline(
        "derpp",
        _derpp,
        (
            _CLIPS,
            Number("alpha", 0.3, 0, 1e6, "the weight of the logits"),
            Number("beta", 0.5, 0, 1e6, "the weight of the classes"),
            _RATE,
        ),
        "alpha",
        (0.3, 0.1, 1.0),
    ),
    Baseline(
        "l2p",
        _l2p,
        (
            Number("size", 10, 1, 1000, "the number of prompts"),
            Number("length", 5, 1, 100, "the number of tokens of a prompt"),
            Number("top", 5, 1, 1000, "the number of prompts per clip, at most all"),
            Number("pull", 0.5, 0, 1e6, "the weight of the pull of the keys"),
            _RATE,
        ),
        _RATE.name,
        _RATES,
    ),
    Baseline("ours", _ours),
)
BASELINES: Mapping[str, Baseline] = MappingProxyType({row.name: row for row in _ROWS})
"""Every row, by its name."""


def parse(text: str) -> Spec:
    """Read a row as it is written, `NAME[:option=value,…]`.

    Raises:
        MethodError: there is no such row or option.
    """
    name, _, options = text.strip().lower().partition(":")
    if name not in BASELINES:
        near = difflib.get_close_matches(name, BASELINES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise MethodError(f"no baseline called {name!r}; {hint}there are {', '.join(BASELINES)}")
    row = BASELINES[name]
    words = [word.strip() for word in options.split(",") if word.strip()]
    return Spec(row, resolve(name, row.options, words), frozenset(word.partition("=")[0] for word in words))
