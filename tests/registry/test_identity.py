"""Whose adapters they are: the database and the store have one id, and nothing is changed where they differ."""

import shutil
from collections.abc import Callable
from pathlib import Path

import places
import pytest
from places import Place

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import BackboneRecord, NewVersion, Registry

Make = Callable[..., bytes]
New = Callable[..., NewVersion]


def id_of(place: Place) -> str:
    (row,) = place.execute("SELECT registry_id FROM identity")
    return str(row[0])


def refused(mixed: Registry, backbone: BackboneRecord, location: str) -> list[Callable[[], object]]:
    return [lambda: mixed.set_backbone(backbone), mixed.gc, lambda: Registry.rebuild(location)]


def beside(place: Place, path: Path) -> str:
    """A database of its own with the adapters of another registry."""
    return f"sqlite:///{path}/registry.db?adapters={place.adapters}"


@pytest.mark.slow
def test_both_halves_have_the_same_id(place: Place, reg: Registry, tmp_path: Path) -> None:
    mine = id_of(place)
    assert len(mine) == 32 and (place.adapters / "registry-id").read_text() == f"{mine}\n"
    Registry.open(tmp_path / "other").close()
    assert id_of(places.folder(tmp_path / "other")) != mine


def changes(reg: Registry, adapter: Make, new: New, backbone: BackboneRecord) -> list[Callable[[], object]]:
    return [
        lambda: reg.set_backbone(backbone), lambda: reg.commit("new", adapter(7), new()), lambda: reg.remove("mine"),
        lambda: reg.rename("mine", "yours"), lambda: reg.rollback("mine"), reg.gc, lambda: reg.gc(dry_run=True),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_database_beside_the_adapters_of_another_registry_changes_nothing(
    place: Place, reg: Registry, adapter: Make, new: New, backbone: BackboneRecord, tmp_path: Path
) -> None:
    reg.commit("theirs", adapter(1), new())
    with Registry.open(tmp_path / "other") as other:
        other.set_backbone(backbone)
        mine = other.commit("mine", adapter(2), new())
        other.commit("mine", adapter(3), new(), replace=True)
    before, ids = place.files(), (id_of(place), id_of(places.folder(tmp_path / "other")))
    wrong = beside(place, tmp_path / "other")
    with Registry.open(wrong) as mixed:
        for change in [*changes(mixed, adapter, new, backbone), *refused(mixed, backbone, wrong)]:
            with pytest.raises(RegistryError, match="belongs to the registry") as caught:
                change()
            assert all(one in str(caught.value) for one in ids)
        (problem,) = mixed.verify()
        assert all(one in problem.what for one in ids)
        shutil.copy(places.folder(tmp_path / "other").file(mine.version), place.adapters)
        assert mixed.read_adapter(mine.version), "reading by hash does no harm"
    assert set(before) < set(place.files()) and reg.tasks()[0].name == "theirs"


def test_no_registry_is_made_on_the_adapters_of_another(place: Place, reg: Registry, tmp_path: Path) -> None:
    """Even where there is no adapter yet: a colleague's registry may be new, too."""
    for create in (True, False):
        with pytest.raises(CorruptRegistryError, match="is missing"):
            Registry.open(beside(place, tmp_path / "other"), create=create)
    assert not (tmp_path / "other").exists()


def test_an_empty_database_of_an_earlier_release_does_not_take_what_it_does_not_know(
    place: Place, reg: Registry, adapter: Make, new: New, backbone: BackboneRecord, tmp_path: Path
) -> None:
    """Neither half says whose it is; the files do."""
    reg.commit("theirs", adapter(1), new())
    (place.adapters / "registry-id").unlink()
    Registry.open(tmp_path / "other").close()
    other = places.folder(tmp_path / "other")
    wrong = beside(place, tmp_path / "other")
    for state in ("with an id", "without an id"):
        with Registry.open(wrong) as mixed:
            for change in refused(mixed, backbone, wrong):
                with pytest.raises(RegistryError, match="knows none of them"):
                    change()
            assert "knows none of them" in str(mixed.verify()[0]), state
        other.execute("DELETE FROM identity")
    reg.commit("more", adapter(2), new())
    assert (place.adapters / "registry-id").read_text() == f"{id_of(place)}\n"


@pytest.mark.slow
def test_a_registry_of_an_earlier_release_gets_its_id_with_the_next_change(
    place: Place, reg: Registry, adapter: Make, new: New
) -> None:
    reg.commit("a", adapter(1), new())
    place.execute("DELETE FROM identity")
    (place.adapters / "registry-id").unlink()
    assert reg.verify() == [] and reg.gc(dry_run=True).dropped == ()
    assert not (place.adapters / "registry-id").exists(), "reading writes nothing"
    reg.commit("b", adapter(2), new())
    assert (place.adapters / "registry-id").read_text() == f"{id_of(place)}\n"


@pytest.mark.slow
def test_an_older_database_without_an_id_takes_the_one_of_its_adapters(
    place: Place, reg: Registry, adapter: Make, new: New
) -> None:
    reg.commit("a", adapter(1), new())
    mine = id_of(place)
    place.execute("DELETE FROM identity")
    reg.commit("b", adapter(2), new())
    assert id_of(place) == mine and reg.verify() == []


@pytest.mark.slow
def test_an_id_that_is_missing_beside_the_adapters_is_said_and_written_again(
    place: Place, reg: Registry, adapter: Make, new: New
) -> None:
    reg.commit("a", adapter(1), new())
    (place.adapters / "registry-id").unlink()
    (problem,) = reg.verify()
    assert problem.place.endswith("registry-id") and "missing" in problem.what
    reg.rename("a", "b")
    assert reg.verify() == [] and (place.adapters / "registry-id").read_text() == f"{id_of(place)}\n"


@pytest.mark.parametrize("content", [b"", b"x" * 32, b"\xff" * 32, b"0" * 10_000, b"0" * 32 + b"\x1b[2J"])
def test_an_id_that_cannot_be_is_refused(
    folder: Place, local: Registry, adapter: Make, new: New, content: bytes
) -> None:
    (folder.adapters / "registry-id").write_bytes(content)
    with pytest.raises(CorruptRegistryError, match="no id of a registry") as caught:
        local.commit("a", adapter(1), new())
    assert "\x1b" not in str(caught.value) and "no id" in str(local.verify()[0])


@pytest.mark.slow
def test_rebuild_takes_the_id_of_the_adapters(place: Place, reg: Registry, adapter: Make, new: New) -> None:
    reg.commit("a", adapter(1), new())
    mine = id_of(place)
    Registry.rebuild(place.location)
    assert id_of(place) == mine
    place.lose()
    Registry.rebuild(place.location)
    assert id_of(place) == mine
    place.execute("UPDATE identity SET registry_id = 'nonsense'")
    Registry.rebuild(place.location)
    assert id_of(place) == mine
    place.lose()
    (place.adapters / "registry-id").unlink()
    Registry.rebuild(place.location)
    with Registry.open(place.location) as again:
        assert id_of(place) != mine and again.verify() == []
        assert (place.adapters / "registry-id").read_text() == f"{id_of(place)}\n"


def test_a_database_without_the_table_is_refused_and_rebuilt(
    folder: Place, local: Registry, adapter: Make, new: New
) -> None:
    local.commit("a", adapter(1), new())
    folder.execute("DROP TABLE identity")
    with pytest.raises(CorruptRegistryError, match="no table identity"):
        Registry.open(folder.location)
    assert Registry.rebuild(folder.location).tasks == 1
    with Registry.open(folder.location) as again:
        assert again.verify() == []
