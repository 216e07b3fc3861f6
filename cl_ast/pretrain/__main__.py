"""Runs `python -m cl_ast.pretrain`, which renders the clips, trains the backbone and writes it with its log."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.logging import RichHandler

CHUNK = 4_000  # clips per chunk


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the backbone and its log.")
@click.option("--cache", "folder", type=click.Path(path_type=Path), help="Folder for clips.  [default: OUT/cache]")
@click.option("--seed", default=1, show_default=True, help="Seed of the clips, their mixing and the weights.")
@click.option("--steps", default=6_500, show_default=True, help="Optimiser steps.")
@click.option("--minutes", default=0.0, help="Minutes after which training ends, done or not; 0 for no limit.")
@click.option("--words", default=11, show_default=True, help=f"Chunks of {CHUNK} spoken words.")
@click.option("--phrases", default=11, show_default=True, help=f"Chunks of {CHUNK} spoken phrases.")
@click.option("--sounds", default=10, show_default=True, help=f"Chunks of {CHUNK} sounds.")
@click.option("--workers", default=2, show_default=True, help="Number of processes, for rendering and for training.")
@click.option("--bf16/--fp32", default=True, show_default=True, help="Train in mixed precision.")
def main(
    out: Path,
    folder: Path | None,
    seed: int,
    steps: int,
    minutes: float,
    words: int,
    phrases: int,
    sounds: int,
    workers: int,
    bf16: bool,
) -> None:
    """Pretrain ast-mini on audio that this program makes. One more chunk of each kind is rendered to validate on."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=Console(stderr=True))])
    from cl_ast.pretrain import cache
    from cl_ast.pretrain.train import Options, train

    folder = folder or out / "cache"
    counts = {"word": words, "phrase": phrases, "sound": sounds}
    cache.render(folder, seed, {kind: count + 1 for kind, count in counts.items()}, CHUNK, workers)
    options = Options(seed=seed, steps=steps, bf16=bf16, workers=workers, minutes=minutes)
    clips = cache.load(folder, {kind: range(count) for kind, count in counts.items()})
    held_out = cache.load(folder, {kind: range(count, count + 1) for kind, count in counts.items()})
    out.mkdir(parents=True, exist_ok=True)
    notes = {"clips": len(clips), "held_out": len(held_out), "frames": len(clips.mel), **asdict(options)}
    (out / "run.json").write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    train(clips, held_out, out, options)


if __name__ == "__main__":
    main()
