"""Other ways to choose a task from the same descriptions, as a comparison for the routers of cl_ast."""

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import normalize

from cl_ast.router.moments import shrunk

Scores = Callable[[Tensor], Tensor]  # (n, d) described clips to (n, tasks)
Training = Sequence[Tensor]  # (n, d) described clips of each task


def nearest_mean(tasks: Training) -> Scores:
    """Score clips by the cosine to the mean of each task (SimpleCIL, Zhou et al. 2023)."""
    means = torch.stack([normalize(task.mean(dim=0), dim=0) for task in tasks])
    return lambda clips: clips @ means.T


def mahalanobis(tasks: Training) -> Scores:
    """Score clips with one covariance of all tasks, shrunk by a tenth (SLDA, Hayes & Kanan 2020)."""
    means = torch.stack([task.double().mean(dim=0) for task in tasks])
    away = torch.cat([task.double() - mean for task, mean in zip(tasks, means, strict=True)])
    covariance = away.T @ away / len(away)
    inverse = torch.linalg.inv(shrunk(covariance, 0.1))

    def scores(clips: Tensor) -> Tensor:
        each = clips.double()[:, None] - means
        return -torch.einsum("ntd,de,nte->nt", each, inverse, each).float()

    return scores


def ranpac(tasks: Training, width: int = 1024, penalty: float = 1e-3) -> Scores:
    """Score clips by a random projection, ReLU and ridge (McDonnell et al. 2023); each task weighs the same."""
    projection = torch.randn(tasks[0].shape[1], width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    projected = [torch.relu(task.double() @ projection) for task in tasks]
    gram = sum((one.T @ one / len(one) for one in projected), torch.zeros(width, width, dtype=torch.float64))
    penalties = penalty * gram.diagonal().mean() * torch.eye(width, dtype=torch.float64)
    weights = torch.linalg.solve(gram + penalties, torch.stack([one.mean(dim=0) for one in projected], dim=1))
    return lambda clips: (torch.relu(clips.double() @ projection) @ weights).float()


def joint(tasks: Training, strength: float = 30.0) -> Scores:
    """Score clips by logistic regression on all tasks at once, each weighing the same: the upper bound."""
    x = torch.cat(list(tasks)).numpy()
    y = np.repeat(np.arange(len(tasks)), [len(task) for task in tasks])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=strength, max_iter=60, class_weight="balanced").fit(x, y)
    columns = np.array(model.coef_), np.array(model.intercept_)
    if len(tasks) == 2:  # scikit-learn keeps one column then
        columns = np.vstack([-columns[0], columns[0]]), np.hstack([-columns[1], columns[1]])
    weight, bias = (torch.from_numpy(one).float() for one in columns)
    return lambda clips: (clips @ weight.T + bias).softmax(dim=1)


def entropy(logits: Mapping[str, Tensor]) -> Tensor:
    """Return minus the entropy of every head as a share of the largest possible: (n, tasks). The highest is chosen."""
    out = []
    for values in logits.values():
        chances = values.softmax(dim=1)
        out.append((chances * chances.clamp_min(1e-12).log()).sum(dim=1) / np.log(values.shape[1]))
    return torch.stack(out, dim=1)


def energy(logits: Mapping[str, Tensor]) -> Tensor:
    """Return the log-sum-exp of every head, minus its energy (Liu et al. 2020): (n, tasks). The highest is chosen."""
    return torch.stack([values.logsumexp(dim=1) for values in logits.values()], dim=1)


BASELINES: Mapping[str, Callable[[Training], Scores]] = {
    "nearest mean": nearest_mean,
    "shared-covariance Mahalanobis": mahalanobis,
    "RanPAC, M = 1,024": ranpac,
    "joint linear (upper bound)": joint,
}
