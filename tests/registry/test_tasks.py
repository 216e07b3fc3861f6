"""Tasks and their versions: what is kept is what was given, under the name it was given."""

import json
import struct
import threading
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from places import Place

from cl_ast.errors import CorruptRegistryError, RegistryError, TaskExistsError, TaskNotFoundError
from registry import Accuracy, BackboneRecord, NewVersion, Registry
from registry.names import suggestion

Make = Callable[..., bytes]
New = Callable[..., NewVersion]


def names(reg: Registry) -> list[str]:
    return [task.name for task in reg.tasks()]


def test_a_task_comes_back_as_it_was_committed(
    place: Place, reg: Registry, adapter: Make, new: New, tensors: Make
) -> None:
    given = new(labels=("Hund", "雨", "🐦"))
    task = reg.commit("animals", adapter(3), given)
    assert reg.tasks() == [task] and reg.task("animals") == task
    assert replace(task.version) == task.version  # every field is set, as the constructor sets it
    assert task.labels == given.labels and task.version.classes == 3
    for field in ("method", "trainable_parameters", "seed", "seconds", "source", "data_fingerprint"):
        assert getattr(task.version, field) == getattr(given, field)
    assert (task.version.protocol, task.version.packages) == (given.protocol, given.packages)
    assert (task.version.task, task.version.number, task.version.learned_accuracy) == ("animals", 1, 0.9)
    assert abs(task.created - datetime.now(UTC)) < timedelta(minutes=1)
    data = reg.read_adapter(task.version)
    assert tensors(data) == tensors(adapter(3))
    assert place.file(task.version).read_bytes() == data
    assert task.version.adapter_bytes == len(data)


def test_the_versions_that_answer_now_are_asked_for_together(reg: Registry, adapter: Make, new: New) -> None:
    for number, name in enumerate(("Animals", "rain", "words")):
        reg.commit(name, adapter(number), new())
    newer = reg.commit("rain", adapter(7), new(), replace=True).version
    found = reg.current({"animals", "ANIMALS", "rain"})
    assert found == {"animals": reg.task("Animals").version, "ANIMALS": reg.task("Animals").version, "rain": newer}
    assert reg.current([]) == {}
    with pytest.raises(TaskNotFoundError, match="whales"):
        reg.current(["rain", "whales"])


