"""Small things the model side is tested on: a backbone in transformers' own format, clips, and a toy task."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

# Before transformers or huggingface_hub are imported: no test may reach the hub.
os.environ["HF_HUB_OFFLINE"] = "1"
# Before torch is imported: it compiles here, and not in a pool of new processes, each of which would import it, too.
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

import numpy as np
import pytest
import soundfile
import torch
from transformers import (
    ASTConfig,
    ASTModel,
    Data2VecAudioConfig,
    HubertConfig,
    UniSpeechConfig,
    UniSpeechSatConfig,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
)

import streams
from cl_ast.adapters.adapter import fresh_shared
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.audio.reading import Waveform
from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.families import FAMILIES
from cl_ast.router import RouterSpace
from cl_ast.router.space import dimensions_of
from cl_ast.tasks.task_file import from_bytes, to_bytes
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.clips import ClipSet
from registry import BackboneRecord, NewVersion, Registry
from tests.once import measured_once

# Rows and columns of the position table differ (8 x 12), so that a swap of the axes cannot hide.
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "frequency_stride": 16,
    "time_stride": 10,
    "max_length": 128,
}
# One token every 10 ms from 170 samples; "stable" is the pre-norm variant, as the large checkpoints are.
TINY_WAVEFORM = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16, 16),
    "conv_kernel": (20, 16),
    "conv_stride": (10, 16),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}
SPEECH_CONFIGS: dict[str, Any] = {
    "wav2vec2": Wav2Vec2Config,
    "hubert": HubertConfig,
    "unispeech": UniSpeechConfig,
    "unispeech-sat": UniSpeechSatConfig,
    "data2vec-audio": Data2VecAudioConfig,
    "wavlm": WavLMConfig,
}
OWN_SIZES = {
    "data2vec-audio": {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5},
    # Distances from 4 tokens on share buckets.
    "wavlm": {"num_buckets": 16, "max_bucket_distance": 20},
}
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}

# What fixtures return, for the tests that take them.
Fresh = Callable[..., TaskModel]
Randomise = Callable[[TaskModel], TaskModel]
BackboneOf = Callable[[str], Backbone]
RegistryOf = Callable[[Path, Backbone], Registry]
SaveModel = Callable[..., Path]
Scramble = Callable[..., Any]
Sine = Callable[..., Waveform]
Toy = Callable[[int, int], ClipSet]
ToyTasks = tuple[streams.Task, streams.Task]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:  # through which a process of this machine is forked
            raise AssertionError("a test tried to reach the network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No features in the user's own cache folder."""
    monkeypatch.setenv("CL_AST_CACHE", str(tmp_path / "user-cache"))
    monkeypatch.delenv("CL_AST_CACHE_GB", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _router_spaces(shared: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        measured_once(shared, patch.setattr)
        yield


@pytest.fixture(scope="session")
def scramble() -> Scramble:
    """scramble(model, seed=0): every parameter random and large enough to matter, norms and positions too."""

    def fill(model: Any, seed: int = 0) -> Any:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                scale = 0.05 if parameter.dim() == 4 else 0.2
                parameter.copy_(around + scale * torch.randn(parameter.shape, generator=generator))
        return model

    return fill


@pytest.fixture(scope="session")
def save_backbone(scramble: Scramble) -> SaveModel:
    """save_backbone(folder, seed=0, model=ASTModel, **config): a small checkpoint as transformers writes it."""

    def save(folder: Path, seed: int = 0, model: Any = ASTModel, **config: object) -> Path:
        scramble(model(ASTConfig(**{**TINY, **config})), seed).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def save_wav2vec2(scramble: Scramble) -> SaveModel:
    """save_wav2vec2(folder, seed=0, model=Wav2Vec2Model, kind="wav2vec2", **config): the same for waveforms."""

    def save(folder: Path, seed: int = 0, model: Any = Wav2Vec2Model, kind: str = "wav2vec2", **config: object) -> Path:
        sizes = {**TINY_WAVEFORM, **OWN_SIZES.get(kind, {}), **config}
        scramble(model(SPEECH_CONFIGS[kind](**sizes)), seed).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def backbone_of(
    tmp_path_factory: pytest.TempPathFactory,
    backbone_folder: Path,
    save_wav2vec2: SaveModel,
) -> BackboneOf:
    """backbone_of(family): "ast", one of SPEECH_CONFIGS, or that with "-stable"; always the same one."""
    made: dict[str, Backbone] = {}

    def load(family: str) -> Backbone:
        if family not in made:
            folder = backbone_folder
            if family != "ast":
                config = STABLE if family.endswith("stable") else {}
                kind = family.removesuffix("-stable")
                model = FAMILIES[kind].model_class()
                folder = save_wav2vec2(tmp_path_factory.mktemp(family), model=model, kind=kind, **config)
            made[family] = checkpoints.load(str(folder))
        return made[family]

    return load


@pytest.fixture(scope="session")
def registry_of() -> RegistryOf:
    """registry_of(folder, backbone): an empty registry, for tests that route nothing: its space is not measured.

    That would take seconds for each backbone, also where a task is only imported.
    """

    def make(folder: Path, backbone: Backbone) -> Registry:
        size = dimensions_of(backbone.shape)
        space = RouterSpace(backbone, torch.zeros(size), torch.eye(size)).to_bytes()
        registry = Registry.open(folder)
        registry.set_backbone(
            BackboneRecord(backbone.name, backbone.fingerprint, backbone.parameters, backbone.bytes, space)
        )
        return registry

    return make


def commit_model(
    registry: Registry,
    name: str,
    model: TaskModel,
    backbone: Backbone,
    router: Mapping[str, torch.Tensor] | None = None,
    *,
    replace: bool = False,
    **facts: Any,
) -> None:
    """Commit a model as a task, as if it had just been learned.

    Args:
        router: the routing of the task; none by default.
        replace: whether a task of that name gets its next version.
        facts: of the version, by the names in `VersionFacts`, that are not the model's own.
    """
    new = NewVersion(
        method=model.settings.method.text,
        labels=model.settings.labels,
        trainable_parameters=model.trainable_parameters(),
        **facts,
    )
    registry.commit(name, to_bytes(model, backbone, {}, router or {}), new, replace=replace)


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory, save_backbone: SaveModel) -> Path:
    return save_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def backbone(backbone_of: BackboneOf) -> Backbone:
    """The frozen backbone that every test shares, as tasks do; a module may have it of every family instead."""
    return backbone_of("ast")


@pytest.fixture(scope="session")
def other_backbone(tmp_path_factory: pytest.TempPathFactory, save_backbone: SaveModel) -> Backbone:
    """Same sizes, other weights."""
    return checkpoints.load(str(save_backbone(tmp_path_factory.mktemp("other"), seed=1)))


@pytest.fixture(scope="module", params=["wav2vec2", "wav2vec2-stable"])
def wav2vec2(request: pytest.FixtureRequest, backbone_of: BackboneOf) -> Backbone:
    """A backbone for waveforms: post-norm, and pre-norm."""
    return backbone_of(request.param)


@pytest.fixture(scope="module")
def stock(wav2vec2: Backbone) -> Any:
    """What transformers itself makes of that backbone's checkpoint."""
    return Wav2Vec2Model.from_pretrained(wav2vec2.name, attn_implementation="sdpa").eval()


@pytest.fixture(scope="module")
def features(backbone: Backbone) -> torch.Tensor:
    """A batch as the backbone's front end makes it: (3, 60, 128), or samples (3, 9600)."""
    return torch.randn(3, *backbone.front_end(0.6).shape, generator=torch.Generator().manual_seed(3))


def shared_part(spec: MethodSpec, backbone: Backbone) -> dict[str, torch.Tensor]:
    """Return a shared part of the method, every number of it random; empty for a method that reads none."""
    generator = torch.Generator().manual_seed(29)
    made = fresh_shared(spec, backbone, generator)
    return {name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator) for name, tensor in made.items()}


