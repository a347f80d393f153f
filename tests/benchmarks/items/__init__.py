"""The work of the device command's workers: one module per kind of item, each with ``run(item)``."""
