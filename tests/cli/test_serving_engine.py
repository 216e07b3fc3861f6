"""The engine of the service: many questions in one pass, the answers of `predict`, and no task's fault is another's."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from cl_ast.audio.reading import Waveform, read
from cl_ast.audio.recordings import Recording
from cl_ast.audio.windows import Segment, Window, segments
from cl_ast.errors import TaskNotFoundError
from cl_ast.events import EventSettings, WindowScorer
from cl_ast.inference.prediction import AUTO, Prediction, Query
from cl_ast.manager import Manager
from cl_ast.router import part_to_describe
from cl_ast.serving.engine import Engine
from cl_ast.serving.metrics import Metrics
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.work import Outcome, Question, Work
from registry import Registry
from tests.cli.conftest import MakeFolder, Run

Ask = Callable[..., "Future[list[Outcome]]"]
TASKS = ("tones", "noises", "chirps")


@pytest.fixture(scope="module")
def home(stages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with three tasks; not to be changed."""
    return stages["chirps"]


@pytest.fixture(scope="module")
def clips(data: Path) -> list[Path]:
    return sorted(data.rglob("0[0-2].wav"))


@pytest.fixture
def engine(registry: Path) -> Iterator[Engine]:
    """An engine of this test's own registry, which has begun nothing yet."""
    with Manager.open(registry, device="cpu") as manager:
        found = Engine(manager, Metrics(), lambda _: None)
        yield found
        if found._thread.is_alive():
            found.close()


def work(path: Path, task: str, **settings: object) -> Work:
    waveform = read(path)
    parts = [part_to_describe(waveform)] if task == AUTO else []
    return Work([Segment(str(path), waveform)], Question(Query(task), **settings), parts)  # type: ignore[arg-type]


def same(found: Prediction, expected: Prediction) -> None:
    assert (found.task, found.known, found.path) == (expected.task, expected.known, expected.path)
    assert [label for label, _ in found.labels] == [label for label, _ in expected.labels]
    np.testing.assert_allclose([s for _, s in found.labels], [s for _, s in expected.labels], atol=1e-5)
    assert found.taken == expected.taken and found.joined == expected.joined and found.p_value == expected.p_value


def predicted(registry: Path, clips: list[Path], task: str) -> list[Prediction]:
    with Manager.open(registry, device="cpu") as manager:
        found = list(manager.predict(clips, task=task))
    assert all(isinstance(one, Prediction) for one in found)
    return found  # type: ignore[return-value]


@pytest.mark.slow
def test_questions_for_different_tasks_share_passes_and_are_answered_as_by_predict(
    engine: Engine, registry: Path, clips: list[Path]
) -> None:
    expected = {task: predicted(registry, clips, task) for task in (*TASKS, AUTO)}
    works = {(task, n): work(path, task) for n, path in enumerate(clips) for task in (*TASKS, AUTO)}
    for one in works.values():
        engine.submit(one)
    engine.start()
    for (task, n), one in works.items():
        (outcome,) = one.outcome.result(20)
        same(outcome.prediction, expected[task][n])
        assert outcome.version.task == outcome.prediction.task
        assert one.compute_seconds > 0 and (one.route_seconds > 0) == (task == AUTO)
    text = engine._metrics.text().decode()
    passes = float(text.split("cl_ast_batch_rows_count ")[1].split()[0])
    rows = float(text.split("cl_ast_batch_rows_sum ")[1].split()[0])
    assert rows >= len(works) and rows / passes > 5


@pytest.mark.slow
def test_alone_it_is_exactly_what_predict_answers(
    engine: Engine, registry: Path, clips: list[Path], long: Path
) -> None:
    """Also of a long clip, whose windows take many batches, while others wait beside it."""
    expected = {(path, task): predicted(registry, [path], task)[0] for path in (clips[0], long) for task in TASKS}
    works = {}
    for (path, task), _ in expected.items():
        works[path, task] = work(path, task, deterministic=True)
        for one in (works[path, task], work(clips[1], task), work(clips[2], AUTO)):
            engine.submit(one)
    engine.start()
    for which, one in works.items():
        (outcome,) = one.outcome.result(20)
        assert outcome.prediction == expected[which]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory, clips: list[Path]) -> Path:
    """A clip of 20 s, which has 40 windows."""
    import soundfile

    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, np.concatenate([read(clips[n % len(clips)]) for n in range(40)]), 16_000)
    return path


