"""Compares adapters and full fine-tuning of `ast-mini` on real recordings with those of a random backbone.

    python -m benchmarks.ast_mini_methods --data FOLDER --out docs/ast-mini-methods.csv

Each training appends one line to the file when it ends. A training that is in the file is not made again, so a stopped
run goes on. The seed decides the adapter's start, the order of clips and, where data has folds or speakers, which of
them are tested on. Validation clips choose the epoch (and full fine-tuning's rate); test clips choose nothing.
`--table` only prints the table.
"""

import csv
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch
from sklearn.model_selection import StratifiedGroupKFold
from transformers import ASTConfig, ASTModel

import streams
from cl_ast.adapters.spec import parse
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.experiments.grid import Grid, variants_of
from cl_ast.experiments.running import GridResults
from cl_ast.experiments.running import run as run_grid
from cl_ast.experiments.summary import compared
from cl_ast.training.options import HEADS, Hyperparameters

# Other clips of these recordings are kept apart from the data (its README): never trained on here.
SHARED = ("1-30344-A", "1-59513-A", "3-163459-A", "4-199261-A", *(f"203128-3-{i}-0" for i in (1, 3, 6, 9)))
METHODS = ("conformer", "bottleneck", "lora", "full", "linear")
# The papers' rate of full fine-tuning (5e-5) is for a backbone 35 times as large: the better of two on validation clips
# is used here, tried with the first seed.
FULL_RATES = (3e-4, 1e-3)

# A linear probe runs the backbone once, so its epochs are nearly free.
LINEAR_TIMES = 15


@dataclass(frozen=True)
class Data:
    """Names a data set, its epochs with a fresh head, and the fold that each seed tests on."""

    title: str
    epochs: int
    folds: tuple[str, ...] = ()


DATA = {
    "esc10": Data("ESC-10", 20, ("4", "3", "2")),
    "us8k": Data("US8K", 8, ("2", "1", "2")),
    "fsdd": Data("digits", 8),
    "emodb": Data("EmoDB", 20, ("14", "13", "12")),
    "asc": Data("Arabic commands", 8),
}


@dataclass(frozen=True)
class Run:
    """Describes one training. `head` is how it starts; accuracies are fractions.

    `backbone` is "ast-mini", "former" (its earlier weights) or "random".
    """

    backbone: str
    head: str
    task: str
    method: str
    seed: int
    rate: float
    epochs: int
    parameters: int
    validation: float
    test: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, str, int, float]:
        """What tells this training from the others."""
        return self.backbone, self.head, self.task, self.method, self.seed, self.rate


def read(path: Path) -> list[Run]:
    """Return the trainings that the file has already."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Run(r["backbone"], r["head"], r["task"], r["method"], int(r["seed"]), float(r["rate"]), int(r["epochs"]),
                int(r["parameters"]), float(r["validation"]), float(r["test"]), float(r["seconds"]))
            for r in csv.DictReader(file)
        ]  # fmt: skip


def append(path: Path, run: Run) -> None:
    """Add a training to the file."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow([field.name for field in fields(Run)])
        writer.writerow(astuple(run))


def load(folder: Path, name: str, seed: int) -> streams.Task:
    """Return the task as a seed splits it, without training on the recordings of `SHARED`."""
    folds = DATA[name].folds
    task = streams.load(str(folder / name), fold=folds[seed % len(folds)] if folds else None, seed=seed)
    training = [clip for clip in task.train if clip.path.stem not in SHARED]
    validation = [clip for clip in task.validation if clip.path.stem not in SHARED]
    if name == "us8k":
        training, validation = apart(training + validation, seed)
    return replace(task, train=tuple(training), validation=tuple(validation))


def apart(clips: list[streams.Clip], seed: int) -> tuple[list[streams.Clip], list[streams.Clip]]:
    """Split clips into training and a sixth for validation, with no recording in both.

    Several clips of US8K are cut from one recording, whose number comes first in their names. If training and
    validation shared recordings, the best epoch would be the one that has memorised them.
    """
    recordings = [clip.path.stem.split("-")[0] for clip in clips]
    labels = [clip.label for clip in clips]
    folds = StratifiedGroupKFold(6, shuffle=True, random_state=seed).split(clips, labels, recordings)
    # Recordings differ in length: choose the fold whose classes are distributed most like those of all clips.
    whole = Counter(labels)
    train, validation = min(
        folds, key=lambda pair: sum(abs(6 * n - whole[label]) for label, n in _counted(labels, pair[1], whole))
    )
    return [clips[i] for i in train], [clips[i] for i in validation]


def _counted(labels: list[str], rows: Iterable[int], whole: Iterable[str]) -> list[tuple[str, int]]:
    found = Counter(labels[row] for row in rows)
    return [(label, found[label]) for label in whole]


def random_backbone(seed: int) -> Backbone:
    """Return a backbone of ast-mini's shape with random weights."""
    torch.manual_seed(seed)
    config = ASTConfig.from_pretrained(pretrained.MINI_FOLDER)
    config._attn_implementation = "sdpa"
    model = ASTModel(config)
    torch.nn.init.trunc_normal_(model.embeddings.position_embeddings, std=0.02)
    return Backbone(model, f"random-{seed}")


