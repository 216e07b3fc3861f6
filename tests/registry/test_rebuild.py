"""rebuild beside others, and what it takes over from the former database; `test_maintenance` has what it restores."""

import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import places
import pytest
from places import Place

from cl_ast.errors import RegistryError
from registry import BackboneRecord, NewVersion, Registry, header, rebuild_database
from registry.adapter_files import digest
from registry.schema import VERSION

Make = Callable[..., bytes]
New = Callable[..., NewVersion]


@pytest.mark.slow
def test_a_commit_that_comes_in_between_waits_and_stays(
    place: Place, reg: Registry, adapter: Make, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came after the files were listed, so that the new tables would not have it."""
    reg.commit("a", adapter(1), new())
    waiting = threading.Thread(target=lambda: reg.commit("b", adapter(2), new()))
    listed = rebuild_database._readable

    def interrupted(files: object) -> object:
        found = listed(files)  # type: ignore[arg-type]
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        return found

    monkeypatch.setattr(rebuild_database, "_readable", interrupted)
    report = Registry.rebuild(place.location)
    waiting.join(30)
    assert report.tasks == 1 and [task.name for task in reg.tasks()] == ["a", "b"]
    assert reg.verify() == [] and reg.gc().dropped == () and len(place.files()) == 2


@pytest.mark.slow
def test_what_the_former_database_knew_is_taken_over(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    for number, name in enumerate(["gone", "b", "c"]):
        reg.commit(name, adapter(number), new())
    reg.remove("gone")
    reg.commit("b", adapter(9), new(), replace=True)
    before, versions, backbone = reg.tasks(), reg.versions("b"), reg.backbone
    assert backbone is not None and backbone.background
    report = Registry.rebuild(place.location)
    assert report.versions == 3
    with Registry.open(place.location) as again:
        assert again.tasks() == before and again.versions("b") == versions and again.backbone == backbone
        later = again.commit("new", adapter(5), new())
        assert later.version.id > max(version.id for version in versions) and later.id > max(task.id for task in before)


@pytest.mark.slow
def test_files_of_another_backbone_do_not_outvote_the_database(
    place: Place, reg: Registry, adapter: Make, new: New, tmp_path: Path
) -> None:
    reg.commit("mine", adapter(1), new())
    with Registry.open(tmp_path / "other") as other:
        other.set_backbone(BackboneRecord("ast-base", "0" * 64, 1, 1))
        for number in range(3):
            other.commit(f"t{number}", adapter(number), new())
    for path in places.folder(tmp_path / "other").files():
        shutil.copy(path, place.adapters)
    report = Registry.rebuild(place.location)
    assert (report.tasks, len(report.skipped)) == (1, 3)
    assert "another backbone" in report.skipped[0].what and [task.name for task in reg.tasks()] == ["mine"]


@pytest.mark.slow
def test_a_database_that_is_no_registry_or_newer_is_left_alone(
    place: Place, reg: Registry, adapter: Make, new: New
) -> None:
    reg.commit("a", adapter(1), new())
    server = isinstance(place.location, str)
    place.execute(
        "UPDATE cl_ast_registry SET schema_version = 99" if server else f"PRAGMA user_version = {VERSION + 1}"
    )
    with pytest.raises(RegistryError, match="newer cl-ast"):
        Registry.rebuild(place.location)
    place.execute("DROP TABLE cl_ast_registry" if server else "PRAGMA application_id = 7")
    with pytest.raises(RegistryError, match="something else"):
        Registry.rebuild(place.location)
    assert place.execute("SELECT name FROM tasks") == [("a",)]
    if not server:
        assert [path.name for path in place.adapters.parent.glob("registry.db.*")] == []


def test_a_database_may_have_any_name(tmp_path: Path, adapter: Make, new: New, backbone: BackboneRecord) -> None:
    url = f"sqlite:///{tmp_path}/lab%5B1%5D.db"
    with Registry.open(url) as reg:
        reg.set_backbone(backbone)
        reg.commit("a", adapter(), new())
    neighbour = tmp_path / "lab1.db.rebuilt-20260101T000000000000"  # what [1] would match as a pattern
    neighbour.write_bytes(b"of another registry")
    path = tmp_path / "lab[1].db"
    path.write_bytes(b"damaged" * 1_000)
    Registry.rebuild(url)
    whole = tmp_path / "lab[1].db.rebuilt-20270101T000000000000"  # a rebuilding that was killed before its end
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(whole)) as target:
        connection.backup(target)
    with Registry.open(url) as again:
        assert again.verify() == [] and [task.name for task in again.tasks()] == ["a"]
    assert not whole.exists() and neighbour.read_bytes() == b"of another registry"


@pytest.mark.slow
def test_a_header_cannot_use_up_the_ids(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    task = reg.commit("a", adapter(1), new())
    data = reg.read_adapter(task.version)
    for words in ({"task_id": 2**63 - 1}, {"version": 2 * 10**9}, {"created": "9999-12-31T23:59:59"}):
        changed = header.described(data, {"name": "evil", **words})
        (place.adapters / f"{digest(changed)}.safetensors").write_bytes(changed)
    highest = header.described(data, {"name": "b", "task_id": 10**9, "version": 10**9})
    (place.adapters / f"{digest(highest)}.safetensors").write_bytes(highest)
    report = Registry.rebuild(place.location)
    assert (report.tasks, len(report.skipped)) == (2, 3)
    with Registry.open(place.location) as again:
        again.commit("b", adapter(3), new(), replace=True)
        again.commit("c", adapter(4), new())
        assert {one.name for one in again.tasks()} == {"a", "b", "c"}
        said = [problem.what for problem in again.verify()]
        assert len(said) == 3 and all("does not say clearly what it is" in what for what in said)
        assert len(again.gc(dry_run=True).unnamed) == 3
        assert replace(again.task("a"), version=task.version) == task
