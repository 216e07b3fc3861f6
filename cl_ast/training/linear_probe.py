"""A head's start: ridge-penalised logistic regression on what the untrained task gives its head.

A random head's first steps spoil the features under it; one that is a linear probe lets them be (Kumar et al. 2022,
Fine-tuning can distort pretrained features). The adapter then begins at the probe's accuracy, not at chance.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.errors import TrainingError
from cl_ast.progress import Progress, silent
from cl_ast.training.cached_states import CachedStates
from cl_ast.training.distributed import ALONE, Group

# Of half the squared weights, beside the mean loss of a clip. Strong: a head that has used up the loss leaves the
# adapter nothing to learn from.
PENALTY = 0.1
_STEPS = 100


def start(states: CachedStates, progress: Progress = silent, group: Group = ALONE) -> None:
    """Give the model of these training clips a head that is fitted to them.

    Args:
        group: the processes that share the clips, and all come to the same head.

    Raises:
        TrainingError: the backbone gives something else than numbers.
    """
    model = states.forward.model
    vectors, targets = states.gather(
        states.forward.vectors, group, "fitting a first classifier (linear probe)", progress
    )
    if not torch.isfinite(vectors).all():
        raise TrainingError(
            "what the backbone gives for some training clips are not numbers; try --precision fp32, or another backbone"
        )
    weight, bias = fit(vectors, targets, len(model.settings.labels))
    with torch.no_grad():
        model.head["head.weight"].copy_(weight)
        model.head["head.bias"].copy_(bias)
    group.same(model.head.values())


def fit(vectors: Tensor, targets: Tensor, classes: int, penalty: float = PENALTY) -> tuple[Tensor, Tensor]:
    """Weight (classes, width) and bias (classes,) of multinomial logistic regression on standardised vectors.

    Args:
        vectors: (n, width).
        targets: (n,), places of the classes.
    """
    spread, mean = torch.std_mean(vectors, dim=0, correction=0)
    spread = spread.clamp_min(1e-6)
    x = (vectors - mean) / spread
    weight = x.new_zeros(classes, x.shape[1], requires_grad=True)
    bias = x.new_zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(F.linear(x, weight, bias), targets) + penalty / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    own = (weight / spread).detach()
    return own, (bias - own @ mean).detach()