def test_a_file_describes_itself_and_keeps_what_the_caller_wrote(reg: Registry, adapter: Make, new: New) -> None:
    task = reg.commit("animals", adapter(version=99, name="liar", mine="kept"), new())
    data = reg.read_adapter(task.version)
    (length,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    own = json.loads(metadata["cl_ast"])
    assert metadata["format"] == "pt" and length % 8 == 0
    assert (own["name"], own["version"], own["mine"]) == ("animals", 1, "kept")
    assert own["front_end"] == {"mel_bins": 128}
    assert own["labels"] == ["dog", "rain"] and own["backbone"]["fingerprint"] == "f" * 64


def test_the_safetensors_library_reads_the_stored_file(reg: Registry, adapter: Make, new: New) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    data = reg.read_adapter(reg.commit("animals", adapter(0), new()).version)
    loaded = numpy.load(data)
    assert loaded["layer.0.q.a"].shape == (64,)


@pytest.mark.parametrize("again", ["dogs", "DOGS", "Dogs"])
def test_a_name_is_taken_whatever_its_case(reg: Registry, adapter: Make, new: New, again: str) -> None:
    reg.commit("dogs", adapter(), new())
    with pytest.raises(TaskExistsError, match='"dogs"'):
        reg.commit(again, adapter(1), new())
    assert names(reg) == ["dogs"] and reg.gc().dropped == ()


@pytest.mark.slow
def test_names_are_compared_beyond_ascii(reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("Vögel", adapter(), new())
    with pytest.raises(TaskExistsError):
        reg.commit("VÖGEL", adapter(), new())  # composed differently, too
    assert reg.task("vögel").name == "Vögel"


IMPOSSIBLE = [
    "", "x" * 101, "a/b", "a\\b", "..", "a\nb", "a\x00b", " a", "a ", "auto", "Oracle", "\ud800", "a\x1b[2J",
    "a\x7f", "a\x9b", "a\u202eb", "a\u200b", "a\u200db", "\ufeffa", "a\u2028", "a\u3164", "a\ufe0f", "a\u034f",
    "a\u2800", "a\U000e0061", "a\U000e0100",
]  # fmt: skip


@pytest.mark.slow
def test_names_that_cannot_be(reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("fine", adapter(), new())
    taken = []
    for name in IMPOSSIBLE:
        with suppress(RegistryError):
            reg.commit(name, adapter(), new())
            taken.append(f"commit {name!r}")
        with suppress(RegistryError):
            reg.rename("fine", name)
            taken.append(f"rename to {name!r}")
    assert taken == [] and names(reg) == ["fine"] and reg.gc().dropped == ()


@pytest.mark.slow
def test_names_of_every_script(reg: Registry, adapter: Make, new: New) -> None:
    wanted = ["größer", "雨", "मोर", "كلب", "🐕", "a b", "e\u0301", "[b]x :cat:", "=1+1"]
    for number, name in enumerate(wanted):
        assert reg.commit(name, adapter(number), new()).name == name
        with pytest.raises(TaskExistsError):
            reg.commit(unicodedata.normalize("NFKD", name).upper(), adapter(), new())
    assert names(reg) == wanted


@pytest.mark.slow
def test_a_name_that_an_older_release_allowed_stays(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    old = "bi\u200brds"
    reg.commit("birds", adapter(), new())
    place.execute(f"UPDATE tasks SET name = '{old}', key = '{old}'")
    assert names(reg) == [old] and reg.task(old).name == old
    assert reg.commit(old, adapter(1), new(), replace=True).version.number == 2
    with pytest.raises(RegistryError, match=r"Bi\\u200brds.* has \\u200b: choose another name"):
        reg.rename(old, old.capitalize())
    assert reg.rename(old, "birds").version.number == 2 and reg.gc().dropped and reg.verify() == []


@pytest.mark.slow
def test_hostile_text_is_only_text(reg: Registry, adapter: Make, new: New) -> None:
    name = "a'; DROP TABLE tasks; --"
    reg.commit(name, adapter(), new(labels=('"', "'", "%s", "?")))
    assert names(reg) == [name] and reg.task(name).labels == ('"', "'", "%s", "?")
    with pytest.raises(RegistryError, match="NUL"):
        new(labels=("dog", "\x00"))


@pytest.mark.slow
def test_an_unknown_name_suggests_the_nearest(reg: Registry, adapter: Make, new: New) -> None:
    with pytest.raises(TaskNotFoundError, match="no task yet"):
        reg.task("esc50")
    for name in ("ESC50", "us8k"):
        reg.commit(name, adapter(), new())
    with pytest.raises(TaskNotFoundError, match=r'did you mean "ESC50".*ESC50, us8k'):
        reg.task("esc5")


@pytest.mark.slow
def test_ids_are_never_given_again(reg: Registry, adapter: Make, new: New) -> None:
    first = reg.commit("a", adapter(), new())
    reg.remove("a")
    second = reg.commit("a", adapter(), new())
    assert second.id > first.id and second.version.id > first.version.id
    with pytest.raises(TaskNotFoundError):
        reg.read_adapter(first.version)


@pytest.mark.slow
def test_replace_makes_the_next_version_and_rollback_goes_back(
    reg: Registry, adapter: Make, new: New, tensors: Make
) -> None:
    first = reg.commit("a", adapter(1), new(labels=("x",)))
    reg.commit("b", adapter(2), new())
    second = reg.commit("A", adapter(3), new(labels=("x", "y")), replace=True)
    assert (second.id, second.name, second.version.number) == (first.id, "a", 2)
    assert second.created == first.created < second.version.created
    assert [version.number for version in reg.versions("a")] == [1, 2]
    assert names(reg) == ["b", "a"], "learned again, so learned last"
    assert reg.rollback("a") == first.version
    assert reg.task("a").labels == ("x",) and names(reg) == ["a", "b"]
    assert tensors(reg.read_adapter(reg.task("a").version)) == tensors(adapter(1))
    with pytest.raises(RegistryError, match="no version before 1"):
        reg.rollback("a")
    with pytest.raises(RegistryError, match="no version 7; it has 1, 2"):
        reg.rollback("a", 7)
    assert reg.rollback("a", 2) == second.version
    reg.rollback("a", 1)
    reg.gc()
    third = reg.commit("a", adapter(4), new(), replace=True)
    assert third.version.number == 3, "the number of a dropped version is not given again"


def test_replace_of_what_is_not_there_adds_it(reg: Registry, adapter: Make, new: New) -> None:
    assert reg.commit("a", adapter(), new(), replace=True).version.number == 1


@pytest.mark.slow
def test_rename_keeps_all_but_the_name(reg: Registry, adapter: Make, new: New, tensors: Make) -> None:
    before = reg.commit("a", adapter(1), new())
    reg.commit("a", adapter(2), new(), replace=True)
    reg.commit("b", adapter(3), new())
    after = reg.rename("A", "birds")
    assert (after.id, after.name, after.version.number) == (before.id, "birds", 2)
    assert tensors(reg.read_adapter(reg.versions("birds")[0])) == tensors(adapter(1))
    assert reg.read_adapter(before.version), "a record from before still finds its version"
    assert reg.verify() == [] and len(reg.gc(dry_run=True).dropped) == 1
    with pytest.raises(TaskExistsError, match='"b"'):
        reg.rename("birds", "B")
    with pytest.raises(TaskNotFoundError):
        reg.rename("a", "c")
    assert reg.rename("birds", "Birds").name == "Birds"


@pytest.mark.slow
def test_a_name_that_comes_back_is_another_file(reg: Registry, adapter: Make, new: New) -> None:
    """Whoever renamed it away may still be deleting the first one."""
    first = reg.commit("a", adapter(), new()).version
    reg.rename("a", "b")
    again = reg.rename("b", "a").version
    assert again.adapter_sha256 != first.adapter_sha256 and reg.read_adapter(first) and reg.verify() == []


@pytest.mark.slow
def test_remove_takes_the_files_too(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(1), new())
    reg.commit("a", adapter(2), new(), replace=True)
    kept = reg.commit("b", adapter(3), new())
    reg.remove("A")
    assert names(reg) == ["b"] and reg.verify() == []
    assert place.files() == [place.file(kept.version)]
    with pytest.raises(TaskNotFoundError):
        reg.remove("a")


def test_a_registry_has_one_backbone(reg: Registry, adapter: Make, new: New, backbone: BackboneRecord) -> None:
    assert reg.backbone == backbone
    assert reg.set_backbone(replace(backbone, name="same weights, other path")) == backbone
    with pytest.raises(RegistryError, match=r"ast-mini.*ast-base"):
        reg.set_backbone(BackboneRecord("ast-base", "0" * 64, 1, 1))
    with pytest.raises(RegistryError, match="another backbone"):
        reg.commit("a", adapter(backbone={"fingerprint": "0" * 64}), new())
    assert reg.tasks() == [] and reg.backbone == backbone


def test_a_task_needs_a_backbone(place: Place, adapter: Make, new: New) -> None:
    with Registry.open(place.location) as empty:
        assert empty.backbone is None
        with pytest.raises(RegistryError, match="no backbone yet"):
            empty.commit("a", adapter(), new())


def test_what_is_not_an_adapter_is_refused(reg: Registry, adapter: Make, new: New) -> None:
    good = adapter()
    for bad in (b"", b"x" * 7, b"\xff" * 64, good[:-1], good + b"x", b"\x02" + b"\x00" * 7 + b"[]"):
        with pytest.raises(CorruptRegistryError, match='"a"'):
            reg.commit("a", bad, new())
    assert reg.tasks() == [] and reg.gc().dropped == ()


@pytest.mark.slow
def test_a_failed_commit_leaves_nothing(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(), new())
    with pytest.raises(TaskNotFoundError):
        reg.commit("b", adapter(), new(), [Accuracy("nobody", "oracle", 0.5, 4)])
    with pytest.raises(RegistryError, match="JSON"):
        reg.commit("b", adapter(), new(source={"path": object()}))
    with pytest.raises(RegistryError, match="twice"):
        reg.commit("b", adapter(), new(), [Accuracy("b", "oracle", 0.5, 4), Accuracy("B", "oracle", 1, 4)])
    assert names(reg) == ["a"] and place.measured() == [] and reg.gc().dropped == ()
    assert reg.commit("b", adapter(), new()).id > reg.task("a").id


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": ()},
        {"labels": ("a", "a")},
        {"labels": ("",)},
        {"learned_accuracy": 1.5},
        {"seconds": -1.0},
        {"seed": 2**63},
    ],
)
def test_a_version_is_checked_when_made(new: New, wrong: dict[str, object]) -> None:
    with pytest.raises(RegistryError):
        new(**wrong)


@pytest.mark.slow
def test_threads_share_one_registry(reg: Registry, adapter: Make, new: New) -> None:
    def work(i: int) -> None:
        reg.commit(f"t{i}", adapter(i), new())
        assert reg.read_adapter(reg.task(f"t{i}").version)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(reg)) == [f"t{i}" for i in range(6)] and reg.verify() == []


@pytest.mark.parametrize(
    "wrong", ["recording-77-of-bird", "ecording-77-of-birds", "recordign-77-of-birds", "RECORDING-77-OF-BIRDZ"]
)
def test_the_nearest_of_very_many_names_is_found_at_once(wrong: str) -> None:
    known = [f"recording-{number}-of-birds" for number in range(30_000)]
    before = time.process_time()
    said = suggestion(wrong, known)
    assert time.process_time() - before < 2  # comparing each of them takes twenty seconds
    assert 'did you mean "recording-77-of-birds"?' in said
    assert len(said) < 1_500
