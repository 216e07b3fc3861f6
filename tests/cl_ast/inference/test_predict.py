"""Many clips under many tasks of a registry: in mixed batches, within a budget of memory, and never stale."""

import itertools
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.audio.reading import Waveform
from cl_ast.audio.windows import Failure, Segment, Window, segments
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import CorruptRegistryError, TaskNotFoundError
from cl_ast.inference.answering import Answer, answer, joined_logits_of, logits_of
from cl_ast.inference.prediction import Prediction
from cl_ast.inference.session import Session
from cl_ast.inference.task_cache import TaskCache
from cl_ast.manager import Manager
from cl_ast.tasks.task_model import TaskModel
from registry import BackboneRecord, Registry, VersionRecord
from tests.cl_ast.conftest import Fresh, Randomise, commit_model

SPECS = ("lora", "conformer:k=8", "bottleneck:ffn", "prefix", "prompt:deep,n=3", "linear", "full", "onebit:r=4")


@pytest.fixture(scope="module")
def models(fresh: Fresh, randomise: Randomise) -> dict[str, TaskModel]:
    """Sixteen tasks: two of each method, of two lengths."""
    found = {}
    for seed in range(16):
        labels = tuple("abcd"[: 2 + seed % 3])
        found[f"task-{seed}"] = randomise(fresh(SPECS[seed % 8], seed, labels=labels, frames=30 + seed // 8))
    return found


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, models: dict[str, TaskModel], backbone: Backbone) -> Path:
    """A registry that holds them; not to be changed."""
    home = tmp_path_factory.mktemp("learned") / "registry"
    with Registry.open(home) as registry:
        registry.set_backbone(BackboneRecord(backbone.name, backbone.fingerprint, backbone.parameters, backbone.bytes))
        for name, model in models.items():
            commit_model(registry, name, model, backbone)
    return home


@pytest.fixture
def home(tmp_path: Path, learned: Path) -> Path:
    return Path(shutil.copytree(learned, tmp_path / "registry"))


@pytest.fixture
def session(home: Path) -> Iterator[Callable[..., Session]]:
    """session(memory=2**30): a session of that registry."""
    made: list[Session] = []
    with Registry.open(home) as registry:

        def make(memory: int = 2**30) -> Session:
            made.append(Session(registry, device="cpu", memory=memory))
            return made[-1]

        yield make
        for one in made:
            one.close()


def _waveforms(count: int) -> list[Waveform]:
    random = np.random.default_rng(0)
    return [random.normal(0, 0.1, 2_000 + 137 * n).astype(np.float32) for n in range(count)]


def _check(session: Session, models: dict[str, TaskModel], names: list[str]) -> None:
    waveforms = _waveforms(len(names))
    wanted = [(Segment("clip", waveform), name) for waveform, name in zip(waveforms, names, strict=True)]
    found = answer(session, wanted)
    for waveform, name, one in zip(waveforms, names, found, strict=True):
        assert isinstance(one, Answer)
        assert one.settings.labels == models[name].settings.labels
        torch.testing.assert_close(one.logits, joined_logits_of(models[name], [waveform])[0], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0, 50_000, 2**30])
def test_each_clip_is_answered_by_its_task_in_order_whatever_fits_into_memory(
    session: Callable[..., Session], models: dict[str, TaskModel], memory: int
) -> None:
    one = session(memory)
    order = np.random.default_rng(1).integers(0, 16, 40)
    for names in (list(models), [f"task-{n}" for n in order], ["task-3"] * 9):
        _check(one, models, names)
    assert answer(one, []) == []
    assert one.cached_bytes <= max(memory, 2**20)


def test_a_task_that_is_not_there_is_named(session: Callable[..., Session]) -> None:
    with pytest.raises(TaskNotFoundError, match="task-99"):
        answer(session(), [(Segment("clip", _waveforms(1)[0]), name) for name in ("task-1", "task-99")])


