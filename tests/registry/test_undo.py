"""undo: the last change is taken back whole, with ids and measurements, and so is an undo."""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from places import Place, confusion, matrix

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import Accuracy, NewVersion, Registry, deltas

pytestmark = pytest.mark.slow

Make = Callable[..., bytes]
New = Callable[..., NewVersion]
Change = Callable[[], object]
TABLES = ("tasks", "versions", "measurements", "accuracies")


def state(place: Place, reg: Registry) -> object:
    """All rows, but for the highest number of each task, which is never lowered; and the content of each file."""
    found: dict[str, Any] = {name: place.execute(f"SELECT * FROM {name} ORDER BY id") for name in TABLES}
    found["tasks"] = place.execute("SELECT id, name, key, created, current_version_id FROM tasks ORDER BY id")
    names = [f"{sha256}.safetensors" for (sha256,) in place.execute("SELECT adapter_sha256 FROM versions")]
    found["files"] = {name: place.adapters.joinpath(name).read_bytes() for name in names}
    assert reg.verify() == [] and {path.name for path in place.files()} == set(found["files"])
    return found


def measured(*names: str) -> list[Accuracy]:
    return [Accuracy(name, "oracle", 0.5, 4) for name in names] + [
        Accuracy(name, "auto", 0.25, 4, {names[0]: 3, name: 1}) for name in names[1:]
    ]


@pytest.fixture
def started(reg: Registry, adapter: Make, new: New) -> Registry:
    reg.commit("a", adapter(1), new(), measured("a"))
    reg.commit("b", adapter(2), new(), measured("a", "b"))
    reg.commit("a", adapter(3), new(labels=("x", "y")), measured("a", "b"), replace=True)
    return reg


def change(reg: Registry, kind: str, adapter: Make, new: New) -> None:
    changes: dict[str, Change] = {
        "add": lambda: reg.commit("c", adapter(4), new(), measured("a", "b", "c")),
        "replace": lambda: reg.commit("b", adapter(4), new(), measured("a", "b"), replace=True),
        "remove": lambda: reg.remove("a"),
        "rename": lambda: reg.rename("a", "Birds"),
        "respell": lambda: reg.rename("a", "A"),
        "rollback": lambda: reg.rollback("a"),
        "gc": reg.gc,
    }
    changes[kind]()


SAID = {
    "add": ("added task c", "task c is not here any more"),
    "replace": ("replaced task b by version 2", "task b is here with 1 version"),
    "remove": ("removed task a", "task a is here with 2 versions, and version 2 answers"),
    "rename": ("renamed task a to Birds", "task a is here with 2 versions"),
    "respell": ("renamed task a to A", "task a is here with 2 versions"),
    "rollback": ("rolled task a back to version 1", "version 2 answers"),
    "gc": ("gc dropped 1 former version", "1 former version is here again"),
}


@pytest.mark.parametrize("kind", SAID)
def test_each_change_is_taken_back_and_done_again(
    place: Place, started: Registry, kind: str, adapter: Make, new: New
) -> None:
    reg = started
    seen, tables = [state(place, reg)], [matrix(reg), matrix(reg, "auto"), confusion(reg)]
    change(reg, kind, adapter, new)
    seen.append(state(place, reg))
    last = reg.last_change()
    assert last is not None and last.what == SAID[kind][0] and last.kind == kind.replace("respell", "rename")
    said = reg.undo()
    assert said.change == last and SAID[kind][1] in said.now and said.undoable
    assert str(said).startswith(f"took back: {SAID[kind][0]} ({last.created.astimezone():%Y-%m-%d %H:%M}); ")
    assert state(place, reg) == seen[0] != seen[1]
    assert [matrix(reg), matrix(reg, "auto"), confusion(reg)] == tables
    for number in (1, 0, 1):
        said = reg.undo()
        assert said.change.kind == ("undo" if number else "redo") and state(place, reg) == seen[number]
        assert ("the undo of: " in str(said)) is bool(number)
    reg.commit("later", adapter(9), new())
    highest = place.execute("SELECT max(id) FROM versions")[0][0]
    assert reg.task("later").version.id == highest and reg.gc(dry_run=True).unnamed == ()


