"""Measures how well each router finds a clip's task, and how well it says that there is none.

    python -m benchmarks.routing --data FOLDER [--registry FOLDER] [--cache FOLDER] [--split validation|test]

`ast-mini` describes real recordings; descriptions are cached in a folder. The protocol is in docs/routing-measured.md.
With `--registry`, which has the five tasks learned by `cl-ast stream`, label accuracy and the baselines that run every
head are measured too. Prints markdown tables.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import click
import torch
from torch import Tensor

from benchmarks.routing_baselines import BASELINES, energy, entropy
from benchmarks.routing_bench import Bench, by_class, whole
from benchmarks.routing_features import NAMES, WholeClips, foreign_sounds, load
from benchmarks.routing_metrics import ALIKE, Rows, Task, accuracy, auroc, false_positives, table
from cl_ast.backbone import pretrained
from cl_ast.router import ALPHA, DEFAULT, KINDS, Router, RouterSpace
from cl_ast.router.kinds import noise_fits
from cl_ast.router.tie_break import confidence_calibration, decide

SEEDS = (0, 1, 2)
SLOW = ("RanPAC, M = 1,024", "joint linear (upper bound)")  # these are not measured on every set of tasks
TABLES = ("choosing", "altered", "labels", "rejecting", "twenty", "many", "costs", "whole")
VIEWS = ("plain", "band")


def choosing(bench: Bench) -> Rows:
    """Return the mean task accuracy over all sets of 2, 3, 4 and 5 tasks, plain and cut at 3.4 kHz."""
    rows: Rows = []
    everything = whole(bench.features)
    for method in (*KINDS, *BASELINES):
        found: dict[str, list[float]] = {}
        for seed in SEEDS:
            each: dict[str, list[float]] = {}
            for size in (2, 3, 4, 5):
                sets = list(combinations(everything, size))
                if method in SLOW and size < 5:
                    continue
                for tasks in sets:
                    scores = bench.scores(tasks, method, seed)
                    for view in VIEWS:
                        choices = bench.choices(tasks, scores, view)
                        each.setdefault(f"{size} {view}", []).append(accuracy(tasks, choices))
                        if size == 5:
                            each.setdefault(f"5 {view}, apart", []).append(accuracy(tasks, choices, alike=True))
            for name, values in each.items():
                found.setdefault(name, []).append(statistics.mean(values))
        names = [f"{size} {view}" for size in (2, 3, 4, 5) for view in VIEWS] + [f"5 {view}, apart" for view in VIEWS]
        rows.append({"router": method, **{name: found.get(name, []) for name in names}})
    return rows


def per_task(bench: Bench) -> Rows:
    """Return the share of each task's clips that reach it, for each way to alter them; means over the seeds."""
    tasks = whole(bench.features)
    rows: Rows = []
    views = list(bench.features["asc"][bench.split].views)
    for method in KINDS:
        for view in views:
            choices = [bench.choices(tasks, bench.scores(tasks, method, seed), view) for seed in SEEDS]
            own = [[float((c[i] == i).float().mean()) for c in choices] for i in range(len(tasks))]
            apart = [accuracy(tasks, one, alike=True) for one in choices]
            cells = {name: [statistics.mean(values)] for name, values in zip(NAMES, own, strict=True)}
            rows.append({"router": method, "clips": view, **cells, "mean, apart": apart})
    return rows


def splitting(bench: Bench, groups: int, faster: bool) -> Rows:
    """Return the task accuracy where every set is split into tasks of some of its classes, or of one."""
    rows: Rows = []
    for method in (*KINDS, *BASELINES):
        each: dict[str, list[float]] = {view: [] for view in VIEWS}
        # The largest joint fit takes minutes: one seed.
        for seed in SEEDS[:1] if method.startswith("joint") and faster else SEEDS:
            tasks = by_class(bench.features, groups, faster, seed)
            scores = bench.scores(tasks, method, seed)
            for view in VIEWS:
                each[view].append(accuracy(tasks, bench.choices(tasks, scores, view)))
        rows.append({"router": method, "tasks": len(tasks), **each})
    return rows


