"""Few long rows: which kernels reduce them in parts, on how many programs, that this is right, and that faults show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch
from sympy import sqrt

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.ir.specification import violations
from svertka.codegen.lowering.build import build
from svertka.codegen.verify.recording import recording
from svertka.codegen.verify.validate import validate_package
from svertka.generated import functional, runtime, schedule
from svertka.spec import ArgMax, Equation, Layer, Max, Prod, Sum, Tensor, axes, axis, define, number
from svertka.spec.definition import Definition
from svertka.spec.layers import DEFINITIONS as LIBRARY

from ..examples.conftest import packaged
from .planted import judged
from .tiles import few_processors, recorded, table, tiles

n = axis("n", batch=True)
i, c = axes("i c")
x, flat = Tensor("input", n, i, c), Tensor("input", i)


def defined(name: str, tensor: Tensor, output: Tensor, value: Any) -> Definition:
    return define(Layer(name, (tensor,), (Equation(output, value),), ("output",)))


DEFINITIONS = {
    definition.name: definition
    for definition in (
        defined("mean_square", flat, Tensor("output"), Sum(flat[i] ** 2, i) / i.extent),
        defined("largest", x, Tensor("output", c), Max(x[n, i, c], n, i)),
        defined("product", flat, Tensor("output"), Prod(flat[i], i)),
        defined("width", flat, Tensor("output"), Max(flat[i], i) + Max(-flat[i], i)),
    )
}

mean, variance, scaled = Tensor("mean", n), Tensor("variance", n), Tensor("output", n, i)
rows, weight = Tensor("input", n, i), Tensor("weight", i)
MOMENTS = (
    Equation(mean, Sum(rows[n, i], i) / i.extent),
    Equation(variance, Sum((rows[n, i] - mean[n]) ** 2, i) / i.extent),
)
START = number("start")
NORMAL = (rows[n, i] - mean[n]) / sqrt(variance[n] + 1) * weight[i] + START
DEFINITIONS |= {
    "spread": define(Layer("spread", (rows,), (*MOMENTS, Equation(Tensor("output", n), variance[n])), ("output",))),
    "standardized": define(Layer("standardized", (rows, weight), (*MOMENTS, Equation(scaled, NORMAL)), ("output",))),
}
SMALL = table(64, 8, 2, (16, 16, 4)) | {
    "sums": {"least_depth": 1, "most_phases": 64, "steps_a_part": 8, "row_steps_a_part": 2}
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with packaged(tmp_path_factory.mktemp("parts") / "all", list(DEFINITIONS.values())) as made:
        yield made


@contextmanager
def in_parts(package: ModuleType) -> Iterator[list[Any]]:
    """Tiles of eight elements, on a device with 64 processors."""
    name = package.__name__
    with few_processors(64, name), tiles(SMALL, name), recorded(name) as launches:
        yield launches


# Which ---------------------------------------------------------------------------------------------------------------


def test_loops_that_reduce_are_split_and_others_are_not() -> None:
    """Of an element's place the first must win; sums of exponentials go with their maximum."""
    splitting = {kernel.name: kernel.splitting for one in DEFINITIONS.values() for kernel in build(one).kernels}
    assert splitting["mean_square_output"] == splitting["product_output"] == splitting["width_output"] == (0,)
    position = define(
        Layer("position", (flat,), (Equation(Tensor("output", kind="integer"), ArgMax(flat[i], i)),), ("output",))
    )
    assert [kernel.splitting for kernel in build(position).kernels] == [()]
    library = {kernel.name: kernel.splitting for one in LIBRARY.values() for kernel in build(one).kernels}
    assert library["linear_grad_bias"] == (0,)
    assert library["batch_normalization_training_grad_mean_sum_3_part"] == (1,)
    assert library["layer_normalization_output"] == (0, 1)
    assert library["softmax_grad_input"] == (1,)
    assert library["softmax_output"] == library["relu_output"] == ()
    for one in DEFINITIONS.values():
        for kernel in build(one).kernels:
            assert not list(violations(kernel))


