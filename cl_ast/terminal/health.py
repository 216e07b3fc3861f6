"""Finds out what is installed and set up here, and what of it is unwell.

It has to answer where other commands cannot, as where torch does not import or the registry is damaged. So each group
of findings is looked at by itself, and one that fails is a finding, too.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ast import caches
from cl_ast.errors import ClAstError, RegistryNotFoundError
from cl_ast.wording import first_line, size
from registry.file_stores import size as file_size

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from cl_ast.terminal.app import App
    from registry import BackboneRecord, Problem

_LITTLE_MEMORY = 10**9  # bytes; the libraries alone take about half of it
_MOST_PROBLEMS = 10
_DEVELOPERS = {"dev", "docs"}  # the extras with the tools to test and to document cl-ast itself


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: what it belongs to, such as "caches".
        found: what was found, in words.
        to_do: what to do about it; None where it is well.
        facts: the same for programs, where words are not enough.
    """

    group: str
    name: str
    found: str
    to_do: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        return self.to_do is None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "group": self.group,
            "name": self.name,
            "found": self.found,
            "well": self.is_well,
            "to_do": self.to_do,
            **self.facts,
        }


def examine(app: App) -> list[Finding]:
    """Return all findings, group by group. Nothing is downloaded or changed, and nothing is raised."""
    groups: Sequence[tuple[str, Callable[[], Iterator[Finding]]]] = (
        ("versions", _versions),
        ("computing", lambda: _computing(app.device)),
        ("caches", _caches),
        ("backbones", _backbones),
        ("registry", lambda: _registry(app)),
        ("extras", _extras),
    )
    return [finding for group, look in groups for finding in _looked_at(group, look)]


