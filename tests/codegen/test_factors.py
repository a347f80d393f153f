"""Products of loops are arranged: what stays is computed once, and the value is the same."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from svertka.codegen.ir.kernel import Apply, Constant, Name, Node, walk_node
from svertka.codegen.lowering.factors import arranged

VARYING = frozenset({"v", "w"})
STAYING = ("s", "t")


def apply(operation: str, *arguments: Node) -> Apply:
    return Apply(operation, arguments, "real")


def number(value: int | Fraction) -> Constant:
    return Constant(Fraction(value), "real")


V, W, S, T = (Name(name, "real") for name in ("v", "w", "s", "t"))
E = apply("exp", V)
SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


def spelled(node: Node) -> str:
    """The expression with every pair of parentheses."""
    if isinstance(node, Constant):
        return str(node.value)
    if isinstance(node, Name):
        return node.name
    assert isinstance(node, Apply)
    parts = [spelled(part) for part in node.arguments]
    if node.operation in SIGNS:
        return f"({parts[0]} {SIGNS[node.operation]} {parts[1]})"
    return f"-{parts[0]}" if node.operation == "negate" else f"{node.operation}({', '.join(parts)})"


def of(node: Node, values: Mapping[str, Fraction]) -> Fraction:
    if isinstance(node, Constant):
        assert isinstance(node.value, Fraction)
        return node.value
    if isinstance(node, Name):
        return values[node.name]
    assert isinstance(node, Apply)
    parts = [of(part, values) for part in node.arguments]
    if node.operation == "negate":
        return -parts[0]
    if node.operation == "where":
        return parts[1] if parts[0] else parts[2]
    left, right = parts
    if node.operation == "divide":
        return left / right
    return {"add": left + right, "subtract": left - right, "multiply": left * right}[node.operation]


CASES = (
    (apply("divide", apply("multiply", apply("multiply", V, S), W), T), "((v * w) * (s / t))"),
    (apply("divide", V, T), "(v * (1 / t))"),
    (apply("divide", S, V), "((1 / v) * s)"),
    (apply("divide", S, T), "(s / t)"),
    (apply("divide", V, W), "(v / w)"),
    (
        apply(
            "subtract",
            apply("divide", apply("multiply", E, W), T),
            apply("divide", apply("multiply", E, S), apply("multiply", T, T)),
        ),
        "(((w * (1 / t)) - (s / (t * t))) * exp(v))",
    ),
    (apply("subtract", apply("multiply", number(2), V), V), "((v * 2) - v)"),
    (apply("subtract", apply("multiply", V, W), apply("multiply", V, S)), "((v * w) - (v * s))"),
    (
        apply("multiply", apply("subtract", apply("multiply", number(2), V), apply("multiply", number(2), S)), T),
        "((v - s) * (2 * t))",
    ),
    (apply("multiply", apply("negate", apply("multiply", number(Fraction(1, 2)), V)), number(4)), "-(v * 2)"),
    (apply("divide", apply("multiply", number(2), V), number(3)), "(v * (2 / 3))"),
    (apply("subtract", apply("subtract", V, S), T), "((v - s) - t)"),
    (apply("exp", apply("divide", V, T)), "exp((v * (1 / t)))"),
    (apply("add", apply("negate", V), S), "(s - v)"),
    (apply("negate", apply("add", V, S)), "-(v + s)"),
)


@pytest.mark.parametrize(("node", "text"), CASES, ids=lambda case: case if isinstance(case, str) else "")
def test_what_stays_stands_together(node: Node, text: str) -> None:
    assert spelled(arranged(node, VARYING)) == text


LEAVES = st.sampled_from([V, W, S, T, number(1), number(2), number(3), number(Fraction(1, 2)), number(0)])


def larger(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    pairs = st.sampled_from(["add", "subtract", "multiply", "divide"])
    return st.one_of(
        st.builds(apply, pairs, parts, parts),
        st.builds(lambda part: apply("negate", part), parts),
        st.builds(lambda a, b, c: apply("where", a, b, c), parts, parts, parts),
    )


@given(
    st.recursive(LEAVES, larger, max_leaves=12),
    st.fixed_dictionaries({name: st.fractions(-4, 4, max_denominator=9) for name in ("v", "w", "s", "t")}),
)
def test_the_value_stays(node: Node, values: dict[str, Fraction]) -> None:
    try:
        expected = of(node, values)
    except ZeroDivisionError:
        assume(False)
    assert of(arranged(node, VARYING), values) == expected


@given(st.recursive(LEAVES, larger, max_leaves=12))
def test_no_division_by_what_stays_is_in_a_step(node: Node) -> None:
    """Only an expression that stays itself divides by one that stays; nothing is arranged twice."""

    def stays(part: Node) -> bool:
        return not any(isinstance(leaf, Name) and leaf.name in VARYING for leaf in walk_node(part))

    found = arranged(node, VARYING)
    for part in walk_node(found):
        if isinstance(part, Apply) and part.operation == "divide" and not stays(part):
            assert not stays(part.arguments[1]), spelled(found)
    assert arranged(found, VARYING) == found
