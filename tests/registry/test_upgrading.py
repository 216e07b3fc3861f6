"""Registries of older releases: opened, upgraded with a backup beside them, and then used."""

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from cl_ast.errors import RegistryError
from registry import NewVersion, Registry, upgrading
from registry.models import SCHEMA_VERSION, Base

DATA = Path(__file__).parent / "data"
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
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A registry as each released schema stored it."""
    place = tmp_path / "old"
    (place / "adapters").mkdir(parents=True)
    with closing(sqlite3.connect(place / "registry.db")) as connection:
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
        monkeypatch.setattr("registry.database.SCHEMA_VERSION", SCHEMA_VERSION + 2)

    return install


def schema(path: Path) -> tuple[int, list[str]]:
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(tasks)")]
        return connection.execute("PRAGMA user_version").fetchone()[0], columns


def used(reg: Registry, adapter: Callable[..., bytes], new: Callable[..., NewVersion]) -> None:
    assert {task.name: task.version.number for task in reg.tasks()} == {"rain": 1, "birds": 2}
    assert reg.task("birds").labels == ("owl", "wren") and len(reg.measurements()) == 2
    assert reg.commit("later", adapter(), new()).id == 3
    reg.remove("later")


def test_a_stored_registry_opens_and_is_used(
    old: Path, adapter: Callable[..., bytes], new: Callable[..., NewVersion]
) -> None:
    with Registry.open(old) as reg:
        used(reg, adapter, new)
    assert schema(old / "registry.db")[0] == SCHEMA_VERSION


def test_a_stored_registry_is_upgraded_to_what_the_models_say(old: Path) -> None:
    """Who changes a table has to write a migration."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    Registry.open(old).close()
    engine = create_engine(f"sqlite:///{old / 'registry.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_an_upgrade_keeps_a_backup(
    old: Path, next_release: Callable[..., None], adapter: Callable[..., bytes], new: Callable[..., NewVersion]
) -> None:
    before = schema(old / "registry.db")
    next_release()
    with Registry.open(old) as reg:
        used(reg, adapter, new)
    after = schema(old / "registry.db")
    assert after[0] == SCHEMA_VERSION + 2 and {f"note_{SCHEMA_VERSION + n}" for n in (1, 2)} < set(after[1])
    (backup,) = old.glob("registry.db.schema-*")
    assert schema(backup) == before
    Registry.open(old).close()
    assert len(list(old.glob("registry.db.schema-*"))) == 1


def test_a_failed_upgrade_changes_nothing(old: Path, next_release: Callable[..., None]) -> None:
    before = schema(old / "registry.db")
    next_release(more='op.execute("INSERT INTO nowhere VALUES (1)")')
    with pytest.raises(RegistryError, match="nowhere"):
        Registry.open(old)
    assert schema(old / "registry.db") == before
    next_release()  # the release that mends it
    with Registry.open(old) as reg:
        assert len(reg.tasks()) == 2


def test_listing_imports_no_alembic(reg: Registry, python: Callable[..., "subprocess.Popen[str]"]) -> None:
    script = (
        "import sys; from registry import Registry; Registry.open(sys.argv[1]).tasks(); print('alembic' in sys.modules)"
    )
    output, errors = python(script, reg.folder).communicate(timeout=60)
    assert output == "False\n", errors
