"""What workers of the device command run: one module a kind of item, each with ``run(item)``."""
