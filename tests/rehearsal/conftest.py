"""An environment in which svertka is not installed, as on the device machine."""

from __future__ import annotations

from tests.benchmarks.worker import make_importable

make_importable()
