"""A task as a folder: exported and imported exactly, to and from peft, and what is said of folders that lie."""

import json
import math
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError, RegistryError, TaskExistsError, TaskNotFoundError
from cl_ast.manager import Manager
from cl_ast.router import learn
from cl_ast.router.space import description_id
from cl_ast.tasks.number_formats import Kind
from cl_ast.tasks.origin import by_name_only
from tests.cl_ast.conftest import Fresh, Randomise, RegistryOf, commit_model

PEFT_METHODS = ["lora:qv,r=6,s=8", "lora:qkvo,r=3,s=0.7", "lora:ffn,r=2,s=1.5", "lora:q,r=2,s=3+lora:ffn,r=4,s=0.25"]
PEFT_METHODS += ["lora:qv,r=2,s=3,from=1", "adalora:r=3,b=2"]
METHODS = [*PEFT_METHODS, "linear", "ltsft:k=40", "conformer:r=2,k=3", "bottleneck:ffn,r=2+lora:qv,r=3", "full"]


Home = Callable[..., Manager]
Homes = Callable[..., Manager]
Change = Callable[[dict[str, Any], dict[str, Tensor]], object]


def routing(backbone: Backbone) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(30, 64, generator=generator), dim=1)
    return learn(points, [0] * 30, points, generator=generator, description_id=description_id(backbone)).tensors()


@pytest.fixture(scope="module")
def homes(registry_of: RegistryOf, backbone: Backbone, fresh: Fresh, randomise: Randomise) -> Homes:
    """homes(folder, method, store="fp32", **settings): a manager whose one task, toy, was learned with that method."""

    def make(folder: Path, method: str, store: Kind = "fp32", **settings: Any) -> Manager:
        model = randomise(fresh(method, frames=128, **settings))
        model.finish()
        model.round(store)
        registry = registry_of(folder, backbone)
        commit_model(
            registry,
            "toy",
            model,
            backbone,
            routing(backbone),
            seed=3,
            seconds=1.0,
            source={"task": "esc50", "data": "/somewhere/private", "name": "toy", "fold": "5"},
            data_fingerprint="d" * 64,
            protocol="5 folds | test on 5",
            learned_accuracy=0.75,
        )
        return Manager(registry, device="cpu")

    return make


@pytest.fixture
def home(tmp_path: Path, homes: Homes) -> Home:
    """home(method, store="fp32", **settings): such a manager in a folder of this test."""
    return partial(homes, tmp_path / "home")


