"""The launcher's printer: its text means what the expression means, and does not depend on SymPy's order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fractions import Fraction
from itertools import product

import pytest
from sympy import Abs, And, Eq, Integer, Ne, Not, Or, Rational, exp, sqrt

from svertka.codegen.emit.launcher import module_source
from svertka.codegen.emit.launcher_printer import host_condition, host_expression, host_node
from svertka.codegen.ir.kernel import Apply, Constant, Load, Name, Node
from svertka.codegen.lowering.built import built
from svertka.spec.gradient import gradient_definition
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Divides, FloorDiv, InRange, Select, integer, maximum, minimum

a, b, c = integer("a"), integer("b"), integer("c", positive=True)

EXPRESSIONS = {
    "sum": (a + 2 * b - c - 1, "a + 2 * b - c - 1"),
    "only negative": (-a - b, "-a - b"),
    "product of a sum": (2 * (a - 1) * b, "(2 * a - 2) * b"),
    "negative product": (-2 * a * b, "-2 * a * b"),
    "power": ((a + 1) ** 3, "(a + 1)**3"),
    "negative base": (Integer(-2) ** 3 + a, "a - 8"),
    "quotient": (a / c, "a / c"),
    "quotient by a product": (a / (c * (c + 1)), "a / ((c + 1) * c)"),
    "inverse": (1 / c**2, "1 / c**2"),
    "rational": (Rational(3, 4) * a - Rational(1, 2), "3 * a / 4 - 1 / 2"),
    "floor division": (FloorDiv(a - b, c) + 1, "(a - b) // c + 1"),
    "floor division of a product": (FloorDiv(a * b, c), "(a * b) // c"),
    "product of a floor division": (2 * FloorDiv(a, c), "2 * (a // c)"),
    "floor division of a floor division": (FloorDiv(FloorDiv(a, c), c), "(a // c) // c"),
    "negative floor division": (-FloorDiv(-a, c), "-((-a) // c)"),
    "less a floor division": (a - FloorDiv(b, c), "a - b // c"),
    "maximum": (maximum(b, a) - minimum(a, 0), "max(a, b) - min(0, a)"),
    "absolute value": (2 * Abs(a), "2 * abs(a)"),
    "selection": (1 + Select(a <= b, a, b * 2), "(a if a <= b else 2 * b) + 1"),
    "nested selection": (Select(a < 0, Select(b < 0, 1, 2), 3), "(1 if b < 0 else 2) if a < 0 else 3"),
}

CONDITIONS = {
    "relation": (a + 1 <= b, "a + 1 <= b"),
    "equation": (Eq(a, b), "a == b"),
    "inequality": (Ne(a, 2 * b), "a != 2 * b"),
    "and, or": (And(Or(a < 0, b < 0), c > 1), "(a < 0 or b < 0) and c > 1"),
    "or, and": (Or(And(a < 0, b < 0), c > 1), "a < 0 and b < 0 or c > 1"),
    "divides": (Divides(c, a * b), "(a * b) % c == 0"),
    "in range": (InRange(a - b, c), "0 <= a - b < c"),
    "not": (Not(Divides(c, a)), "not a % c == 0"),
}


def by_hand(node: object, values: dict[str, int]) -> Fraction | bool:
    """Evaluate by walking the tree with exact fractions, independent of the printer."""
    name, args = type(node).__name__, [by_hand(part, values) for part in getattr(node, "args", ())]
    if name == "Symbol":
        return Fraction(values[str(node)])
    if getattr(node, "is_Rational", False):
        return Fraction(int(node.p), int(node.q))  # type: ignore[attr-defined]
    total = Fraction(1)
    for part in args if name == "Mul" else ():
        total *= part
    return {
        "Add": lambda: sum(args, Fraction(0)),
        "Mul": lambda: total,
        "Pow": lambda: args[0] ** int(args[1]),
        "FloorDiv": lambda: Fraction(args[0] // args[1]),
        "maximum": lambda: max(args),
        "minimum": lambda: min(args),
        "Abs": lambda: abs(args[0]),
        "Select": lambda: args[1] if args[0] else args[2],
        "LessThan": lambda: args[0] <= args[1],
        "StrictLessThan": lambda: args[0] < args[1],
        "StrictGreaterThan": lambda: args[0] > args[1],
        "Equality": lambda: args[0] == args[1],
        "Unequality": lambda: args[0] != args[1],
        "And": lambda: all(args),
        "Or": lambda: any(args),
        "Not": lambda: not args[0],
        "Divides": lambda: args[1] % args[0] == 0,
        "InRange": lambda: 0 <= args[0] < args[1],
    }[name]()


@pytest.mark.parametrize(("expression", "expected"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expression(expression: object, expected: str) -> None:
    assert host_expression(expression) == expected


@pytest.mark.parametrize(("condition", "expected"), CONDITIONS.values(), ids=CONDITIONS)
def test_condition(condition: object, expected: str) -> None:
    assert host_condition(condition) == expected


@pytest.mark.parametrize("node", [e for e, _ in (*EXPRESSIONS.values(), *CONDITIONS.values())], ids=str)
def test_text_means_the_expression(node: object) -> None:
    source = host_expression(node)
    for numbers in product((-3, -1, 0, 2, 5), (-2, 0, 1, 4), (1, 2, 3)):
        values = dict(zip("abc", numbers, strict=True))
        names = {name: Fraction(value) for name, value in values.items()}
        assert eval(source, {}, names) == by_hand(node, values), (source, values)


def test_names_replace_symbols() -> None:
    assert host_expression(a * b, {"a": "input.shape[1]"}) == "b * input.shape[1]"


@pytest.mark.parametrize("node", [exp(a), a + exp(b)], ids=str)
def test_unknown_node_is_named(node: object) -> None:
    with pytest.raises(TypeError, match=r"exp node exp\(.\): the host printer supports Abs, Add, .*Symbol"):
        host_expression(node)


def test_fractional_power_is_named() -> None:
    with pytest.raises(TypeError, match=r"Pow node sqrt\(a\).* its exponent is 1/2"):
        host_expression(sqrt(a))


W, two = Name("W", "integer"), Constant(Fraction(2), "integer")
NODES: dict[str, tuple[Node, str]] = {
    "name": (W, "W"),
    "number": (two, "2"),
    "negative number": (Constant(Fraction(-2), "integer"), "(-2)"),
    "sum in a product": (
        Apply("multiply", (Apply("add", (W, two), "integer"), two), "integer"),
        "((W + 2) * 2)",
    ),
    "quotient in a difference": (
        Apply("subtract", (W, Apply("floor_divide", (W, two), "integer")), "integer"),
        "(W - W // 2)",
    ),
    "difference in a difference": (
        Apply("subtract", (W, Apply("subtract", (W, two), "integer")), "integer"),
        "(W - (W - 2))",
    ),
    "negated sum": (Apply("negate", (Apply("add", (W, two), "integer"),), "integer"), "(-(W + 2))"),
}


@pytest.mark.parametrize(("node", "expected"), NODES.values(), ids=NODES)
def test_node(node: Node, expected: str) -> None:
    assert host_node(node) == expected


@pytest.mark.parametrize("operation", ["exp", "<", "and", "not"])
def test_a_node_of_the_device_is_refused(operation: str) -> None:
    """Triton's functions, comparisons and bitwise operators mean something else in Python."""
    with pytest.raises(TypeError, match=f"operation '{operation}': the launcher printer does not know it"):
        host_node(Apply(operation, (W, two), "integer"))


def test_text_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "from sympy import And, symbols\n"
        "from svertka.codegen.emit.launcher_printer import host_condition, host_expression\n"
        "x = symbols('u v w x y z')\n"
        "print(host_expression(sum(x) * (x[0] - x[5]) - x[2] * x[3]))\n"
        "print(host_condition(And(*(s < 1 for s in x))))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(texts) == 1


@pytest.mark.parametrize("name", ["linear", "convolution_2d_relu", "convolution_1d"])
def test_a_product_has_the_type_of_its_operands(name: str) -> None:
    """Not that of a tensor which only the epilogue reads, and which may be absent: a bias."""
    module = built(gradient_definition(DEFINITIONS[name]))
    text = module_source(module)
    products = [kernel for kernel in module.kernels if kernel.operands]
    loaded = [
        tuple(next(let.value.tensor for let in operand.lets if isinstance(let.value, Load)) for operand in k.operands)
        for k in products
        if all(operand.stored for operand in k.operands)
    ]
    asked = {tuple(found.split(", ")) for found in re.findall(r"operand_type\(how, (\w+, \w+)\)", text)}
    assert products
    assert asked == set(loaded)