@pytest.mark.slow
def test_a_recording_that_is_read_in_blocks_answers_as_the_same_clip_in_memory(
    engine: Engine, registry: Path, long: Path
) -> None:
    from cl_ast.audio.reading import stream

    engine.start()
    for task in ("tones", AUTO):
        recording = Recording(str(long), lambda notes: stream(long, notes=notes))
        parts = [part_to_describe(recording)] if task == AUTO else []
        one = Work([recording], Question(Query(task)), parts)
        engine.submit(one)
        same(one.outcome.result(20)[0].prediction, predicted(registry, [long], task)[0])


@pytest.mark.slow
def test_windows_answer_as_by_predict(engine: Engine, registry: Path, long: Path) -> None:
    window = Window(0.5, 0.25)
    with Manager.open(registry, device="cpu") as manager:
        expected = list(manager.predict([long], task="noises", window=window))[:32]
    cut = [one for one in segments([long], window) if isinstance(one, Segment)][:32]
    one = Work(cut, Question(Query("noises", window=window), deterministic=True))
    engine.submit(one)
    engine.start()
    assert [outcome.prediction for outcome in one.outcome.result(20)] == expected


@pytest.mark.slow
def test_a_timeline_is_that_of_events_and_changes_nothing_else(
    engine: Engine, registry: Path, long: Path, clips: list[Path]
) -> None:
    window = Window(0.5, 0.25)
    cut = [one for one in segments([long], window) if isinstance(one, Segment)][:8]
    with Manager.open(registry, device="cpu") as manager:
        scorer = WindowScorer(manager.session, EventSettings("noises", 0.5, 0.25, timeline=True))
        scored = scorer(cut)
    one = Work(cut, Question(Query("noises", window=window), timeline=True))
    whole, named = work(long, "noises", timeline=True), work(clips[0], "tones", timeline=True, deterministic=True)
    for each in (one, whole, named):
        engine.submit(each)
    engine.start()
    for outcome, expected in zip(one.outcome.result(20), scored, strict=True):
        found = outcome.timeline
        assert found is not None
        np.testing.assert_allclose(found.scores, expected.tasks[0].scores[: len(found.scores)], atol=1e-5)
        steps = expected.first / 16_000 + found.step * np.arange(len(found.scores))
        np.testing.assert_allclose(found.starts, steps, atol=1e-6)
        assert len(steps) > 1 and steps[-1] < expected.stop / 16_000
    (joined,) = whole.outcome.result(20)
    same(joined.prediction, predicted(registry, [long], "noises")[0])
    assert joined.timeline is not None and joined.timeline.starts[-1] > 19
    assert named.outcome.result(20)[0].prediction == predicted(registry, clips[:1], "tones")[0]


@pytest.mark.slow
def test_a_timeline_of_a_task_that_has_none_is_refused(
    engine: Engine, cl: Run, clips: list[Path], data: Path, quick: list[object]
) -> None:
    cl("add-task", data / "tones", *quick, "--name", "spread-out", "--pooling", "mean+std").fine()
    one, other = work(clips[0], "spread-out", timeline=True), work(clips[0], "spread-out")
    for each in (one, other):
        engine.submit(each)
    engine.start()
    with pytest.raises(Refusal, match=r"pools by mean\+std"):
        one.outcome.result(20)
    assert other.outcome.result(20)


def test_who_left_and_who_is_late_cost_no_pass(engine: Engine, clips: list[Path]) -> None:
    left, late, there = (
        work(clips[0], "tones"),
        work(clips[0], "tones", deadline=time.monotonic()),
        work(clips[0], "tones"),
    )
    for one in (left, late, there):
        engine.submit(one)
    left.outcome.cancel()
    engine.start()
    assert there.outcome.result(20)
    with pytest.raises(Refusal, match="in time"):
        late.outcome.result(0)
    assert not left.compute_seconds and not late.compute_seconds


