"""Fits the initial head of a task: logistic regression with an L2 penalty on the pooled features of the untrained task.

It is multinomial for classes. For tags it is one regression of two outcomes for each tag, all fitted together.

The first training steps under a random head distort the features; under a linear probe they do not (Kumar et al. 2022,
Fine-tuning can distort pretrained features). Training then starts at the probe's accuracy and not at chance.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.errors import TrainingError
from cl_ast.progress import Progress, silent
from cl_ast.tasks.kind_names import CLASSES
from cl_ast.tasks.label_kinds import KINDS, LabelKind
from cl_ast.training.cached_states import CachedStates
from cl_ast.training.distributed import ALONE, Group

# The factor of half the squared weights, which is added to the mean loss. It is large on purpose: a head that fits the
# training clips perfectly leaves no loss for the adapter to learn from.
PENALTY = 0.1
_STEPS = 100


def start(
    states: CachedStates, progress: Progress = silent, group: Group = ALONE, weights: Tensor | None = None
) -> None:
    """Fit the head of the model to these training clips.

    Args:
        group: the processes that share the clips; all get the same head.
        weights: (labels,), of the labels in the loss.

    Raises:
        TrainingError: the backbone's output for some clips has values that are not numbers.
    """
    model = states.forward.model
    vectors, targets = states.gather(
        states.forward.vectors, group, "fitting a first classifier (linear probe)", progress
    )
    if not torch.isfinite(vectors).all():
        raise TrainingError(
            "the backbone's output for some training clips has values that are not numbers; try --precision fp32, or "
            "another backbone"
        )
    settings = model.settings
    weight, bias = fit(vectors, targets, len(settings.labels), weights=weights, labelling=settings.labelling)
    with torch.no_grad():
        model.head["head.weight"].copy_(weight)
        model.head["head.bias"].copy_(bias)
    group.same(model.head.values())


def fit(
    vectors: Tensor,
    targets: Tensor,
    labels: int,
    penalty: float = PENALTY,
    weights: Tensor | None = None,
    labelling: LabelKind = KINDS[CLASSES],
) -> tuple[Tensor, Tensor]:
    """Return weight (labels, width) and bias (labels,) of logistic regression.

    The vectors are standardised for the fit; the result is for vectors as they are.

    Args:
        vectors: (n, width).
        targets: of the n clips, as the kind of labels has them.
        labels: how many there are.
        penalty: the factor of half the squared weights.
        weights: (labels,), of the labels in the loss.
    """
    loss_of = labelling.loss(weights)
    deviation, mean = torch.std_mean(vectors, dim=0, correction=0)
    deviation = deviation.clamp_min(1e-6)
    x = (vectors - mean) / deviation
    weight = x.new_zeros(labels, x.shape[1], requires_grad=True)
    bias = x.new_zeros(labels, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = loss_of(F.linear(x, weight, bias), targets) + penalty / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    unscaled = (weight / deviation).detach()
    return unscaled, (bias - unscaled @ mean).detach()
