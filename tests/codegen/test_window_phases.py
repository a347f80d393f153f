"""Lanes that compute all phases of a cell: which kernels have them, that they agree with torch, that faults show."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch

from svertka.codegen.ir.kernel import Apply, Constant, Let, Load, Name, Node
from svertka.codegen.ir.specification import violations
from svertka.codegen.lowering.build import build
from svertka.codegen.lowering.vanishing import vanishes
from svertka.generated import functional, runtime, schedule
from svertka.spec.layers import DEFINITIONS

from .planted import judged
from .tiles import recorded, tiles

POOLINGS = [f"{kind}_pooling_{rank}d" for kind in ("average", "max") for rank in (1, 2, 3)]


def test_gradients_of_strided_windows_have_phases_and_others_have_none() -> None:
    found = set()
    for name, definition in DEFINITIONS.items():
        for kernel in build(definition).kernels:
            if kernel.phased is not None:
                found.add(name)
                assert not list(violations(kernel))
    assert found == {*POOLINGS}


# Numbers -------------------------------------------------------------------------------------------------------------

SETTINGS = (  # kernel, stride, padding, dilation; sizes that strides do not divide
    ((3, 2), (2, 2), (1, 0), (1, 1)),
    ((2, 3), (3, 1), (0, 1), (1, 2)),
    ((3, 3), (2, 4), (1, 1), (2, 2)),  # of some phases no tap is left
    ((1, 2), (3, 3), (0, 0), (1, 1)),  # cells have elements that no window reads
    ((5, 4), (2, 3), (2, 2), (1, 1)),  # too many elements: each lane has one result
)


def strided(**settings: Any) -> dict[str, Any]:
    """A table for the interpreter with something else."""
    return {"interpreter": {**schedule.TABLE["interpreter"], **settings}}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("unroll", [1, 16])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), SETTINGS)
def test_both_bodies_give_torchs_gradients(
    kernel: Any, stride: Any, padding: Any, dilation: Any, unroll: int, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "INTERPRETED", True)
    image = torch.randn(2, 3, 11, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    image[0, 0, 4:7, 3:9] = math.nan
    image[1, 2, :5] = 1.5  # ties
    image = image.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format).requires_grad_()
    of_maximum = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": last}
    calls: list[tuple[str, dict[str, Any]]] = [("max_pool2d", of_maximum)]
    if dilation == (1, 1):
        calls.append(
            ("avg_pool2d", {"kernel_size": kernel, "stride": stride, "padding": padding, "count_include_pad": last})
        )
    for name, arguments in calls:
        expected = getattr(torch.nn.functional, name)(image, **arguments)
        seed = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
        with tiles(strided(unroll=unroll)), recorded() as launches:
            found = getattr(functional, name)(image, **arguments)
            (gradient,) = torch.autograd.grad(found, image, seed)
        (wanted,) = torch.autograd.grad(expected, image, seed)
        torch.testing.assert_close(found, expected, equal_nan=True)
        torch.testing.assert_close(gradient, wanted)
        (backward,) = [launch for launch in launches if launch.kernel.endswith("_grad_input")]
        few = max(math.prod(kernel), math.prod(stride)) <= unroll
        near = last or stride[1] <= schedule.STORED_APART
        assert (backward.constants["UNROLL"] > 1) == (few and near)


# Values that masked loads make 0 -------------------------------------------------------------------------------------

inside, other = Name("inside", "condition"), Name("other", "condition")
first, second, unmasked = (Name(name, "real") for name in ("first", "second", "unmasked"))
ZERO, TWO = Constant(Fraction(0), "real"), Constant(Fraction(2), "real")
LETS = (
    Let("first", Load("a", (), (other, inside), "real")),
    Let("second", Load("b", (), (inside,), "real")),
    Let("unmasked", Load("c", (), (), "real")),
)


def of(operation: str, *parts: Node) -> Apply:
    return Apply(operation, parts, "real")


@pytest.mark.parametrize(
    ("value", "zero"),
    [
        (first, True),
        (unmasked, False),
        (of("add", first, second), True),
        (of("add", first, TWO), False),
        (of("multiply", first, second), True),
        (of("multiply", TWO, first), True),
        (of("multiply", first, unmasked), False),  # it may be infinite
        (of("divide", first, TWO), False),
        (of("where", other, first, ZERO), True),
        (of("where", other, first, TWO), False),
        (of("negate", of("subtract", first, second)), True),
        (of("exp", first), False),
    ],
)
def test_what_is_0_where_its_loads_are_masked(value: Node, zero: bool) -> None:
    assert vanishes(value, [inside], LETS) == zero
    assert not vanishes(value, [Name("another", "condition")], LETS)


def test_the_number_in_place_of_an_absent_tensor_is_not_masked() -> None:
    """It is 0 only as a factor of what is."""
    absent = [LETS[0].value.tensor]
    assert not vanishes(first, [inside], LETS, absent)
    assert not vanishes(of("multiply", first, first), [inside], LETS, absent)
    assert vanishes(of("multiply", first, second), [inside], LETS, absent)


# Proof ---------------------------------------------------------------------------------------------------------------

FAULTS = (
    ("cell_h * stride_h + phase_h", "cell_h * stride_h"),
    ("kept_grad_input[phase_h * stride_w + phase_w]", "kept_grad_input[phase_h * stride_w]"),
    ("live & (h < H) & (w < W)", "live & (h < H)"),
    ("!= 0) * S, S,", "!= 0) * 0, S,"),
    ("phases_h: tl.constexpr = stride_h if UNROLL > 1 else 1", "phases_h: tl.constexpr = stride_h"),
    ("// stride_w + cell_w", "// stride_w + cell_w + phase_w"),
)


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_a_fault_is_found(text: str, fault: str) -> None:
    assert judged(DEFINITIONS["max_pooling_2d"], text, fault, file="max_pooling_2d.py").failures
