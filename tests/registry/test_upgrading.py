"""Registries of older releases: opened, upgraded and then used. A file is backed up first, a server needs none."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from forking import in_forks
from places import Place
from sqlalchemy import create_engine

from cl_ast.errors import RegistryError
from registry import NewVersion, Registry, sqlite_backup
from registry import schema_upgrade as upgrading
from registry.models import Base
from registry.schema import VERSION as SCHEMA_VERSION

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
DATA = Path(__file__).parent / "data"
OLD_LABELS = {"rain": ("dog", "rain"), "birds": ("owl", "wren")}
STEP = """
from alembic import op
import sqlalchemy as sa
revision, down_revision = "{number}", "{before}"
def upgrade():
    with op.batch_alter_table("tasks") as batch:
        batch.add_column(sa.Column("note_{number}", sa.String, server_default="none yet"))
    {more}
"""


@pytest.fixture(params=range(1, SCHEMA_VERSION + 1))
def old(request: pytest.FixtureRequest, place: Place) -> Place:
    """A registry as each released schema stored it."""
    place.adapters.mkdir(parents=True)
    if isinstance(place.location, str):
        place.execute((DATA / f"schema{request.param}.postgres.sql").read_text())
        place.execute("RESET search_path")  # which the script has set
        return place
    with closing(sqlite3.connect(place.location / "registry.db")) as connection:
        connection.executescript((DATA / f"schema{request.param}.sql").read_text())
        connection.execute("PRAGMA journal_mode = WAL")
    return place


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A cl-ast two schemas ahead; `more` is what its last step does besides."""

    def install(more: str = "pass") -> None:
        scripts = tmp_path / "scripts" / "versions"
        scripts.mkdir(parents=True, exist_ok=True)
        for path in (upgrading.SCRIPTS / "versions").glob("*.py"):
            (scripts / path.name).write_text(path.read_text())
        for number in (SCHEMA_VERSION + 1, SCHEMA_VERSION + 2):
            text = STEP.format(number=number, before=number - 1, more=more if number > SCHEMA_VERSION + 1 else "pass")
            (scripts / f"r{number:04}.py").write_text(text)
        monkeypatch.setattr(upgrading, "SCRIPTS", scripts.parent)
        monkeypatch.setattr("registry.schema.VERSION", SCHEMA_VERSION + 2)

    return install


def schema(place: Place) -> tuple[int, list[str]]:
    """Which one the database says it has, and the columns of one table."""
    if isinstance(place.location, str):
        columns = place.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'tasks'")
        return place.execute("SELECT schema_version FROM cl_ast_registry")[0][0], [row[0] for row in columns]
    columns = place.execute("PRAGMA table_info(tasks)")
    return place.execute("PRAGMA user_version")[0][0], [row[1] for row in columns]


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def used(place: Place, reg: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion]) -> None:
    assert {task.name: task.version.number for task in reg.tasks()} == {"rain": 1, "birds": 2}
    assert reg.task("birds").labels == ("owl", "wren") and len(place.measured()) == 2
    assert reg.commit("later", adapter(), new()).id == 3
    reg.remove("later")


@pytest.mark.slow
@pytest.mark.nothing_made
def test_a_stored_registry_opens_and_is_used(
    old: Place, adapter: Callable[..., bytes], new: Callable[..., NewVersion]
) -> None:
    with Registry.open(old.location) as reg:
        used(old, reg, adapter, new)
    assert schema(old)[0] == SCHEMA_VERSION


@pytest.mark.slow
@pytest.mark.nothing_made
@pytest.mark.parametrize("old", [1, 2], indirect=True)
def test_a_registry_of_an_earlier_release_gets_an_id_and_a_last_change(
    old: Place, adapter: Callable[..., bytes], new: Callable[..., NewVersion]
) -> None:
    with Registry.open(old.location) as reg:
        assert reg.last_change() is None and old.execute("SELECT * FROM identity") == []
        with pytest.raises(RegistryError, match="no change to take back"):
            reg.undo()
        reg.commit("later", adapter(), new())
        reg.undo()
        assert {task.name for task in reg.tasks()} == {"rain", "birds"}
    ((registry_id,),) = old.execute("SELECT registry_id FROM identity")
    assert (old.adapters / "registry-id").read_text().strip() == registry_id


@pytest.mark.nothing_made
@pytest.mark.parametrize(("place", "old"), [("postgres", 2)], indirect=True)
def test_who_had_rights_has_them_after_an_upgrade(old: Place) -> None:
    name = f"colleague_{old.execute('SELECT current_database()')[0][0]}"
    old.execute(f"CREATE ROLE {name}")
    try:
        old.execute(f"GRANT SELECT, INSERT ON versions TO {name}")
        Registry.open(old.location).close()
        for table in ("identity", "last_change"):
            rights = [f"has_table_privilege('{name}', '{table}', '{one}')" for one in ("SELECT", "INSERT", "DELETE")]
            assert old.execute(f"SELECT {', '.join(rights)}") == [(True, True, False)]
    finally:
        old.execute(f"DROP OWNED BY {name}")
        old.execute(f"DROP ROLE {name}")


