"""Copies of clips through a codec."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cl_ast.router.copies import coded


@pytest.mark.parametrize("container", ["MP3", "OGG"])
def test_a_file_in_the_working_folder_plays_no_part(
    container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sine: Callable[..., np.ndarray]
) -> None:
    """libsndfile takes one called `._` for the resource fork of mp3 in memory."""
    expected = coded(sine(440), container)
    (tmp_path / "._").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(coded(sine(440), container), expected)
