"""Measurements; not part of ``make test``."""
