"""A task on a backbone: adapter, head, labels and front end; its file; and many tasks in one batch."""