def plan(backbones: list[str], tasks: list[str], methods: list[str], seeds: int) -> Iterator[tuple[str, str, int, str]]:
    """Yield what to train, seed by seed, so that a stopped run has complete seeds of the trained backbone."""
    for backbone in backbones:
        for seed in range(seeds):
            for task in tasks:
                for method in methods:
                    yield backbone, task, seed, method


def rates_of(method: str, earlier: list[Run], seed: int) -> tuple[float, ...]:
    """Return the rates to try: the method's own; for full fine-tuning `FULL_RATES`, then the better one of seed 0."""
    if method != "full":
        return (parse(method).learning_rate,)
    tried = [run for run in earlier if run.seed == 0]
    if seed == 0 or len(tried) < len(FULL_RATES):
        return FULL_RATES
    return (max(tried, key=lambda run: run.validation).rate,)


def train(
    backbone: Backbone, name: str, task: streams.Task, method: str, rate: float, seed: int, which: str, head: str
) -> Run:
    """Train a method on a task, and return what came of it."""
    epochs = DATA[name].epochs * (LINEAR_TIMES if method == "linear" else 1) // (2 if head == "probe" else 1)
    options = Hyperparameters(epochs, learning_rate=rate, head=head, seed=seed)
    tasks = {task.name: {"": task}}
    grid = Grid(tasks, variants_of([method], tasks, backbone), [seed], options=options, pooling="mean+std")
    with TemporaryDirectory() as folder, GridResults(Path(folder), grid, backbone) as results:
        (line,) = run_grid(results)
        found = compared(results, line)
    assert found.validation is not None and found.accuracy is not None and found.seconds is not None, found.error
    return Run(
        which, head, name, method, seed, rate, options.epochs, found.trainable_parameters,
        round(found.validation, 4), round(found.accuracy, 4), round(found.seconds, 1),
    )  # fmt: skip


def chosen(runs: list[Run]) -> list[Run]:
    """Return one run per backbone, head, task, method and seed: that of the rate with the best validation accuracy."""
    best: dict[tuple[str, str, str, str, int], Run] = {}
    for run in runs:
        key = run.key[:-1]
        if key not in best or run.validation > best[key].validation:
            best[key] = run
    return list(best.values())


def table(runs: list[Run]) -> Iterator[str]:
    """Yield the lines of a markdown table: mean ± standard deviation over the seeds, in percent."""
    cells: dict[tuple[str, str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in chosen(runs):
        cells[run.backbone, run.head, run.method][run.task].append(run)
    yield (
        "| backbone | initial head | method | parameters | "
        + " | ".join(one.title for one in DATA.values())
        + " | average |"
    )
    yield "|---|---|---|---|" + "---|" * (len(DATA) + 1)
    for (backbone, head, method), by_task in cells.items():
        means = [100 * statistics.mean(run.test for run in by_task[task]) for task in DATA if by_task[task]]
        average = f"{statistics.mean(means):.1f}" if len(means) == len(DATA) else ""
        parameters = next(iter(by_task.values()))[0].parameters
        row = " | ".join(_cell([100 * run.test for run in by_task[task]]) for task in DATA)
        yield f"| {backbone} | {head} | {method} | {parameters:,} | {row} | {average} |"


def _cell(tests: list[float]) -> str:
    if not tests:
        return ""
    return f"{statistics.mean(tests):.1f}" + (f" ± {statistics.stdev(tests):.1f}" if len(tests) > 1 else " (one seed)")


@click.command()
@click.option("--data", "folder", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/ast-mini-methods.csv"), show_default=True)
@click.option("--backbones", default="ast-mini,random", show_default=True)
@click.option("--tasks", default=",".join(DATA), show_default=True)
@click.option("--methods", default=",".join(METHODS), show_default=True)
@click.option("--head", type=click.Choice(HEADS), default="probe", show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--table", "only_table", is_flag=True, help="Only print the table of what is in the file.")
def main(
    folder: Path | None, out: Path, backbones: str, tasks: str, methods: str, head: str, seeds: int, only_table: bool
) -> None:
    """Train what is missing, then print the table."""
    if not only_table:
        if folder is None:
            raise click.UsageError("--data says where the recordings are")
        done = {run.key for run in read(out)}
        mini = pretrained.load(pretrained.MINI, device=torch.device("cpu"))
        for which, name, seed, method in plan(backbones.split(","), tasks.split(","), methods.split(","), seeds):
            rates = rates_of(method, [run for run in read(out) if run.key[:4] == (which, head, name, method)], seed)
            missing = [rate for rate in rates if (which, head, name, method, seed, rate) not in done]
            if not missing:
                continue
            task = load(folder, name, seed)
            backbone = mini if which == "ast-mini" else random_backbone(seed)
            for rate in missing:
                run = train(backbone, name, task, method, rate, seed, which, head)
                append(out, run)
                click.echo(run, err=True)
    for line in table(read(out)):
        click.echo(line)


if __name__ == "__main__":
    main()
