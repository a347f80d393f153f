"""The machine's environment has nothing of svertka installed, as the machine itself has not."""

from __future__ import annotations

from tests.benchmarks.worker import make_importable

make_importable()
