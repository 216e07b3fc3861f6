"""Tasks from long recordings with label files: learned, measured, listed and learned again."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import Run

RATE = 16_000


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Six recordings of six tones of half a second, each with its label in an Audacity file."""
    folder = tmp_path / "sites"
    folder.mkdir()
    random = np.random.default_rng(0)
    time = np.arange(RATE // 2) / RATE
    for number in range(6):
        samples = 0.001 * random.normal(size=4 * RATE)
        lines = []
        for i in range(6):
            label, hertz = (("low", 300), ("high", 3_000))[i % 2]
            first = RATE // 4 + i * 9_600
            samples[first : first + len(time)] += 0.4 * np.sin(2 * np.pi * (hertz + 10 * number) * time)
            lines.append(f"{first / RATE:.6f}\t{(first + len(time)) / RATE:.6f}\t{label}\n")
        soundfile.write(folder / f"site{number}.flac", samples, RATE)
        (folder / f"site{number}.txt").write_text("".join(lines))
    return folder


@pytest.mark.slow
def test_a_task_of_labelled_recordings(run: Run, recordings: Path, backbone: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    answer = run(home, "add-task", recordings, "--backbone", backbone, "--method", "linear", "--epochs", 2).fine()
    assert "by recording, no recording is in two splits" in answer.err

    clips = run(home, "splits", "sites", "--format", "json").fine().json["clips"]
    paths = [{clip["path"] for clip in clips if clip["split"] == split} for split in ("train", "validation", "test")]
    assert [len(found) for found in paths] == [4, 1, 1]
    assert len(set().union(*paths)) == 6
    assert sorted((clip["start"], clip["end"]) for clip in clips if clip["path"] in paths[2]) == [
        (pytest.approx(0.25 + 0.6 * i), pytest.approx(0.75 + 0.6 * i)) for i in range(6)
    ]
    assert ".flac (0.25–0.75 s)" in run(home, "splits", "sites").fine().out

    run(home, "embed", "sites", "--task", "sites", "--out", tmp_path / "sites.npz").fine()
    with np.load(tmp_path / "sites.npz") as found:
        assert len({path for path in found["paths"].tolist() if " s)" in path}) == 36
        assert len(np.unique(found["vectors"][0], axis=0)) == 36  # of the parts, not of their recordings

    # Labels that are added later change nothing of what is measured and learned again.
    with (recordings / "site0.txt").open("a") as labels:
        labels.write("3.850000\t3.950000\tlow\n")
    rows = run(home, "evaluate", "--details", "--format", "csv").fine().out.splitlines()
    assert rows[0].startswith("task,path,start,end,label,")
    assert len(rows) == 7
    run(home, "relearn", "--to", tmp_path / "other", "--backbone", backbone).fine()
    assert len(run(tmp_path / "other", "splits", "sites", "--format", "json").fine().json["clips"]) == 36
