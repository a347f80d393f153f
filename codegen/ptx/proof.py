"""Compiled kernels on expressions: the PTX itself, not its source, computes the formula.

The kernels of a formula are compiled for float32 as for a GPU and executed by the machine with expressions in place of
numbers (``symbols``). The formula and its adjoint are evaluated on the same expressions, and each output element's two
are compared as at level "source": by their terms, or at random points of a prime field. Parameters are the case's
numbers, for the compiler is given numbers.

Input: a formula with its kernels, and a target. Output: ``CompiledProof``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from svertka.codegen.ptx.functions import recognized
from svertka.codegen.ptx.launch import Executed, digests, executing
from svertka.codegen.ptx.symbols import BITS, Symbols, UnfollowedError
from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.levels import Subject
from svertka.codegen.verify.symbolic.coverage import Coverage
from svertka.codegen.verify.symbolic.prove import SymbolicRun
from svertka.codegen.verify.symbolic.regions import Region
from svertka.spec import adjoint

DISTINCT = Region("distinct samples", False, "rows", False, "none", False, torch.float32)
TIES = Region("ties", True, "rows", False, "none", False, torch.float32)
POINTS = 2


@dataclass(frozen=True)
class CompiledProof:
    """What was shown of a formula's compiled kernels on expressions.

    Attributes:
        kernels: those that compute it: a digest of their compiled texts by name.
        unfollowed: why others are not followed, by name.
        elements: how many elements were compared; ``certain``: how many of them exactly.
        proofs: sizes and region of each run.
        functions: those that were recognized, with digests of the PTX that computes them alone.
        error_probability: upper bound of the probability that a difference was accepted.
        failures: one line each; empty if all holds.
    """

    kernels: dict[str, str]
    unfollowed: dict[str, str]
    elements: int
    certain: int
    proofs: tuple[dict[str, Any], ...]
    functions: dict[str, str]
    error_probability: float
    failures: tuple[str, ...]

    @property
    def figures(self) -> dict[str, Any]:
        """What a record has of it."""
        names = ("elements", "certain", "error_probability", "kernels", "unfollowed", "functions")
        return {name: getattr(self, name) for name in names} | {"proofs": list(self.proofs)}


class _Memory:
    """Tensors of a run: their elements are codes of nodes. What is refused is an error, which the machine raises."""

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self.failures: list[str] = []
        self.kernel = ""
        self.launched: list[str] = []

    def fail(self, text: str) -> None:
        """Record a failure."""
        self.failures.append(text)

    def give(self, tensor: torch.Tensor, nodes: Any, name: str) -> None:
        """Fill an input; ``nodes`` are its elements in row-major order, None for an integer tensor."""
        if nodes is not None:
            codes = torch.from_numpy(self.symbols.codes.of_nodes(nodes).view(np.int32))
            tensor.view(torch.int32).copy_(codes.reshape(tensor.shape))

    def nodes_of(self, tensor: torch.Tensor) -> list[int]:
        """Elements of a tensor of float32 in row-major order."""
        patterns = tensor.contiguous().view(torch.int32).reshape(-1).numpy().view(np.uint32)
        return self.symbols.codes.nodes(patterns)

    def check_stores(self) -> None:
        """Nothing: the machine refuses a result that is stored twice, or never."""


class _CompiledRun(SymbolicRun):
    """One region of one case, of compiled kernels.

    Attributes:
        target: for which they are compiled.
        package: name of the generated package.
        alter: what is done to their PTX.
    """

    target: str
    package: str
    alter: Callable[[str], str] | None
    done: Executed

    def new_memory(self) -> Any:
        """Tensors that hold codes; parameters are numbers."""
        self.symbols = Symbols(self.graph)
        self.unfollowed: dict[str, str] = {}
        self.proven: dict[str, None] = {}
        self.functions: dict[str, str] = {}
        self._attempted: list[tuple[tuple[str, ...], int, int]] = []
        return _Memory(self.symbols)

    @contextmanager
    def executing(self, largest: int, farthest: int) -> Iterator[None]:
        """The machine."""
        self.symbols.codes.prefer()
        with executing(self.target, "", self.package, self.alter, special=self.symbols.step) as self.done:
            yield

    def _run(self, primal: Any, gradients: Any, expected: Any) -> None:
        """Run forward, backward, and the forwards that save nothing; each as far as it can be followed."""
        saved = self._attempt(lambda: self._run_forward(primal, expected))
        names = self.definition.differentiable(self.layer)
        present = tuple(name in primal for name in names)
        if saved is not None:
            self._attempt(lambda: self._run_backward(primal, gradients, saved, present, expected))
        self._attempt(lambda: self._run_unsaved(primal, expected))

    def _attempt(self, program: Callable[[], Any]) -> Any:
        """What a program returns; None if it cannot be followed."""
        before, pairs, elements = len(self.done.kernels), len(self.pairs), self.elements
        try:
            found = program()
        except UnfollowedError as error:
            kernel = self.done.kernels[-1]
            self.unfollowed[kernel] = str(error)
            self.done.memory.clear()
            del self.pairs[pairs:]
            self.elements = elements
            return None
        self._attempted.append((tuple(self.done.kernels[before:]), pairs, len(self.pairs)))
        return found

    def recognize(self) -> None:
        """Say of each program's kernels whether they were followed to the end, with the functions that they compute."""
        functions = recognized(self.symbols, self.target, self.package, tuple(self.symbols.touched))
        left = functions.rewritten([pair[1] for pair in self.pairs])
        opaque = self._opaque()
        kept: list[tuple[str, int, int]] = []
        for kernels, first, last in self._attempted:
            unknown = {opaque[node] for node in left[first:last] if node in opaque}
            if unknown:
                why = f"{min(unknown)} computes with the bits of a float, as no function that is known"
                self.unfollowed |= dict.fromkeys(kernels, why)
                self.elements -= last - first
                continue
            self.proven |= dict.fromkeys(kernels)
            kept += [
                (label, node, right)
                for (label, _, right), node in zip(self.pairs[first:last], left[first:last], strict=True)
            ]
        self.pairs = kept
        self.functions = functions.used

    def _opaque(self) -> dict[int, str]:
        """Nodes that depend on bits of floats, with the instruction."""
        found: dict[int, str] = {}
        for node, operation in enumerate(self.graph.operations):
            if operation.startswith(BITS):
                found[node] = operation.removeprefix(BITS).partition(" ")[0]
            elif operation not in ("constant", "variable", "special"):
                known = next((found[part] for part in self.graph.arguments[node] if part in found), None)
                if known is not None:
                    found[node] = known
        return found