@pytest.mark.slow
@pytest.mark.nothing_made
def test_a_stored_registry_is_upgraded_to_what_the_models_say(old: Place) -> None:
    """Who changes a table has to write a migration."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    Registry.open(old.location).close()
    file = isinstance(old.location, Path)
    engine = create_engine(f"sqlite:///{old.location}/registry.db" if file else str(old.location).partition("?")[0])
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
        # The mark that carries the schema's number on a server is no table of the models.
        assert [one for one in found if one[0] != "remove_table" or one[1].name != "cl_ast_registry"] == []
    engine.dispose()


@pytest.mark.slow
@pytest.mark.nothing_made
def test_an_upgrade_keeps_what_was_there(
    old: Place, next_release: Callable[..., None], adapter: Callable[..., bytes], new: Callable[..., NewVersion]
) -> None:
    next_release()
    with Registry.open(old.location) as reg:
        used(old, reg, adapter, new)
    after = schema(old)
    assert after[0] == SCHEMA_VERSION + 2 and {f"note_{SCHEMA_VERSION + n}" for n in (1, 2)} < set(after[1])


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_an_upgrade_of_a_file_keeps_a_backup(old: Place, next_release: Callable[..., None]) -> None:
    home = old.adapters.parent
    before = dump(home / "registry.db")
    next_release()
    Registry.open(old.location).close()
    (backup,) = home.glob("registry.db.schema-*")
    assert dump(backup) == before != dump(home / "registry.db")
    Registry.open(old.location).close()
    assert len(list(home.glob("registry.db.schema-*"))) == 1


@pytest.mark.slow
@pytest.mark.nothing_made
def test_a_failed_upgrade_changes_nothing(old: Place, next_release: Callable[..., None]) -> None:
    before = schema(old)
    next_release(more='op.execute("INSERT INTO nowhere VALUES (1)")')
    with pytest.raises(RegistryError, match="nowhere"):
        Registry.open(old.location)
    assert schema(old) == before
    next_release()  # the release that mends it
    with Registry.open(old.location) as reg:
        assert len(reg.tasks()) == 2


@pytest.mark.slow
@pytest.mark.nothing_made
@pytest.mark.parametrize("old", [1], indirect=True)
def test_versions_from_before_training_was_kept_have_none(
    old: Place, adapter: Callable[..., bytes], new: Callable[..., NewVersion]
) -> None:
    with Registry.open(old.location) as reg:
        for record in reg.tasks():
            facts = replace(new(labels=record.labels), training={})
            assert record.version.facts() == facts and record.labels == OLD_LABELS[record.name]
        used(old, reg, adapter, new)
        kept = reg.commit("rain", adapter(9), new(training={"epochs": 3}), replace=True)
        assert reg.task("rain").version.training == {"epochs": 3} == kept.version.training
    assert schema(old)[0] == SCHEMA_VERSION
    assert old.execute("SELECT count(*) FROM versions WHERE CAST(training AS TEXT) = '{}'") == [(3,)]


@pytest.mark.parametrize(("place", "old"), [("sqlite", 1)], indirect=True)
def test_the_copy_of_a_file_of_schema_1_is_what_it_was(old: Place) -> None:
    home = old.adapters.parent
    before = dump(home / "registry.db")
    Registry.open(old.location).close()
    (backup,) = home.glob("registry.db.schema-1-*")
    assert dump(backup) == before and not any("training" in line for line in before)


@pytest.mark.slow
@pytest.mark.usefixtures("reg")
def test_listing_imports_neither_sqlalchemy_nor_alembic(
    place: Place, python: Callable[..., "subprocess.Popen[str]"]
) -> None:
    script = (
        "import sys; from registry import Registry; Registry.open(sys.argv[1]).overview();"
        "print({'alembic', 'sqlalchemy', 'numpy'} & set(sys.modules))"
    )
    output, errors = python(script, place.location).communicate(timeout=60)
    assert output == "set()\n", errors


@pytest.mark.slow
@pytest.mark.nothing_made
@needs_fork
def test_two_processes_upgrade_once(old: Place, next_release: Callable[..., None]) -> None:
    def opened() -> None:
        assert len(Registry.open(old.location).tasks()) == 2

    next_release()
    assert in_forks(opened, opened) == [0, 0]
    assert schema(old)[0] == SCHEMA_VERSION + 2


def test_copies_of_one_moment_are_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Registry.open(tmp_path / "reg").close()
    moments = [datetime(2026, 1, 1, microsecond=number) for number in (1, 1, 1, 2)]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return moments.pop(0)

    monkeypatch.setattr(sqlite_backup, "datetime", Clock)
    first = sqlite_backup.copy(tmp_path / "reg" / "registry.db", "before")
    begun = tmp_path / "reg" / "registry.db.before-20260101T000000000002.part"
    begun.touch()  # by another process
    moments.append(datetime(2026, 1, 1, microsecond=3))
    second = sqlite_backup.copy(tmp_path / "reg" / "registry.db", "before")
    assert (first.name[-3:], second.name[-3:]) == ("001", "003") and begun.stat().st_size == 0
    for copy in (first, second):
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


@pytest.mark.slow
@pytest.mark.nothing_made
@pytest.mark.parametrize("old", [1], indirect=True)
@needs_fork
def test_eight_processes_upgrade_at_once(old: Place) -> None:
    def opened() -> None:
        with Registry.open(old.location) as reg:
            assert [(task.name, task.version.training) for task in reg.tasks()] == [("rain", {}), ("birds", {})]

    assert in_forks(*[opened] * 8) == [0] * 8
    assert schema(old)[0] == SCHEMA_VERSION
    assert len(list(old.adapters.parent.glob("registry.db.schema-*"))) == isinstance(old.location, Path)