def read_again(model: TaskModel, backbone: Backbone) -> TaskModel:
    """Return the task as its file gives it, with the same shared part."""
    return from_bytes(to_bytes(model, backbone, {}, {}), backbone, shared=lambda _: model.adapter.shared).model


@pytest.fixture(scope="module")
def fresh(backbone: Backbone) -> Fresh:
    """fresh("lora", seed=0, backbone=backbone, labels=..., frames=60, **settings): a task that has learned nothing."""

    def make(
        method: str,
        seed: int = 0,
        backbone: Backbone = backbone,
        labels: tuple[str, ...] = ("dog", "rain", "siren"),
        frames: int = 60,
        **settings: Any,
    ) -> TaskModel:
        spec = parse(method)
        settings = {"shared": "0" * 64 if spec.acts_as else None, **settings}
        chosen = TaskSettings("toy", spec, labels, backbone.front_end(frames / 100), **settings)
        read = shared_part(spec, backbone)
        return TaskModel.fresh(chosen, backbone, torch.Generator().manual_seed(seed), read)

    return make


@pytest.fixture(scope="session")
def randomise() -> Randomise:
    """randomise(model): every tensor of the task away from its start, as after training."""

    def fill(model: TaskModel) -> TaskModel:
        generator = torch.Generator().manual_seed(17)
        with torch.no_grad():
            for name, tensor in model.state().items():
                if tensor.is_floating_point():  # not the columns that PaCA chose
                    noise = 0.1 * torch.randn(tensor.shape, generator=generator)
                    tensor.add_(noise.abs() if name.endswith("batchnorm.var") else noise)
        return model

    return fill


@pytest.fixture(scope="session")
def sine() -> Sine:
    """sine(hertz, seconds=1, rate=16000, level=0.5): float32 samples."""

    def make(hertz: float, seconds: float = 1.0, rate: int = 16_000, level: float = 0.5) -> Waveform:
        time = np.arange(round(seconds * rate)) / rate
        return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def toy_clips(tmp_path_factory: pytest.TempPathFactory, sine: Sine) -> list[Path]:
    """48 clips of 0.3 s: tones at even places, noise at odd ones."""
    folder = tmp_path_factory.mktemp("toy")
    random = np.random.default_rng(5)
    paths = []
    for number in range(48):
        noise = random.normal(size=4800).astype(np.float32)
        clip = 0.1 * noise if number % 2 else sine(random.uniform(300, 3000), 0.3) + 0.001 * noise
        paths.append(folder / f"{number:02}.wav")
        soundfile.write(paths[-1], clip, 16_000)
    return paths


@pytest.fixture
def toy_tasks(toy_clips: list[Path], tmp_path: Path) -> ToyTasks:
    """Two tasks of those clips, tones and noise, each of two classes that do not differ."""
    for number, clip in enumerate(toy_clips):
        place = tmp_path / ("noise" if number % 2 else "tones") / f"class-{number // 2 % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / clip.name).write_bytes(clip.read_bytes())
    return streams.load(str(tmp_path / "tones")), streams.load(str(tmp_path / "noise"))


@pytest.fixture(scope="module")
def toy(toy_clips: list[Path], backbone: Backbone) -> Toy:
    """toy(first, last): those toy clips with their classes, 0 for tones and 1 for noise."""

    def take(first: int, last: int) -> ClipSet:
        return ClipSet(toy_clips[first:last], [n % 2 for n in range(first, last)], backbone.front_end(0.3))

    return take
