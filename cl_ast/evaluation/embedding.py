"""Embeds clips: a vector for each clip, by the plain backbone and by the adapter of each task, and their t-SNE map."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.batching import ahead, chunks
from cl_ast.errors import BackboneError, ClAstError, NotFiniteError
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, Step, silent
from cl_ast.tasks.task_model import TaskModel
from registry.file_stores import whole_file
from streams.durations import typical_seconds
from streams.records import Record

BACKBONE = "backbone"
KINDS = (".npz", ".parquet")
_BATCH = 32
_FEWEST = 5  # clips of a map
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The embeddings of clips.

    Attributes:
        clips: the n clips, with their labels and splits; empty texts where a clip has none.
        names: of the m embeddings: "backbone", and then the tasks whose adapters took part.
        vectors: (m, n, width) in single precision.
    """

    clips: tuple[Record, ...]
    names: tuple[str, ...]
    vectors: Array


class _Embedder(NamedTuple):
    """What embeds clips: its name, its front end, and a function from features to vectors (batch, width)."""

    name: str
    front_end: FrontEnd
    run: Callable[[Tensor], Tensor]


def embed(
    session: Session,
    clips: Sequence[Record],
    tasks: Sequence[str] = (),
    *,
    layer: int | None = None,
    progress: Progress = silent,
) -> Embedded:
    """Return the mean over the tokens of each clip, by the plain backbone and by the adapter of each task.

    The backbone takes as much of each clip as the first task does; without a task, the usual length of these clips, at
    most 10.24 s. Of a longer clip, the first seconds are taken, and a shorter one is padded.

    Args:
        layer: the tokens after this many layers; 0 are those before the first. By default those after all layers, under
            the final LayerNorm, as the head of a task gets them.

    Raises:
        ClAstError: there is no clip.
        BackboneError: the backbone has no such layer.
        AudioError: a clip cannot be read.
        TaskNotFoundError, CorruptRegistryError: of a task.
        NotFiniteError: an embedding has values that are not numbers.
    """
    if not clips:
        raise ClAstError("there is no clip to embed; give audio files, folders of them, or a task")
    backbone = session.backbone
    depth = backbone.shape.depth
    if layer is not None and not 0 <= layer <= depth:
        raise BackboneError(f"{backbone.name} has {depth} layers: give one from 0 (before the first) to {depth}")
    models = [session.model(name) for name in tasks]
    front_end = models[0].settings.front_end if models else backbone.front_end(typical_seconds(clips, 0))
    last = depth if layer is None else layer
    embedders = [
        _Embedder(BACKBONE, front_end, partial(_by_backbone, backbone, last)),
        *(_Embedder(model.settings.name, model.settings.front_end, partial(_by_task, model, last)) for model in models),
    ]
    rows: list[Tensor] = []
    parts = [[clips[index].place for index in part] for part in chunks(len(clips), _BATCH)]
    with closing(ahead(partial(session.clips.read, part) for part in parts)) as read:
        for waveforms in read:
            rows.append(torch.stack([one.run(one.front_end(waveforms, backbone.device)).cpu() for one in embedders]))
            progress(Step("embedding", sum(row.shape[1] for row in rows), len(clips)))
    vectors = torch.cat(rows, dim=1)
    for one, found in zip(embedders, vectors, strict=True):
        if not torch.isfinite(found).all():
            raise NotFiniteError(f"the embedding of {one.name} has values that are not numbers")
    return Embedded(tuple(clips), tuple(one.name for one in embedders), vectors.numpy())


def _by_backbone(backbone: Backbone, last: int, features: Tensor) -> Tensor:
    with torch.inference_mode(), backbone.precision(), backbone.attached(None):
        tokens = backbone.run(backbone.embed(features), last=last)
        normed = backbone.norm(tokens) if last == backbone.shape.depth else tokens
    return normed.float().mean(dim=1)


def _by_task(model: TaskModel, last: int, features: Tensor) -> Tensor:
    backbone = model.backbone  # a fully fine-tuned task has its own
    with torch.inference_mode(), backbone.precision(), model.acting():
        tokens = backbone.run(model.embed(features), last=last)
        if last < backbone.shape.depth:
            return tokens.float().mean(dim=1)
        return model.pool(tokens)[:, : backbone.shape.width]  # a deviation would come after the mean


def check_file(path: Path) -> None:
    """Raise ClAstError where embeddings could not be written to that path: better before the work than after it."""
    if path.suffix.lower() not in KINDS:
        raise ClAstError(f"{path}: embeddings are written as npz or parquet; give the file such an ending")
    if path.is_dir() or not path.parent.is_dir():
        raise ClAstError(f"{path}: this is a folder, or its folder is not there; name a file in a folder that is")
    if path.suffix.lower() == ".parquet":
        _parquet()


def write(found: Embedded, path: Path) -> None:
    """Write embeddings as npz or parquet, whole or not at all.

    An npz file has `paths`, `labels` and `splits` (n,), `names` (m,) and `vectors` (m, n, width). A parquet file has a
    row for each clip with the columns `path`, `label` and `split`, and `vector.NAME`, a list of width numbers, for each
    embedding. Of an excerpt, the path says in brackets which seconds it is.

    Raises:
        ClAstError: the file cannot be written, or the library for parquet is not installed.
    """
    try:
        with whole_file(path) as file:
            if path.suffix.lower() == ".parquet":
                _write_parquet(found, file)
            else:
                paths, labels, splits = (np.array(values, dtype=str) for values in _texts(found).values())
                names = np.array(found.names, dtype=str)
                np.savez(file, paths=paths, labels=labels, splits=splits, names=names, vectors=found.vectors)
    except OSError as error:
        raise ClAstError(
            f"{path}: the embeddings cannot be written ({error.strerror or error}); name another file"
        ) from None


def _texts(found: Embedded) -> dict[str, list[str]]:
    return {
        "path": [str(clip.place) for clip in found.clips],
        "label": [clip.label for clip in found.clips],
        "split": [clip.split for clip in found.clips],
    }


def _write_parquet(found: Embedded, file: Any) -> None:
    pyarrow, parquet = _parquet()
    # Parquet has no place for the bytes of a path that are no text.
    texts = {name: [one.encode("utf-8", "replace").decode() for one in own] for name, own in _texts(found).items()}
    columns = {name: pyarrow.array(values, pyarrow.string()) for name, values in texts.items()}
    width = found.vectors.shape[2]
    for name, own in zip(found.names, found.vectors, strict=True):
        columns[f"vector.{name}"] = pyarrow.FixedSizeListArray.from_arrays(own.reshape(-1), width)
    parquet.write_table(pyarrow.table(columns), file)


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ClAstError("writing parquet needs pyarrow: pip install 'cl-ast[embed]'") from None
    return pyarrow, parquet


def check_map(clips: int) -> None:
    """Raise ClAstError where no map of so many clips can be made."""
    _tsne()
    if clips < _FEWEST:
        raise ClAstError(f"a t-SNE map needs at least {_FEWEST} clips, and there are {clips}; give more of them")


def map_of(vectors: Array, seed: int = 0) -> Array:
    """Return places (n, 2) of vectors (n, width) on a map where near ones stay near (t-SNE, van der Maaten 2008).

    Raises:
        ClAstError: there are too few, or scikit-learn is not installed.
    """
    check_map(len(vectors))
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    places: Array = _tsne()(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)
    return places


def _tsne() -> Any:
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise ClAstError("a t-SNE map needs scikit-learn: pip install 'cl-ast[embed]'") from None
    return TSNE
