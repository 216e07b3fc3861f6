"""Measures listing, committing and rebuilding with 10,000 tasks, and starting the program with five.

    python -m benchmarks.registry [--tasks 10000] [--kilobytes 600] [--place DIR]

Prints one JSON object. The tasks have small files, and each has one measurement, of itself: the database is what is
timed. `commit_beyond_write_ms` is a commit of a file of full size to that registry, minus writing, syncing and renaming
as many bytes alone (medians over 100, taken in turns). `fsync_ms` is an fsync of 4 kB at the same time. The figures of
a command are medians of five processes: seconds, and seconds of CPU, which depend less on other work of the machine.
"""

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy

sys.path[0] = str(Path(__file__).parent.parent)  # this file is called registry too

from registry import Accuracy, BackboneRecord, NewVersion, Registry, header  # noqa: E402
from registry.adapter_files import digest  # noqa: E402
from registry.file_stores import LocalFolder  # noqa: E402
from registry.manifest import Manifest  # noqa: E402

BACKBONE = BackboneRecord("backbone", "f" * 64, 1, 4)


def adapter(number: int, floats: int) -> bytes:
    """Return a file as cl_ast writes it, with so many numbers in it."""
    tensor = number.to_bytes(4, "little") * floats
    own = json.dumps({"format": 1, "front_end": {"frames": 500, "mean": -4.2677393, "std": 4.5689974}})
    entry = {"dtype": "F32", "shape": [floats], "data_offsets": [0, len(tensor)]}
    header = json.dumps({"__metadata__": {"cl_ast": own}, "layers.0.q.parallel.lora.a": entry}).encode()
    return len(header).to_bytes(8, "little") + header + tensor


def new(number: int) -> NewVersion:
    """Return what is known of a learned version."""
    return NewVersion(
        method="lora:qv,r=6,s=8",
        labels=tuple(f"label {number} {i}" for i in range(10)),
        trainable_parameters=221_184,
        seed=0,
        seconds=60.0,
        source={"task": "folder", "data": "clips", "name": f"t{number}"},
        learned_accuracy=0.9,
    )


def commit(registry: Registry, number: int, floats: int) -> float:
    """Commit one more task; return the seconds that it took."""
    data, name = adapter(number, floats), f"t{number}"
    start = time.perf_counter()
    registry.commit(name, data, new(number), [Accuracy(name, "oracle", 0.9, 40), Accuracy(name, "auto", 0.8, 40)])
    return time.perf_counter() - start


def fill(folder: Path, tasks: int) -> None:
    """Write so many small adapter files, with the headers that commits would have given them."""
    folder.mkdir(parents=True)
    for number in range(1, tasks + 1):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        words = Manifest(f"t{number - 1}", 1, number, moment, moment, BACKBONE, new(number)).to_header()
        data = header.described(adapter(number, 64), words)
        (folder / f"{digest(data)}.safetensors").write_bytes(data)


def measure(path: Path, tasks: int) -> None:
    """Record a measurement of each task, by name and routed."""
    versions = range(1, tasks + 1)
    values = [(i, mode, json.dumps({str(i): 40})) for i in versions for mode in ("oracle", "auto")]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO measurements VALUES (?1, ?1, '2026-01-01 00:00:00.000000')", [(i,) for i in versions]
        )
        connection.executemany(
            "INSERT INTO accuracies (measurement_id, version_id, mode, accuracy, clips, routed) "
            "VALUES (?1, ?1, ?2, 0.9, 40, ?3)",
            values,
        )


def command(*words: str) -> dict[str, float]:
    """Return the seconds and the CPU seconds of a whole process, medians of five."""
    walls, used = [], []
    for _ in range(5):
        before, start = os.times(), time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=sys.path[0])
        walls.append(time.perf_counter() - start)
        after = os.times()
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {"seconds": round(statistics.median(walls), 3), "cpu": round(statistics.median(used), 3)}


def commits(registry: Registry, first: int, floats: int, folder: Path) -> dict[str, float]:
    """Time a hundred commits, and as many plain writes of the same size, in turns."""
    plain, both, used, writes, syncs = LocalFolder(folder), [], [], [], []
    for number in range(first, first + 100):
        before = time.process_time()
        both.append(commit(registry, number, floats))
        used.append(time.process_time() - before)
        data = adapter(number, floats)
        start = time.perf_counter()
        plain.write(str(number), data)
        writes.append(time.perf_counter() - start)
        with (folder / "sync").open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            syncs.append(time.perf_counter() - start)
    beyond = statistics.median(both) - statistics.median(writes)
    found = {
        "commit_ms": statistics.median(both),
        "commit_cpu_ms": statistics.median(used),
        "commit_beyond_write_ms": beyond,
        "fsync_ms": statistics.median(syncs),
    }
    return {name: round(1000 * value, 1) for name, value in found.items()}


def main() -> None:
    """Measure everything, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--kilobytes", type=int, default=600)
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    found: dict[str, object] = {"tasks": options.tasks, "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(dir=options.place) as folder:
        place, floats = Path(folder) / "registry", options.kilobytes * 256
        start = time.perf_counter()
        fill(place / "adapters", options.tasks)
        found["fill_seconds"] = time.perf_counter() - start
        start = time.perf_counter()
        Registry.rebuild(place)
        found["rebuild_seconds"] = time.perf_counter() - start
        measure(place / "registry.db", options.tasks)
        registry = Registry.open(place)
        found |= commits(registry, options.tasks, floats, Path(folder) / "plain")
        start = time.perf_counter()
        registry.tasks()
        found["list_seconds"] = time.perf_counter() - start
        registry.close()
        small = Path(folder) / "small"
        fill(small / "adapters", 5)
        Registry.rebuild(small)
        found["import click"] = command("-c", "import click")
        found["--help"] = command("-m", "cli", "--help")
        for where, count in ((small, 5), (place, options.tasks)):
            for words in ("tasks", "tasks --format json", "stats", "stats --format csv"):
                found[f"{words}, {count} tasks"] = command("-m", "cli", "--registry", str(where), *words.split())
        with Registry.open(place) as again:
            start = time.perf_counter()
            problems = again.verify()
            found["verify_seconds"] = time.perf_counter() - start
        assert not problems, problems[:3]
    found |= {"python": platform.python_version(), "sqlalchemy": sqlalchemy.__version__, "cores": os.cpu_count()}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
