"""Compares ways to describe clips to the router, on training and validation clips only.

    python -m benchmarks.routing_choices --data FOLDER [--cache FOLDER]

Validation clips alone can no longer tell such ways apart: the router is right on nearly all of them. So every task's
training and validation clips are divided into four parts that share no speaker and no recording. Each part in turn is
routed by what the other three teach. No test clip is read. The table is in docs/routing-measured.md.
"""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

import streams
from benchmarks.routing_features import ALTERED, COUNTS, NAMES, drawn, noise_around
from benchmarks.routing_metrics import ALIKE, Rows, auroc, table
from cl_ast.audio.clip_reader import read_all
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.router import ALPHA, KINDS, TaskRouting, learn
from cl_ast.router.copies import COPIES, copies, low_passed
from cl_ast.router.kinds import State, noise_fits
from cl_ast.router.sound import shaped, sound_of, without_silence
from cl_ast.router.space import mean_and_whitening, projection, synthetic_clips

PARTS = 4
KIND = "discriminant"


def silence_around(clip: Waveform, before: float, after: float) -> Waveform:
    """Add digital silence before and after the clip, so many seconds each."""
    return np.pad(clip, (round(before * SAMPLE_RATE), round(after * SAMPLE_RATE)))


VIEWS: Mapping[str, Callable[[Waveform], Waveform]] = {
    "plain": lambda clip: clip,
    "band": low_passed,
    **ALTERED,
    "silence around": partial(silence_around, before=0.5, after=1.0),
    "long silence": partial(silence_around, before=3.0, after=5.0),
    "long noise": partial(noise_around, before=3.0, after=5.0),
}


DESCRIBED: Mapping[str, Callable[[Waveform], Waveform]] = {
    "no silence": lambda clip: shaped(without_silence(clip)),  # as the releases before described it
    "little silence": sound_of,
    "all of it": shaped,
}
# The speaker or the recording of a clip, from the name of its file.
GROUPS: Mapping[str, Callable[[str], str]] = {
    "esc10": lambda name: name.rpartition("-")[0],
    "us8k": lambda name: name.split("-")[0],
    "asc": lambda name: name.split("_")[0],
    "fsdd": lambda name: name.split("_")[1],
    "emodb": lambda name: name[:2],
}
COPIED = {
    "five": tuple(f"copy {number}" for number in range(5)),  # those of the releases before: none has noise around it
    "six": tuple(f"copy {number}" for number in range(COPIES)),
}
REJECTED = ("plain", "band", "its middle second")  # views for which rejecting is measured
CALIBRATED = ("clips", "and copies")  # what calibrates: validation clips as they are, or with their copies
POOLINGS = ("mean+std", "mean")
LAYERS = (1, 2, 3)
Pooled = dict[tuple[int, str], Tensor]  # by number of layers and pooling: (n, values)


def pooled_layers(backbone: Backbone, clips: Sequence[Waveform]) -> Pooled:
    """Return what each number of layers and each pooling makes of clips of any length."""
    found: dict[int, Pooled] = {}
    for length in sorted({len(clip) for clip in clips}):
        same = [row for row, clip in enumerate(clips) if len(clip) == length]
        for part in (same[i : i + 32] for i in range(0, len(same), 32)):
            batch = _pooled(backbone, [clips[row] for row in part])
            found |= {row: {key: value[at] for key, value in batch.items()} for at, row in enumerate(part)}
    return {key: torch.stack([found[row][key] for row in range(len(clips))]) for key in found[0]}


def _pooled(backbone: Backbone, clips: Sequence[Waveform]) -> Pooled:
    front_end = backbone.front_end(len(clips[0]) / SAMPLE_RATE)
    out: Pooled = {}
    with torch.inference_mode():
        tokens = backbone.embed(front_end(clips, backbone.device))
        for layer in LAYERS:
            tokens = backbone.run(tokens, first=layer - 1, last=layer)
            patches = tokens[:, backbone.family.special_tokens :].float()
            mean = normalize(patches.mean(dim=1), dim=1)
            out[layer, "mean"] = mean
            out[layer, "mean+std"] = torch.cat([mean, normalize(patches.std(dim=1, correction=0), dim=1)], dim=1)
    return out


