"""An adapter on its own, as a folder that another registry, or `peft`, can read; and the hub."""
