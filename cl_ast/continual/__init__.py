"""What changes the tasks of a registry one after another: adding a task, training it again, rebuilding its routing."""