def parts_of(data: Path) -> Tensor:
    """Return a part from 0 to 3 for each chosen clip of a task (n,): no two parts share a speaker or a recording."""
    groups = [GROUPS[data.name](clip.path.stem) for clip in chosen(data)]
    order = np.random.default_rng(0).permutation(sorted(set(groups)))
    place = {group: index % PARTS for index, group in enumerate(order.tolist())}
    return torch.tensor([place[group] for group in groups])


def described_clips(data: Path, backbone: Backbone, cache: Path, how: str) -> dict[str, dict[str, Pooled]]:
    """Return the pooled clips of every task, by view or copy, and of the synthetic background; cached in a folder."""
    out = {}
    prepare = DESCRIBED[how]
    for name in ("background", *NAMES):
        path = cache / f"{name}-{how}.pt"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            if name == "background":
                views = dict(zip(("plain", "noise"), synthetic_clips(), strict=True))
            else:
                clips = read_all([clip.path for clip in chosen(data / name)])
                views = {view: [change(clip) for clip in clips] for view, change in VIEWS.items()}
                each = zip(*(copies(clip) for clip in clips), strict=True)
                views |= {f"copy {number}": list(one) for number, one in enumerate(each)}
            made = {view: pooled_layers(backbone, [prepare(clip) for clip in some]) for view, some in views.items()}
            torch.save(made, path)
            print("ready:", path.name, flush=True)
        out[name] = torch.load(path)
    return out


def chosen(data: Path) -> list[streams.Clip]:
    """Return at most 210 training and validation clips of a task, the same in each run."""
    task = streams.load(str(data))
    return drawn((*task.train, *task.validation), COUNTS["train"] + COUNTS["validation"])