def test_a_short_clip_does_not_wait_for_the_end_of_a_long_one(engine: Engine, clips: list[Path], long: Path) -> None:
    ended: list[str] = []
    slow, quick = work(long, "tones"), work(clips[0], "tones")
    slow.outcome.add_done_callback(lambda _: ended.append("slow"))
    quick.outcome.add_done_callback(lambda _: ended.append("quick"))
    engine.submit(slow)
    engine.submit(quick)
    engine.start()
    slow.outcome.result(20)
    assert ended == ["quick", "slow"]


def test_another_process_adds_and_removes_tasks_meanwhile(engine: Engine, registry: Path, clips: list[Path]) -> None:
    engine.start()
    before = work(clips[0], AUTO)
    engine.submit(before)
    task = before.outcome.result(20)[0].prediction.task
    with Registry.open(registry) as other:
        other.remove(task)
    named, routed = work(clips[0], task), work(clips[0], AUTO)
    engine.submit(named)
    engine.submit(routed)
    with pytest.raises(TaskNotFoundError, match=task):
        named.outcome.result(20)
    assert routed.outcome.result(20)[0].prediction.task != task
    with Registry.open(registry) as other:
        other.undo()
    again = work(clips[0], task)
    engine.submit(again)
    assert again.outcome.result(20)[0].version.adapter_sha256 == before.outcome.result()[0].version.adapter_sha256


def test_a_broken_file_is_an_error_of_its_task_alone(
    engine: Engine, registry: Path, clips: list[Path], recwarn: pytest.WarningsRecorder
) -> None:
    with Registry.open(registry) as other:
        version = other.task("tones").version
    path = registry / "adapters" / f"{version.adapter_sha256}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    works = [work(clips[n], task) for n, task in enumerate(("tones", "noises", "chirps", AUTO, AUTO))]
    for one in works:
        engine.submit(one)
    engine.start()
    with pytest.raises(Refusal, match="the file of the task tones is damaged") as refused:
        works[0].outcome.result(20)
    assert str(registry) not in str(refused.value)
    assert {one.outcome.result(20)[0].prediction.task for one in works[1:]} <= {"noises", "chirps"}
    assert any("leaves tones out" in str(one.message) for one in recwarn)


def test_a_pinned_task_that_is_not_there_keeps_the_engine_from_starting(registry: Path, clips: list[Path]) -> None:
    with Manager.open(registry, device="cpu") as manager:
        engine = Engine(manager, Metrics(), lambda _: None, pinned=["nothing"])
        one = work(clips[0], "tones")
        engine.submit(one)
        engine.start()
        with pytest.raises(Refusal):
            one.outcome.result(20)
        engine.close()
        assert isinstance(engine.failure, TaskNotFoundError)


def test_a_pinned_task_stays_in_memory_and_is_replaced_when_it_is(
    registry: Path, stage: MakeFolder, clips: list[Path]
) -> None:
    with Manager.open(registry, device="cpu", memory=0) as manager:
        engine = Engine(manager, Metrics(), lambda _: None, pinned=["TONES"])
        engine.start()
        first = work(clips[0], "tones")
        engine.submit(first)
        sha256 = first.outcome.result(20)[0].version.adapter_sha256
        (registry / "adapters" / f"{sha256}.safetensors").unlink()
        for name in ("noises", "tones"):  # with no memory for others, the last one is dropped each time
            one = work(clips[0], name)
            engine.submit(one)
            assert one.outcome.result(20)[0].prediction.task == name
        engine.close()


def test_an_errand_runs_between_batches(engine: Engine) -> None:
    engine.start()
    assert engine.call(lambda manager: manager.session.backbone_name).result(20)
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda _: 1 / 0).result(20)
    assert engine.state == "ready"


def silence(seconds: float) -> Waveform:
    return np.zeros(round(seconds * 16_000), np.float32)


def test_silence_is_answered_too(engine: Engine) -> None:
    engine.start()
    one = Work([Segment("silence", silence(3))], Question(Query(AUTO)), [silence(3)])
    engine.submit(one)
    assert not one.outcome.result(20)[0].prediction.known
