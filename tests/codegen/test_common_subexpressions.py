"""Common subexpressions get a name, once, before their first use."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from svertka.codegen.ir.kernel import Apply, Constant, Let, Load, Name, Node, walk_node
from svertka.codegen.lowering.common_subexpressions import SMALLEST, share

TWO = Constant(Fraction(2), "real")


def apply(operation: str, *arguments: Node) -> Apply:
    return Apply(operation, arguments, "real")


def value(name: str) -> Name:
    return Name(name, "real")


SUM = apply("add", apply("multiply", value("u"), TWO), value("v"))


def names() -> object:
    given: dict[Node, str] = {}
    return lambda node, stem: given.setdefault(node, f"{stem}_{len(given)}")


def numbers(lets: Iterable[Let], roots: Iterable[Node], known: dict[str, float]) -> list[float]:
    """Values of the roots."""
    scope = dict(known)

    def of(node: Node) -> float:
        if isinstance(node, Constant):
            return float(node.value)
        if isinstance(node, Name):
            return scope[node.name]
        assert isinstance(node, Apply)
        left, right = (of(argument) for argument in node.arguments)
        return left + right if node.operation == "add" else left * right

    for let in lets:
        assert let.name not in scope, "assigned twice"
        scope[let.name] = of(let.value)
    return [of(root) for root in roots]


def test_once_is_left_alone() -> None:
    assert share([], [SUM], names()) == ([], [SUM])


def test_twice_is_named() -> None:
    lets, roots = share([], [apply("exp", SUM), apply("log", SUM)], names())
    assert [let.value for let in lets] == [SUM]
    assert roots == [apply("exp", Name(lets[0].name, "real")), apply("log", Name(lets[0].name, "real"))]


def test_the_largest_is_named_whole() -> None:
    large = apply("add", apply("multiply", SUM, SUM), value("w"))
    lets, roots = share([], [large, large], names())
    assert len(lets) == 2
    assert roots[0] == roots[1] == Name(lets[1].name, "real")


def test_small_expressions_stay() -> None:
    small = apply("add", value("u"), TWO)
    assert sum(1 for _ in walk_node(small)) < SMALLEST
    assert share([], [small, small], names()) == ([], [small, small])


def test_a_name_stands_before_its_first_use() -> None:
    load = Load("x", (SUM,), (), "real")
    lets, _ = share([Let("first", value("u")), Let("loaded", load)], [SUM], names())
    assert [let.name for let in lets] == ["first", "value_0", "loaded"]


EXPRESSIONS = st.recursive(
    st.sampled_from([value("u"), value("v"), TWO]),
    lambda inner: st.tuples(st.sampled_from(["add", "multiply"]), inner, inner).map(lambda t: apply(*t)),
    max_leaves=12,
)


@given(st.lists(EXPRESSIONS, min_size=1, max_size=4))
def test_values_stay(roots: list[Node]) -> None:
    known = {"u": 3.0, "v": -0.5}
    lets, found = share([], roots + roots, names())
    assert numbers(lets, found, known) == numbers([], roots + roots, known)
    large = [n for root in found for n in walk_node(root) if sum(1 for _ in walk_node(n)) >= SMALLEST]
    assert len(large) == len(set(large)), "something is still computed twice"
