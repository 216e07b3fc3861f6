"""The frozen backbone that all tasks share: its layers, its sites, its families, its weights and its device."""