def space(background: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the map from pooled clips to descriptions, as `RouterSpace.of` makes it from a background."""
    basis = projection(background.shape[1])
    mean, whitening = (one.float() for one in mean_and_whitening(background @ basis))
    return lambda pooled: normalize((pooled @ basis - mean) @ whitening, dim=1)


Described = Mapping[str, Mapping[str, Tensor]]  # by task, by view or copy: (n, dimensions)


def measured(
    found: Mapping[str, Mapping[str, Pooled]],
    parts: Mapping[str, Tensor],
    key: tuple[int, str],
    copied: Sequence[str],
    calibrated: str,
) -> dict[str, list[float]]:
    """Return for each part the task accuracy by view, what is rejected, and the AUROC of a task that is left out."""
    describe = space(found["background"]["plain"][key])
    noises = describe(found["background"]["noise"][key])
    noise = KINDS[KIND].learn(noises, torch.zeros(len(noises), dtype=torch.long), generator())
    described = {task: {view: describe(pooled[key]) for view, pooled in found[task].items()} for task in NAMES}
    out: dict[str, list[float]] = {}
    for part in range(PARTS):
        for name, value in choosing(described, parts, part, copied).items():
            out.setdefault(name, []).append(value)
        for name, value in rejecting(described, parts, part, copied, calibrated, noise).items():
            out.setdefault(name, []).append(value)
    return out


def choosing(described: Described, parts: Mapping[str, Tensor], part: int, copied: Sequence[str]) -> dict[str, float]:
    """Return the task accuracy of a part by view, ESC-10 and US8K counting as one task."""
    states = []
    for task in NAMES:
        training = torch.cat([described[task][name][parts[task] != part] for name in copied])
        states.append(KINDS[KIND].learn(training, torch.zeros(len(training), dtype=torch.long), generator()))
    scores = KINDS[KIND].chooser(states)
    found = {}
    for view in VIEWS:
        right = []
        for index, task in enumerate(NAMES):
            choice = scores(described[task][view][parts[task] == part]).argmax(dim=1)
            same = [i for i, name in enumerate(NAMES) if i == index or {name, task} == ALIKE]
            right.append(float(torch.isin(choice, torch.tensor(same)).float().mean()))
        found[view] = statistics.mean(right)
    return found


def rejecting(
    described: Described, parts: Mapping[str, Tensor], part: int, copied: Sequence[str], calibrated: str, noise: State
) -> dict[str, float]:
    """Return the mean AUROC of a task, or of ESC-10 and US8K, that is left out; and the share of own clips rejected.

    The next part calibrates, and the other two teach.
    """
    routing = {}
    for task in NAMES:
        calibrates = parts[task] == (part + 1) % PARTS
        teaches = (parts[task] != part) & ~calibrates
        calibrating = copied if calibrated == "and copies" else ["plain"] * len(copied)
        routing[task] = learn(
            torch.cat([described[task][name][teaches] for name in copied]),
            [0] * int(teaches.sum()),
            torch.cat([described[task][name][calibrates] for name in calibrating]),
            generator=generator(),
            kind=KIND,
            copies=len(copied),
            noise=noise,
        )
    found: dict[str, float] = {}
    for view in REJECTED:
        unseen = {task: described[task][view][parts[task] == part] for task in NAMES}
        each = []
        for left_out in ({"asc"}, {"fsdd"}, {"emodb"}, ALIKE):
            rest = {task: one for task, one in routing.items() if task not in left_out}
            inside = trust(rest, noise, torch.cat([unseen[task] for task in rest]))
            each.append(auroc(inside, trust(rest, noise, torch.cat([unseen[task] for task in sorted(left_out)]))))
        own = trust(routing, noise, torch.cat(list(unseen.values())))
        found[f"left out, {view}"] = statistics.mean(each)
        found[f"own rejected, {view}"] = float((own < ALPHA).float().mean())
    return found


def trust(routing: Mapping[str, TaskRouting], noise: State, clips: Tensor) -> Tensor:
    """Return the p-value of each clip (n,) under the task that is chosen for it."""
    chosen = KINDS[KIND].chooser([one.state for one in routing.values()])(clips).argmax(dim=1)
    fits = noise_fits(noise, clips)
    each = torch.stack([one.p_values(clips, fits) for one in routing.values()], dim=1)
    return each.gather(1, chosen[:, None])[:, 0]


def generator() -> torch.Generator:
    """Return the generator of every learning here."""
    return torch.Generator().manual_seed(0)


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--described", multiple=True, type=click.Choice(list(DESCRIBED)), help="Only these.  [default: all]")
@click.option("--cache", type=click.Path(path_type=Path), help="Where pooled clips are cached between runs.")
def main(data: Path, described: tuple[str, ...], cache: Path | None) -> None:
    """Print the table of choices."""
    torch.set_num_threads(1)
    cache = cache or Path(tempfile.gettempdir()) / "cl-ast-routing-choices"
    backbone = pretrained.load("ast-mini", device="cpu")
    parts = {name: parts_of(data / name) for name in NAMES}
    rows: Rows = []
    for how in described or tuple(DESCRIBED):
        found = described_clips(data, backbone, cache, how)
        for copied, calibrated, pooling, layers in product(COPIED, CALIBRATED, POOLINGS, LAYERS):
            each = measured(found, parts, (layers, pooling), COPIED[copied], calibrated)
            both = [statistics.mean(pair) for pair in zip(each["plain"], each["band"], strict=True)]
            setting = {"described": how, "copies": copied, "calibrated": calibrated, "pooling": pooling}
            rows.append({**setting, "layers": layers, "plain and band": both, **each})
    table("Task accuracy % of clips that share no speaker or recording with what is learned", rows)


if __name__ == "__main__":
    main()
