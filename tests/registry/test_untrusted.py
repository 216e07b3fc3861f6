"""A registry.db that a stranger wrote: refused or left out row by row, with a sentence, and nothing else is touched.

CL_AST_FUZZ_DB=2000 sets how often a database is changed at random; a test run does sixty.
"""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from limits import memory_at_most, seconds_at_most
from places import Place

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import Accuracy, BackboneRecord, NewVersion, Registry, header
from registry.adapter_files import AdapterFiles, name_of
from registry.file_stores import LocalFolder

Make = Callable[..., bytes]
New = Callable[..., NewVersion]
DATABASES = int(os.environ.get("CL_AST_FUZZ_DB", "60"))
DEEP = "[" * 100_000
NASTY: list[Any] = [
    None, -1, 0, 1, 2, 2**31, 2**63 - 1, -(2**63), 0.5, float("inf"), "", "x", b"", b"\xff\xfe", "\x1b]52;c;eA==\x07",
    "../../guard/file", "/etc/passwd", "x" * 70_000, "9999-12-31 23:59:59.999999", "0001-01-01 00:00:00", "yesterday",
    "NaN", "[]", "{}", "[1]", '["a","a"]', '{"1": -1}', '{"1": "x"}', '{"1": 1e999}', DEEP, '["a"] and more',
    "2026-01-01 00:00:00+05:00", "../" * 20 + "guard/", "0" * 64, "F" * 64, "\u202ea", 2**53, "\x00",
]  # fmt: skip
OBJECTS = [
    "CREATE VIEW more AS SELECT * FROM tasks",
    "CREATE TRIGGER evil AFTER INSERT ON versions BEGIN DELETE FROM tasks; END",
    "CREATE TABLE other (x)",
    "ALTER TABLE tasks ADD COLUMN big AS (hex(zeroblob(50000000)))",
    "PRAGMA user_version = -1",
    "PRAGMA user_version = 0",
    "PRAGMA application_id = 1",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807",
    "DROP TABLE accuracies",
    "DELETE FROM backbone",
    "DROP TABLE last_change",
    "DELETE FROM identity",
]


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Path]:
    """A folder beside the registry, which nothing may touch; a file in it could be the file of an adapter."""
    folder = tmp_path / "guard"
    folder.mkdir()
    for name in ("file", f"{'0' * 64}.safetensors", "my-model.safetensors"):
        (folder / name).write_bytes(b"mine")
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["file", f"{'0' * 64}.safetensors", "my-model.safetensors"]
    )
    assert all(path.read_bytes() == b"mine" for path in folder.iterdir())


@pytest.fixture
def filled(place: Place, reg: Registry, adapter: Make, new: New) -> Registry:
    return fill(reg, adapter, new)


def fill(reg: Registry, adapter: Make, new: New) -> Registry:
    """Commit two tasks, one with two versions, and measurements."""
    reg.commit("a", adapter(1), new(), [Accuracy("a", "oracle", 0.5, 4), Accuracy("a", "auto", 0.5, 4, {"a": 4})])
    reg.commit("b", adapter(2), new(), [Accuracy("b", "auto", 0.25, 4, {"a": 1, "b": 3})])
    reg.commit("a", adapter(3), new(labels=("more",)), [Accuracy("a", "auto", 1, 4, {"a": 4})], replace=True)
    return reg