def test_a_damaged_task_is_named_also_where_it_is_read_ahead(session: Callable[..., Session], home: Path) -> None:
    one = session()
    path = Path(home / "adapters" / f"{one.registry.task('task-9').version.adapter_sha256}.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    wanted = [(Segment("clip", waveform), f"task-{n}") for n, waveform in enumerate(_waveforms(16))]
    for _ in range(2):
        with pytest.raises(CorruptRegistryError, match="task-9"):
            answer(one, wanted)
    assert len(answer(one, [pair for pair in wanted if pair[1] != "task-9"])) == 15


def test_names_in_any_case_are_one_task(session: Callable[..., Session], models: dict[str, TaskModel]) -> None:
    waveform = _waveforms(1)[0]
    first, second = answer(session(), [(Segment("clip", waveform), name) for name in ("task-1", "TASK-1")])
    torch.testing.assert_close(first.logits, second.logits, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_another_process_may_replace_rename_and_remove_tasks_meanwhile(
    session: Callable[..., Session],
    home: Path,
    models: dict[str, TaskModel],
    fresh: Fresh,
    randomise: Randomise,
    backbone: Backbone,
) -> None:
    """Every answer is that of one whole version, current at the time of the call; never a mixture, never an error."""
    versions = [models["task-0"], *(randomise(fresh("lora", seed, labels=("x", "y"), frames=30)) for seed in (70, 71))]
    waveform = _waveforms(1)[0]
    expected = [logits_of(model, [waveform])[0] for model in versions]
    stop = threading.Event()

    def change() -> None:
        with Registry.open(home) as other:
            for n in itertools.cycle((1, 2, 0)):
                if stop.is_set():
                    return
                commit_model(other, "task-0", versions[n], backbone, replace=True)
                other.gc()
                other.rename("task-1", "another")
                other.rename("another", "task-1")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        one = session(20_000)
        seen = set()
        for _ in range(400):
            (found, *_) = answer(one, [(Segment("clip", waveform), name) for name in ("task-0", "task-4", "task-12")])
            fits = [n for n, logits in enumerate(expected) if len(logits) == len(found.logits)]
            (n,) = [n for n in fits if torch.allclose(found.logits, expected[n], rtol=1e-5, atol=1e-5)]
            assert isinstance(found, Answer)
            assert found.settings.labels == versions[n].settings.labels
            seen.add(n)
            if len(seen) == 3:
                break
        assert len(seen) > 1, "nothing was replaced meanwhile"
    finally:
        stop.set()
        changing.join()


def test_what_replaces_a_task_answers_at_once(
    home: Path, models: dict[str, TaskModel], fresh: Fresh, randomise: Randomise, backbone: Backbone, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "clip.wav", _waveforms(1)[0], 16_000)
    with Manager.open(home) as manager:
        (before,) = manager.predict([tmp_path / "clip.wav"], task="task-0")
        with Registry.open(home) as other:
            new = randomise(fresh("lora", 99, labels=("new", "newer")))
            commit_model(other, "task-0", new, backbone, replace=True)
        (after,) = manager.predict([tmp_path / "clip.wav"], task="task-0")
    assert isinstance(before, Prediction)
    assert isinstance(after, Prediction)
    assert {label for label, _ in after.labels} == {"new", "newer"} != {label for label, _ in before.labels}


@pytest.mark.slow
def test_windows_that_share_their_frames_answer_as_each_alone(
    session: Callable[..., Session], models: dict[str, TaskModel], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "long.wav", _waveforms(1)[0].repeat(40), 16_000)
    one = session()
    for hop in (0.1, 0.0999):  # the second cannot share
        cut = [
            window for window in segments([tmp_path / "long.wav"], Window(0.25, hop)) if not isinstance(window, Failure)
        ]
        assert (cut[0].block is not None) == (hop == 0.1)
        found = answer(one, [(segment, f"task-{n % 16}") for n, segment in enumerate(cut)])
        for n, (segment, answered) in enumerate(zip(cut, found, strict=True)):
            alone = logits_of(models[f"task-{n % 16}"], [segment.waveform.copy()])[0]
            torch.testing.assert_close(answered.logits, alone, rtol=1e-4, atol=1e-4)


# The budget


class Sized:
    """Stands for a task of so many bytes."""

    def __init__(self, size: int) -> None:
        self.bytes = size


def _version(number: int) -> Any:
    class Version:
        adapter_sha256 = str(number)

    return Version()


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=4)), max_size=60), st.integers(0, 40)
)
def test_the_least_recently_used_go_first_and_the_budget_holds(used: list[tuple[int, list[int]]], budget: int) -> None:
    """Against a list that is ordered by hand; task n takes n bytes."""
    versions = [_version(n) for n in range(13)]
    cache = TaskCache(lambda version: Sized(int(version.adapter_sha256)), budget)  # type: ignore[arg-type, return-value]
    recent: list[int] = []
    for number, ahead in used:
        cache.expect(versions[n] for n in ahead)
        assert cache.get(versions[number]).bytes == number
        recent = [n for n in recent if n != number] + [number]
        while sum(recent) > budget and len(recent) > 1:
            recent.pop(0)
        assert [n for n in range(13) if versions[n] in cache] == sorted(recent)
        assert cache.bytes == sum(recent) <= max(budget, number)
        assert len(cache) == len(recent)
    cache.close()


def test_what_is_expected_is_read_once_beside_the_work_and_errors_wait_until_it_is_used() -> None:
    threads: list[str] = []
    before = set(threading.enumerate())

    def load(version: VersionRecord) -> Any:
        threads.append(threading.current_thread().name)
        if version.adapter_sha256 == "7":
            raise CorruptRegistryError("seven")
        return Sized(1)

    cache = TaskCache(load, 100)
    cache.expect([_version(5), _version(7)])
    assert cache.get(_version(5)).bytes == 1
    with pytest.raises(CorruptRegistryError, match="seven"):
        cache.get(_version(7))
    assert len(threads) == 2
    assert all(name.startswith("cl-ast-reads-ahead") for name in threads)
    cache.get(_version(6))
    assert threads[-1] == threading.current_thread().name
    cache.close()
    assert set(threading.enumerate()) <= before