def _looked_at(group: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return the findings of a group; where one cannot be had, what hinders it comes in its place."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except ClAstError as error:
        found.append(Finding(group, group, "could not be looked at", str(error)))
    except Exception as error:  # whatever it is, the other groups are still to be looked at
        what = f"could not be looked at ({type(error).__name__}: {first_line(error)})"
        found.append(Finding(group, group, what, "mend what else is unwell, and look again"))
    return found


# Versions


def _versions() -> Iterator[Finding]:
    yield Finding("versions", "python", platform.python_version())
    try:
        yield Finding("versions", "cl-ast", metadata.version("cl-ast"))
    except metadata.PackageNotFoundError:
        yield Finding("versions", "cl-ast", "not installed as a package", "pip install PATH-TO-CL-AST")
        return
    for requirement in _needed():
        yield _package(requirement)


def _package(requirement: Requirement) -> Finding:
    """Return whether a package that cl-ast always needs is there, imports, and has a version that will do."""
    name, wanted = requirement.name, f"'{requirement.name}{requirement.specifier}'"
    version = _installed(requirement)
    if version is None:
        return Finding("versions", name, "not installed", f"pip install {wanted}")
    try:
        importlib.import_module(name)
    except Exception as error:  # a library that is missing on the system raises OSError, another release anything
        found = f"{version}, which does not import ({first_line(error)})"
        return Finding("versions", name, found, f"pip install --force-reinstall {wanted}")
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding("versions", name, f"{version}, and {requirement.specifier} is needed", f"pip install {wanted}")
    return Finding("versions", name, version)


def _needed(extra: str = "") -> list[Requirement]:
    """Return the packages that cl-ast always needs, or those that an extra adds, as the installed package says."""
    from packaging.requirements import Requirement

    found = map(Requirement, metadata.requires("cl-ast") or [])
    return [one for one in found if _applies(one, extra) and not (extra and _applies(one, ""))]


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _installed(requirement: Requirement) -> str | None:
    try:
        return metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> Iterator[Finding]:
    for extra in metadata.metadata("cl-ast").get_all("Provides-Extra") or []:
        if extra in _DEVELOPERS:
            continue
        versions = {one: _installed(one) for one in _needed(extra)}
        there = all(found and one.specifier.contains(found, prereleases=True) for one, found in versions.items())
        listed = ", ".join(f"{one.name} {found}" for one, found in versions.items())
        found = listed if there else f"not installed: pip install 'cl-ast[{extra}]'"
        yield Finding("extras", extra, found, facts={"installed": there})


# Computing, and what is kept on the disk


def _computing(device_name: str) -> Iterator[Finding]:
    from cl_ast.training.memory import free_memory

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("computing", "cores", str(cores), facts={"cores": cores})
    free = free_memory()
    little = "end other programs, or use a machine with more memory" if free < _LITTLE_MEMORY else None
    yield Finding("computing", "memory", f"{size(free)} free", little, {"bytes": free})

    import torch

    from cl_ast.backbone.device import pick_device, uses_bf16

    device = pick_device(device_name)
    precision = "bf16" if uses_bf16(device, "auto") else "fp32"
    about = ""
    if device.type == "cuda":
        left, _ = torch.cuda.mem_get_info(device)
        about = f" ({torch.cuda.get_device_name(device)}, {size(left)} free)"
    elif device.type == "cpu" and device_name == "auto" and torch.version.cuda is not None:
        about = " (torch is made for a GPU, and finds none)"
    facts = {"device": str(device), "precision": precision}
    yield Finding("computing", "device", f"{device}{about}, computing in {precision}", facts=facts)


def _caches() -> Iterator[Finding]:
    yield _cache("features", caches.features(), caches.FOLDER)
    yield _cache("checkpoints", caches.checkpoints(), "XDG_CACHE_HOME")
    yield _cache("adapters", caches.adapters(), "XDG_CACHE_HOME")
    from huggingface_hub import constants

    yield _cache("hub", Path(constants.HF_HUB_CACHE), "HF_HUB_CACHE")


def _cache(name: str, folder: Path, variable: str) -> Finding:
    """Return where a cache is, how large, and whether it can be written.

    Args:
        variable: the environment variable that moves it.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.access(place, os.F_OK))
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    bytes_there = _bytes_in(folder)
    how_large = size(bytes_there) if folder.is_dir() else "none yet"
    to_do = f"you cannot write there: let {variable} name a folder where you can"
    facts = {"path": str(folder), "bytes": bytes_there, "writable": writable}
    return Finding("caches", name, f"{folder}: {how_large}", None if writable else to_do, facts)


def _bytes_in(folder: Path) -> int:
    """Return the size of all files below a folder, without what links lead to and what cannot be looked at."""
    paths = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sum(file_size(path) for path in paths if not path.is_symlink())


# Backbones and the registry


def _backbones() -> Iterator[Finding]:
    from cl_ast.backbone import pretrained

    there = (pretrained.MINI_FOLDER / "model.safetensors").is_file()
    to_do = None if there else "its file is missing: install cl-ast again"
    yield Finding("backbones", pretrained.MINI, "in the package" if there else "not found", to_do)
    default = pretrained.default_name()
    if pretrained.is_cached("ast-base"):
        found = "in the hub's cache"
    elif default == "ast-base":
        found = "not in the hub's cache; the hub has it, and it is downloaded when it is first used"
    else:
        found = "not in the hub's cache, and the hub cannot be reached, or not asked (HF_HUB_OFFLINE)"
    yield Finding("backbones", "ast-base", found)
    yield Finding("backbones", "default", f"a new registry gets {default}", facts={"default": default})


def _registry(app: App) -> Iterator[Finding]:
    try:
        registry = app.registry()
    except RegistryNotFoundError as error:
        yield Finding("registry", "place", str(error))
        return
    with registry:
        problems = registry.verify()
        yield Finding("registry", "place", registry.place if registry.writable else f"{registry.place} (read-only)")
        for problem in problems[:_MOST_PROBLEMS]:
            yield _problem(problem)
        if len(problems) > _MOST_PROBLEMS:
            left = len(problems) - _MOST_PROBLEMS
            yield Finding("registry", "problems", f"{left:,} more", "`cl-ast verify` lists all of them")
        if not problems:
            count = len(registry.tasks())
            found = f"{count}, every file as it was written"
            yield Finding("registry", "tasks", found, facts={"tasks": count})
        backbone = registry.backbone
    if backbone is not None:
        yield _backbone_of_registry(backbone)


def _problem(problem: Problem) -> Finding:
    to_do = "put the file back from a copy, roll the task back, or learn it again"
    if problem.task is None:
        to_do = "restore a backup, or let `cl-ast rebuild` make the database again from the adapter files"
    return Finding("registry", problem.task or "problem", f"{problem.place}: {problem.what}", to_do)


def _backbone_of_registry(record: BackboneRecord) -> Finding:
    from cl_ast.backbone import pretrained

    if pretrained.is_local(record.name):
        return Finding("registry", "backbone", record.name)
    if Path(record.name).is_absolute():
        to_do = "put its folder back, or say with --backbone where it is now"
        return Finding("registry", "backbone", f"{record.name}, which is not there", to_do)
    where = "in the hub's cache" if pretrained.is_cached(record.name) else "downloaded when it is first used"
    return Finding("registry", "backbone", f"{record.name}, {where}")
