"""Writes a task as one ONNX file, from samples to logits, so that onnxruntime answers for it without torch.

The graph has the front end in it. Its inputs are `waveforms` (batch, samples), 16 kHz mono clips that are cut or padded
with zeros to a fixed length, and `lengths` (batch,), how many of the samples are the clip's own. Its outputs are
`logits` and the calibrated `probabilities`, both (batch, labels). The metadata says the rest: labels, sample rate,
number of samples, temperature, and which task this is.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.log_mel import BINS, SHIFT, WINDOW, LogMelFrontEnd, exportable_energies
from cl_ast.audio.raw_samples import EPSILON, WaveformFrontEnd
from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.errors import ClAstError, MethodError, RegistryError
from cl_ast.tasks.merging import merged
from cl_ast.tasks.task_model import TaskModel
from registry.errors import file_errors
from registry.file_stores import whole_file

_LARGEST_BATCH = 4096
AGREES_TO = 1e-4
"""The largest difference of a logit between onnxruntime and torch with which a file is written."""


def write_onnx(model: TaskModel, path: Path, facts: dict[str, str]) -> Path:
    """Write a task as an ONNX file, completely or not at all, after onnxruntime has given torch's logits with it.

    The adapter is merged into the backbone's weights where its method allows that, and computed beside them elsewhere.

    Args:
        facts: what the metadata says of the task besides its labels and its input.

    Raises:
        ClAstError: onnx or onnxruntime is not installed, or the task cannot be written as ONNX.
        RegistryError: the file exists already, or cannot be written.
    """
    if path.exists():
        raise RegistryError(f"{path} exists: export to a file that is new")
    graph = _Graph(_simplest(model)).eval()
    clips = _clips(graph.samples)
    with torch.no_grad():
        expected = graph(*clips)[0]  # first, since what it computes once and keeps becomes constants of the graph
    content = _content(graph, clips, _metadata(model, graph, facts))
    _check(content, clips, expected, model.settings.name)
    with file_errors(path, "export to"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(content)
    return path


class _Graph(nn.Module):
    """A task from samples to logits, in operations that ONNX has."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.backbone = model.backbone.model  # named, so that its weights are the graph's
        self.model = model
        self.samples = samples_of(model.settings.front_end)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities (batch, labels) of clips (batch, samples) with these `lengths` (batch,)."""
        settings = self.model.settings
        logits = self.model.logits(_features(settings.front_end, waveforms, lengths))
        return logits, settings.labelling.probabilities(logits / settings.temperature)


def samples_of(front_end: FrontEnd) -> int:
    """Return how many samples at 16 kHz a front end reads of a clip."""
    if isinstance(front_end, WaveformFrontEnd):
        return front_end.samples
    return WINDOW + SHIFT * (front_end.frames - 1)


def _features(front_end: FrontEnd, waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Return what the front end makes of clips that are padded with zeros (`LogMelFrontEnd`, `WaveformFrontEnd`)."""
    if isinstance(front_end, LogMelFrontEnd):
        return _log_mel(front_end, waveforms, lengths)
    if not front_end.normalise:
        return waveforms
    inside = torch.arange(waveforms.shape[1]) < lengths[:, None]
    exact, count = waveforms.double(), lengths[:, None].clamp_min(1).double()
    centred = torch.where(inside, exact - exact.sum(dim=1, keepdim=True) / count, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return (centred / (variance + EPSILON).sqrt()).float()


def _log_mel(front_end: LogMelFrontEnd, waveforms: Tensor, lengths: Tensor) -> Tensor:
    places = SHIFT * torch.arange(front_end.frames)[:, None] + torch.arange(WINDOW)
    frames = exportable_energies(waveforms[:, places])
    whole = 1 + (lengths - WINDOW).clamp_min(0) // SHIFT
    beyond = torch.arange(front_end.frames) >= whole[:, None]
    return front_end.normalise(frames.masked_fill(beyond[..., None], 0.0))


def _simplest(model: TaskModel) -> TaskModel:
    try:
        return merged(model)
    except MethodError:
        return model


def _clips(samples: int) -> tuple[Tensor, Tensor]:
    """Return two clips of noise, a whole one and one that is padded."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)
    lengths = torch.tensor([samples, samples - samples // 3])
    noise[1, lengths[1] :] = 0
    return torch.from_numpy(noise), lengths


def _metadata(model: TaskModel, graph: _Graph, facts: dict[str, str]) -> dict[str, str]:
    settings = model.settings
    return {
        "task": settings.name,
        "labels": json.dumps(settings.labels, ensure_ascii=False),
        "kind": settings.kind,
        "sample_rate": str(SAMPLE_RATE),
        "samples": str(graph.samples),
        "front_end": "Kaldi log-mel" if isinstance(settings.front_end, LogMelFrontEnd) else "samples",
        "mel_bins": str(BINS) if isinstance(settings.front_end, LogMelFrontEnd) else "",
        "temperature": repr(settings.temperature),
        "method": str(settings.method),
        "backbone": model.backbone.name,
        "backbone_fingerprint": model.backbone.fingerprint,
        **facts,
    }


def _content(graph: _Graph, clips: tuple[Tensor, Tensor], metadata: dict[str, str]) -> bytes:
    """Return the bytes of the ONNX file, for batches of any size."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as missing:
        raise ClAstError(f"writing ONNX needs {missing.name}: pip install 'cl-ast[onnx]'") from None
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    with torch.no_grad(), _quiet():
        exported = torch.export.export(graph, clips, dynamic_shapes=({0: batch}, {0: batch}))
        program: Any = torch.onnx.export(
            exported,
            input_names=["waveforms", "lengths"],
            output_names=["logits", "probabilities"],
            dynamo=True,
            verbose=False,
        )
    file = program.model_proto
    for key, value in metadata.items():
        file.metadata_props.add(key=key, value=value)
    content: bytes = file.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling of its own deprecations and of libraries that it does without."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _check(content: bytes, clips: tuple[Tensor, Tensor], expected: Tensor, name: str) -> None:
    """Raise ClAstError if onnxruntime's logits with this file are not torch's."""
    try:
        import onnxruntime
    except ImportError:
        raise ClAstError("checking an ONNX file needs onnxruntime: pip install 'cl-ast[onnx]'") from None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"waveforms": clips[0].numpy(), "lengths": clips[1].numpy()})[0]
    far = float(np.abs(found - expected.detach().cpu().numpy()).max())
    if not far <= AGREES_TO * max(1.0, float(expected.abs().max())):
        raise ClAstError(
            f"onnxruntime answers otherwise than torch for {name}: its logits differ by {far:.2g}; nothing was written"
        )
