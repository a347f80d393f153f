"""Jinja templates: one a loop pattern, and those of the package around the kernels."""