def rejecting(bench: Bench, foreign: Mapping[str, Tensor]) -> Rows:
    """Return how well clips of a task are told from the others' when it is left out: each in turn, and a pair."""
    everything = whole(bench.features)
    outs = [[task] for task in everything] + [[task for task in everything if task[0] in ALIKE]]
    rows: Rows = []
    for method in (*KINDS, *list(BASELINES)[:-1]):  # the upper bound only chooses
        for view in VIEWS:
            left: dict[str, list[float]] = {}
            rejected: list[float] = []
            known: dict[str, list[float]] = {name: [] for name in foreign}
            for seed in SEEDS[:1] if method in SLOW else SEEDS:
                trust = _trust(bench, everything, method, seed)
                own = trust(torch.cat([bench.clips(task, view) for task in everything]))
                for name, clips in foreign.items():
                    known[name].append(float((trust(clips) >= ALPHA).float().mean()))
                rejected.append(float((own < ALPHA).float().mean()))
                for out in outs:
                    rest = [task for task in everything if task not in out]
                    trust = _trust(bench, rest, method, seed)
                    inside = trust(torch.cat([bench.clips(task, view) for task in rest]))
                    outside = trust(torch.cat([bench.clips(task, view) for task in out]))
                    name = " and ".join(task[0] for task in out)
                    left.setdefault(name, []).append(auroc(inside, outside))
                    if len(out) == 1:
                        left.setdefault("FPR at 95 % TPR", []).append(false_positives(inside, outside))
            cells = {name: [statistics.mean(values)] for name, values in left.items()}
            shown = {name: values if method in KINDS else "–" for name, values in known.items()}
            rows.append(
                {
                    "router": method,
                    "clips": view,
                    **cells,
                    "own rejected": rejected if method in KINDS else "–",
                    **shown,
                }
            )
    return rows


def _trust(bench: Bench, tasks: Sequence[Task], method: str, seed: int) -> Callable[[Tensor], Tensor]:
    """Return a function from clips to how well they fit their chosen task: a p-value, or a baseline's best score."""
    if method not in KINDS:
        scores = bench.scores(tasks, method, seed)
        return lambda clips: scores(clips).amax(dim=1)
    routing = bench.shipped(tasks, method, seed)
    chooser = bench.scores(tasks, method, seed)

    def trust(clips: Tensor) -> Tensor:
        chosen = chooser(clips).argmax(dim=1)
        noise = noise_fits(bench.noise[method], clips)
        each = torch.stack([one.p_values(clips, noise) for one in routing], dim=1)
        return each.gather(1, chosen[:, None])[:, 0] + 1e-6

    return trust


def labelling(bench: Bench, view: str) -> Rows:
    """Return how often task and label are right, beside the label by name and the baselines that run every head."""
    tasks = whole(bench.features)
    splits = [bench.features[name][bench.split] for name in NAMES]
    heads = [split.logits[view] for split in splits]
    right = [logits[n].argmax(dim=1) == s.labels for n, s, logits in zip(NAMES, splits, heads, strict=True)]
    given = statistics.mean(float(one.float().mean()) for one in right)
    rows: Rows = [{"router": "by name", "task": "–", "task, apart": "–", "task and label": [given]}]

    def add(method: str, all_choices: Sequence[Sequence[Tensor]]) -> None:
        both = [
            statistics.mean(
                float((ok & (c == i)).float().mean()) for i, (ok, c) in enumerate(zip(right, cs, strict=True))
            )
            for cs in all_choices
        ]
        apart = [accuracy(tasks, cs, alike=True) for cs in all_choices]
        plain = [accuracy(tasks, cs) for cs in all_choices]
        rows.append({"router": method, "task": plain, "task, apart": apart, "task and label": both})

    for method in (*KINDS, *BASELINES):
        add(method, [bench.choices(tasks, bench.scores(tasks, method, seed), view) for seed in SEEDS])
    for kind in KINDS:
        add(f"{kind}, two heads where close", [_settled(bench, tasks, kind, seed, view) for seed in SEEDS])
    for name, way in (("entropy over all heads", entropy), ("energy over all heads", energy)):
        add(name, [[way(logits).argmax(dim=1) for logits in heads]])
    return rows


@dataclass(frozen=True)
class Answer:
    """Has the logits of one head for one clip."""

    logits: Tensor


