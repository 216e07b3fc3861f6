"""Turns audio files into a backbone's input: waveforms at 16 kHz, log-mel features, and windows of long recordings."""