def prove_compiled(subject: Subject, alter: Callable[[str], str] | None = None) -> CompiledProof:
    """Prove that a formula's kernels, compiled for the subject's target, compute it.

    The small cases of level "source": the first with distinct samples and with ties, the others with ties.

    Args:
        subject: the formula and its kernels; it has a target.
        alter: what is done to the PTX of every kernel before it runs, to plant a fault.
    """
    first, *rest = subject.small_cases
    runs = [
        _executed(subject, case, region, alter)
        for case, region in ((first, DISTINCT), (first, TIES), *((case, TIES) for case in rest))
    ]
    unfollowed = {kernel: why for run in runs for kernel, why in run.unfollowed.items()}
    followed = {kernel for run in runs for kernel in run.proven} - unfollowed.keys()
    return CompiledProof(
        kernels={name: digest for name, digest in digests([run.done for run in runs]).items() if name in followed},
        unfollowed=dict(sorted(unfollowed.items())),
        elements=sum(run.elements for run in runs),
        certain=sum(run.certain for run in runs),
        proofs=tuple({"sizes": _told(run.case), "region": run.region.name} for run in runs),
        functions={name: digest for run in runs for name, digest in run.functions.items()},
        error_probability=min(1.0, sum(run.error_probability for run in runs)),
        failures=tuple(f"{run.case.name}, {run.region.name}: {text}" for run in runs for text in run.memory.failures),
    )


def _told(case: Case) -> dict[str, str]:
    """Sizes and parameters of a case, and what is left out."""
    sizes = {name: str(value) for name, value in sorted(case.sizes.items())}
    return sizes | dict.fromkeys(sorted(case.absent), "absent")


def _executed(subject: Subject, case: Case, region: Region, alter: Callable[[str], str] | None) -> _CompiledRun:
    definition, layer = subject.module.definition, subject.layer
    names = [n for n in definition.differentiable(layer) if n not in case.absent]
    results = definition.real_results(layer)
    derived = adjoint(layer, wrt=names, outputs=results)
    run = _CompiledRun(definition, layer, derived, subject.kernels, case, region, Coverage())
    run.target, run.package, run.alter = subject.target, subject.package, alter
    run.inputs.sizes.update(case.sizes)
    run.execute(results)
    run.recognize()
    run.decide(POINTS)
    return run
