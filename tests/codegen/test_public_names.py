"""Names and texts from formulas: every name is checked before a template uses it, and no text is read as code."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from sympy import Ge, Symbol
from sympy.core.symbol import Str

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.torch_api.lines import HELPERS
from svertka.codegen.torch_api.of_torch import attributes, forward_parameters
from svertka.codegen.torch_api.public_names import check_definitions, check_package_name
from svertka.codegen.torch_api.sources import package_source
from svertka.codegen.verify.validate import load_package
from svertka.spec import Equation, Layer, Read, Sum, Tensor, axis, define, integer, number
from svertka.spec.definition import Definition, Real, Rule, Whole
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Index

i = axis("i", "elements", many=True)
x, y = Tensor("input", i), Tensor("output", i)
INJECTION = 'x"""\nimport os\nos.abort()\n"""\\'


def layer(name: str = "scaled", factor: str = "factor") -> Layer:
    return Layer(name, (x,), (Equation(y, x[i] * number(factor)),), ("output",))


def renamed(**fields: Any) -> Definition:
    return dataclasses.replace(define(layer()), **fields)


def test_the_layers_of_the_lecture_pass() -> None:
    check_definitions(list(DEFINITIONS.values()))


@pytest.mark.parametrize("name", ["two words", "1st", "a-b", "", INJECTION, "a\nb", "class", "_private", "ﬁx", "a.b"])
@pytest.mark.parametrize("field", ["name", "function"])
def test_no_identifier_no_layer(name: str, field: str) -> None:
    with pytest.raises(ValueError, match="rename it"):
        generate_package([renamed(**{field: name})])


@pytest.mark.parametrize("name", ["two words", INJECTION, "None", "Tensor", "functional", "print"])
def test_no_identifier_no_module(name: str) -> None:
    with pytest.raises(ValueError, match=r"its module is named .*rename it"):
        generate_package([define(layer(), module=name)])


@pytest.mark.parametrize("name", sorted(set(dir(builtins)) | {"whole", "real", "labels", "store", "Operator", "math"}))
def test_no_function_hides_what_functions_call(name: str) -> None:
    with pytest.raises(ValueError, match="rename it"):
        check_definitions([renamed(function=name)])


@pytest.mark.parametrize("module", HELPERS)
def test_helpers_are_the_public_functions_of_their_module(module: str) -> None:
    path = Path(importlib.import_module("svertka.generated").__file__ or "").parent / f"{module}.py"
    functions = {n.name for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)}
    assert HELPERS[module] == {name for name in functions if not name.startswith("_")}


@pytest.mark.parametrize("name", ["forward", "train", "half", "weight_norm_", "training", "parameters", "to"])
def test_no_argument_hides_an_attribute_of_a_module(name: str) -> None:
    if name == "weight_norm_":
        check_definitions([define(layer(factor=name))])
        return
    with pytest.raises(ValueError, match="would hide an attribute"):
        check_definitions([define(layer(factor=name))])


def test_what_axes_count_and_settings_must_differ() -> None:
    m, c = axis("m", many=True), axis("c", "factor")
    table, weight, result = Tensor("input", m, c), Tensor("weight", c), Tensor("output", m, c)
    value = table[m, c] * weight[c] * number("factor")
    scaled = Layer("scaled", (table, weight), (Equation(result, value),), ("output",))
    with pytest.raises(ValueError, match="'factor' is an argument and what an axis counts"):
        check_definitions([define(scaled, parameters=("weight",))])


@pytest.mark.parametrize("other", ["scaled", "SCALED"])
def test_two_layers_need_two_names(other: str) -> None:
    with pytest.raises(ValueError, match=r"two in this package have this name"):
        check_definitions([define(layer()), define(layer(other), module="Other")])


def test_two_modules_need_two_names() -> None:
    with pytest.raises(ValueError, match="module 'Scaled'"):
        check_definitions([define(layer()), define(layer("other"), module="Scaled")])


def test_names_that_were_not_made_by_the_notation_are_checked_too() -> None:
    """Symbols, indices and reads can be made without ``axis``, ``number`` and ``Tensor``."""
    bad = "x); import os; os.abort(); ("
    symbol = Layer("scaled", (x,), (Equation(y, x[i] * Symbol(bad, real=True)),), ("output",))
    with pytest.raises(ValueError, match="a name must be a Python identifier"):
        check_definitions([define(symbol)])
    index = Index(bad, Symbol("N", integer=True, nonnegative=True))
    rows, sums = Tensor("input", index), Tensor("output")
    summed = Layer("summed", (rows,), (Equation(sums, Sum(rows[index], index)),), ("output",))
    with pytest.raises(ValueError, match="a name must be a Python identifier"):
        check_definitions([define(summed)])
    extent = Index("n", Symbol(bad, integer=True, nonnegative=True))
    rows = Tensor("input", extent)
    with pytest.raises(ValueError, match="a name must be a Python identifier"):
        check_definitions(
            [define(Layer("same", (rows,), (Equation(Tensor("output", extent), rows[extent]),), ("output",)))]
        )
    with pytest.raises(ValueError, match="neither an input nor defined"):
        Layer("read", (x,), (Equation(y, Read(Str(bad), *x[i].args[1:])),), ("output",))


def test_arguments_defaults_and_rules_are_checked() -> None:
    known = define(layer())
    for argument, words in (
        (Real(name="a b", symbol="factor"), "a name must be a Python identifier"),
        (Real(name="factor", symbol="f()"), "a name must be a Python identifier"),
        (Real(name="factor", symbol="factor", default=float("nan")), "no finite number"),
        (Whole(name="factor", symbol="factor", default=object()), "no finite number"),
    ):
        with pytest.raises(ValueError, match=words):
            check_definitions([dataclasses.replace(known, arguments=(known.arguments[0], argument))])
    rule = Rule(Ge(Symbol("a b"), 1), "factor", "large", "enlarge it")
    with pytest.raises(ValueError, match="a symbol of a rule"):
        check_definitions([dataclasses.replace(known, rules=(rule,))])


@pytest.mark.parametrize("name", ["my-package", "2nd", "class", "json", "torch", "svertka", "aten"])
def test_a_package_must_be_importable(name: str) -> None:
    with pytest.raises(ValueError, match="--into"):
        check_package_name(name)


def test_texts_are_texts(tmp_path: Path) -> None:
    """Titles, sources, meanings of axes and texts of rules may contain anything; they are shown and never executed."""
    n, c = axis("n", f"rows {INJECTION} {{n}}"), axis("c", f"columns '{INJECTION}' {{import_module}}")
    table, weight, sums = Tensor("input", n, c), Tensor("weight", c, default=1), Tensor("output", n)
    width = integer("width", positive=True)
    value = Sum(table[n, c] * weight[c], c) / width
    rule = Rule(
        Ge(Symbol("width", integer=True), 2), "width", f"at least 2 {INJECTION} {{width}}", f'more "{INJECTION}"'
    )
    texts = define(
        Layer("weighted", (table, weight), (Equation(sums, value),), ("output",)),
        title=INJECTION,
        source=f'"{INJECTION}"',
        rules=(rule,),
        parameters=("weight",),
    )
    sources = generate_package([texts]).sources
    for path, text in sources.items():
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute) and node.attr == "abort"]
        assert not calls, path
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    import torch

    with load_package(tmp_path) as name:
        functional = importlib.import_module(f"{name}.functional")
        assert "os.abort()" in functional.weighted.__doc__
        result = functional.weighted(torch.ones(2, 3), width=2)
        assert result.tolist() == [1.5, 1.5]
        with pytest.raises(ValueError, match=r"at least 2 .*os\.abort\(\).*\{width\}"):
            functional.weighted(torch.ones(2, 3), width=1)
        with pytest.raises(ValueError, match=r"columns .*os\.abort\(\).*\{import_module\}"):
            functional.weighted(torch.ones(2, 3), 2, torch.ones(4))
        with pytest.raises(ValueError, match=r"rows .*\{n\}"):
            functional.weighted(torch.ones(2), width=2)


def test_a_layer_of_integers_says_so() -> None:
    i = axis("i", many=True)
    given, output = Tensor("input", i, kind="integer"), Tensor("output", i, kind="integer")
    layer = Layer("raised", (given,), (Equation(output, given[i] + 1),), ("output",))
    with pytest.raises(ValueError, match=r"layer 'raised': all its tensors are integers, .* one of input without kind"):
        check_definitions([define(layer)])


def test_a_layer_without_a_gradient_says_so() -> None:
    with pytest.raises(ValueError, match=r"layer 'scaled': all its tensors are constant; leave one of input out"):
        generate_package([define(layer(), constant=("input",))])


@pytest.mark.parametrize(
    ("symbol", "argument"),
    [
        ("shapes", "shapes"),
        ("around", "around"),
        ("self", "own"),
        ("unbatched", "flag"),
        ("k", "shape_m"),
        ("k", "x_C"),
    ],
)
def test_names_that_a_call_uses_for_itself_are_refused(symbol: str, argument: str) -> None:
    m, c, s = axis("m", many=True), axis("c"), axis("s", many=True)
    x, y = Tensor("x", m, c, s), Tensor("y", m, s)
    layer = Layer("scaled", (x,), (Equation(y, number(symbol) * Sum(x[m, c, s], c)),), ("y",))
    with pytest.raises(ValueError, match=r"rename|another name"):
        check_definitions([define(layer, arguments={symbol: argument})])


def test_a_package_of_functions_alone_imports_no_modules() -> None:
    bare = dataclasses.replace(DEFINITIONS["relu"], modules=())
    tree = ast.parse(package_source([bare], on_demand=False))
    assert {a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names} >= {"functional"}
    assert "from .modules import" not in package_source([bare], on_demand=False)
    assert "from .modules import ReLU" in package_source([DEFINITIONS["relu"]], on_demand=False)


def test_what_is_known_of_torch_is_what_torch_has() -> None:
    marks = {name for name in dir(torch.nn.Module()) if name.startswith("___")}  # torch.compile leaves some
    assert attributes() - marks == frozenset(dir(torch.nn.Module())) - marks
    for name in ("Conv2d", "CrossEntropyLoss", "Softmax"):
        assert forward_parameters(name) == tuple(inspect.signature(getattr(torch.nn, name).forward).parameters)
