"""Measures attaching tasks, and serving more tasks than fit into memory; `peft` for comparison.

    python -m benchmarks.attach [--tasks 2000] [--place DIR]

Tasks are LoRAs (r=6, q and v) over ast-mini. Attaching is all of it: the query to the database, reading the file, its
SHA-256 and the checks.
"""

import argparse
import gc
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Row
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.audio.windows import Segment
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.inference.answering import SEGMENTS, answer
from cl_ast.inference.session import Session
from cl_ast.tasks.task_file import to_bytes
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from registry import BackboneRecord, NewVersion, Registry, header
from registry.adapter_files import digest
from registry.manifest import Manifest


def fill(place: Path, backbone: Backbone, tasks: int) -> int:
    """Make a registry of so many tasks, as commits would have written it; return the size of a task's file in bytes."""
    (place / "adapters").mkdir(parents=True)
    labels = tuple(f"label {n}" for n in range(10))
    model = TaskModel.fresh(
        TaskSettings("t", parse("lora"), labels, LogMelFrontEnd(100)), backbone, torch.Generator().manual_seed(0)
    )
    routing = {"prototypes": torch.randn(32, 256), "calibration": torch.randn(101)}
    data = to_bytes(model, backbone, {}, routing)
    record = BackboneRecord(backbone.name, backbone.fingerprint, backbone.parameters, backbone.bytes)
    new = NewVersion(method="lora:qv,r=6,s=8", labels=labels, trainable_parameters=1, seed=0, seconds=1.0)
    for number in range(1, tasks + 1):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        own = header.described(data, Manifest(f"t{number - 1}", 1, number, moment, moment, record, new).to_header())
        (place / "adapters" / f"{digest(own)}.safetensors").write_bytes(own)
    Registry.rebuild(place)
    return len(data)


@contextmanager
def opened(place: Path, backbone: Backbone, memory: int) -> Iterator[Session]:
    """Open a session of a registry with so many bytes of memory for tasks."""
    with Registry.open(place) as registry:
        session = Session(registry, backbone=backbone, device="cpu", memory=memory)
        yield session
        session.close()


def attaching(place: Path, backbone: Backbone) -> list[Row]:
    """Return the time and the memory that attaching a task takes."""
    rows = []
    with opened(place, backbone, 2**40) as session:
        session.task("t0")
        taken = []
        for number in range(1, 1_100):
            started = time.process_time()
            session.task(f"t{number}")
            taken.append(1000 * (time.process_time() - started))
        for attached in (10, 100, 1_000):
            near = taken[attached : attached + 60]
            found = statistics.median(near)
            rows.append(
                Row(f"attach a task after {attached}", "", None, found, "ms", _spread(near), "≤ 5", found <= 5, "")
            )
        first = sum(taken[:200]) / 1000
        rows.append(Row("attach 200 tasks", "", None, first, "s", "once", "≤ 1", first <= 1, ""))
    gc.collect()
    with opened(place, backbone, 2**40) as session:
        session.task("t0")
        gc.collect()
        tracemalloc.start()
        for number in range(1, 101):
            session.task(f"t{number}")
        gc.collect()
        objects = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        tensors = session.cached_bytes * 100 / 101
        one = session.task("t1")
    # Heads and routing lie in buffers that Python counts as its own.
    objects -= 100 * sum(t.numel() * t.element_size() for t in (*one.model.head.values(), *one.router.values()))
    share = (tensors + objects) / tensors
    rows.append(
        Row("memory of 100 LoRAs, ast-mini", "their tensors", share, None, "x", "once", "≤ 1.05", share <= 1.05,
            f"{objects / 100 / 1000:.1f} kB of Python per task (settings, header, labels) beside "
            f"{tensors / 100 / 1000:.0f} kB of tensors")
    )  # fmt: skip
    return rows


def beyond(place: Path, backbone: Backbone, tasks: int, size: int) -> list[Row]:
    """Return the speed on clips of tasks drawn at random, with memory for all tasks down to a twentieth of them."""
    rows = []
    draw = random.Random(0)
    clip = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    names = [[f"t{draw.randrange(tasks)}" for _ in range(SEGMENTS)] for _ in range(20)]
    full = None
    for share in (1.0, 0.5, 0.25, 0.1, 0.05):
        with opened(place, backbone, int(tasks * size * share)) as session:
            for number in range(int(tasks * share)):
                session.task(f"t{number}")
            started = time.perf_counter(), time.process_time()
            for group in names:
                answer(session, [(Segment("clip", clip), name) for name in group])
            wall, used = time.perf_counter() - started[0], time.process_time() - started[1]
        rate = len(names) * SEGMENTS / used
        full = full or rate
        rows.append(
            Row(f"{tasks:,} tasks, memory for {share:.0%}", "memory for all", full / rate, rate,
                "clips a processor second", "once", "< 2: no sudden fall", full / rate < 2,
                f"{len(names) * SEGMENTS / wall:.0f} clips/s by the clock")
        )  # fmt: skip
    return rows


def _spread(values: list[float]) -> str:
    """Return the range of the middle half of the values, in words."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    return f"{ordered[cut]:.2f} to {ordered[-1 - cut]:.2f}, the middle half of {len(ordered)}"


def peft() -> Row:
    """Return the time of `load_adapter` for a LoRA of the same size in `peft`, after 4 and after 32 adapters."""
    from peft import LoraConfig, get_peft_model
    from transformers import ASTConfig, ASTModel

    config = LoraConfig(r=6, lora_alpha=48, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(ASTModel(ASTConfig.from_pretrained(pretrained.MINI_FOLDER)), config, adapter_name="a")
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, selected_adapters=["a"])
        for number in range(40):
            started = time.process_time()
            model.load_adapter(f"{folder}/a", adapter_name=f"a{number}")
            taken.append(1000 * (time.process_time() - started))
    late = statistics.median(taken[30:])
    return Row("load an adapter in peft after 32", "", None, late, "ms", _spread(taken[30:]), "", True,
               f"{statistics.median(taken[2:6]):.0f} ms after 4")  # fmt: skip


def measure(tasks: int = 2_000, place: Path | None = None) -> list[Row]:
    """Return all rows, measured with a registry of so many tasks in a temporary folder."""
    backbone = pretrained.load("ast-mini")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        size = fill(Path(folder) / "registry", backbone, tasks)
        rows = attaching(Path(folder) / "registry", backbone)
        rows += beyond(Path(folder) / "registry", backbone, tasks, size)
    return [*rows, peft()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2_000)
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    for row in measure(options.tasks, options.place):
        print(row, flush=True)
