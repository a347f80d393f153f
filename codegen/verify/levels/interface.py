"""Level "interface": the public function, and every module of it, equals the formula for every way to call it.

The function is called in every rank and dimension, with defaults and every flag, word and spelling, with and without
optional tensors, on tensors in all memory layouts, forward and backward, on the CPU path and on the kernel path. The
formula and its adjoint are evaluated on the same numbers: a plain reshape of whole groups of dimensions gives the
formula's shapes, and results must lie within the running error of their format. Further checks: shapes and types of
results; that no input is altered (except state, and what is overwritten on demand); that no result shares memory with
an input.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from svertka.codegen.verify.equivalence import (
    Comparison,
    compared,
    draw_values,
    format_of,
    real,
)
from svertka.codegen.verify.levels.bfloat16 import repaired_on
from svertka.codegen.verify.levels.calls import CONVERTED, Call, calls
from svertka.codegen.verify.levels.faces import (
    constructor_faults,
    forward_faults,
    forward_tensors,
    module_of,
    signature_faults,
)
from svertka.codegen.verify.levels.memory import LAYOUTS
from svertka.codegen.verify.levels.outcome import Outcome
from svertka.codegen.verify.levels.target import Subject, gradient_operators
from svertka.codegen.verify.levels.truth import Truth
from svertka.codegen.verify.replay import replaying_on
from svertka.spec import adjoint, gradient_of
from svertka.spec.definition import REQUIRED, ModuleFace, Seed, TensorArgument
from svertka.spec.gradient import gradient_definition

__all__ = ["check"]

NAME = "interface"
PLAIN = ("given", "absent", "defaults")
"""Calls with which every module is tested."""
ROADS = ("plain", "kernels")
"""The path of CPU tensors, and the path of GPU tensors."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
DRAWN_SEED = 11


def check(subject: Subject) -> Outcome:
    """Call the variant's function and modules in every way, and compare."""
    if _is_gradient(subject):
        reason = "it has no function: the one that it is the gradient of is differentiated twice at this level"
        return Outcome(NAME, subject.layer.name, inapplicable=reason)
    judge = _Judge(subject)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # older spellings are called on purpose, and warn as torch's do
        judge.run()
    found = judge.comparisons
    failures = [*judge.failures, *(f"{where}: {result}" for where, result in found if not result.holds)]
    elements = sum(result.elements for _, result in found)
    figures = {"ways": sorted(judge.ways), "modules": [face.name for face in subject.module.definition.modules]}
    return Outcome(NAME, subject.layer.name, judge.count, elements, figures, tuple(failures))


def _is_gradient(subject: Subject) -> bool:
    """Whether the formula is a gradient that autograd calls; it then has no public function."""
    kernels = (subject.module.definition.name, subject.layer.name)
    return any(operator.kernels == kernels for operator in gradient_operators(subject))


@contextmanager
def _road(package: str, kernels: bool) -> Iterator[None]:
    """Let CPU tensors take the CPU path, or the kernel path in Triton's interpreter."""
    runtime: Any = importlib.import_module(f"{package}.runtime")
    before = runtime.INTERPRETED
    runtime.INTERPRETED = kernels
    try:
        yield
    finally:
        runtime.INTERPRETED = before


@dataclass(frozen=True)
class _Way:
    """One execution of a call: its path, the memory layout of the tensors, their type, and what needs a gradient."""

    road: str
    layout: str = "contiguous"
    dtype: torch.dtype = torch.float64
    module: str = ""
    twice: bool = False
    only: str = ""

    def __str__(self) -> str:
        words = [self.road, self.layout * (self.layout != "contiguous"), self.module, "twice" * self.twice]
        words += [f"gradient of {self.only}" if self.only else "", format_of(self.dtype).name]
        return ", ".join(filter(None, words))