def loosened(path: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    """Change a database as no constraint would let us."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement, values)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def outside(guard: Path, adapters: Path) -> str:
    """A name of 64 characters that leads from the adapters to a file in the guard folder."""
    tail = os.path.relpath(guard / "my-model", adapters)
    way = tail.removesuffix("my-model")
    return way[:-1] + "/" * (64 - len(tail) + 1) + "my-model"


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("which", ["current", "former"])
def test_a_hash_that_is_a_path_deletes_nothing(
    place: Place, filled: Registry, guard: Path, which: str, adapter: Make, new: New
) -> None:
    name = outside(guard, place.adapters)
    assert len(name) == 64 and (place.adapters / f"{name}.safetensors").read_bytes() == b"mine"
    number = {"current": 2, "former": 1}[which]
    place.execute(f"UPDATE versions SET adapter_sha256 = '{name}' WHERE task_id = 1 AND number = {number}")
    assert any("no SHA-256" in problem.what for problem in filled.verify())
    with pytest.raises(CorruptRegistryError, match="nothing was deleted"):
        filled.gc()
    for act in (lambda: filled.rollback("a", 1), lambda: filled.rename("a", "c"), lambda: filled.remove("a")):
        with suppress(RegistryError):
            act()
    for record in filled.tasks():
        filled.read_adapter(record.version)
    assert filled.task("b").name == "b" and filled.commit("new", adapter(9), new()).name == "new"


@pytest.mark.parametrize("name", ["", "0" * 63, "A" * 64, "0" * 64 + "\n", "../" * 21 + "x", None, 7])
def test_only_a_hash_names_a_file(name: Any, tmp_path: Path) -> None:
    with pytest.raises(CorruptRegistryError, match="no SHA-256"):
        name_of(name)
    (tmp_path / "mine").write_text("x")
    with pytest.raises(CorruptRegistryError, match="not deleted"):
        AdapterFiles(LocalFolder(tmp_path / "adapters")).delete(["../mine"])
    assert (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("labels", '\'["a", "a"]\''),
        ("labels", "'nonsense'"),
        ("training", "'{\"x\": NaN}'"),
        ("created", "'9999-12-31 23:59:59.999999'"),
        ("created", "7"),
        ("number", "9223372036854775807"),
        ("id", "9223372036854775807"),
        ("method", "x'ff00fe'"),
        ("method", "CAST(x'ff00fe' AS TEXT)"),
        ("adapter_bytes", "'many'"),
        ("learned_accuracy", "2"),
    ],
)
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_one_bad_row_is_left_out_and_the_others_stay(place: Place, filled: Registry, column: str, value: str) -> None:
    place.execute(f"UPDATE versions SET {column} = {value} WHERE task_id = 2")
    if column == "id":
        place.execute("UPDATE tasks SET current_version_id = 9223372036854775807 WHERE id = 2")
    assert [task.name for task in filled.tasks()] == ["a"] and filled.count() == 2
    assert [task.name for task in filled.overview().tasks] == ["a"] and set(filled.nearest()) <= {"a", "b"}
    assert any("'b'" in problem.what for problem in filled.verify())
    for act in (lambda: filled.task("b"), lambda: filled.rename("b", "c"), filled.gc):
        with pytest.raises(CorruptRegistryError, match="cl-ast rebuild"):
            act()
    report = Registry.rebuild(place.location)
    assert report.tasks == 2
    with Registry.open(place.location) as again:
        assert {task.name for task in again.tasks()} == {"a", "b"} and again.verify() == []


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("statement", OBJECTS[:4] + OBJECTS[7:8])
def test_what_is_no_table_of_ours_is_refused(place: Place, filled: Registry, statement: str) -> None:
    loosened(place.adapters.parent / "registry.db", statement)
    with pytest.raises(CorruptRegistryError, match=r"no cl-ast wrote that.*cl-ast rebuild"):
        Registry.open(place.location)
    Registry.rebuild(place.location)
    with Registry.open(place.location) as again:
        assert again.verify() == [] and again.count() == 2


def test_a_schema_that_no_release_had_is_refused(folder: Place, local: Registry) -> None:
    for number in (-1, 0):
        loosened(folder.adapters.parent / "registry.db", f"PRAGMA user_version = {number}")
        with pytest.raises(CorruptRegistryError, match="no cl-ast wrote"):
            Registry.open(folder.location)


def test_a_journal_that_names_another_file_is_not_played(folder: Place, local: Registry, guard: Path) -> None:
    """Without the check, SQLite deletes the file: it takes it for the journal of several databases."""
    home = folder.adapters.parent
    loosened(home / "registry.db", "PRAGMA journal_mode = DELETE")
    with closing(sqlite3.connect(home / "registry.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE backbone SET name = 'changed'")
        connection.execute("INSERT INTO measurements VALUES (1, NULL, ?)", ["x" * 100_000])
        hot = (home / "registry.db-journal").read_bytes()
        connection.execute("ROLLBACK")
    name = os.fsencode(guard / "file")
    padded = hot + bytes(-len(hot) % 512)
    page = (2**30 // 4096 + 1).to_bytes(4, "big")
    tail = page + name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + bytes.fromhex("d9d505f920a163d7")
    (home / "registry.db-journal").write_bytes(padded + tail)
    with pytest.raises(CorruptRegistryError, match="names another file"):
        Registry.open(home)


@pytest.mark.slow
def test_a_circle_of_pages_ends(
    folder: Place, local: Registry, adapter: Make, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that name each other make millions of rows of a few kilobytes."""
    monkeypatch.setattr("registry.sqlite_untrusted._STEPS", 500_000)
    path = folder.adapters.parent / "registry.db"
    local.commit("a", adapter(), new())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'accuracies'").fetchone()
        (leaf,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'versions'").fetchone()
    data = bytearray(path.read_bytes())
    size, levels, children = 4096, 6, 250
    first = len(data) // size + 1
    pages = [root, *range(first, first + levels - 1)]
    data += bytes(size * (levels - 1))
    for number, below in zip(pages, [*pages[1:], leaf], strict=True):
        cells = b"".join(below.to_bytes(4, "big") + bytes([1]) for _ in range(children))
        start = size - len(cells)
        pointers = b"".join((start + 5 * i).to_bytes(2, "big") for i in range(children))
        head = bytes([5]) + bytes(2) + children.to_bytes(2, "big") + start.to_bytes(2, "big") + bytes(1)
        page = (head + below.to_bytes(4, "big") + pointers).ljust(start, b"\0") + cells
        data[(number - 1) * size : number * size] = page
    data[28:32] = (len(data) // size).to_bytes(4, "big")
    path.write_bytes(data)
    with Registry.open(folder.location) as reg:
        assert reg.verify() != []


def changed(path: Path, dice: random.Random) -> None:
    """Change a database at random: values, whole objects, or bytes."""
    kind = dice.randrange(8)
    if kind == 0:
        with suppress(sqlite3.Error):
            loosened(path, dice.choice(OBJECTS))
    elif kind == 1:
        loosened(path)
        data = bytearray(path.read_bytes())
        for _ in range(dice.choice([1, 3, 20])):
            data[dice.choice([dice.randrange(len(data)), dice.randrange(100)])] = dice.randrange(256)
        path.write_bytes(data[: dice.choice([len(data), len(data), dice.randrange(len(data))])])
    else:
        for _ in range(dice.choice([1, 1, 2, 4])):
            table = dice.choice(
                [
                    "backbone",
                    "identity",
                    "last_change",
                    "tasks",
                    "versions",
                    "versions",
                    "measurements",
                    "accuracies",
                ]
            )
            with closing(sqlite3.connect(path)) as connection:
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            with suppress(sqlite3.Error):
                where = f"rowid = {dice.randrange(1, 4)}" if dice.random() < 0.7 else "1"
                statement = f"UPDATE {table} SET {dice.choice(columns)} = ? WHERE {where}"
                loosened(path, statement, values=(dice.choice(NASTY),))


def everything(home: Path, adapter: Make, new: New) -> Iterator[Callable[[], object]]:
    """All that can be done with a registry, one after another."""
    with Registry.open(home) as reg:
        yield from (
            reg.tasks, reg.nearest, reg.overview, reg.count, lambda: reg.backbone, lambda: reg.versions("a"),
            lambda: [reg.read_adapter(task.version) for task in reg.tasks()], lambda: reg.task("none"),
            lambda: reg.gc(dry_run=True), lambda: reg.rollback("a", 1), lambda: reg.rename("b", "c"),
            lambda: reg.commit("new", adapter(7), new(), [Accuracy("new", "auto", 1, 1, {"new": 1})]),
            lambda: reg.commit("a", adapter(8), new(), replace=True),
            lambda: reg.record([Accuracy("a", "oracle", 0.5, 4)]), lambda: reg.remove("a"),
            reg.last_change, reg.undo, reg.undo, reg.gc, lambda: reg.gc(empty_trash=True), reg.undo, reg.overview,
        )  # fmt: skip


@pytest.mark.slow
def test_databases_changed_at_random(
    tmp_path: Path,
    guard: Path,
    adapter: Make,
    new: New,
    backbone: BackboneRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    good = tmp_path / "good"
    with Registry.open(good) as reg:
        reg.set_backbone(backbone)
        fill(reg, adapter, new)
    loosened(good / "registry.db")
    with memory_at_most():
        refused, done = _fuzzed(tmp_path, good, adapter, new)
    assert refused > DATABASES and done > 3 * DATABASES


def _fuzzed(tmp_path: Path, good: Path, adapter: Make, new: New) -> tuple[int, int]:
    """Change copies of a registry and do everything with each; return how much was refused and how much was done."""
    dice, refused, done = random.Random(14), 0, 0
    home, seen = tmp_path / "fuzzed", set[bytes]()
    for _ in range(DATABASES):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(good, home)
        changed(home / "registry.db", dice)
        content = (home / "registry.db").read_bytes()
        if content in seen:  # a third: nothing was changed, or the same as before
            continue
        seen.add(content)
        with seconds_at_most(), suppress(RegistryError), Registry.open(home) as opened:
            found = [str(problem) for problem in opened.verify()]  # it never fails on what it verifies
            assert all(len(words) < 2_000 for words in found)
        steps: Iterator[Callable[[], object]] = chain(everything(home, adapter, new), [partial(Registry.rebuild, home)])
        while True:
            try:
                step = next(steps, None)
                if step is None:
                    break
                with seconds_at_most():
                    json.dumps(repr(step()))
                done += 1
            except RegistryError as error:
                refused += 1
                assert 0 < len(str(error)) < 2_000 and "\n" not in str(error)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["fuzzed", "good", "guard"]
    return refused, done


@pytest.mark.slow
def test_the_bound_grows_with_what_is_written(
    folder: Place, local: Registry, adapter: Make, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebuilding of 100,000 tasks took more steps than an empty file was allowed."""
    data = local.read_adapter(local.commit("a", adapter(1), new()).version)
    local.remove("a")
    for number in range(300):
        local._files.write(header.described(data, {"name": f"t{number}", "task_id": number + 2}))
    monkeypatch.setattr("registry.sqlite_untrusted._STEPS", 10_000)
    monkeypatch.setattr("registry.sqlite_untrusted._BETWEEN", 100)
    assert Registry.rebuild(folder.location).tasks == 300
    folder.lose()
    assert Registry.rebuild(folder.location).tasks == 300
