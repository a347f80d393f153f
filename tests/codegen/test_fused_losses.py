"""Losses behind other layers: a fused function keeps what torch deprecates, and examples without a batch."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from svertka.spec.compose import fuse
from svertka.spec.layers import DEFINITIONS

from ..examples.conftest import packaged

RELU_LOSS = fuse(
    "relu_loss", DEFINITIONS["relu"], DEFINITIONS["cross_entropy"], names={"weight": "scale", "reduction": "reduced_by"}
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with packaged(tmp_path_factory.mktemp("fused"), [RELU_LOSS]) as package:
        yield package


@pytest.mark.parametrize("size_average", [None, True, False])
@pytest.mark.parametrize("reduce", [None, True, False])
def test_deprecated_arguments(made: ModuleType, size_average: bool | None, reduce: bool | None) -> None:
    scores, labels = torch.tensor([[0.5, 1.5, -1.0], [2.0, 0.25, 1.0]]), torch.tensor([2, 0])
    flags: dict[str, Any] = {"size_average": size_average, "reduce": reduce}
    if size_average is None is reduce:
        found = made.functional.relu_loss(scores, labels, **flags, reduced_by="sum")
        expected = torch.nn.functional.cross_entropy(scores.relu(), labels, reduction="sum")
    else:
        with pytest.warns(UserWarning, match="deprecated"):
            found = made.functional.relu_loss(scores, labels, **flags)
        with pytest.warns(UserWarning, match="deprecated"):
            expected = torch.nn.functional.cross_entropy(scores.relu(), labels, **flags)
    torch.testing.assert_close(found, expected)


def test_an_example_without_a_batch(made: ModuleType) -> None:
    scores, label, scale = torch.tensor([0.5, 1.5, -1.0, 2.0]), torch.tensor(1), torch.tensor([1.0, 2.0, 0.5, 3.0])
    expected = torch.nn.functional.cross_entropy(scores.relu(), label, scale)
    torch.testing.assert_close(made.functional.relu_loss(scores, label, scale), expected)


def test_a_part_that_needs_a_batch_leaves_the_loss_one() -> None:
    fused = fuse("linear_loss", DEFINITIONS["linear"], DEFINITIONS["cross_entropy"], names={"weight": "scale"})
    assert not next(argument for argument in fused.tensor_arguments if argument.name == "target").unbatched
    assert {one.name: one.behind for one in fused.older} == {"size_average": "scale", "reduce": "ignore_index"}