@pytest.fixture
def guest(tmp_path: Path, registry_of: RegistryOf, backbone: Backbone) -> Manager:
    """An empty registry for the same backbone."""
    return Manager(registry_of(tmp_path / "guest", backbone), device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "pooling"),
    [*((method, "mean") for method in METHODS), ("lora:qv,r=6,s=8", "mean+std"), ("linear", "mean+std")],
)
def test_an_export_comes_back_exactly(
    home: Home, guest: Manager, backbone: Backbone, tmp_path: Path, features: Tensor, method: str, pooling: str
) -> None:
    manager = home(method, pooling=pooling)
    folder = manager.export("toy", tmp_path / "out")
    assert {path.name for path in folder.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json", "README.md"}
    record = guest.import_(folder)
    before, after = manager.model("toy"), guest.model("toy")
    assert after.settings == before.settings and record.labels == before.settings.labels
    for name, tensor in before.state().items():
        assert torch.equal(tensor, after.state()[name]), name
    assert torch.equal(before.logits(features), after.logits(features))
    assert manager.session.task("toy").router.keys() == routing(backbone).keys()
    assert guest.session.task(record.name).router == {}
    was = manager.registry.task("toy").version
    now = record.version
    assert (now.seed, now.data_fingerprint, now.protocol) == (was.seed, was.data_fingerprint, was.protocol)
    assert now.learned_accuracy == 0.75 and now.trainable_parameters == was.trainable_parameters
    with pytest.raises(TaskExistsError):
        guest.import_(folder)
    assert guest.import_(folder, replace=True).version.number == 2
    assert guest.import_(folder, name="again").name == "again"
    # Out of the guest and in again: nothing is lost on the way.
    assert guest.import_(guest.export("toy", tmp_path / "out2"), name="third").version.source == now.source
    assert guest.registry.verify() == []


@pytest.mark.parametrize("store", ["fp16", "int8"])
@pytest.mark.parametrize("method", ["lora", "conformer:r=2,k=3"])
def test_an_export_of_a_rounded_task_comes_back_exactly(
    home: Home, guest: Manager, tmp_path: Path, features: Tensor, method: str, store: Kind
) -> None:
    manager = home(method, store=store)
    guest.import_(manager.export("toy", tmp_path / "out"))
    assert torch.equal(manager.model("toy").logits(features), guest.model("toy").logits(features))


def test_nothing_of_this_machine_is_told(home: Home, tmp_path: Path, backbone_folder: Path) -> None:
    folder = home("lora").export("toy", tmp_path / "out")
    for path in folder.iterdir():
        data = path.read_bytes()
        assert b"/somewhere/private" not in data and str(backbone_folder).encode() not in data, path


def test_the_card_says_what_it_is(home: Home, tmp_path: Path, backbone: Backbone) -> None:
    text = (home("lora:qv,r=6").export("toy", tmp_path / "out") / "README.md").read_text()
    for word in (
        backbone.fingerprint, "lora:qv,r=6,s=8", "75.00 %", "dog, rain, siren", "licence | unknown", "128 frames",
        "5 folds \\| test on 5", "cl-ast add-task esc50 --name toy --method lora:qv,r=6,s=8 --seed 3 --fold 5", "peft",
        "cl-ast predict clip.wav --task toy",
    ):  # fmt: skip
        assert word in text, word


def test_export_writes_over_nothing(home: Home, tmp_path: Path) -> None:
    manager = home("linear")
    (tmp_path / "empty").mkdir()
    assert manager.export("toy", tmp_path / "empty").name == "empty"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(RegistryError, match="new or empty"):
        manager.export("toy", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {"home", "empty", "mine"}


# peft


def pooled_logits(tokens: Tensor, head: dict[str, Tensor], pooling: str = "mean") -> Tensor:
    assert pooling == "mean"
    return tokens.mean(dim=1) @ head["head.weight"].T + head["head.bias"]


@pytest.mark.parametrize(
    ("method", "store"), [*((method, "fp32") for method in PEFT_METHODS), ("lora", "fp16"), ("lora", "int8")]
)
def test_peft_loads_an_export_as_it_is(
    home: Home, tmp_path: Path, backbone_folder: Path, method: str, store: Kind
) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    manager = home(method, store=store)
    folder = manager.export("toy", tmp_path / "out")
    stock = transformers.ASTModel.from_pretrained(backbone_folder)
    model = peft.PeftModel.from_pretrained(stock, folder).eval()
    clips = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = manager.model("toy").logits(clips)
        found = pooled_logits(model(clips)[0], load_file(folder / "task.safetensors"))
        plain = manager.model("toy").backbone.norm(manager.model("toy").backbone.run(manager.model("toy").embed(clips)))
    assert torch.allclose(found, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(plain, model(clips)[0], atol=1e-2)  # the adapter does something


def peft_folder(folder: Path, backbone_folder: Path, **options: object) -> Any:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    config = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, **options}
    torch.manual_seed(0)
    model = peft.get_peft_model(
        transformers.ASTModel.from_pretrained(backbone_folder), peft.LoraConfig(**config)
    ).eval()
    model.save_pretrained(folder)
    return model


def write_head(folder: Path, **words: object) -> dict[str, Tensor]:
    """What docs/registry.md tells a peft user to write."""
    head = {"head.weight": torch.randn(2, 32), "head.bias": torch.randn(2)}
    facts = {"name": "theirs", "labels": ["dog", "rain"], "front_end": {"frames": 128}, **words}
    save_file(head, folder / "task.safetensors", metadata={"cl_ast": json.dumps(facts)})
    return head


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({}, "lora:qv,r=4,s=1.5"),
        ({"target_modules": "all-linear", "use_rslora": True}, "lora:qkvo,r=4,s=3+lora:ffn,r=4,s=3"),
        ({"rank_pattern": {"q_proj": 2}, "modules_to_save": ["layernorm"]}, "lora:q,r=2,s=3+lora:v,r=4,s=1.5"),
    ],
)
def test_a_lora_of_peft_imports(
    guest: Manager, tmp_path: Path, backbone_folder: Path, options: dict[str, object], method: str
) -> None:
    model = peft_folder(tmp_path / "theirs", backbone_folder, **options)
    head = write_head(tmp_path / "theirs")
    record = guest.import_(tmp_path / "theirs")
    assert record.version.method == method and record.labels == ("dog", "rain")
    clips = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = pooled_logits(model(clips)[0], head)
        assert torch.allclose(guest.model("theirs").logits(clips), expected, atol=1e-5, rtol=0)
    with pytest.raises(ClAstError, match="--task"):  # it has no routing
        list(guest.predict(["no.wav"]))


