"""Check a call at its timed size and in its timed form: against the formula in float64, within its error bound.

A call that ran before is replayed by its plan, and the replay is what is timed. So every call is made three times, and
the results of the last are compared: forward without gradient, forward with gradient, and each gradient as in the
timing. Operators are recorded above the level where programs and plans differ; if there are several, each is compared
with its own formula.

If the formula's loops are too large to evaluate, elements are drawn at random.

Input: a workload, svertka's road and tensors. Output: faults, and what could not be checked.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import torch

from svertka.codegen.machine.bench.workload import TF32, Road, Workload, asking, gradient_groups, precision
from svertka.codegen.verify.bounds import bounded_values
from svertka.codegen.verify.sampling import lanes_needed
from svertka.codegen.verify.tensor_numbers import Tensors
from svertka.spec import FORMATS, Layer, RunningError, adjoint, gradient_of
from svertka.spec.definition import Definition
from svertka.spec.evaluate import shape_of, whole
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Tensor
from svertka.spec.running_error import Bounded, on_matrix_unit

__all__ = ["Verdict", "judged", "sizes_of", "verify"]

SAMPLED = 4096  # elements of a result
LANES = {"cuda": 1 << 28, "cpu": 1 << 24}  # of loops that are evaluated for a result's elements
CALLS_BEFORE = 2
MOST_LANES = 4  # times as many, for a single element


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        wrong: one line per result that exceeds its bound.
        unchecked: why something was not compared with a formula; empty if all was.
    """

    wrong: tuple[str, ...]
    unchecked: str


@dataclass(frozen=True)
class _Called:
    """An operator's forward or backward, with its arguments and its results.

    Attributes:
        around: the dimension around which tensors were flattened, if any.
        tensors: of the formula, as they were before; ``seeds``: for a backward, gradients of its results.
        results: the outputs, or the gradients of the tensors.
    """

    operator: Any
    symbols: Mapping[str, Any]
    around: int | None
    tensors: tuple[torch.Tensor | None, ...]
    seeds: tuple[torch.Tensor | None, ...]
    results: tuple[torch.Tensor | None, ...]
    backward: bool


def verify(workload: Workload, road: Road, tensors: Mapping[str, torch.Tensor], direction: str = "") -> tuple[str, ...]:
    """One line per result that exceeds its bound, and one if something could not be compared; see ``judged``."""
    verdict = judged(workload, road, tensors, direction)
    return (*verdict.wrong, *([f"not checked: {verdict.unchecked}"] if verdict.unchecked else []))


def judged(workload: Workload, road: Road, tensors: Mapping[str, torch.Tensor], direction: str = "") -> Verdict:
    """Run a call as it is timed and compare.

    Args:
        workload: the call.
        road: svertka's.
        tensors: its inputs.
        direction: as in ``measure.Row``; all of them if empty.
    """
    calls: list[_Called] = []
    groups = gradient_groups(workload, tensors)
    with precision(workload):
        if direction in ("", "forward"):
            with torch.no_grad():
                calls += _replayed(partial(road, tensors))[1]
        for name, group in groups.items():
            if direction in ("", "host", name):
                given = asking(tensors, group)
                output, forward = _replayed(partial(road, given))
                wanted, seed = [given[one] for one in group], torch.randn_like(output)
                gradients = partial(torch.autograd.grad, output, wanted, seed, retain_graph=True)
                calls += [*forward, *_replayed(gradients)[1]]
        wrong, unchecked = list[str](), dict[str, None]()
        for call in calls:
            verdict = _judged(workload, call)
            wrong += verdict.wrong
            unchecked |= {verdict.unchecked: None} if verdict.unchecked else {}
    if not calls:
        unchecked = {f"{workload.function} calls no operator of svertka.generated": None}
    return Verdict(tuple(dict.fromkeys(wrong)), "; ".join(unchecked))


def _replayed(call: Callable[[], Any]) -> tuple[Any, list[_Called]]:
    """Results of a call whose plan exists, and the operators that it called.

    The first call is recorded. If it does something that no plan can contain (a copy of its input in another order),
    the second call records the inner part, and the third replays that.
    """
    for _ in range(CALLS_BEFORE):
        call()
    with _captured() as calls:
        return call(), calls


@contextmanager
def _captured() -> Iterator[list[_Called]]:
    """Operators that run inside, by plans or not, with state as it was before."""
    operator_type = importlib.import_module("svertka.generated.runtime").Operator
    forward, backward, calls = operator_type.run_forward, operator_type.run_backward, list[_Called]()

    def run_forward(
        operator: Any, tensors: Any, symbols: Any, save: bool, skipped: Any, shapes: Any, around: int | None
    ) -> Any:
        pairs = zip(operator.tensors, tensors, strict=True)
        before = tuple(t.detach().clone() if t is not None and name in operator.state else t for name, t in pairs)
        results = forward(operator, tensors, symbols, save, skipped, shapes, around)
        outputs = results[: len(operator.outputs)]
        calls.append(_Called(operator, dict(symbols), around, before, (), outputs, False))
        return results

    def run_backward(operator: Any, given: Any, symbols: Any, wanted: Any, around: int | None, unread: Any = ()) -> Any:
        results = backward(operator, given, symbols, wanted, around, unread)
        count = len(operator.results)
        seeds, tensors = tuple(given[:count]), list(given[count : count + len(operator.tensors)])
        for place, (size, stride, dtype) in unread:  # the formula reads only their shape
            tensors[place] = torch.empty_strided(size, stride, dtype=dtype, device=given[0].device).zero_()
        calls.append(_Called(operator, dict(symbols), around, tuple(tensors), seeds, tuple(results), True))
        return results

    with mock.patch.multiple(operator_type, run_forward=run_forward, run_backward=run_backward):
        yield calls