class _Judge:
    """Runs calls and collects the comparisons."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.definition, self.variant = subject, subject.module.definition, subject.variant
        self.functional: Any = importlib.import_module(f"{subject.package}.functional")
        self.modules: Any = importlib.import_module(f"{subject.package}.modules")
        self.truth = Truth(self.definition, self.variant)
        self.comparisons: list[tuple[str, Comparison]] = []
        self.failures: list[str] = []
        self.kept: dict[Any, dict[str, Any]] = {}
        self.ways: set[str] = set()
        self.count = 0

    def run(self) -> None:
        """Run all calls."""
        self.failures += signature_faults(self.definition, getattr(self.functional, self.definition.function))
        every = calls(self.definition, self.variant, self.subject.small_cases)
        if not every:
            self.failures.append("no call is found that the rules allow")
            return
        for road in ROADS:
            for call, way in self._ways(every, road):
                self.judge(call, way)
        self._judge_modules(every)
        self._judge_identity(every[0])

    def _ways(self, every: Sequence[Call], road: str) -> Iterator[tuple[Call, _Way]]:
        """All calls on one path; the first of them in every type, for each gradient alone, and differentiated twice.

        The memory layouts are used in turn. Calls that differ only in the spelling of arguments are the same for the
        kernels.
        """
        first, *others = every
        yield first, _Way(road)
        names = [name for name in self.definition.differentiable(self.variant.layer) if name in self._present(first)]
        ways = [(first, _Way(road, dtype=dtype)) for dtype in DTYPES[: 1 if road == "kernels" else None]]
        ways += [(first, _Way(road, only=name)) for name in names if len(names) > 1]
        ways += [(first, _Way(road, twice=True))] if self.definition.orders > 1 else []
        others = [call for call in others if road == "plain" or not call.respelled]
        ways += [(call, _Way(road, dtype=CONVERTED) if call.converted else _Way(road)) for call in others]
        layouts = [layout for layout in LAYOUTS if layout != "contiguous"]
        ways += [(first, _Way(road))] * (len(layouts) - len(ways))
        for place, (call, way) in enumerate(ways):
            yield call, replace(way, layout=layouts[place % len(layouts)])

    def _present(self, call: Call) -> set[str]:
        return {tensor.name for tensor in self.variant.layer.inputs if tensor.name not in call.case.absent}

    def judge(self, call: Call, way: _Way) -> None:
        """Run a call and compare; an exception becomes a failure with its reason."""
        where = f"{call.name} ({way})"
        self.count += 1
        self.ways.add(call.name)
        try:
            run = _Run(self, call, way)
            for name, got, expected in run.results():
                self.comparisons.append((where, compared(name, got, expected)))
            self.failures += [f"{where}: {fault}" for fault in run.faults]
        except Exception as error:
            self.failures.append(f"{where}: {type(error).__name__}: {error}")

    def _judge_modules(self, every: list[Call]) -> None:
        """Judge svertka's own module by all plain calls, and a torch module by the calls whose rank it accepts."""
        for face in self.definition.modules:
            kind = getattr(self.modules, face.name)
            self.failures += [*constructor_faults(self.definition, face, kind), *forward_faults(face, kind)]
            own = face.base == "torch.nn.Module"
            taken = 0
            for call in [call for call in every if not call.converted and (not own or call.name in PLAIN)]:
                if taken < len(PLAIN) and (own or not self._refused(face, kind, call)):
                    taken += 1
                    for road in ROADS if taken == 1 else ROADS[:1]:
                        self.judge(call, _Way(road, module=face.name))
            if not taken:
                self.failures.append(f"{face.name} refuses every call")

    def _refused(self, face: ModuleFace, kind: type[torch.nn.Module], call: Call) -> bool:
        """Whether a torch module refuses a call because of the rank of its input, or takes it for another call."""
        if face.dims and len(call.shape(call.variant.layer.inputs[0])) != face.dims:
            return True
        try:
            _Run(self, call, _Way(ROADS[0], module=face.name)).called()
        except ValueError:
            return True
        except Exception:
            return False  # the comparison then reports why
        return False

    def _judge_identity(self, call: Call) -> None:
        """A call that changes nothing returns the first tensor."""
        for name, value in self.definition.identity_when.items():
            run = _Run(self, replace(call, scalars={**call.scalars, name: value}), _Way(ROADS[0]))
            (result,) = run.called()
            if not result.equal(run.first):
                self.failures.append(f"{name} = {value}: the result is not the first tensor")


