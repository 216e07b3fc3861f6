"""What only a server has: URLs and passwords, rights, locks, other people's tables. Needs CL_AST_POSTGRES."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import places
import pytest
from click.testing import CliRunner
from places import Place

import cli
from cl_ast.errors import RegistryError
from registry import BackboneRecord, GcReport, NewVersion, Registry
from registry.locations import locate

Make = Callable[..., bytes]
New = Callable[..., NewVersion]
Python = Callable[..., "subprocess.Popen[str]"]

needs_server = pytest.mark.skipif(not places.SERVER, reason=places.NO_SERVER)
on_postgres = pytest.mark.parametrize("place", ["postgres"], indirect=True)
SECRET = "hunter2%40home"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/db?adapters=/tmp&connect_timeout=1",
        f"postgresql://me:{SECRET}@127.0.0.1:1/db?adapters=/tmp&sslmode=nonsense",
        f"postgresql://me:{SECRET}@127.0.0.1:port/db?adapters=/tmp",
        f"postgresql+psycopg://me:{SECRET}@127.0.0.1/db",
        f"postgresql://127.0.0.1:1/db?user=me&password={SECRET}&adapters=/tmp",
        f"postgresql://me:{SECRET}@127.0.0.1:1/db?adapters=relative/folder",
        f"sqlite://me:{SECRET}@host/db",
        "postgresql://me:x/hunter2@host/db?adapters=/tmp",
        "postgresql://me:x?hunter2@host/db?adapters=/tmp",
        "postgresql://me:p@hunter2@127.0.0.1:1/db?adapters=/tmp",
        "postgresql://me:p@hunter2#1@127.0.0.1:1/db?adapters=/tmp",
        "postgresql://me:hunter2%zz@127.0.0.1:1/db?adapters=/tmp",
        "postgresql://127.0.0.1:1/db?user=me&password=hunter2%zz&adapters=/tmp",
        "postgresql://127.0.0.1:1/db?user=me&password=a&hunter2&adapters=/tmp",
        "postgresql://127.0.0.1:1/db?password=hunter2&sslmode=hunter2&adapters=/tmp",
        "postgresql://127.0.0.1:1/db?sslpassword=hunter2&sslmode=hunter2&adapters=/tmp",
        "postgresql://me:hunter2/x@127.0.0.1:1/db?adapters=/tmp",
        "postgresql:/me:hunter2@127.0.0.1:1/db?adapters=/tmp",
        "postgresql+psycopg:/me:hunter2@127.0.0.1:1/db?adapters=/tmp",
        "postgresql:me:hunter2@127.0.0.1:1/db?adapters=/tmp",
        "s3:/me:hunter2@bucket",
    ],
)
def test_a_password_is_never_shown(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RegistryError) as caught:
        Registry.open(url)
    assert "hunter2" not in str(caught.value)
    done = CliRunner().invoke(cli.main, ["-v", "--registry", url, "tasks"], prog_name="cl-ast")
    below = capfd.readouterr()  # what a library in C may print
    assert done.exit_code == 1 and "hunter2" not in done.stdout + done.stderr + below.out + below.err
    assert "cl-ast: " in done.stderr.splitlines()[-1], done.stderr
    with pytest.raises(RegistryError):
        Registry.open(Path(url))  # which has one slash
    assert list(tmp_path.iterdir()) == []


def test_what_a_url_means() -> None:
    home, files = locate("postgresql+psycopg://me:secret@a,b:5433/db?adapters=s3://bucket/a%20b/&sslmode=require")
    assert home.place == "postgresql://me@a,b:5433/db"
    assert files.address("0" * 64) == f"s3://bucket/a b/{'0' * 64}.safetensors"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("postgresql://host/db", "adapters="),
        ("postgresql://host/db?adapters=folder", "whole path"),
        ("postgresql://host/db?adapters=s3://key:secret@bucket", "credentials"),
        ("postgresql://host/db?adapters=nonsense://x", "nonsense"),
    ],
)
def test_a_url_says_what_is_missing(words: str, said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        Registry.open(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "url", "extra"),
    [
        ("psycopg", "postgresql://host/db?adapters=/tmp", "cl-ast[postgres]"),
        ("s3fs", "sqlite:////nowhere/registry.db?adapters=s3://bucket", "cl-ast[s3]"),
    ],
)
def test_a_missing_extra_says_what_to_install(module: str, url: str, extra: str, python: Python) -> None:
    script = "import sys; sys.modules[sys.argv[1]] = None; from registry import Registry; Registry.open(sys.argv[2])"
    _, errors = python(script, module, url).communicate(timeout=60)
    assert errors.splitlines()[-1].startswith("cl_ast.errors.RegistryError") and extra in errors.splitlines()[-1]


@needs_server
@on_postgres
def test_what_a_registry_shows_has_no_password(place: Place, tmp_path: Path, adapter: Make, new: New) -> None:
    with Registry.open(str(place.location).replace("@", ":secret@")) as reg:
        assert "secret" not in reg.place + repr(reg.verify()) + repr(reg.overview()) and reg.place.startswith("postg")
        with pytest.raises(RegistryError) as caught:
            reg.commit("a", adapter(), new())
    assert "secret" not in str(caught.value)


@pytest.mark.slow
@needs_server
@on_postgres
def test_a_writer_waits_for_another_and_readers_do_not(
    place: Place, reg: Registry, adapter: Make, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = reg.commit("a", adapter(), new())
    with reg._database.write():
        with monkeypatch.context() as impatient:
            impatient.setattr("registry.postgres_database._BUSY_SECONDS", 0.05)
            with pytest.raises(RegistryError, match="busy"):
                reg.commit("b", adapter(), new())
        assert reg.tasks() == [task] and reg.read_adapter(task.version)
        waiting = threading.Thread(target=lambda: reg.commit("b", adapter(), new()))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive() and len(reg.tasks()) == 1
    waiting.join(30)
    assert [task.name for task in reg.tasks()] == ["a", "b"] and reg.gc().dropped == ()


@pytest.mark.slow
@needs_server
@on_postgres
def test_gc_leaves_the_file_of_a_commit_under_way(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    """A file is there before its row; whoever collects waits until the row is there too."""
    seen: list[GcReport] = []
    collecting = threading.Thread(target=lambda: seen.append(reg.gc()))

    def reached(step: str) -> None:
        if step == "commit" and not seen and not collecting.ident:
            collecting.start()
            collecting.join(0.2)
            assert collecting.is_alive() and len(place.files()) == 1

    from registry import crash_points

    crash_points.hook = reached
    try:
        task = reg.commit("a", adapter(), new())
    finally:
        crash_points.hook = None
    collecting.join(30)
    assert reg.read_adapter(task.version) and reg.verify() == [] and seen[0].dropped == ()


@pytest.mark.slow
@needs_server
@on_postgres
def test_a_connection_that_breaks_changes_nothing(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    from registry import crash_points

    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "

    def disconnect(step: str) -> None:
        if step == "commit":
            place.execute(f"{end} pg_backend_pid()")

    crash_points.hook = disconnect
    try:
        with pytest.raises(RegistryError, match=r"cannot reach|refused"):
            reg.commit("a", adapter(), new())
    finally:
        crash_points.hook = None
    assert reg.tasks() == [] and len(reg.gc().dropped) <= 1 and place.files() == []
    assert reg.commit("a", adapter(), new())


@pytest.mark.slow
@needs_server
@on_postgres
@pytest.mark.nothing_made
def test_another_database_is_left_alone(place: Place) -> None:
    place.execute("CREATE TABLE tasks (mine integer)")
    for attempt in (Registry.open, Registry.rebuild):
        place.adapters.mkdir(parents=True, exist_ok=True)
        with pytest.raises(RegistryError, match=r"something else|nothing to restore"):
            attempt(place.location)
    assert place.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'") == [(1,)]


@pytest.mark.slow
@needs_server
@on_postgres
@pytest.mark.nothing_made
def test_a_schema_of_its_own_beside_other_tables(
    place: Place, adapter: Make, new: New, backbone: BackboneRecord
) -> None:
    place.execute("CREATE TABLE tasks (mine integer)")
    location = f"{place.location}&options=-csearch_path%3Dteam"
    with pytest.raises(RegistryError, match="no schema"):
        Registry.open(location)
    place.execute("CREATE SCHEMA team")
    with Registry.open(location) as reg:
        reg.set_backbone(backbone)
        reg.commit("a", adapter(), new())
        assert reg.verify() == [] and reg.overview().storage.database_bytes > 0
    assert place.execute("SELECT count(*) FROM public.tasks") == [(0,)]


@pytest.mark.slow
@needs_server
@on_postgres
def test_a_newer_schema_is_refused(place: Place) -> None:
    place.execute("UPDATE cl_ast_registry SET schema_version = 99")
    with pytest.raises(RegistryError, match=r"newer cl-ast \(schema 99"):
        Registry.open(place.location)


@pytest.mark.slow
@needs_server
@on_postgres
def test_a_user_who_may_only_read(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    task = reg.commit("a", adapter(), new())
    name = f"reader_{place.execute('SELECT current_database()')[0][0]}"
    place.execute(f"CREATE ROLE {name} LOGIN")
    try:
        place.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        user = places.SERVER.partition("://")[2].partition("@")[0]
        with Registry.open(str(place.location).replace(f"//{user}@", f"//{name}@")) as reader:
            assert reader.tasks() == [task] and reader.verify() == [] and not reader.writable
            assert reader.gc(dry_run=True).dropped == ()
            with pytest.raises(RegistryError, match="cannot be written"):
                reader.remove("a")
    finally:
        place.execute(f"DROP OWNED BY {name}")
        place.execute(f"DROP ROLE {name}")


@needs_server
@on_postgres
@pytest.mark.nothing_made
def test_a_database_in_another_encoding_is_refused(place: Place) -> None:
    name = places.new_database("template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        with pytest.raises(RegistryError, match="UTF8"):
            Registry.open(places.database(name, place.adapters).location)
    finally:
        places.drop(name)


@pytest.mark.slow
@needs_server
@on_postgres
def test_rebuild_keeps_the_former_tables_in_a_schema(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(), new())
    report = Registry.rebuild(place.location)
    assert report.backup is not None
    former = report.backup.split()[1]
    assert place.execute(f'SELECT name FROM "{former}".tasks') == [("a",)]
    assert Registry.rebuild(place.location).backup != report.backup


@pytest.mark.slow
@needs_server
@on_postgres
def test_rebuild_moves_a_table_whatever_its_name(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(), new())
    name = 'x" SET SCHEMA pg_temp; DROP SCHEMA public CASCADE; --%s'
    place.execute('CREATE TABLE "{}" (mine integer)'.format(name.replace('"', '""')))
    report = Registry.rebuild(place.location)
    assert report.backup is not None and [task.name for task in reg.tasks()] == ["a"]
    former = report.backup.split()[1]
    assert (name,) in place.execute(f"SELECT tablename FROM pg_tables WHERE schemaname = '{former}'")


@pytest.mark.slow
@needs_server
@on_postgres
@pytest.mark.nothing_made
def test_rebuild_in_a_schema_with_a_long_and_odd_name(
    place: Place, adapter: Make, new: New, backbone: BackboneRecord
) -> None:
    name = 'Té"am' + "m" * 57
    place.execute('CREATE SCHEMA "{}"'.format(name.replace('"', '""')))
    quoted = "%22" + name.replace('"', "%22%22").replace("é", "%C3%A9") + "%22"
    location = f"{place.location}&options=-csearch_path%3D{quoted}"
    with Registry.open(location) as reg:
        reg.set_backbone(backbone)
        reg.commit("a", adapter(), new())
    kept = {str(Registry.rebuild(location).backup) for _ in range(2)}
    with Registry.open(location) as reg:
        assert len(kept) == 2 and [task.name for task in reg.tasks()] == ["a"]
