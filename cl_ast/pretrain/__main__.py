"""Runs `python -m cl_ast.pretrain`, which renders the clips, trains the backbone and writes it with its log."""

import logging
import os
from pathlib import Path

import click
from rich.console import Console
from rich.logging import RichHandler

from cl_ast.errors import ClAstError

CHUNK = 4_000  # clips per chunk
COUNT, SHARE = click.IntRange(1), click.FloatRange(0, 1)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the backbone and its log.")
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="Folder for clips.  [default: OUT/cache]")
@click.option(
    "--device",
    default="auto",
    type=click.Choice(["auto", "cuda", "cpu"]),
    show_default=True,
    help="Where to train; auto is the GPU, if there is one.",
)
@click.option("--resume", is_flag=True, help="Go on from the last validation of an interrupted training in OUT.")
@click.option("--seed", default=1, show_default=True, help="Seed of the clips, their mixing and the weights.")
@click.option("--steps", type=COUNT, default=6_500, show_default=True, help="Optimiser steps.")
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    default=0.0,
    help="Minutes after which training ends, done or not; 0 for no limit.",
)
@click.option("--words", type=COUNT, default=11, show_default=True, help=f"Chunks of {CHUNK} spoken words.")
@click.option("--phrases", type=COUNT, default=11, show_default=True, help=f"Chunks of {CHUNK} spoken phrases.")
@click.option("--sounds", type=COUNT, default=10, show_default=True, help=f"Chunks of {CHUNK} sounds.")
@click.option("--renderers", type=COUNT, help="Processes that render.  [default: one per core]")
@click.option("--workers", type=COUNT, help="Processes that train.  [default: 2 on a CPU, 1 on a GPU]")
@click.option("--bf16/--fp32", default=True, show_default=True, help="Train in mixed precision.")
@click.option("--batch-frames", type=COUNT, default=16_384, show_default=True, help="Frames (10 ms) of a batch.")
@click.option("--learning-rate", default=2e-3, show_default=True, help="Highest learning rate.")
@click.option(
    "--warmup-steps", type=COUNT, default=100, show_default=True, help="Steps until the highest learning rate."
)
@click.option(
    "--average-decay", type=SHARE, default=0.998, show_default=True, help="Decay of the running average, per step."
)
@click.option(
    "--dropped-patches",
    type=click.FloatRange(0, 0.99),
    default=0.3,
    show_default=True,
    help="Share of patches left out of a step.",
)
@click.option(
    "--full-at-end",
    type=SHARE,
    default=0.08,
    show_default=True,
    help="Share of the steps, at the end, with all patches.",
)
@click.option(
    "--validate-every", type=COUNT, default=200, show_default=True, help="Steps between validations, which also save."
)
def main(
    out: Path,
    folder: Path | None,
    device: str,
    resume: bool,
    seed: int,
    steps: int,
    minutes: float,
    words: int,
    phrases: int,
    sounds: int,
    renderers: int | None,
    workers: int | None,
    bf16: bool,
    batch_frames: int,
    learning_rate: float,
    warmup_steps: int,
    average_decay: float,
    dropped_patches: float,
    full_at_end: float,
    validate_every: int,
) -> None:  # fmt: skip
    """Pretrain ast-mini on audio that this program makes. One more chunk of each kind is rendered to validate on."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=Console(stderr=True))])
    import torch

    from cl_ast.backbone.device import pick_device
    from cl_ast.pretrain import cache
    from cl_ast.pretrain.options import Options
    from cl_ast.pretrain.train import train

    try:
        on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        place = pick_device("cuda" if on_gpu else "cpu")
        options = Options(
            seed=seed,
            steps=steps,
            batch_frames=batch_frames,
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            dropped_patches=dropped_patches,
            full_at_end=full_at_end,
            average_decay=average_decay,
            validate_every=validate_every,
            bf16=bf16,
            workers=workers or (1 if on_gpu else 2),
            minutes=minutes,
        )
        folder = folder or out / "cache"
        counts = {"word": words, "phrase": phrases, "sound": sounds}
        chunks = {kind: count + 1 for kind, count in counts.items()}
        # The clips come first, on every core: a GPU takes them a hundred times as fast as all cores can render.
        cache.render(folder, seed, chunks, CHUNK, renderers or os.cpu_count() or 1)
        clips = cache.load(folder, {kind: range(count) for kind, count in counts.items()})
        held_out = cache.load(folder, {kind: range(count, count + 1) for kind, count in counts.items()})
        train(clips, held_out, out, options, device=place, resume=resume)
    except ClAstError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