def test_a_lora_without_a_head_is_refused_with_the_way_out(
    guest: Manager, tmp_path: Path, backbone_folder: Path
) -> None:
    peft_folder(tmp_path / "theirs", backbone_folder)
    with pytest.raises(RegistryError, match=r"without a head: put task\.safetensors"):
        guest.import_(tmp_path / "theirs")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "lora_only"}, "bias"),
        ({"target_modules": ["fc1"]}, "FFN's two maps"),
        ({"modules_to_save": ["layernorm_before"]}, "layernorm_before"),
    ],
)
def test_a_lora_that_is_not_ours_is_refused(
    guest: Manager, tmp_path: Path, backbone_folder: Path, options: dict[str, object], reason: str
) -> None:
    peft_folder(tmp_path / "theirs", backbone_folder, **options)
    write_head(tmp_path / "theirs")
    with pytest.raises(ClAstError, match=reason):
        guest.import_(tmp_path / "theirs")


# Folders that lie


def rewrite(path: Path, change: Change) -> None:
    """Change the tensors and the description of a safetensors file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    facts = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["cl_ast"])
    tensors = load_file(path)
    change(facts, tensors)
    save_file(tensors, path, metadata={"cl_ast": json.dumps(facts)})


def facts(**changed: object) -> Change:
    return lambda words, tensors: words.update(changed)


def tensor(name: str, value: Tensor | Callable[[Any], Tensor]) -> Change:
    def change(words: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors[name] = value(tensors.get(name)) if callable(value) else value

    return change


def without(name: str) -> Change:
    return lambda words, tensors: tensors.pop(name, words.pop(name, None))


LIES: dict[str, tuple[Change, str]] = {
    "backbone": (lambda w, t: w["backbone"].update(fingerprint="0" * 64), "trained on the backbone"),
    "method": (facts(method="telepathy:r=3"), "no method called"),
    "method that is no text": (facts(method=["lora"]), "no method called"),
    "another method": (facts(method="bottleneck"), "lacks the tensor"),
    "rank": (facts(method="conformer:r=3,k=3"), "expected"),
    "huge rank": (facts(method="conformer:r=999999999,k=3"), "must lie between"),
    "a name that is a path": (facts(name="../../etc/cron.d/x"), "not a path"),
    "a name that is reserved": (facts(name="auto"), "choose the task"),
    "labels": (facts(labels=["dog"]), "expected"),
    "no labels": (facts(labels=[]), "label"),
    "labels that are numbers": (facts(labels=[1, 2, 3]), "label"),
    "labels that are text": (facts(labels="dog"), "list of labels"),
    "many labels": (facts(labels=[str(i) for i in range(70_000)]), "at most"),
    "a long label": (facts(labels=["x" * 2_000, "b", "c"]), "at most"),
    "frames": (facts(front_end={"frames": 10**9}), "cannot be used"),
    "no front end": (without("front_end"), "front_end"),
    "a front end with more": (facts(front_end="__import__"), "front_end"),
    "spread": (facts(front_end={"frames": 128, "mean": 0.0, "std": 0.0}), "not positive"),
    "mean": (facts(front_end={"frames": 128, "mean": "0", "std": 1.0}), "numbers that cannot be used"),
    "pooling": (facts(pooling="max"), "no pooling"),
    "positions": (facts(positions="made up"), "positions are"),
    "format": (facts(format=99), "upgrade"),
    "accuracy": (facts(learned_accuracy=7), "fraction"),
    "source": (facts(source=[["a"]]), "describes itself wrongly"),
    "nan": (tensor("head.weight", lambda t: t * math.nan), "not numbers"),
    "infinity": (tensor("router.centre", lambda t: t + math.inf), "not numbers"),
    "shape": (tensor("head.weight", lambda t: t.T.contiguous()), "expected"),
    "too many": (tensor("layers.0.extra", torch.zeros(2)), "should not have"),
    "a path": (tensor("../../home/x", torch.zeros(2)), "only words joined by dots"),
    "an endless name": (tensor("a" * 300, torch.zeros(2)), "only words joined by dots"),
    "a precision of no kind": (tensor("head.bias", lambda t: t.bfloat16()), "float32"),
    "missing": (without("head.bias"), "lacks the tensor"),
}
ROUTINGS: dict[str, Change] = {
    "as it was learned": lambda words, tensors: None,
    "routing that draws": tensor("router.centre", lambda t: t * 50),
    "calibration that falls": tensor("router.calibration", lambda t: t.flip(0)),
    "routing of other sizes": tensor("router.directions", torch.zeros(2, 3).half()),
    "routing in whole numbers": tensor("router.calibration", lambda t: t.long()),
    "half a routing": without("router.calibration"),
    "a claim that it was learned here": facts(
        source={"imported": {}, "routing": "learned here"}, training={"routing": {"folder": "/"}, "epochs": 3}
    ),
}


@pytest.fixture(scope="module")
def honest(homes: Homes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("honest")
    return homes(place / "home", "conformer:r=2,k=3").export("toy", place / "out")


@pytest.fixture
def lying(honest: Path, tmp_path: Path) -> Path:
    """A copy of an export, which the test makes lie."""
    return shutil.copytree(honest, tmp_path / "out")


def refused(guest: Manager, folder: Path, reason: str) -> None:
    """With one sentence, and nothing is kept."""
    with pytest.raises(ClAstError, match=reason) as caught:
        guest.import_(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1_000
    assert guest.registry.tasks() == [] and not list((Path(guest.registry.place) / "adapters").glob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_in_the_file_is_refused(guest: Manager, lying: Path, lie: str) -> None:
    change, reason = LIES[lie]
    rewrite(lying / "adapter_model.safetensors", change)
    refused(guest, lying, reason)


@pytest.mark.parametrize("change", ROUTINGS.values(), ids=ROUTINGS)
def test_no_routing_of_a_stranger_is_kept(guest: Manager, lying: Path, change: Change) -> None:
    rewrite(lying / "adapter_model.safetensors", change)
    version = guest.import_(lying).version
    assert guest.session.task("toy").router == {}
    assert by_name_only(version) and "routing" not in version.training
    with pytest.raises(TaskNotFoundError, match="cl-ast route NAME --with DIR"):
        list(guest.predict(["no.wav"]))


def header(words: object, body: bytes = b"") -> bytes:
    encoded = json.dumps(words).encode()
    return struct.pack("<Q", len(encoded)) + encoded + body


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("adapter_model.safetensors", struct.pack("<Q", 2**62) + b"{}", "claims a header"),
        ("adapter_model.safetensors", struct.pack("<Q", 50 * 2**20) + b" " * (50 * 2**20), "claims a header"),
        ("adapter_model.safetensors", b"\x80\x04\x95aaaaaaaaaaaaaaaaaaaaa", "pickle"),
        ("adapter_model.safetensors", b"PK\x03\x04" + bytes(100), "pickle|header"),
        ("adapter_model.safetensors", b"", "too short"),
        (
            "adapter_model.safetensors",
            header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
            "holds 0",
        ),
        (
            "adapter_model.safetensors",
            b'\x0f\x00\x00\x00\x00\x00\x00\x00{"a":1, "a":{}}',
            "not JSON",
        ),
        ("adapter_config.json", b"[]", "not a JSON object"),
        ("adapter_config.json", b"{" * 100_000, "not a JSON object"),
        ("adapter_config.json", b" " * 2_000_000, "larger than"),
        ("adapter_config.json", b'{"peft_type": "PROMPT_TUNING"}', "LORA, ADALORA and CL_AST can"),
        ("adapter_config.json", b'{"peft_type": ["LORA"]}', "LORA, ADALORA and CL_AST can"),
        ("adapter_config.json", b'{"peft_type": "LORA"}', "without a head"),
    ],
)
def test_a_file_that_is_something_else_is_refused(
    guest: Manager, lying: Path, name: str, data: bytes, reason: str
) -> None:
    (lying / name).write_bytes(data)
    refused(guest, lying, reason)


def test_pickles_are_never_read(guest: Manager, lying: Path) -> None:
    (lying / "adapter_model.safetensors").unlink()
    (lying / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    refused(guest, lying, "pickle")
    refused(guest, lying / "adapter_model.bin", "no folder")
    refused(guest, lying / "nothing", "no folder")


def test_a_stranger_does_not_choose_the_backbone(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = home("conformer:r=2,k=3")
    folder = manager.export("toy", tmp_path / "out")
    rewrite(folder / "adapter_model.safetensors", lambda w, t: w["backbone"].update(name="evil/backbone"))
    names: list[str] = []
    monkeypatch.setattr(checkpoints, "default_name", lambda: "ast-mini")
    load = checkpoints.load

    def counted(name: str, **rest: Any) -> Backbone:
        names.append(name)
        return load(name, **rest)

    monkeypatch.setattr(checkpoints, "load", counted)
    with pytest.raises(ClAstError, match="trained on the backbone"):
        Manager.open(tmp_path / "empty", device="cpu").import_(folder)
    assert names == ["ast-mini"]


def test_the_two_files_of_a_lora_must_agree(guest: Manager, home: Home, tmp_path: Path) -> None:
    folder = home("lora:qv,r=6").export("toy", tmp_path / "out")
    config = json.loads((folder / "adapter_config.json").read_text())
    for change in ({"lora_alpha": 1}, {"r": 2}, {"r": "6"}, {"lora_alpha": None}, {"lora_alpha": 1e400}):
        (folder / "adapter_config.json").write_text(json.dumps({**config, **change}))
        refused(guest, folder, "another task|does not say|can be used|must lie")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(name for name in tensors if "lora_A" in name)
    for other in (name.replace("layers.0", "layers.7"), name.replace("q_proj", "x_proj"), name.replace("layers", "l")):
        changed = {**tensors, other: tensors[name].clone()}
        save_file(changed, folder / "adapter_model.safetensors")
        refused(guest, folder, "should not have|no q, k, v, o")


def test_a_description_is_complete(home: Home, tmp_path: Path) -> None:
    """An export says all that `asdict` of the front end says, and no more than the registry's file."""
    manager = home("linear")
    folder = manager.export("toy", tmp_path / "out")
    data = (folder / "adapter_model.safetensors").read_bytes()
    words = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["cl_ast"])
    assert words["front_end"] == asdict(manager.model("toy").settings.front_end)
    assert not {"task_id", "task_created", "version"} & set(words) and words["source"] == {"task": "esc50", "fold": "5"}
