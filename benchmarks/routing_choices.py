"""Compares ways to describe clips to the router, on training and validation clips only.

    python -m benchmarks.routing_choices --data FOLDER [--cache FOLDER]

Validation clips alone can no longer tell such ways apart: the router is right on nearly all of them. So every task's
training and validation clips are divided into four parts that share no speaker and no recording. Each part in turn is
routed by what the other three teach. No test clip is read. The table is in docs/routing.md.
"""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

import streams
from benchmarks.routing_features import ALTERED, COUNTS, NAMES, SHARED
from benchmarks.routing_metrics import ALIKE, Rows, auroc, table
from cl_ast.audio import synthesis
from cl_ast.audio.reading import SAMPLE_RATE, Waveform, read_all
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.router import ALPHA, KINDS, TaskRouting, learn
from cl_ast.router.copies import coded, copies, low_passed
from cl_ast.router.kinds import State, noise_fits
from cl_ast.router.moments import shrunk
from cl_ast.router.sound import BLOCK, LEVEL, SHORTEST, STEP, crossfaded, repeated, sound_of
from cl_ast.router.space import DIMENSIONS

PARTS = 4
KIND = "discriminant"
_LONGEST = 3 * SAMPLE_RATE


def silence_around(clip: Waveform) -> Waveform:
    """Add half a second of digital silence before the clip and a second after it."""
    return np.pad(clip, (SAMPLE_RATE // 2, SAMPLE_RATE))


VIEWS: Mapping[str, Callable[[Waveform], Waveform]] = {
    "plain": lambda clip: clip,
    "band": low_passed,
    **ALTERED,
    "silence around": silence_around,
}


def in_pieces(clip: Waveform) -> Waveform:
    """Return a clip in whole tenths of a second; of more than three seconds, its beginning, middle and end."""
    if len(clip) > _LONGEST:
        piece = _LONGEST // 3 + BLOCK
        starts = (0, (len(clip) - piece) // 2, len(clip) - piece)
        clip = crossfaded([clip[start : start + piece] for start in starts])[:_LONGEST]
    return repeated(clip, max(SHORTEST, len(clip) // STEP * STEP))


def levelled(clip: Waveform) -> Waveform:
    """Return the same at one level."""
    clip = in_pieces(clip)
    level = max(float(np.sqrt(np.mean(clip.astype(np.float64) ** 2))), 1e-8)
    return (clip * (LEVEL / level)).astype(np.float32)


DESCRIBED: Mapping[str, Callable[[Waveform], Waveform]] = {
    "its sound": sound_of,
    "all of it, at one level": levelled,
    "as it is": in_pieces,
}
# The speaker or the recording of a clip, from the name of its file.
GROUPS: Mapping[str, Callable[[str], str]] = {
    "esc10": lambda name: name.rpartition("-")[0],
    "us8k": lambda name: name.split("-")[0],
    "asc": lambda name: name.split("_")[0],
    "fsdd": lambda name: name.split("_")[1],
    "emodb": lambda name: name[:2],
}
FIVE = tuple(f"copy {number}" for number in range(5))  # those of `cl_ast.router.copies`
COPIES = {"five": FIVE, "and noise around": (*FIVE, "noise"), "and other levels": (*FIVE, "noise", "level")}
POOLINGS = ("mean+std", "mean")
LAYERS = (1, 2, 3)
Pooled = dict[tuple[int, str], Tensor]  # by number of layers and pooling: (n, values)


def noise_around(clip: Waveform) -> Waveform:
    """Add up to a second of noise before and after a clip, 30 to 60 dB under it; the same for the same clip."""
    random = np.random.default_rng(len(clip) + int(1e6 * float(np.abs(clip).mean())))
    level = float(np.sqrt(np.mean(clip.astype(np.float64) ** 2))) * 10 ** (-random.uniform(30, 60) / 20)
    before, after = random.integers(0, SAMPLE_RATE, 2)
    noise = random.normal(size=before + after) * level
    return np.concatenate([noise[:before], clip, noise[before:]]).astype(np.float32)


def other_level(clip: Waveform) -> Waveform:
    """Return the clip up to 30 dB quieter or 10 dB louder."""
    gain = np.random.default_rng(len(clip) + 1 + int(1e6 * float(np.abs(clip).mean()))).uniform(-30, 10)
    return (clip * np.float32(10 ** (gain / 20))).clip(-1, 1)


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
                random = np.random.default_rng(20260101)
                views = {"plain": [synthesis.background(random).astype(np.float32) for _ in range(512)]}
                noises = [synthesis.noise(random).astype(np.float32) for _ in range(100)]
                views["noise"] = [copy for one in noises for copy in (one, low_passed(one), coded(one))]
            else:
                clips = read_all([clip.path for clip in chosen(data / name)])
                views = {view: [change(clip) for clip in clips] for view, change in VIEWS.items()}
                each = zip(*(copies(clip) for clip in clips), strict=True)
                views |= {f"copy {number}": list(one) for number, one in enumerate(each)}
                views["noise"] = [noise_around(clip) for clip in clips]
                views["level"] = [silence_around(other_level(clip)) for clip in clips]
            made = {view: pooled_layers(backbone, [prepare(clip) for clip in some]) for view, some in views.items()}
            torch.save(made, path)
            print("ready:", path.name, flush=True)
        out[name] = torch.load(path)
    return out


def chosen(data: Path) -> list[streams.Clip]:
    """Return at most 210 training and validation clips of a task, the same in each run."""
    task = streams.load(str(data))
    clips = [clip for clip in (*task.train, *task.validation) if clip.path.stem not in SHARED]
    order = np.random.default_rng(0).permutation(len(clips))[: COUNTS["train"] + COUNTS["validation"]]
    return [clips[i] for i in order]


def space(background: Tensor, dimensions: int) -> Callable[[Tensor], Tensor]:
    """Return the map from pooled clips to descriptions, as `RouterSpace.of` makes it from a background."""
    generator = torch.Generator().manual_seed(1)
    width = background.shape[1]
    basis = torch.eye(width)
    if width > dimensions:
        basis = torch.linalg.qr(torch.randn(width, dimensions, generator=generator, dtype=torch.float64))[0].float()
    projected = (background @ basis).double()
    mean = projected.mean(dim=0)
    covariance = (projected - mean).T @ (projected - mean) / len(projected)
    values, vectors = torch.linalg.eigh(shrunk(covariance, 0.1))
    whitening = (vectors @ torch.diag((covariance.diagonal().mean() / values).sqrt()) @ vectors.T).float()
    return lambda pooled: normalize((pooled @ basis - mean.float()) @ whitening, dim=1)


Described = Mapping[str, Mapping[str, Tensor]]  # by task, by view or copy: (n, dimensions)


def measured(
    found: Mapping[str, Mapping[str, Pooled]],
    parts: Mapping[str, Tensor],
    key: tuple[int, str],
    copied: Sequence[str],
) -> dict[str, list[float]]:
    """Return for each part the task accuracy by view, and the AUROC of a task, or a pair, that is left out."""
    describe = space(found["background"]["plain"][key], DIMENSIONS)
    noises = describe(found["background"]["noise"][key])
    noise = KINDS[KIND].learn(noises, torch.zeros(len(noises), dtype=torch.long), generator())
    described = {task: {view: describe(pooled[key]) for view, pooled in found[task].items()} for task in NAMES}
    out: dict[str, list[float]] = {view: [] for view in (*VIEWS, "left out", "own rejected")}
    for part in range(PARTS):
        for name, value in choosing(described, parts, part, copied).items():
            out[name].append(value)
        for name, value in rejecting(described, parts, part, copied, noise).items():
            out[name].append(value)
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
    described: Described, parts: Mapping[str, Tensor], part: int, copied: Sequence[str], noise: State
) -> dict[str, float]:
    """Return the mean AUROC of a task, or of ESC-10 and US8K, that is left out; and the share of own clips rejected.

    The next part calibrates, and the other two teach.
    """
    routing = {}
    for task in NAMES:
        calibrates = parts[task] == (part + 1) % PARTS
        teaches = (parts[task] != part) & ~calibrates
        routing[task] = learn(
            torch.cat([described[task][name][teaches] for name in copied]),
            [0] * int(teaches.sum()),
            described[task]["plain"][calibrates],
            generator=generator(),
            kind=KIND,
            copies=len(copied),
            noise=noise,
        )
    unseen = {task: described[task]["plain"][parts[task] == part] for task in NAMES}
    each = []
    for left_out in ({"asc"}, {"fsdd"}, {"emodb"}, ALIKE):
        rest = {task: one for task, one in routing.items() if task not in left_out}
        inside = trust(rest, noise, torch.cat([unseen[task] for task in rest]))
        each.append(auroc(inside, trust(rest, noise, torch.cat([unseen[task] for task in sorted(left_out)]))))
    own = trust(routing, noise, torch.cat(list(unseen.values())))
    return {"left out": statistics.mean(each), "own rejected": float((own < ALPHA).float().mean())}


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
@click.option("--cache", type=click.Path(path_type=Path), help="Where pooled clips are cached between runs.")
def main(data: Path, cache: Path | None) -> None:
    """Print the table of choices."""
    torch.set_num_threads(1)
    cache = cache or Path(tempfile.gettempdir()) / "cl-ast-routing-choices"
    backbone = pretrained.load("ast-mini", device="cpu")
    parts = {name: parts_of(data / name) for name in NAMES}
    rows: Rows = []
    for how in DESCRIBED:
        found = described_clips(data, backbone, cache, how)
        for copied, pooling, layers in product(COPIES, POOLINGS, LAYERS):
            each = measured(found, parts, (layers, pooling), COPIES[copied])
            both = [statistics.mean(pair) for pair in zip(each["plain"], each["band"], strict=True)]
            rows.append(
                {"described": how, "copies": copied, "pooling": pooling, "layers": layers, "plain and band": both}
                | dict(each)
            )
    table("Task accuracy % of clips that share no speaker or recording with what is learned", rows)


if __name__ == "__main__":
    main()
