"""Ctrl-C, as a command handles it: only during a training it is a wish, and afterwards all is as it was."""

import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from cl_ast.progress import Step, silent
from cl_ast.terminal.interrupting import CtrlC
from tests.cli.conftest import MakeFolder, Run


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    """Ctrl-C does what Python does with it by default, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_once_is_a_wish_and_twice_leaves() -> None:
    said: list[str] = []
    ctrl_c = CtrlC()
    with ctrl_c.installed(said.append):
        assert not ctrl_c()
        signal.raise_signal(signal.SIGINT)
        assert ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert len(said) == 1 and "again leaves" in said[0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_before_and_after_the_training_once_leaves() -> None:
    ctrl_c = CtrlC()
    with ctrl_c.installed(lambda _: None):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        ctrl_c()
        watch = ctrl_c.watching(silent)
        watch(Step("training", 3, 9))
        signal.raise_signal(signal.SIGINT)
        watch(Step("measuring", 0, 9))
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_handler_of_somebody_else_stays() -> None:
    def other(number: int, frame: FrameType | None) -> None:
        raise NotImplementedError

    for handler in (other, signal.SIG_IGN):
        signal.signal(signal.SIGINT, handler)
        with CtrlC().installed(lambda _: None):
            assert signal.getsignal(signal.SIGINT) is handler
        assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.slow
def test_a_command_restores_it_and_a_quiet_one_answers(
    stage: MakeFolder, run: Run, clips: MakeFolder, quick: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cl_ast.training.step import Steps

    take = Steps.take

    def pressed(*given: Any) -> object:
        signal.raise_signal(signal.SIGINT)
        return take(*given)

    monkeypatch.setattr(Steps, "take", pressed)
    registry = stage("tones")
    answer = run(registry, "-q", "add-task", clips(), *quick, "--epochs", 9, "--no-eval", "--format", "json").fine()
    assert answer.json["stopped"] == "user"
    assert answer.err.startswith("stopping after this step")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    shown = run(registry, "show", "clips", "--format", "json").fine().json["versions"][-1]["training"]
    assert (shown["stopped"], shown["curve"][-1]["epoch"]) == ("user", 1)
    assert "in epoch 1 of 9, by its user" in run(registry, "show", "clips").fine().out
    run(registry, "verify").fine()


@pytest.mark.slow
def test_patience_is_said(stage: MakeFolder, run: Run, clips: MakeFolder, quick: list[object]) -> None:
    words = ["add-task", clips(), *quick, "--epochs", 60, "--lr", 1e-30, "--patience", 3, "--no-eval"]
    registry = stage("tones")
    assert "(stopped in epoch 3 of 60, no better for 3 epochs)" in run(registry, *words).fine().out
    shown = " ".join(run(registry, "show", "clips").fine().out.split())
    assert "stopped in epoch 3 of 60, no better for 3 epochs" in shown
