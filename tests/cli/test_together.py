"""Several processes that train one task: real ones, as torchrun's agent starts them, to the weights of one process."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from registry import Registry
from tests.cli.conftest import Fork, Run

# AdamW divides by a gradient's size: with a larger epsilon a gradient of rounding errors stays one.
RECIPE = [
    "--batch-size",
    5,
    "--freq-mask",
    20,
    "--time-mask",
    10,
    "--epsilon",
    1e-3,
    "--store",
    "fp32",
    "--no-eval",
    "--augment",
    "mixup,noise,gain,shift",
    "--class-weights",
    "auto",
    "--patience",
    9,
]
# BatchNorm takes statistics over the batch, a mixture draws at random, augmentation too: all as in one process.
METHOD = "conformer+mosa"


# What torchrun does, with workers that are forks of its agent: importing torch in each takes seconds.
AS_TORCHRUN = """
import cli
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

run = cli.main

def work():
    run(prog_name="cl-ast")

def launch(prog_name):
    config = LaunchConfig(
        1, 1, 2, run_id="together", rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork"
    )
    elastic_launch(config, work)()

cli.main = launch
"""


def weights(registry: Path) -> dict[str, Tensor]:
    """Return the weights of the only version of the registry's only task."""
    from safetensors.torch import load

    with Registry.open(registry) as opened:
        (task,) = opened.tasks()
        (version,) = opened.versions(task.name)
        stored: dict[str, Tensor] = load(opened.read_adapter(version))
        return stored


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="gloo is built in another way")
def test_two_processes_come_to_the_weights_of_one(
    tmp_path: Path, run: Run, data: Path, backbone: Path, fork: Fork
) -> None:
    words = [
        "add-task",
        data / "tones",
        "--backbone",
        backbone,
        "--method",
        METHOD,
        "--epochs",
        2,
        *RECIPE,
    ]
    alone = run(tmp_path / "alone", *words).fine()
    both = fork(tmp_path / "both", *words, first=AS_TORCHRUN)
    out, err = both.communicate()
    assert both.returncode == 0, err
    assert out.count("tones trained") == alone.out.count("tones trained") == 1  # one speaks
    assert err.count("reading training clips 14/14") == 1
    expected, found = weights(tmp_path / "alone"), weights(tmp_path / "both")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name] == pytest.approx(tensor, abs=1e-5), name
    assert run(tmp_path / "both", "verify").code == 0


@given(rows=st.integers(1, 40), size=st.integers(1, 9))
def test_shares_of_a_batch(rows: int, size: int) -> None:
    """Every row is in one share; a batch too small to be shared is in all. The mean of all is the batch's."""
    from cl_ast.training.distributed import Group

    group = [Group(rank, size) for rank in range(size)]
    shares = [one.share(range(rows)) for one in group]
    assert all(shares)
    times = 1 if rows >= size else size
    assert sorted(row for share in shares for row in share) == sorted(list(range(rows)) * times)
    means = [sum(share) / len(share) for share in shares]
    assert sum(one.weight(rows) * mean for one, mean in zip(group, means, strict=True)) == pytest.approx((rows - 1) / 2)


class Counter:
    """Stand in for the store that all processes share."""

    def __init__(self) -> None:
        self.failed = 0

    def add(self, _: str, amount: int) -> int:
        self.failed += amount
        return self.failed


@pytest.mark.slow
def test_of_two_that_fail_the_first_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import click

    from cl_ast.errors import TrainingError
    from cl_ast.terminal.processes import launched_group
    from cl_ast.training import distributed as group

    store = Counter()
    ends = []
    for rank in (1, 0):
        monkeypatch.setattr(group, "launched", lambda _, rank=rank: group.Group(rank, 2, store))
        with pytest.raises((TrainingError, click.exceptions.Exit)) as raised, launched_group("cpu"):
            raise TrainingError("no luck")
        ends.append(raised.value)
    assert str(ends[0]) == "no luck"
    assert isinstance(ends[1], click.exceptions.Exit)
    assert ends[1].exit_code == 1


def test_one_process_is_a_group_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from cl_ast.training.distributed import ALONE, launched

    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert launched("cpu") is ALONE
    assert (ALONE.main, ALONE.weight(3), ALONE.share([4, 5])) == (True, 1.0, [4, 5])
