"""Any sequence of changes, compared after each with a plain dictionary."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from places import Place

from cl_ast.errors import RegistryError, TaskExistsError, TaskNotFoundError
from registry import BackboneRecord, NewVersion, Registry

NAMES = st.sampled_from(["a", "A", "b", "Straße", "STRASSE", "d"])


class _Task:
    def __init__(self, name: str, id: int) -> None:
        self.name, self.id = name, id
        self.versions: dict[int, int] = {}
        self.current = self.last = 0


@pytest.mark.slow
def test_the_registry_is_a_dictionary_on_disk(
    place: Place,
    adapter: Callable[..., bytes],
    new: Callable[..., NewVersion],
    backbone: BackboneRecord,
    tensors: Callable[[bytes], bytes],
) -> None:
    class Model(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.reg = Registry.open(place.location)
            self.reg.set_backbone(backbone)
            for task in self.reg.tasks():  # of the example before
                self.reg.remove(task.name)
            self.model: dict[str, _Task] = {}
            self.highest_id = 0

        def refused(self, error: type[RegistryError], change: Callable[..., object], *given: object) -> None:
            with pytest.raises(error):
                change(*given)

        @rule(name=NAMES, fill=st.integers(0, 254), replace=st.booleans())
        def commit(self, name: str, fill: int, replace: bool) -> None:
            known = self.model.get(name.casefold())
            if known and not replace:
                self.refused(TaskExistsError, self.reg.commit, name, adapter(fill), new())
                return
            record = self.reg.commit(name, adapter(fill), new(), replace=replace)
            if known is None:
                assert record.id > self.highest_id
                self.highest_id = record.id
                known = self.model[name.casefold()] = _Task(name, record.id)
            known.current = known.last = known.last + 1
            known.versions[known.current] = fill

        @rule(name=NAMES)
        def remove(self, name: str) -> None:
            if name.casefold() in self.model:
                self.reg.remove(name)
                del self.model[name.casefold()]
            else:
                self.refused(TaskNotFoundError, self.reg.remove, name)

        @rule(old=NAMES, name=NAMES)
        def rename(self, old: str, name: str) -> None:
            known = self.model.get(old.casefold())
            if known is None:
                self.refused(TaskNotFoundError, self.reg.rename, old, name)
            elif self.model.get(name.casefold(), known) is not known:
                self.refused(TaskExistsError, self.reg.rename, old, name)
            else:
                self.reg.rename(old, name)
                self.model[name.casefold()] = self.model.pop(old.casefold())
                known.name = name

        @rule(name=NAMES, version=st.none() | st.integers(1, 4))
        def rollback(self, name: str, version: int | None) -> None:
            known = self.model.get(name.casefold())
            if known is None:
                self.refused(TaskNotFoundError, self.reg.rollback, name, version)
                return
            earlier = [number for number in known.versions if number < known.current]
            wanted = version if version is not None else max(earlier, default=0)
            if wanted in known.versions:
                assert self.reg.rollback(name, version).number == wanted
                known.current = wanted
            else:
                self.refused(RegistryError, self.reg.rollback, name, version)

        @rule()
        def gc(self) -> None:
            self.reg.gc()
            for task in self.model.values():
                task.versions = {task.current: task.versions[task.current]}

        @rule()
        def reopen(self) -> None:
            self.reg.close()
            self.reg = Registry.open(place.location)

        @invariant()
        def same(self) -> None:
            tasks = self.reg.tasks()
            assert {(task.id, task.name, task.version.number) for task in tasks} == {
                (task.id, task.name, task.current) for task in self.model.values()
            }
            assert [task.version.id for task in tasks] == sorted(task.version.id for task in tasks)
            for task in self.model.values():
                found = {
                    version.number: tensors(self.reg.read_adapter(version))[0]
                    for version in self.reg.versions(task.name)
                }
                assert found == task.versions
            assert self.reg.verify() == []

    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=10 if isinstance(place.location, Path) else 4,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
