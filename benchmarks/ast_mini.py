"""Measures what the frozen features of `ast-mini` are worth on real recordings.

    python -m benchmarks.ast_mini --data FOLDER

A linear probe is fitted to the mean and standard deviation over all output tokens. It is compared with the same probe
on a backbone with random weights, and on plain statistics of the log-mel. Test clips are of official folds, or of
speakers that the training does not have. The probe's C is chosen by cross-validation inside the training part (by
recording, fold or speaker), never on test clips. Prints a markdown table.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import ASTModel

from cl_ast.pretrain import mel
from cl_ast.pretrain.model import Backbone, pooled

Array = NDArray[np.float64]
PENALTIES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
# Other clips of these recordings are kept apart from the data (its README): never trained on here.
SHARED = ("1-30344-A", "1-59513-A", "3-163459-A", "4-199261-A", *(f"203128-3-{i}-0" for i in (1, 3, 6, 9)))


@dataclass(frozen=True)
class Task:
    """Names a data set, the frames of its clips (cut or padded), and the column that separates training from test."""

    name: str
    title: str
    frames: int
    apart: str


TASKS = (
    Task("esc10", "ESC-10", 500, "fold"),
    Task("us8k", "US8K", 400, "fold"),
    Task("fsdd", "digits", 100, "speaker"),
    Task("emodb", "EmoDB", 200, "speaker"),
    Task("asc", "Arabic commands", 100, "split"),
)


@dataclass
class Data:
    """Has a task's clips as log-mel, their labels, the column that separates, and groups for choosing C."""

    task: Task
    features: list[NDArray[np.float32]]
    labels: NDArray[np.str_]
    apart: NDArray[np.str_]
    groups: NDArray[np.str_]
    shared: NDArray[np.bool_]

    def splits(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the rows of training and of test clips, one pair a split."""
        if self.task.apart == "split":
            yield np.flatnonzero((self.apart != "test") & ~self.shared), np.flatnonzero(self.apart == "test")
            return
        for value in sorted(set(self.apart)):
            yield np.flatnonzero((self.apart != value) & ~self.shared), np.flatnonzero(self.apart == value)


def load(folder: Path, task: Task) -> Data:
    """Read the clips of a task."""
    with (folder / task.name / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    features = []
    for row in rows:
        samples, rate = soundfile.read(folder / task.name / row["file"], dtype="float32")
        assert rate == 16_000
        features.append(mel.log_mel(samples))
    stems = [Path(row["file"]).stem for row in rows]
    by = {"esc10": "fold", "fsdd": "speaker", "emodb": "speaker", "asc": "speaker"}.get(task.name)
    # Clips of US8K are cut from recordings, whose number comes first in the name.
    groups = [row[by] if by else stem.split("-")[0] for row, stem in zip(rows, stems, strict=True)]
    return Data(
        task, features, np.array([r["label"] for r in rows]), np.array([r[task.apart] for r in rows]),
        np.array(groups), np.array([stem in SHARED for stem in stems]),
    )  # fmt: skip


def statistics(data: Data) -> Array:
    """Return mean, standard deviation and mean change of each band over a clip's own frames: (clips, 3 · bands)."""
    out = []
    for x in data.features:
        change = np.abs(np.diff(x, axis=0)).mean(0) if len(x) > 1 else np.zeros(x.shape[1])
        out.append(np.concatenate([x.mean(0), x.std(0), change]))
    return np.array(out, dtype=np.float64)


@torch.no_grad()
def embed(backbone: Backbone, data: Data, mean_only: bool = False) -> Array:
    """Return the pooled tokens of every clip, cut or zero-padded to the task's frames."""
    frames, out = data.task.frames, []
    for start in range(0, len(data.features), 32):
        batch = torch.zeros(len(data.features[start : start + 32]), frames, mel.BINS)
        for row, x in zip(batch, data.features[start : start + 32], strict=True):
            row[: min(frames, len(x))] = torch.from_numpy(x[:frames])
        tokens = backbone(mel.normalise(batch))
        out.append(tokens.mean(1) if mean_only else pooled(tokens))
    return torch.cat(out).double().numpy()


def probe(data: Data, x: Array) -> float:
    """Return the accuracy of a linear probe in percent, the mean over the splits."""
    scores = []
    for train, test in data.splits():
        c = _choose(x[train], data.labels[train], data.groups[train])
        scores.append(_fit(c, x[train], data.labels[train]).score(x[test], data.labels[test]))
    return 100 * float(np.mean(scores))


def _fit(c: float, x: Array, y: NDArray[np.str_]) -> LogisticRegression:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=100, tol=1e-3)).fit(x, y)


def _choose(x: Array, y: NDArray[np.str_], groups: NDArray[np.str_]) -> float:
    folds = list(GroupKFold(min(3, len(set(groups)))).split(x, y, groups))
    return max(PENALTIES, key=lambda c: np.mean([_fit(c, x[a], y[a]).score(x[b], y[b]) for a, b in folds]))


def backbone_of(folder: Path, seed: int | None = None) -> Backbone:
    """Return the backbone in a folder, or with a seed one of its shape with random weights."""
    stock = ASTModel.from_pretrained(folder, dtype=torch.float32)
    if seed is not None:
        torch.manual_seed(seed)
        stock = ASTModel(stock.config)
        torch.nn.init.trunc_normal_(stock.embeddings.position_embeddings, std=0.02)
    return Backbone(stock.eval())


@click.command()
@click.option("--data", "folder", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--backbone", "weights", type=click.Path(path_type=Path), default=Path("cl_ast/data/ast-mini"))
@click.option("--seeds", default=3, show_default=True, help="How many random backbones to average.")
@click.option("--rows", "wanted", default="statistics,random,mean,mean+std", show_default=True)
@click.option("--tasks", default=",".join(t.name for t in TASKS), show_default=True)
def main(folder: Path, weights: Path, seeds: int, wanted: str, tasks: str) -> None:
    """Measure, and print the table."""
    backbone = backbone_of(weights)
    random = [backbone_of(weights, seed) for seed in range(seeds)]
    # One row: its title, and features of a task for each of its runs.
    rows: dict[str, tuple[str, list[Callable[[Data], Array]]]] = {
        "statistics": ("log-mel statistics, no network", [statistics]),
        "random": (f"random backbone, mean+std ({seeds} seeds)", [partial(embed, t) for t in random]),
        "mean": ("ast-mini, mean", [partial(embed, backbone, mean_only=True)]),
        "mean+std": ("ast-mini, mean+std", [partial(embed, backbone)]),
    }
    rows = {name: rows[name] for name in wanted.split(",")}
    chosen = [task for task in TASKS if task.name in tasks.split(",")]
    table: dict[str, list[float]] = {name: [] for name in rows}
    for task in chosen:
        data = load(folder, task)
        for name, (_, runs) in rows.items():
            table[name].append(float(np.mean([probe(data, run(data)) for run in runs])))
            click.echo(f"{task.name} {name}: {table[name][-1]:.1f}", err=True)
    click.echo("| | " + " | ".join(task.title for task in chosen) + " | average |")
    click.echo("|---|" + "---|" * (len(chosen) + 1))
    for name, scores in table.items():
        click.echo(f"| {rows[name][0]} | " + " | ".join(f"{s:.1f}" for s in [*scores, float(np.mean(scores))]) + " |")


if __name__ == "__main__":
    main()
