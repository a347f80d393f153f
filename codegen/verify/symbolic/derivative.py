"""Derivatives of expressions by reverse accumulation: the textbook's rules, node by node.

It uses no indices, sums or adjoints, so that it can check them. The branch of a maximum was chosen when the expressions
were built.

Input: a graph, outputs and their seeds. Output: one node per variable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from svertka.codegen.verify.symbolic.graph import ONE, ZERO, Graph

__all__ = ["gradients"]


def gradients(graph: Graph, outputs: Sequence[int], seeds: Sequence[int], variables: Sequence[int]) -> list[int]:
    """Derivatives of ``sum of seed * output`` by each variable.

    Raises:
        NotImplementedError: an operation has no rule here.
    """
    terms: dict[int, list[int]] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        terms.setdefault(output, []).append(seed)
    found: dict[int, int] = {}
    wanted = set(variables)
    for node in range(max(terms, default=-1), -1, -1):  # arguments come before the nodes that use them
        if node not in terms:
            continue
        total = graph.total(terms.pop(node))
        if node in wanted:
            found[node] = total
        for argument, factor in _partial(graph, node).items():
            terms.setdefault(argument, []).append(graph.multiply(total, factor))
    return [found.get(variable, ZERO) for variable in variables]


def _partial(graph: Graph, node: int) -> Mapping[int, int]:
    """Partial derivatives by the node's arguments."""
    operation, arguments = graph.operations[node], graph.arguments[node]
    if operation in ("constant", "special", "variable"):
        return {}
    minus = graph.number(-1)
    if operation in ("add", "subtract"):
        signs = [ONE, *([minus if operation == "subtract" else ONE] * (len(arguments) - 1))]
        return _collected(graph, arguments, signs)
    if operation == "multiply":
        return _collected(graph, arguments, [arguments[1], arguments[0]])
    if operation == "divide":
        inverse = graph.divide(ONE, arguments[1])
        return _collected(graph, arguments, [inverse, graph.negate(graph.multiply(node, inverse))])
    if operation == "power":
        base, exponent = arguments
        slope = graph.multiply(exponent, graph.power(base, graph.subtract(exponent, ONE)))
        if graph.operations[exponent] == "constant":
            return {base: slope}
        return _collected(graph, arguments, [slope, graph.multiply(node, graph.function("log", base))])
    return {arguments[0]: _slope(graph, operation, node, arguments[0])}


def _collected(graph: Graph, arguments: Sequence[int], factors: Sequence[int]) -> Mapping[int, int]:
    """The sum of the contributions of an argument that occurs twice."""
    found: dict[int, int] = {}
    for argument, factor in zip(arguments, factors, strict=True):
        found[argument] = graph.add(found[argument], factor) if argument in found else factor
    return found


def _slope(graph: Graph, function: str, node: int, argument: int) -> int:
    if function == "exp":
        return node
    if function == "log":
        return graph.divide(ONE, argument)
    if function == "tanh":
        return graph.subtract(ONE, graph.multiply(node, node))
    if function == "sin":
        return graph.function("cos", argument)
    if function == "erf":
        bell = graph.function("exp", graph.negate(_squared(graph, argument)))
        return graph.divide(
            graph.multiply(graph.number(2), bell), graph.power(graph.number(math.pi), graph.number(0.5))
        )
    if function == "cos":
        return graph.negate(graph.function("sin", argument))
    raise NotImplementedError(f"function {function}: reverse accumulation has no rule for it; add one to _slope")


def _squared(graph: Graph, node: int) -> int:
    """The square of a node, factor by factor: the square of a root is its radicand."""
    operation, arguments = graph.operations[node], graph.arguments[node]
    if operation in ("multiply", "divide"):
        return getattr(graph, operation)(*(_squared(graph, argument) for argument in arguments))  # type: ignore[no-any-return]
    if operation == "power" and graph.rational(arguments[1]) == Fraction(1, 2):
        return arguments[0]  # type: ignore[no-any-return]
    return graph.multiply(node, node)
