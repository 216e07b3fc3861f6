"""What the server of `forked.py` has done when it forks, beside its imports."""

from transformers.conversion_mapping import get_checkpoint_conversion_mapping

# The first model that a process loads makes a table of all models' names of weights, which takes 0.4 s.
get_checkpoint_conversion_mapping("audio-spectrogram-transformer")
