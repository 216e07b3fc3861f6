"""Turns audio files into a backbone's input: waveforms at 16 kHz, log-mel features, and windows of long recordings."""

from cl_ast.audio.reading import read, stream

__all__ = ["read", "stream"]
