"""A task on a backbone: adapter, head, labels and front end; the file that holds it; many tasks in one batch."""
