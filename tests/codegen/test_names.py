"""Names that kernels use internally are refused, with the name in the message."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from svertka.codegen.frontend.names import RESERVED, check_names
from svertka.codegen.lowering.build import build
from svertka.spec import Equation, Layer, Sum, Tensor, axis, integer
from svertka.spec.notation import Index

from .scratch import defined

a, b = axis("a"), axis("b")


def layer(*, tensor: str = "x", index: Index = a, factor: str = "factor") -> Layer:
    x = Tensor(tensor, index, b)
    value = Sum(x[index, b], b) * integer(factor)
    return Layer("sums", (x,), (Equation(Tensor("sums_of_rows", index), value),), ("sums_of_rows",))


def test_usual_names_pass() -> None:
    check_names(layer())


@pytest.mark.parametrize("name", sorted(RESERVED - {"True", "False"}))
def test_reserved_names_are_refused(name: str) -> None:
    refused = [lambda: layer(tensor=name), lambda: layer(factor=name)]
    if name != name.upper():
        refused.append(lambda: layer(index=axis(name)))
    for make in refused:
        with pytest.raises(ValueError, match=rf"'{name}'.*rename it"):
            check_names(make())


def test_two_kinds_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'B' names both"):
        check_names(layer(tensor="B"))
    with pytest.raises(ValueError, match="'b' names both"):
        check_names(layer(tensor="b"))


def test_building_checks_the_names() -> None:
    with pytest.raises(ValueError, match="'row'"):
        build(defined(layer(tensor="row")))


def test_templates_use_no_other_names() -> None:
    """Every name that a template of a kernel assigns is reserved."""
    assigned: set[str] = set()
    for name in ("contraction", "lanes", "row", "macros"):
        text = resources.files("svertka.codegen.emit").joinpath(f"templates/{name}.jinja").read_text(encoding="utf-8")
        text = re.sub(r"{[%#].*?[%#]}", "", text, flags=re.DOTALL)
        assigned |= set(re.findall(r"^\s*([A-Za-z_]\w*) \+?= ", text, flags=re.MULTILINE))
        assigned |= set(re.findall(r"^\s*for (\w+) in ", text, flags=re.MULTILINE))
    assert "live_inner" in assigned
    assert assigned <= RESERVED, sorted(assigned - RESERVED)
