"""Functions that a compiled kernel computes by many instructions: recognized by what the compiler makes of them alone.

``log`` takes a float's bits apart and evaluates a polynomial; the package's ``tanh`` is a polynomial near 0. To say
that such code is the function is an idealization, and it is made of that code alone: a kernel of nothing but the
function is compiled for the same target and executed on the same argument. Where a kernel computes that very
expression, instruction by instruction, it stands for the function. How near it comes to it is what numbers show.

Input: expressions that kernels computed, arguments that may be such functions'. Output: expressions, rewritten.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from svertka.codegen.ptx.function_kernels import applied, erf, log, log2
from svertka.codegen.ptx.launch import Executed, run_launch
from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.symbols import BITS, Symbols
from svertka.codegen.verify.recording import Launched
from svertka.codegen.verify.symbolic.arithmetic import APPROXIMATED
from svertka.codegen.verify.symbolic.graph import Graph

__all__ = ["Recognized", "recognized"]

BLOCK = 32

OF_TRITON: dict[str, tuple[Any, Callable[[Graph, int], int]]] = {
    "log": (log, lambda graph, node: graph.function("log", node)),
    "log2": (log2, lambda graph, node: graph.log2(node)),
    "erf": (erf, lambda graph, node: graph.function("erf", node)),
}


class Recognized:
    """Expressions as which functions are computed.

    Attributes:
        graph: of the expressions.
        found: the function and its argument, by the expression as which it is computed.
        used: names of the functions that were found in some expression, with digests of their PTX.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.found: dict[int, tuple[str, int]] = {}
        self.digests: dict[str, str] = {}
        self.used: dict[str, str] = {}
        self._functions = {name: function for name, (_, function) in OF_TRITON.items()} | dict(APPROXIMATED)
        self._known: dict[int, int] = {}

    def rewritten(self, nodes: Sequence[int]) -> list[int]:
        """Expressions with functions in place of what computes them."""
        for start in nodes:
            pending = [start]
            while pending:
                node = pending[-1]
                missing = [one for one in self._parts(node) if one not in self._known]
                if missing:
                    pending += missing
                    continue
                pending.pop()
                if node not in self._known:
                    self._known[node] = self._made(node)
        return [self._known[node] for node in nodes]

    def _parts(self, node: int) -> Sequence[int]:
        if node in self.found:
            return (self.found[node][1],)
        operation = self.graph.operations[node]
        return () if operation in ("constant", "variable", "special") else self.graph.arguments[node]

    def _made(self, node: int) -> int:
        if node in self.found:
            name, argument = self.found[node]
            self.used[name] = self.digests[name]
            return self._functions[name](self.graph, self._known[argument])
        parts = self._parts(node)
        operation, same = self.graph.operations[node], [self._known[one] for one in parts]
        if same == list(parts) or operation.startswith(BITS):
            return node
        if operation == "add":
            return self.graph.total(same)
        if operation in ("subtract", "multiply", "divide", "power"):
            return int(getattr(self.graph, operation)(*same))
        return self.graph.function(operation, same[0])


def recognized(symbols: Symbols, target: str, package: str, arguments: Iterable[int]) -> Recognized:
    """Compute every function of some arguments, as compiled for a target.

    Args:
        symbols: the graph and its codes.
        target: ``sm_80`` or ``sm_90``.
        package: the generated package, whose primitives are functions too.
        arguments: expressions of which a kernel took the bits, or the magnitude, as such functions begin.
    """
    known, some = Recognized(symbols.graph), sorted(arguments)
    if not some:
        return known
    primitives = importlib.import_module(f"{package}.kernels.primitives")
    functions = {name: kernel for name, (kernel, _) in OF_TRITON.items()}
    functions |= {name: getattr(primitives, name) for name in APPROXIMATED}
    for name, kernel in functions.items():
        done = Executed(target, special=symbols.step)
        for node, found in zip(some, _values(symbols, kernel, some, done), strict=True):
            if found != node and symbols.graph.operations[found] not in ("constant", "variable", "special"):
                known.found.setdefault(found, (name, node))
        (known.digests[name],) = done.texts[applied.__name__]
    return known


def _values(symbols: Symbols, function: Any, nodes: Sequence[int], done: Executed) -> list[int]:
    """A compiled function of some nodes."""
    given = torch.from_numpy(symbols.codes.of_nodes(nodes).view(np.int32)).view(torch.float32)
    made = torch.empty_like(given)
    constants = {"FUNCTION": function, "BLOCK": BLOCK}
    launch = Launched(applied, -(-len(nodes) // BLOCK), (given, made, len(nodes)), constants, (), "")
    try:
        run_launch(launch, done)
    except PtxError:  # it cannot be followed for all of them
        return list(nodes)
    return symbols.codes.nodes(made.view(torch.int32).numpy().view(np.uint32))