def _judged(workload: Workload, call: _Called) -> Verdict:
    """Compare an operator's results with its formula, or with the formula's gradient."""
    operator = call.operator
    formula = _formula(operator)
    if formula is None:
        return Verdict((), f"no formula of {operator.name} is known")
    definition, layer = formula
    view = operator.view(call.tensors, call.around)

    def flat(names: Sequence[str], tensors: Sequence[torch.Tensor | None]) -> dict[str, torch.Tensor]:
        found = tensors if view is None else view.flat(names, tensors)
        return {name: t.detach() for name, t in zip(names, found, strict=True) if t is not None}

    tensors = flat(operator.tensors, call.tensors)
    sizes = sizes_of(definition, layer, tensors, call.symbols)
    results = [operator.outputs[place] for place in operator.results]
    seeds = {gradient_of(layer, name): t for name, t in flat(results, call.seeds or (None,) * len(results)).items()}
    dims = {t.name: t for t in layer.inputs} | {
        gradient_of(layer, name): Tensor(gradient_of(layer, name), *layer.tensors[name].dims) for name in results
    }
    # In the formula's order once, because elements are gathered many times.
    given = {
        name: _widened(t.reshape(shape_of(dims[name], sizes)).contiguous()) for name, t in (tensors | seeds).items()
    }
    arithmetic = RunningError(on_matrix_unit(FORMATS[workload.storage], workload.dtype == TF32), Tensors())
    wrong, unchecked = list[str](), list[str]()
    names = operator.tensors if call.backward else operator.outputs
    for name, found in flat(names, call.results).items():
        derived = adjoint(layer, [name], results) if call.backward else layer.only([name])
        shown = derived.outputs[0]
        verdict = _compared(derived, given, sizes, arithmetic, shown, found)
        wrong += verdict.wrong
        unchecked += [verdict.unchecked] if verdict.unchecked else []
    return Verdict(tuple(wrong), "; ".join(unchecked))


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _formula(operator: Any) -> tuple[Definition, Layer] | None:
    definition = DEFINITIONS.get(operator.kernels[0])
    for variant in definition.variants if definition else ():
        if variant.layer.name == operator.kernels[1]:
            assert definition is not None
            return definition, variant.layer
    return None


def sizes_of(
    definition: Definition, layer: Layer, tensors: Mapping[str, torch.Tensor | None], symbols: Mapping[str, Any]
) -> dict[str, Any]:
    """Every extent and parameter: from the symbols, the tensors' shapes and the definition's own rules."""
    sizes = dict(symbols)
    dims = [
        (dim, extent)
        for tensor in layer.inputs
        if (value := tensors.get(tensor.name)) is not None
        for dim, extent in zip(tensor.dims, value.shape, strict=True)
    ]
    for _ in range(2):
        for dim, extent in dims:
            unknown = [str(index.extent) for index in dim if str(index.extent) not in sizes]
            known = math.prod(int(sizes[str(index.extent)]) for index in dim if str(index.extent) in sizes)
            if len(unknown) == 1:
                sizes[unknown[0]] = extent // max(known, 1)
        for name, rule in definition.extents.items():
            if name not in sizes and {symbol.name for symbol in rule.free_symbols} <= sizes.keys():
                sizes[name] = whole(rule, sizes)
    return sizes


def _samples(layer: Layer, sizes: Mapping[str, Any], elements: int, lanes: int) -> int:
    """Number of elements that so many lanes allow; 0 if a single one needs far more."""
    count = min(SAMPLED, elements)
    while count > 1 and lanes_needed(layer, sizes, count) > lanes:
        count //= 2
    return count if lanes_needed(layer, sizes, count) <= lanes * MOST_LANES else 0


def _compared(
    layer: Layer,
    given: Mapping[str, torch.Tensor],
    sizes: Mapping[str, Any],
    arithmetic: RunningError,
    name: str,
    found: torch.Tensor,
) -> Verdict:
    """Compare elements of a formula's only result."""
    device = found.device
    count = _samples(layer, sizes, found.numel(), LANES[device.type])
    if not count and found.numel():
        return Verdict((), f"an element of {name} takes {lanes_needed(layer, sizes, 1):.2g} loop elements")
    places = torch.randint(0, max(found.numel(), 1), (count,), device=device)
    if count == found.numel():
        places = torch.arange(count, device=device)
    if not count:
        return Verdict((), "")
    tensors = {tensor.name: given[tensor.name] for tensor in layer.inputs if tensor.name in given}
    expected = bounded_values(layer, tensors, sizes, arithmetic, {name: places})[name]
    got = found.reshape(-1)[places]
    if not isinstance(expected, Bounded):
        differing = int((got != expected).sum())
        return Verdict((f"{name}: {differing} of {count} elements are other integers",) if differing else (), "")
    right: Bounded = RunningError(FORMATS[str(found.dtype).removeprefix("torch.")], Tensors()).stored(expected)
    got = got.double()
    within = ((got - right.value).abs() <= right.error) & right.error.isfinite()
    bad = ~within & (got != right.value) & ~(got.isnan() & right.value.isnan())
    if not bool(bad.any()):
        return Verdict((), "")
    i = int(bad.nonzero()[0])
    line = (
        f"{name}: {int(bad.sum())} of {count} elements, first {float(got[i])!r} and not "
        f"{float(right.value[i])!r} +- {float(right.error[i]):.2g}"
    )
    return Verdict((line,), "")
