"""The frozen backbone that all tasks share: its layers, sites and families, its pretrained weights, its device."""