@pytest.mark.parametrize(
    ("samples", "features", "programs"),
    [(65_536, 64, [256, 2]), (2**20, 3, [256, 1]), (3000, 4096, [128]), (500, 40, [2])],
)
def test_a_gpu_is_busy_with_few_long_sums(
    samples: int, features: int, programs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of a bias of many samples. Where programs are many, or rows are short, nothing is split."""
    monkeypatch.setattr(runtime, "INTERPRETED", True)
    monkeypatch.setattr(schedule, "INTERPRETING", False)
    images, weight = torch.zeros(samples, 1), torch.zeros(features, 1)
    bias, seed = torch.zeros(features, requires_grad=True), torch.zeros(samples, features)
    with few_processors(132), recording("sm_90") as launches:
        torch.autograd.grad(functional.linear(images, weight, bias), bias, seed)
    found = [launch for launch in launches if launch.kernel.__name__ == "linear_grad_bias"]
    assert [launch.programs for launch in found] == programs
    assert [launch.constants["PART"] for launch in found] == (["part", "finish"] if len(programs) > 1 else ["whole"])


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [12, 13, 33, 517, 1025])
def test_parts_give_the_whole(length: int, package: ModuleType) -> None:
    values = torch.randn(length, dtype=torch.float64, generator=torch.Generator().manual_seed(length))
    near_one = 1 + values / length
    with in_parts(package) as launches:
        mean, width = package.functional.mean_square(values), package.functional.width(values)
        product = package.functional.product(near_one)
    assert {launch.constants["PART"] for launch in launches} == ({"part", "finish"} if length > 12 else {"whole"})
    rounding = (length + 3) * 2.0**-53  # additions, or multiplications, of terms of one sign
    torch.testing.assert_close(mean, (values**2).mean(), rtol=2 * rounding, atol=0)
    torch.testing.assert_close(product, near_one.prod(), rtol=2 * rounding, atol=0)
    assert width == values.max() - values.min()


@pytest.mark.parametrize("place", [0, 63, 64, 400, 516])
def test_nan_and_infinity_pass_through_parts(place: int, package: ModuleType) -> None:
    values = 1 + torch.randn(517, generator=torch.Generator().manual_seed(place)) / 517  # no product of them is 0
    for special in (math.nan, math.inf, -math.inf):
        values[place] = special
        with in_parts(package) as launches:
            found = [getattr(package.functional, name)(values) for name in ("mean_square", "width", "product")]
        assert {launch.constants["PART"] for launch in launches} == {"part", "finish"}
        expected = [(values**2).mean(), values.max() - values.min(), values.prod()]
        torch.testing.assert_close(torch.stack(found), torch.stack(expected), equal_nan=True)


@pytest.mark.parametrize("length", [12, 33, 517])
def test_a_row_is_walked_in_parts_as_often_as_whole(length: int, package: ModuleType) -> None:
    """A mean, the variance about it, and the row divided by its root, each of it a launch of parts."""
    generator = torch.Generator().manual_seed(length)
    values = 100 + torch.randn(3, length, dtype=torch.float64, generator=generator)
    scale = torch.randn(length, dtype=torch.float64, generator=generator)
    with in_parts(package) as launches:
        found = package.functional.standardized(values, scale, 0.5), package.functional.spread(values)
    parts = ["whole"] if length == 12 else ["part", "part 2", "finish"]
    assert [launch.constants["PART"] for launch in launches] == 2 * parts
    middle = values.mean(1, keepdim=True)
    square = ((values - middle) ** 2).mean(1, keepdim=True)
    expected = (values - middle) / (square + 1).sqrt() * scale + 0.5, square[:, 0]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("count", "length", "programs"),
    [(2, 2**20, [128, 128, 128]), (1, 200_000, [12, 12, 12]), (512, 20_000, [512]), (2, 4096, [2])],
)
def test_a_gpu_is_busy_with_few_long_rows(
    count: int, length: int, programs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layer normalization: each of its three walks of a row is split, and stored by as many programs."""
    monkeypatch.setattr(runtime, "INTERPRETED", True)
    monkeypatch.setattr(schedule, "INTERPRETING", False)
    images = torch.zeros(count, length)
    with few_processors(132), recording("sm_90") as launches:
        functional.layer_norm(images, (length,))
    found = [launch for launch in launches if launch.kernel.__name__ == "layer_normalization_output"]
    assert [launch.programs for launch in found] == programs


def test_several_rows_and_summed_axes(package: ModuleType) -> None:
    values = torch.randn(5, 37, 3, generator=torch.Generator().manual_seed(1))
    values[4, 36, 1] = values[0, 0, 2] = math.nan
    with in_parts(package) as launches:
        found = package.functional.largest(values)
    assert "finish" in {launch.constants.get("PART") for launch in launches}
    torch.testing.assert_close(found, values.amax((0, 1)), rtol=0, atol=0, equal_nan=True)


def test_a_result_is_the_same_every_time(package: ModuleType) -> None:
    values = torch.randn(5000, generator=torch.Generator().manual_seed(2))
    with in_parts(package):
        assert len({float(package.functional.mean_square(values)) for _ in range(3)}) == 1


# Proof ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_level_holds(name: str) -> None:
    definition = DEFINITIONS[name]
    [verdict] = validate_package(generate_package([definition]).sources, [definition], processes=1)
    assert not verdict.failures


FAULTS = (
    ("mean_square", "primitives.py", "width * (part + 1)", "width * (part + 2)"),
    ("mean_square", "primitives.py", "steps * width * part,", "steps * width,"),
    ("mean_square", "mean_square.py", "COLUMNS, SPLITS, split)", "COLUMNS, SPLITS + 1, split)"),
    ("mean_square", "mean_square.py", "else share[1]", "else share[0] + COLUMNS"),
    ("mean_square", "mean_square.py", "SPLITS + split)", "SPLITS)"),
    ("width", "width.py", "combined(partial_ptr, 1,", "combined(partial_ptr, 0,"),
    ("width", "width.py", "(1 * SPLITS + split)", "(0 * SPLITS + split)"),
    ("largest", "largest.py", 'COLUMNS, "max"', 'COLUMNS, "sum"'),
    ("spread", "spread.py", 'PART == "part 2" or PART == "finish"', 'PART == "finish"'),
    ("spread", "spread.py", "combined(partial_ptr, 1,", "combined(partial_ptr, 0,"),
    ("standardized", "standardized.py", "live_row & (split == 0)", "live_row"),
    ("standardized", "standardized.py", "0 if SINGLE else share[0], COLUMNS", "0, COLUMNS"),
    ("mean_square", "primitives.py", "program % tiles, program // tiles", "program // tiles, program % tiles"),
    ("product", "primitives.py", "result *= element", "result += element"),
    ("mean_square", "primitives.py", "live & (part < parts)", "live"),
    ("mean_square", "primitives.py", "tl.range(0, parts, columns)", "tl.range(0, columns, columns)"),
)


@pytest.mark.parametrize(("name", "file", "text", "fault"), FAULTS)
def test_a_fault_is_found(name: str, file: str, text: str, fault: str) -> None:
    assert judged(DEFINITIONS[name], text, fault, file=file).failures
