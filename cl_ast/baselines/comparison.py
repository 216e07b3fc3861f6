"""Compares ways to learn a stream over several orders and seeds. Each finished run is a line of results.csv."""

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ast.baselines.run import RUN, TRIAL, Finished, Job, Runner, Setting, cells_in, cells_text
from cl_ast.baselines.scenarios import Stream
from cl_ast.baselines.table import Spec
from cl_ast.environment import package_versions
from cl_ast.evaluation import metrics
from cl_ast.experiments.results import Results, Row, Value
from cl_ast.training.engine import Engine
from cl_ast.wording import duration

KEYS = ("kind", "stream", "scenario", "backbone", "training", "method", "order", "seed", "answer")
VALUES = (
    "last_accuracy",
    "mean_incremental_accuracy",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "trained_parameters",
    "stored_bytes",
    "replay_bytes",
    "seconds",
    "accuracies",
    "chance",
    "versions",
    "reason",
)
# What is averaged over the runs of a method, in the order of the table's columns.
AVERAGED = (
    "last_accuracy",
    "mean_incremental_accuracy",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "intransigence",
    "less_than_ours",
    "trained_parameters",
    "stored_bytes",
    "replay_bytes",
    "seconds",
)
_OURS = ("ours", "routed")

TASK_DIGITS, BACKBONE_DIGITS = 8, 16  # of their fingerprints that a line has


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over runs, and its standard deviation (of a sample); None for one run."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean | None":
        """Return the mean of some values; None for none."""
        if not values:
            return None
        return cls(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


class Comparison:
    """The runs of several ways to learn one stream, and what they come to."""

    def __init__(
        self,
        stream: Stream,
        backbone: str,
        setting: Setting,
        specs: Sequence[Spec],
        *,
        orders: int,
        seeds: Sequence[int],
        folder: Path,
    ) -> None:
        """
        Args:
            backbone: its fingerprint.
            specs: in the order of the table.
            orders: how many.
            folder: where results.csv is.

        Raises:
            StreamError: the stream cannot be divided in one of the orders.
        """
        for order in range(orders):
            stream.steps(order)
        self._stream = stream
        self._specs = list(specs)
        self._numbers = [(order, seed) for order in range(orders) for seed in seeds]
        self._first = seeds[0]
        self._folder = folder
        self._common: dict[str, Value] = {
            "stream": stream_name(stream.title, [task.fingerprint() for task in stream.blocks]),
            "scenario": stream.scenario,
            "backbone": backbone[:BACKBONE_DIGITS],
            "training": setting.text,
        }

    def run(self, runner: Runner, engine: Engine | None, say: Callable[[str], None]) -> list[Row]:
        """Run what results.csv does not have yet; return the lines of all runs.

        Options that are chosen on validation clips are chosen first, in the first order and with the first seed. A run
        that fails is a line with its reason, and the others go on; the next call tries it again.

        Args:
            engine: runs several at once; None runs them one by one with `runner`.
            say: called with a line about each run that is done.
        """
        with Results(self._folder, KEYS, VALUES) as results:
            trials = [Job(TRIAL, one.text, 0, self._first) for spec in self._specs for one in spec.trials()]
            self._fill(results, trials, runner, engine, say)
            chosen = [_best(spec, self._lines(results, spec.trials())) for spec in self._specs]
            jobs = [Job(RUN, spec.text, order, seed) for order, seed in self._numbers for spec in chosen]
            self._fill(results, jobs, runner, engine, say)
            return [row for job in jobs for row in self._rows_of(results, job)]

    def _fill(
        self, results: Results, jobs: Sequence[Job], runner: Runner, engine: Engine | None, say: Callable[[str], None]
    ) -> None:
        missing = [job for job in dict.fromkeys(jobs) if not self._is_done(results, job)]
        found: Iterator[list[Finished]] = map(runner, missing) if engine is None else engine.map(runner, missing)
        for job, finished in zip(missing, found, strict=True):
            for one in finished:
                results.append(self._row(job, one))
            say(_line(job, finished))

    def _is_done(self, results: Results, job: Job) -> bool:
        rows = self._rows_of(results, job)
        return bool(rows) and not any(row["reason"] for row in rows)

    def _rows_of(self, results: Results, job: Job) -> list[Row]:
        """Return the last lines of a job; those of a failure only where no later run succeeded."""
        wanted = {key: str(value) for key, value in {**self._common, **_identity(job)}.items()}
        return succeeded(
            row for row in results.latest().values() if all(row[key] == value for key, value in wanted.items())
        )

    def _lines(self, results: Results, specs: Sequence[Spec]) -> dict[str, float]:
        """Return the accuracy of each trial that succeeded, by its text."""
        rows = [row for spec in specs for row in self._rows_of(results, Job(TRIAL, spec.text, 0, self._first))]
        return {row["method"]: float(row["last_accuracy"]) for row in rows if not row["reason"]}

    def _row(self, job: Job, one: Finished) -> dict[str, Value]:
        count = self._stream.step_count
        measured = job.kind == RUN and not one.error
        return {
            **self._common,
            **_identity(job),
            "answer": one.answer,
            "last_accuracy": None if one.error else metrics.average_accuracy(one.cells, count),
            "mean_incremental_accuracy": metrics.mean_incremental_accuracy(one.cells, count) if measured else None,
            "forgetting": metrics.forgetting(one.cells, count) if measured else None,
            "backward_transfer": metrics.backward_transfer(one.cells, count) if measured else None,
            "forward_transfer": one.forward_transfer,
            "trained_parameters": one.cost.trained_parameters,
            "stored_bytes": one.cost.stored_bytes,
            "replay_bytes": one.cost.replay_bytes,
            "seconds": round(one.seconds, 3),
            "accuracies": cells_text(one.cells),
            "chance": json.dumps(self._stream.chance(job.order)),
            "versions": " ".join(f"{name}={version}" for name, version in package_versions().items()),
            "reason": one.error,
        }


def stream_name(title: str, fingerprints: Iterable[str]) -> str:
    """Return what a line calls a stream: its title, and the first digits of the fingerprint of each task."""
    return " ".join([title, *(one[:TASK_DIGITS] for one in fingerprints)])


def succeeded(rows: Iterable[Row]) -> list[Row]:
    """Return the lines of a job without those of a failure, or all of them where no run succeeded."""
    found = list(rows)
    return [row for row in found if not row["reason"]] or found


def _identity(job: Job) -> dict[str, Value]:
    return {"kind": job.kind, "method": job.baseline, "order": job.order, "seed": job.seed}


def _best(spec: Spec, accuracies: Mapping[str, float]) -> Spec:
    """Return the trial with the best accuracy, the first of several; the spec itself where none succeeded."""
    known = [trial for trial in spec.trials() if trial.text in accuracies]
    return max(known, key=lambda trial: accuracies[trial.text], default=spec)


def summary(rows: Sequence[Row], steps: int) -> list[dict[str, Any]]:
    """Return a line for each method and way to answer: means over its runs, with standard deviations.

    Intransigence is against `joint` and `less_than_ours` is how much lower the last accuracy is than that of ours,
    routed, each in the same order with the same seed; None where that was not run.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["method"], row["answer"]), []).append(row)
    joint = {_number(row): cells_in(row["accuracies"]) for row in rows if _name(row) == "joint" and not row["reason"]}
    ours = {_number(row): row for row in rows if (_name(row), row["answer"]) == _OURS}
    lines = []
    for (method, answer), runs in found.items():
        good = [run for run in runs if not run["reason"]]
        values = {name: [float(run[name]) for run in good if run[name]] for name in AVERAGED if name in VALUES}
        values["intransigence"] = [
            value
            for run in good
            if (value := metrics.intransigence(cells_in(run["accuracies"]), joint.get(_number(run), {}), steps))
            is not None
        ]
        values["less_than_ours"] = [
            float(ours[_number(run)]["last_accuracy"]) - float(run["last_accuracy"])
            for run in good
            if _number(run) in ours
        ]
        means = {name: Mean.of(values[name]) for name in AVERAGED}
        lines.append(
            {
                "method": method,
                "answer": answer,
                "runs": len(good),
                **{
                    name: None if one is None else {"mean": one.mean, "sd": one.deviation}
                    for name, one in means.items()
                },
                "reason": next((run["reason"] for run in runs if run["reason"]), ""),
            }
        )
    return lines


def _name(row: Row) -> str:
    return row["method"].partition(":")[0]


def _number(row: Row) -> tuple[str, str]:
    return row["order"], row["seed"]


def _line(job: Job, finished: Sequence[Finished]) -> str:
    what = f"{job.baseline}, order {job.order}, seed {job.seed}"
    if finished[0].error:
        return f"{what}: {finished[0].error}"
    shown = []
    for one in finished:
        last = max(i for i, _ in one.cells)
        row = [value for (i, _), value in one.cells.items() if i == last]
        name = f"{one.answer} " if one.answer else ""
        shown.append(f"{name}{statistics.mean(row):.1%}")
    of = "validation clips" if job.kind == TRIAL else "test clips"
    return f"{what}: {', '.join(shown)} of {of} after the last step, in {duration(finished[0].seconds)}"