class _Run:
    """One execution of a call: its tensors, the results, and the expected results."""

    def __init__(self, judge: _Judge, call: Call, way: _Way) -> None:
        self.judge, self.way, self.definition = judge, way, judge.definition
        self.layer, self.truth = call.variant.layer, judge.truth
        self.call = self._drawn(call)
        self.faults: list[str] = []
        values = draw_values(self.definition, self.layer, self.call.case, real, call.name)
        shapes = {tensor.name: call.shape(tensor) for tensor in self.layer.inputs}
        shapes |= {gradient_of(self.layer, n): call.shape(self.layer.tensors[n]) for n in self.truth.outputs}
        state = {a.bound for a in self.definition.tensor_arguments if a.updated_by}
        converted = {a.bound for a in self.definition.tensor_arguments if a.name == call.converted}
        self.given = {n: self._placed(v, shapes[n], n in state, n in converted) for n, v in values.all.items()}
        self.first = self.given[self.layer.inputs[0].name]

    def _drawn(self, call: Call) -> Call:
        """The call with the seed that a module draws, if it cannot be passed."""
        seed = next((a for a in self.definition.arguments if isinstance(a, Seed)), None)
        if seed is None or not self.way.module:
            return call
        torch.manual_seed(DRAWN_SEED)
        drawn = int(torch.randint(2**63 - 1, (), dtype=torch.int64).item())
        case = replace(call.case, sizes={**call.case.sizes, seed.symbol: drawn})
        return replace(call, case=case, scalars={n: v for n, v in call.scalars.items() if n != seed.name})

    def _placed(self, value: torch.Tensor, shape: tuple[int, ...], written: bool, converted: bool) -> torch.Tensor:
        """An argument in its type, shape and memory layout; a tensor that is written to has no overlapping elements.

        A tensor that the call converts holds numbers of the computation's type in a wider type.
        """
        typed = value.to(self.way.dtype) if value.is_floating_point() else value
        typed = typed.double() if converted else typed
        layout = "contiguous" if written and self.way.layout == "expanded" else self.way.layout
        return LAYOUTS[layout](typed.reshape(shape))

    def called(self) -> tuple[torch.Tensor, ...]:
        """Results of the function, or of the module, on this path."""
        torch.manual_seed(DRAWN_SEED)
        with self._on_road():
            found = self._module() if self.way.module else self._function()
        return found if isinstance(found, tuple) else (found,)

    def _function(self) -> Any:
        """On one path arguments are positional, on the other they are keywords."""
        function = getattr(self.judge.functional, self.definition.function)
        tensors, named, placed = self._tensors(), dict[str, Any](), list[Any]()
        for argument in self.definition.arguments:
            name = argument.name
            if isinstance(argument, TensorArgument):
                absent = tensors[name] is None and self.call.omitted and argument.default is not REQUIRED
                found = {} if absent else {name: tensors[name]}
            else:
                found = {name: self.call.scalars[name]} if name in self.call.scalars else {}
            if found and self.way.road == "plain" and len(placed) == list(self._names).index(name):
                placed += found.values()
            else:
                named |= found
        return function(*placed, **named)

    @property
    def _names(self) -> list[str]:
        return [argument.name for argument in self.definition.signature]

    def _tensors(self) -> dict[str, torch.Tensor | None]:
        return {a.name: self.given.get(a.bound) for a in self.definition.tensor_arguments}

    def _module(self) -> Any:
        face = next(face for face in self.definition.modules if face.name == self.way.module)
        kind, tensors = getattr(self.judge.modules, face.name), self._tensors()
        module = module_of(face, kind, self.call, tensors)
        for argument in self.definition.tensor_arguments:
            if argument.name in module._parameters and module._parameters[argument.name] is not None:
                self.given[argument.bound] = module.get_parameter(argument.name)
        return module(
            **{name: tensors[argument] for name, argument in forward_tensors(face, kind, self.definition).items()}
        )

    def results(self) -> Iterator[tuple[str, torch.Tensor, Any]]:
        """All results with the expected ones: outputs, state, gradients, gradients of gradients."""
        names = [self.way.only] if self.way.only else [n for n in self.truth.names if n in self.given]
        for name in names:
            self.given[name] = self.given[name].detach().requires_grad_()
        leaves = dict(self.given)
        if self.call.in_place:  # a leaf that needs a gradient may not be overwritten
            self.given[self.layer.inputs[0].name] = self.given[self.layer.inputs[0].name].clone()
        before = {name: tensor.detach().clone() for name, tensor in self.given.items()}
        found = self.called()
        leaves |= {name: self.given[name] for name in names if isinstance(self.given[name], torch.nn.Parameter)}
        expected = self._expected(before)
        yield from self._forward(found, before, expected)
        seeds = [self.given[gradient_of(self.layer, name)] for name in self.truth.outputs]
        kept = [r for r, name in zip(found, self.call.results, strict=True) if name in self.truth.outputs]
        wanted = {name: leaves[name] for name in names}
        if self.way.twice:
            yield from self._twice(kept, wanted, before, expected)
        elif wanted:
            with self._on_road():
                gradients = torch.autograd.grad(kept, list(wanted.values()), seeds)
            yield from self._gradients(dict(zip(names, gradients, strict=True)), leaves, expected)

    def _forward(
        self, found: Sequence[torch.Tensor], before: Mapping[str, torch.Tensor], expected: Mapping[str, Any]
    ) -> Iterator[tuple[str, torch.Tensor, Any]]:
        names = self.call.results
        if len(found) != len(names):
            self.faults.append(f"{len(found)} results came, not {', '.join(names)}")
        for name, result in zip(names, found, strict=False):
            tensor = self.layer.tensors[name]
            dtype = self.way.dtype if tensor.kind == "real" else torch.int64
            self._is_like(name, result, self.call.shape(tensor), dtype)
            yield name, result, expected[name]
        yield from self._state(expected)
        self._check_memory(found, before)

    def _is_like(self, name: str, got: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        if tuple(got.shape) != shape:
            self.faults.append(f"{name} has shape {tuple(got.shape)}; by the formula it is {shape}")
        if got.dtype != dtype:
            self.faults.append(f"{name} is of {got.dtype}, not of {dtype}")

    def _state(self, expected: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor, Any]]:
        for argument in self.definition.tensor_arguments:
            if argument.updated_by in self.layer.outputs and argument.bound in self.given:
                yield f"{argument.name} afterwards", self.given[argument.bound], expected[argument.updated_by]

    def _check_memory(self, found: Sequence[torch.Tensor], before: Mapping[str, torch.Tensor]) -> None:
        """Check that no input is altered and none shares memory with a result, unless the call asks for it."""
        state = {a.bound for a in self.definition.tensor_arguments if a.updated_by in self.layer.outputs}
        first = self.layer.inputs[0].name
        if self.call.in_place and not (found[0].equal(self.given[first]) and _shared(found[0], self.given[first])):
            self.faults.append(f"{first} is not overwritten by the result")
        for name, value in before.items():
            if name in state or (name == first and self.call.in_place):
                continue
            if not torch.equal(self.given[name].detach(), value):
                self.faults.append(f"{name} was altered")
            self.faults += [f"a result lies in the memory of {name}" for r in found if _shared(r, self.given[name])]

    def _gradients(
        self, found: Mapping[str, torch.Tensor], leaves: Mapping[str, torch.Tensor], expected: Mapping[str, Any]
    ) -> Iterator[tuple[str, torch.Tensor, Any]]:
        for name, gradient in found.items():
            label = gradient_of(self.layer, name)
            self._is_like(label, gradient, tuple(leaves[name].shape), leaves[name].dtype)
            yield label, gradient, expected[label]

    def _twice(
        self,
        results: Sequence[torch.Tensor],
        leaves: Mapping[str, torch.Tensor],
        before: Mapping[str, torch.Tensor],
        expected: Mapping[str, Any],
    ) -> Iterator[tuple[str, torch.Tensor, Any]]:
        """Gradients as autograd records them, and their gradients by all tensors on which they depend."""
        layer, dtype = self.truth.gradient, self.way.dtype
        seeds = {gradient_of(self.layer, n): before[gradient_of(self.layer, n)] for n in self.truth.outputs}
        sources = {**leaves, **{name: seed.clone().requires_grad_() for name, seed in seeds.items()}}
        drawn = draw_values(gradient_definition(self.definition), layer, self.call.case, real).gradients
        tops = {gradient_of(layer, gradient_of(self.layer, name)): leaf.shape for name, leaf in leaves.items()}
        above = {name: drawn[name].to(dtype).reshape(shape) for name, shape in tops.items()}
        with self._on_road():
            found = torch.autograd.grad(
                results, list(leaves.values()), [sources[name] for name in seeds], create_graph=True
            )
            yield from self._gradients(dict(zip(leaves, found, strict=True)), leaves, expected)
            again = torch.autograd.grad(found, list(sources.values()), list(above.values()), allow_unused=True)
        wrt = [tensor.name for tensor in layer.inputs if tensor.name in sources]
        second = adjoint(layer, wrt, [gradient_of(self.layer, name) for name in leaves])
        right = self.truth.values((second,), {**before, **above}, self.call.case.sizes, dtype)
        for name, gradient in zip(sources, again, strict=True):
            label = gradient_of(layer, name)
            got = torch.zeros_like(sources[name]) if gradient is None else gradient
            if label in right:
                yield label, got, right[label]
            elif got.any():
                self.faults.append(f"{label} is not 0, and by the formula nothing depends on {name}")

    @contextmanager
    def _on_road(self) -> Iterator[None]:
        with _road(self.judge.subject.package, self.way.road == "kernels"), repaired_on("cpu"), replaying_on("cpu"):
            yield

    def _expected(self, given: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Results and gradients by the formula for the function's inputs; computed once for equal numbers."""
        kept = self.judge.kept
        key = (self.call.name, str(self.call.case.sizes), self.way.dtype, self.way.layout == "expanded")
        if key not in kept:
            kept[key] = self.truth.values((self.layer, self.truth.first), given, self.call.case.sizes, self.way.dtype)
        return kept[key]


def _shared(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two non-empty tensors share memory."""
    return bool(left.numel()) and left.untyped_storage().data_ptr() == right.untyped_storage().data_ptr()
