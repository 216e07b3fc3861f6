"""Other ways to choose a task from the same descriptions: what the two routers that ship are measured against."""

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
    """Cosine to the mean of a task (SimpleCIL, Zhou et al. 2023)."""
    means = torch.stack([normalize(task.mean(dim=0), dim=0) for task in tasks])
    return lambda asked: asked @ means.T


def mahalanobis(tasks: Training) -> Scores:
    """Shared covariance, shrunk by a tenth (SLDA, Hayes & Kanan 2020): adding a task moves every score."""
    means = torch.stack([task.double().mean(dim=0) for task in tasks])
    away = torch.cat([task.double() - mean for task, mean in zip(tasks, means, strict=True)])
    covariance = away.T @ away / len(away)
    inverse = torch.linalg.inv(shrunk(covariance, 0.1))

    def scores(asked: Tensor) -> Tensor:
        each = asked.double()[:, None] - means
        return -torch.einsum("ntd,de,nte->nt", each, inverse, each).float()

    return scores


def ranpac(tasks: Training, width: int = 1024, penalty: float = 1e-3) -> Scores:
    """Random projection to 1,024 dimensions, ReLU, ridge (McDonnell et al. 2023), a task weighing 1."""
    projection = torch.randn(tasks[0].shape[1], width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spread = [torch.relu(task.double() @ projection) for task in tasks]
    gram = sum((one.T @ one / len(one) for one in spread), torch.zeros(width, width, dtype=torch.float64))
    penalties = penalty * gram.diagonal().mean() * torch.eye(width, dtype=torch.float64)
    weights = torch.linalg.solve(gram + penalties, torch.stack([one.mean(dim=0) for one in spread], dim=1))
    return lambda asked: (torch.relu(asked.double() @ projection) @ weights).float()


def joint(tasks: Training, strength: float = 30.0) -> Scores:
    """The upper bound: logistic regression trained on all tasks at once, each weighing the same."""
    x = torch.cat(list(tasks)).numpy()
    y = np.repeat(np.arange(len(tasks)), [len(task) for task in tasks])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=strength, max_iter=60, class_weight="balanced").fit(x, y)
    columns = np.array(model.coef_), np.array(model.intercept_)
    if len(tasks) == 2:  # scikit-learn keeps one column then
        columns = np.vstack([-columns[0], columns[0]]), np.hstack([-columns[1], columns[1]])
    weight, bias = (torch.from_numpy(one).float() for one in columns)
    return lambda asked: (asked @ weight.T + bias).softmax(dim=1)


def entropy(logits: Mapping[str, Tensor]) -> Tensor:
    """Every head asked, the surest believed: -entropy as a share of its largest, (n, tasks)."""
    out = []
    for values in logits.values():
        chances = values.softmax(dim=1)
        out.append((chances * chances.clamp_min(1e-12).log()).sum(dim=1) / np.log(values.shape[1]))
    return torch.stack(out, dim=1)


def energy(logits: Mapping[str, Tensor]) -> Tensor:
    """Every head asked, the lowest energy believed (Liu et al. 2020): log-sum-exp, (n, tasks)."""
    return torch.stack([values.logsumexp(dim=1) for values in logits.values()], dim=1)


BASELINES: Mapping[str, Callable[[Training], Scores]] = {
    "nearest mean": nearest_mean,
    "shared-covariance Mahalanobis": mahalanobis,
    "RanPAC, M = 1,024": ranpac,
    "joint linear (upper bound)": joint,
}