def test_any_sequence_of_changes(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    """A plain list of former states is the model: undo gives the one before the last change."""
    dice, done, before = random.Random(1), set(), state(place, reg)
    for number in range(25 if isinstance(place.location, Path) else 8):
        names = [task.name for task in reg.tasks()]
        earlier = [(n, v.number) for n in names for v in reg.versions(n) if v.number != reg.task(n).version.number]
        fresh = partial(reg.commit, f"t{number}", adapter(number), new(), measured(f"t{number}"))
        options: list[tuple[str, Change]] = [("add", fresh)]
        for name in names:
            found = measured(name, *[one for one in names if one != name])
            options += [
                ("replace", partial(reg.commit, name, adapter(number), new(), found, replace=True)),
                ("remove", partial(reg.remove, name)),
                ("rename", partial(reg.rename, name, f"r{number}")),
            ]
        options += [("rollback", partial(reg.rollback, *pair)) for pair in earlier]
        options += [("gc", reg.gc)] * bool(earlier)
        kind = dice.choice(sorted({kind for kind, _ in options if kind != "add" or len(names) < 5}))
        dice.choice([act for one, act in options if one == kind])()
        after = state(place, reg)
        done.add(kind)
        undone = dice.choice([0, 1, 1, 2])
        for taken_back in [True, False][:undone]:
            reg.undo()
            assert state(place, reg) == (before if taken_back else after), kind
        before = before if undone == 1 else after
    assert len(done) == 6 or not isinstance(place.location, Path)


def test_there_is_nothing_to_take_back(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    assert reg.last_change() is None
    for name in ("a", "b"):
        with pytest.raises(RegistryError, match="no change to take back"):
            reg.undo()
        reg.commit(name, adapter(1), new())
        Registry.rebuild(place.location)


def test_another_change_than_the_one_that_was_meant(reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(1), new())
    meant = reg.last_change()
    reg.commit("b", adapter(2), new())
    with pytest.raises(RegistryError, match=r"another change came meanwhile: added task b"):
        reg.undo(meant)
    assert len(reg.tasks()) == 2 and reg.undo(reg.last_change()).change.what == "added task b"


def test_files_that_are_gone_for_good(place: Place, started: Registry, adapter: Make, new: New) -> None:
    reg = started
    reg.remove("a")
    before, first = state(place, reg), place.trash()[0]
    content = first.read_bytes()
    first.unlink()
    with pytest.raises(RegistryError, match="1 of its files are not in the trash"):
        reg.undo()
    assert state(place, reg) == before and len(place.trash()) == 1, "the other is there again"
    first.write_bytes(content)
    reg.undo()
    reg.remove("a")
    reg.gc(empty_trash=True)
    with pytest.raises(RegistryError, match="2 of its files are not in the trash"):
        reg.undo()
    assert state(place, reg) == before


def test_what_was_measured_since_stays(place: Place, started: Registry, adapter: Make, new: New) -> None:
    reg = started
    reg.commit("c", adapter(4), new(), measured("a", "b", "c"))
    reg.record(measured("a", "b", "c"))
    counted = place.execute("SELECT count(*) FROM accuracies")[0][0]
    after = state(place, reg)
    reg.undo()
    versions = {task.name: task.version.id for task in reg.tasks()}
    kept = place.execute("SELECT version_id FROM accuracies WHERE measurement_id = (SELECT max(id) FROM measurements)")
    assert {row[0] for row in kept} == set(versions.values()) and len(versions) == 2
    assert counted - place.execute("SELECT count(*) FROM accuracies")[0][0] == 5 + 2  # of the commit, and of c since
    reg.undo()
    assert state(place, reg) == after
    reg.remove("b")
    reg.record(measured("a", "c"))
    since = place.execute("SELECT count(*) FROM accuracies")[0][0]
    reg.undo()
    assert place.execute("SELECT count(*) FROM accuracies")[0][0] > since and reg.verify() == []


def test_a_database_that_was_changed_in_another_way(place: Place, started: Registry) -> None:
    reg = started
    reg.rename("b", "c")
    place.execute("UPDATE tasks SET name = 'b', key = 'b' WHERE name = 'a'")
    for _ in range(2):
        with pytest.raises(RegistryError, match="changed since then in another way"):
            reg.undo()
    assert {task.name for task in reg.tasks()} == {"b", "c"} and len(place.files()) == 3


def test_a_change_of_too_many_rows_is_not_kept(
    place: Place, started: Registry, adapter: Make, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    reg = started
    monkeypatch.setattr(deltas, "MOST_ROWS", 1)
    assert not reg.gc().undoable
    with pytest.raises(RegistryError, match=r"gc dropped 1 former version.*does not keep so many rows"):
        reg.undo()
    assert len(place.trash()) == 1
    monkeypatch.undo()
    monkeypatch.setattr("registry.last_change._LARGEST", 500)
    reg.remove("a")
    with pytest.raises(RegistryError, match="does not keep"):
        reg.undo()
    assert len(place.trash()) == 2 and reg.verify() == []


NASTY: list[Any] = [
    None, True, -1, 0, 2**63, 0.5, "", "x", "\x1b]52;c;eA==\x07", [], {}, [[]], "../../x", "9999-12-31T23:59:59",
    10**400, ["../" * 21 + "x"], "2026-01-01T00:00:00", {"put": {}}, "\ud800", [1e999],
]  # fmt: skip


def test_a_last_change_that_cannot_be_fails_alone(place: Place, started: Registry, adapter: Make, new: New) -> None:
    """Every value of the JSON replaced by another: refused, or done as what it says, and nothing else is touched."""
    reg = started
    reg.remove("a")
    ((text,),) = place.execute("SELECT undo FROM last_change")
    good, dice, before, refused = json.loads(text), random.Random(3), state(place, reg), 0
    for _ in range(25 if isinstance(place.location, Path) else 6):
        words = json.loads(text)
        holder, key = dice.choice(list(_places(words)))
        holder[key] = dice.choice(NASTY)
        if words == good:
            continue
        _write(place, json.dumps(words))
        try:
            reg.undo()
        except RegistryError as error:
            refused += 1
            assert "\n" not in str(error) and "\x1b" not in str(error) and len(str(error)) < 1_000
            assert state(place, reg) == before
        else:
            assert [task.name for task in reg.tasks()].count("b") == 1
            _write(place, text)
            reg.remove("a") if any(task.name == "a" for task in reg.tasks()) else None
            reg.gc()
            before = state(place, reg)
            ((text,),) = place.execute("SELECT undo FROM last_change")
            good = json.loads(text)
    assert refused > 4
    for junk in ("", "[" * 100_000, "7", "{}", '{"delta": null, "back": [], "away": ["../x"]}', "x" * 1_000_000):
        _write(place, junk)
        with pytest.raises(CorruptRegistryError, match="cannot be right"):
            reg.undo()
        assert reg.verify() == [] and reg.gc(dry_run=True).dropped == () and reg.overview().tasks
    place.execute("UPDATE last_change SET what = 'odd \u202e text', created = '1900-01-01 00:00:00'")
    with pytest.raises(CorruptRegistryError, match="cannot be right"):
        reg.undo()
    reg.commit("c", adapter(5), new())
    assert reg.undo().change.what == "added task c"


def _places(value: Any) -> Any:
    """Yield each list or object in a value with each of its keys."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _write(place: Place, text: str) -> None:
    place.execute("UPDATE last_change SET undo = '{}'".format(text.replace("'", "''")))


def test_who_undoes_while_files_are_on_their_way_to_the_trash(
    place: Place, started: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are gone, the lock is free, the files are not moved yet: they stay in their place."""
    reg = started
    before = state(place, reg)
    from registry import crash_points

    def undone_by_another(step: str) -> None:
        if step == "committed":
            crash_points.hook = None
            with Registry.open(place.location) as other:
                other.undo()

    crash_points.hook = undone_by_another
    try:
        reg.remove("a")
    finally:
        crash_points.hook = None
    assert state(place, reg) == before and place.trash() == []
