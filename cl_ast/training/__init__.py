"""Training of one task: options, recipes, the training loop, what it caches, and its checkpoints."""
