"""From audio files to what a backbone takes: waveforms at 16 kHz, log-mel features, and windows of long recordings."""
