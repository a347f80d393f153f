"""Jinja templates: one a family of loops, and those of the package around the kernels."""