def _answers(logits: Mapping[str, Tensor], pairs: Sequence[tuple[int, str]]) -> list[Answer]:
    return [Answer(logits[name][row]) for row, name in pairs]


def _settled(bench: Bench, tasks: Sequence[Task], kind: str, seed: int, view: str) -> list[Tensor]:
    """Return the task of each clip, task by task, after the tie-break between two close tasks."""
    routing = [
        replace(one, confidence=confidence_calibration(bench.features[name]["validation"].logits["plain"][name]))
        for one, (name, _) in zip(bench.shipped(tasks, kind, seed), tasks, strict=True)
    ]
    router = Router(dict(zip(NAMES, routing, strict=True)), bench.noise[kind])
    out = []
    for task in tasks:
        answers = partial(_answers, bench.features[task[0]][bench.split].logits[view])
        decided = decide(router, bench.clips(task, view), answers)
        chosen = [NAMES.index(route.task) for route, _ in decided]
        out.append(torch.tensor(chosen))
    return out


def costs(bench: Bench) -> Rows:
    """Return the size per task, and the milliseconds to route a described clip among 1,000 tasks, in batches of 32."""
    tasks = whole(bench.features)
    clips = torch.cat([bench.clips(task, "plain") for task in tasks])[:32]
    rows: Rows = []
    for kind in KINDS:
        routing = bench.shipped(tasks, kind, 0)
        start = time.process_time()
        scores = KINDS[kind].chooser([routing[i % 5].state for i in range(1000)])
        made = time.process_time() - start
        spans = []
        for _ in range(15):
            start = time.process_time()
            scores(clips).sort(dim=1, descending=True)
            spans.append((time.process_time() - start) / len(clips))
        size = max(sum(t.numel() * t.element_size() for t in one.tensors().values()) for one in routing)
        rows.append(
            {
                "router": kind,
                "size per task, at most (bytes)": f"{size:,}",
                "CPU ms a clip, 1,000 tasks": f"{1e3 * statistics.median(spans):.2f}",
                "CPU s to put 1,000 tasks together": f"{made:.1f}",
            }
        )
    return rows


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option(
    "--registry", type=click.Path(path_type=Path, exists=True), help="The five tasks; their stored routing is not used."
)
@click.option("--cache", type=click.Path(path_type=Path), help="Where descriptions are cached between runs.")
@click.option(
    "--table", "wanted", multiple=True, type=click.Choice(TABLES), help="Print only these tables.  [default: all]"
)
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
def main(data: Path, registry: Path | None, cache: Path | None, wanted: tuple[str, ...], split: str) -> None:
    """Measure the routers and print the tables."""
    wanted = wanted or TABLES
    torch.set_num_threads(1)
    backbone = pretrained.load("ast-mini", device="cpu")
    spaces = {kind: RouterSpace.of(backbone, kind) for kind in KINDS}
    space = spaces[DEFAULT]  # all of them describe clips alike
    noise = {kind: one.noise for kind, one in spaces.items()}
    cache = cache or Path(tempfile.gettempdir()) / "cl-ast-routing"
    splits = sorted({"train", "validation", split})
    features = load(data, registry, cache, space, splits, "many" in wanted)
    bench = Bench(features, split, noise)
    if "choosing" in wanted:
        table("Choosing: task accuracy %", choosing(bench))
    if "altered" in wanted:
        table("Five tasks, each clip altered: % to its own task", per_task(bench))
    if "labels" in wanted and registry:
        for view in VIEWS:
            table(f"Five tasks, {view}: label accuracy %", labelling(bench, view))
    if "rejecting" in wanted:
        table("Rejecting: AUROC %, a task left out", rejecting(bench, foreign_sounds(space)))
    if "twenty" in wanted:
        table("Twenty tasks, made by splitting by class: task accuracy %", splitting(bench, 4, faster=False))
    if "many" in wanted:
        table("98 tasks of one class, as recorded and faster: task accuracy %", splitting(bench, 99, faster=True))
    if "costs" in wanted:
        table("What it costs", costs(bench))
    if "whole" in wanted:
        shared = load(data, None, cache / "whole", WholeClips.of(backbone), splits, many=False)
        table("A pass shared with the answer: % to its own task", per_task(Bench(shared, split, dict.fromkeys(KINDS))))


if __name__ == "__main__":
    main()
