"""The comparisons of items and their summary, without the command around them."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, cast

import pytest
import torch

from svertka.codegen.verify.levels.bfloat16 import repaired
from svertka.codegen.verify.recording import recorded
from svertka.generated.on_demand import NAMES
from tests.benchmarks.goals import goal_lines, measured_rows
from tests.benchmarks.items import formulas, large, training
from tests.benchmarks.items.formulas import Planned, same_bits
from tests.benchmarks.worker import failure_of

SMALL = 3 * large.CHANNELS * 8**2  # elements of three images of 8 x 8, and a fourth
HELD = 2**24  # whole numbers that float32 represents


def test_every_module_of_kernels_is_judged() -> None:
    kernels = importlib.import_module("svertka.generated.kernels")
    modules = {found.name for found in pkgutil.iter_modules(kernels.__path__)} - {"primitives", "interpreting"}
    assert {definition for definition, _ in formulas.formulas()} == modules.union(NAMES)


@pytest.mark.parametrize("name", ["linear", "relu_gradient", "softmax_gradient"])
def test_the_first_part_launches_every_kernel(name: str) -> None:
    launched: set[str] = set()
    for definition, formula in formulas.formulas():
        if definition == name:
            subject = formulas._subject(definition, formula)
            for case, dtypes in formulas._runs(subject):
                for dtype in dtypes:
                    found = recorded(subject.module, subject.variant, subject.kernels, case, dtype, last=case.last)
                    launched |= {launch.kernel.__name__ for program in found for launch in program.launches}
    assert launched == {kernel.name for kernel in subject.module.kernels} | {
        f"{kernel.name}_boxes" for kernel in subject.module.kernels if kernel.boxes is not None
    }


def test_bits_are_compared_and_not_values() -> None:
    zero, nan = torch.tensor([0.0, 1.0]), torch.tensor([torch.nan])
    assert same_bits(nan, nan.clone())
    assert not same_bits(zero, torch.tensor([-0.0, 1.0]))
    assert not same_bits(zero, zero.double())
    assert not same_bits(zero, zero[:1])


class _Programs:
    """Programs for the plans to run."""

    @staticmethod
    def some_forward(x: Any, *, p: float, n: int, save: bool = False, skipped: tuple[str, ...] = ()) -> tuple[Any, ...]:
        return x, p, n, save, skipped


def test_programs_are_run_by_plans_as_operators_run_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    planned = Planned.__new__(Planned)
    planned.kernels, planned.varying = cast(Any, _Programs), ["p", "seed"]
    planned.plans = type("plans", (), {"run": lambda self, *given, **options: asked.append((given, options))})()
    planned.some_forward("x", p=0.5, n=3, save=True)
    ((given, options),) = asked
    assert given == (_Programs.some_forward, ("x",), {"p": 0.5, "n": 3}, ("p",))
    assert options == {"save": True, "skipped": ()}


@pytest.mark.parametrize("name", list(large.FUNCTIONS))
def test_the_far_end_is_compared_with_pytorch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "SIDE", 8)
    with repaired():  # the interpreter's casts to bfloat16
        assert large.far_end(name, SMALL, "cpu") == []
    ours, plain, arguments = large.FUNCTIONS[name]

    def wrong_at_the_end(*given: Any, **options: Any) -> Any:
        result = ours(*given, **options)
        last = torch.zeros_like(result)
        last[-1, -1, -1, -1] = 512
        return result + last

    monkeypatch.setitem(large.FUNCTIONS, name, (wrong_at_the_end, plain, arguments))
    with repaired():
        assert large.far_end(name, SMALL, "cpu") == ["output differs at the far end"]


def test_no_sum_of_large_tensors_depends_on_its_order() -> None:
    forward = large.CHANNELS * 3 * 3 * large.LARGEST**2
    weight = large.FAR * (large.SIDE // 2) ** 2 * large.LARGEST**2
    assert max(forward, weight) < HELD


def test_the_other_network_is_pytorchs_own_with_the_same_state() -> None:
    _, layers, _, _ = training._small()
    plain = training._of_torch(layers)
    assert all(type(module).__module__.startswith("torch.nn") for module in plain.modules())
    assert [type(module).__name__ for module in plain] == [
        {"CrossChannelNorm": "LocalResponseNorm"}.get(type(module).__name__, type(module).__name__) for module in layers
    ]
    assert plain.state_dict().keys() == layers.state_dict().keys()
    assert all(torch.equal(value, layers.state_dict()[name]) for name, value in plain.state_dict().items())


def test_a_failure_names_what_it_came_from() -> None:
    try:
        try:
            raise RuntimeError("an illegal memory access")
        except RuntimeError as error:
            raise SystemError("an exception was set") from error
    except SystemError as error:
        text = failure_of(error)
    assert text.startswith("SystemError: an exception was set (test_items.py:")
    assert "; from RuntimeError: an illegal memory access (test_items.py:" in text


def row(name: str, direction: str, seconds: dict[str, float], **more: Any) -> dict[str, Any]:
    """A row of a benchmark."""
    known = {"kind": "memory", "dtype": "bfloat16", "layout": "channels_last", "limit": 0.9, "function": name}
    return {"name": name, "direction": direction, "seconds": seconds, "wrong": (), **known, **more}


def test_a_goal_is_met_missed_or_not_known() -> None:
    rows = [
        row("relu", "forward", {"svertka": 0.95, "eager": 1.9}),
        row("softmax", "forward", {"svertka": 2.0, "eager": 1.0}, limit=0.5),
        row("linear", "forward", {"svertka": 1.0, "eager": 2.0}, kind="matrix"),
        row("conv2d", "forward", {"svertka": 1.0, "eager": 4.0}, kind="matrix"),
        row("conv2d", "gradient of weight", {"svertka": 1.0, "eager": 0.5}, kind="matrix"),
    ]
    lines = list(goal_lines([{"rows": rows}]))
    table = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[-1].strip(" |") for line in lines if line.startswith("|")
    }
    assert table["memory-bound layers: x eager"] == "MISSED"
    assert table["memory-bound layers: x torch.compile"] == "not known"
    assert table["linear: x cuBLAS"] == "met"
    assert table["convolutions: x cuDNN, geometric mean"] == "met"
    assert table["convolutions: x cuDNN, each"] == "MISSED"
    short = [line for line in lines if line.startswith("- memory-bound layers: x eager")]
    assert short == [
        "- memory-bound layers: x eager: softmax bfloat16 channels_last forward: 0.50 of 1; "
        "of the limit: svertka 0.25, eager 0.50"
    ]


def test_a_wrong_result_has_no_ratio_that_counts() -> None:
    rows = [row("linear", "forward", {"svertka": 0.1, "eager": 2.0}, kind="matrix", wrong=("output: 3 of 4 elements",))]
    (line,) = (line for line in goal_lines([{"rows": rows}]) if line.startswith("| linear"))
    assert "| not known |" in line
    (found,) = measured_rows([{"rows": rows}])
    assert found.result == "WRONG"


def test_the_compiled_road_is_compared_within_its_own_phase() -> None:
    first = row("relu", "forward", {"svertka": 1.0, "eager": 2.0})
    later = row("relu", "forward", {"svertka": 2.0, "eager": 4.0, "compile": 3.0})
    (found,) = measured_rows([{"rows": [first]}, {"rows": [later]}])
    assert found.ratio("compile") == 1.5
    assert found.ratio("eager") == 2.0
