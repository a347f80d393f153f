"""The bound from layer to layer: whole sums give the same bound as single terms, including the inputs' errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from svertka.generated import Conv2d, Linear
from svertka.spec import FORMATS
from svertka.spec.layers import DEFINITIONS
from svertka.spec.running_error import Bounded

from ..reference.bounds import within
from . import chained
from .chained import CarriedError, bounded, evaluate_carrying

CONVOLUTION = DEFINITIONS["convolution_2d"].variants[0].layer
FULL = DEFINITIONS["linear"].variants[0].layer
SIZES: dict[str, Any] = {"N": 2, "G": 2, "K": 2, "C": 3, "H": 9, "W": 7, "R": 3, "S": 2}
SIZES |= {
    "stride_h": 2,
    "stride_w": 1,
    "dilation_h": 1,
    "dilation_w": 3,
    "padding_h": 1,
    "padding_w": 2,
    "P": 5,
    "Q": 8,
}
PLAIN = SIZES | {"padding_h": 0, "padding_w": 0, "P": 4, "Q": 4}


def drawn(*shape: int, error: float = 0.0, seed: int = 0) -> Bounded:
    draw = torch.Generator().manual_seed(seed)
    value = torch.randn(shape, generator=draw, dtype=torch.float64)
    return Bounded(value, error * torch.rand(shape, generator=draw, dtype=torch.float64))


def convolution(error: float) -> dict[str, Bounded]:
    weight = drawn(4, 3, 3, 2, error=error / 8, seed=1)
    return {"input": drawn(2, 6, 9, 7, error=error), "weight": weight, "bias": drawn(4, seed=2)}


@pytest.mark.parametrize("sizes", [PLAIN, SIZES], ids=["plain", "padded"])
@pytest.mark.parametrize("error", [0.0, 0.25])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_sum_at_once_is_bounded_as_one_by_one(
    kind: str, error: float, sizes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding counts in one computation and not in the other: there the bound is not smaller."""
    given, arithmetic = convolution(error), CarriedError(FORMATS[kind])
    taken = []
    original = chained._contracted
    monkeypatch.setattr(chained, "_contracted", lambda *a: taken.append(original(*a)) or taken[-1])
    at_once = evaluate_carrying(CONVOLUTION, given, sizes, arithmetic)["output"]
    assert any(one is not None for one in taken)
    monkeypatch.setattr(chained, "_contracted", lambda *a: None)
    one_by_one = evaluate_carrying(CONVOLUTION, given, sizes, arithmetic)["output"]
    terms = 3 * 3 * 2
    sizes_of_terms = {name: Bounded(one.value.abs(), one.error) for name, one in given.items()}
    magnitude = evaluate_carrying(CONVOLUTION, sizes_of_terms, sizes, arithmetic)["output"].value
    assert within(at_once.value, one_by_one.value, magnitude, terms + 2)
    smaller = at_once.error if sizes is PLAIN else torch.minimum(at_once.error, one_by_one.error)
    # An error is a sum of non-negative terms: three sums of products and their combinations.
    assert within(smaller, one_by_one.error, one_by_one.error, 3 * terms + 64)


def test_errors_of_inputs_arrive_in_full() -> None:
    """An input at the end of its error interval changes the result by as much as the bound says, up to rounding."""
    given = {"input": drawn(3, 7, error=0.5), "weight": drawn(5, 7, seed=1), "bias": drawn(5, seed=2)}
    sizes = {"M": 3, "I": 7, "O": 5}
    found = evaluate_carrying(FULL, given, sizes, CarriedError(FORMATS["float64"]))["output"]
    weight, far = given["weight"].value, torch.empty(3, 5, dtype=torch.float64)
    for unit in range(5):
        moved = given["input"].value + given["input"].error * weight[unit].sign()
        far[:, unit] = moved @ weight[unit] + given["bias"].value[unit]
    distance = (far - found.value).abs()
    assert bool((distance <= found.error).all())
    carried = given["input"].error @ weight.abs().T
    assert bool((found.error >= carried).all())


def test_errors_grow_from_layer_to_layer() -> None:
    """The error of two layers is larger than that of the second alone on the first one's values."""
    torch.manual_seed(1)
    first, second = Linear(6, 5).double(), Linear(5, 4).double()
    given = torch.randn(3, 6, dtype=torch.float64)
    both = bounded(nn.Sequential(first, second), given, FORMATS["float32"])
    alone = bounded(second, first(given).detach(), FORMATS["float32"])
    assert bool((both.error > alone.error).all())


def test_what_is_no_formula_is_not_taken_for_exact() -> None:
    """An addition by torch between two layers is refused, because it has no bound."""

    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Conv2d(1, 1, 1).double()

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.layer(self.layer(given) + math.pi)
            return found

    with pytest.raises(KeyError):
        bounded(Between(), torch.ones(1, 1, 2, 3, dtype=torch.float64), FORMATS["float32"])
