"""Every example, generated with its gradient's gradient, on both paths."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import Tensor

from .conftest import examples, packaged
from .test_levels import WANTED
from .test_torch import CALLS, drawn

TWICE = sorted(WANTED)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """One package with the examples, each differentiable twice."""
    definitions = [replace(definition, orders=2) for definition in examples().values()]
    with ExitStack() as stack:
        yield stack.enter_context(packaged(tmp_path_factory.mktemp("twice") / "all", definitions))


@pytest.mark.thinned(30)
@pytest.mark.parametrize("interpreted", [True, False], ids=["kernels", "cpu"])
@pytest.mark.parametrize("name", TWICE)
def test_gradients_of_gradients(
    name: str, interpreted: bool, twice: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against finite differences, by PyTorch's own check."""
    monkeypatch.setattr(importlib.import_module(f"{twice.__name__}.runtime"), "INTERPRETED", interpreted)
    known = CALLS[name]
    shapes = (*known.shapes, *known.optional.values())
    optional = list(known.optional)

    def function(*values: Tensor) -> Tensor:
        plain, more = values[: len(known.shapes)], values[len(known.shapes) :]
        found: Tensor = getattr(twice.functional, name)(
            *plain, **dict(zip(optional, more, strict=True)), **known.settings
        )
        return found

    values = [drawn(shape, seed) for seed, shape in enumerate(shapes)]
    assert torch.autograd.gradgradcheck(function, values, fast_mode=True)
