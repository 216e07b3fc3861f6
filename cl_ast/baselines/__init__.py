"""Other ways to learn a stream over the same frozen backbone, set beside the continual learning of this project."""
