"""The options of a pretraining."""

from dataclasses import dataclass, field

from cl_ast.pretrain.model import Shape


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the training.

    Attributes:
        seed: the seed of the weights, the batches and the dropped patches.
        steps: optimiser steps. The learning rate warms up, then decays to zero along a cosine.
        batch_frames: the frames of a batch. A batch has as many clips as give this number of frames.
        learning_rate: the highest learning rate.
        weight_decay: the weight decay of both optimisers.
        warmup_steps: steps over which the learning rate grows to its highest value.
        dropped_patches: the share of the patches left out of a step, for speed.
        full_at_end: the share of the steps, at the end, that drop no patch.
        easy_at_start: the share of the steps over which noise and channels grow to their full strength.
        average_decay: the decay of the running average of the weights. The average is what is saved.
        validate_every: steps from one validation, which also saves, to the next.
        validation_frames: the frames of each batch to validate on.
        bf16: whether to train in bfloat16 mixed precision.
        workers: processes that train together on a CPU, each with one thread.
        minutes: if positive, the schedule ends by then, and the result depends on the machine's speed.
        shape: the sizes of the backbone.
    """

    seed: int = 1
    steps: int = 6_500
    batch_frames: int = 16_384
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    dropped_patches: float = 0.3
    full_at_end: float = 0.08
    easy_at_start: float = 0.6
    average_decay: float = 0.998
    validate_every: int = 200
    validation_frames: int = 16_384
    bf16: bool = False
    workers: int = 1
    minutes: float = 0.0
    shape: Shape = field(default_factory=Shape)
