"""``svertka explain``: it shows what was derived, and the printed text has the same meaning."""

from __future__ import annotations

import io
import math
import re
import shutil
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from sympy import Expr, Integer, Rational, Symbol

from svertka.codegen.book.evidence import evidence
from svertka.codegen.book.example import worked_examples
from svertka.codegen.book.explanation import Explanation, explain, without_copies
from svertka.codegen.book.printers import latex, mathml, plain
from svertka.codegen.book.terminal import rendered
from svertka.codegen.book.tree import Over, Tree, parts_of
from svertka.codegen.book.typeset import Typesetter, name_of
from svertka.codegen.driver.generate import PACKAGE
from svertka.codegen.lowering.built import built
from svertka.codegen.verify.levels import LEVELS
from svertka.spec import Max, Sum, Tensor, adjoint, axes, evaluate, gradient_name, integer
from svertka.spec import Rational as Exact
from svertka.spec.arithmetic import Float
from svertka.spec.layer import walk
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import FloorDiv, Select, maximum
from svertka.spec.rewrite import replace

Call = Callable[..., tuple[int, str, str]]


@cache
def explanation(name: str) -> Explanation:
    return explain(DEFINITIONS[name], PACKAGE)


# The command ------------------------------------------------------------------------------------------------------


@pytest.mark.thinned(9)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_definition_explains(name: str, call: Call) -> None:
    code, printed, _ = call("explain", name)
    assert code == 0
    definition = DEFINITIONS[name]
    words = " ".join(printed.split())
    for said in (definition.title, definition.source, f"functional.{definition.function}(", *LEVELS):
        assert said in words
    for kernel in built(definition).kernels:
        assert any(function in words for function in kernel.functions)
    for variant in definition.variants:
        for tensor in variant.layer.outputs:
            assert re.search(rf"{plain(name_of(tensor))}(\[[^\]]*\])? = ", words)


def test_a_convolution_reads_like_the_slide(call: Call) -> None:
    _, printed, _ = call("explain", "convolution_2d")
    assert "output[n, g, k, p, q] = Σ_{c, r, s} input[n, g, c, h′, w′] · weight[g, k, c, r, s] + bias[g, k]" in printed
    assert "where h′ = stride_h·p + dilation_h·r − padding_h" in printed
    assert "such that stride_h divides h + padding_h − dilation_h·r₁" in printed


def test_one_formula_of_several(call: Call) -> None:
    code, printed, _ = call("explain", "batch_normalization", "--variant", "batch_normalization_inference")
    assert code == 0
    assert "batch_normalization_inference_output" in printed
    assert "batch_normalization_training" not in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("no_such_layer",), ("no_such_layer", "svertka list", "relu")),
        (("softmax", "--variant", "hard"), ("hard", "softmax")),
    ],
)
def test_wrong_names_are_refused_with_a_sentence(
    arguments: tuple[str, ...], words: tuple[str, ...], call: Call
) -> None:
    code, _, message = call("explain", *arguments)
    assert code == 2
    assert "Traceback" not in message
    assert all(word in message for word in words)


@pytest.mark.thinned(5)
@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_formulas_wrap_and_lose_nothing(name: str, width: int) -> None:
    found = explanation(name)
    console = Console(width=width, record=True, file=io.StringIO())
    for part in rendered(found, found.formulas):
        console.print(part, highlight=False)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    words = "".join(text.split())
    for formula in found.formulas:
        for line in (*formula.lines, *formula.gradient):
            for tree in (line.tree, *line.where, *line.conditions):
                assert "".join(plain(tree).split()) in words


# The text agrees with the derived layer ---------------------------------------------------------------------------


@pytest.mark.thinned(5)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_kernels_are_shown_with_the_equations_that_they_compute(name: str) -> None:
    """Every reduction and every result of every launch, and no others, as ``build`` gives them."""
    module = built(DEFINITIONS[name])
    for formula, (forward, saving, backward) in zip(explanation(name).formulas, module.programs, strict=True):
        programs = [forward, *([saving] if saving.launches != forward.launches else []), backward]
        for run, program in zip(formula.runs, programs, strict=True):
            assert [step.name for step in run.steps] == [launch.kernel.name for launch in program.launches]
            for step, launch in zip(run.steps, program.launches, strict=True):
                shown = [(str(line.left), line.value) for line in step.lines]
                reduced = [(str(e.target[e.target.axes]), e.value) for e in launch.group.reductions]
                made = {e.target.name for e in launch.group.reductions}
                stored = [r for r in launch.group.results if r.name not in made]
                assert shown[: len(reduced)] == reduced
                assert [value for _, value in shown[len(reduced) :]] == [r.value for r in stored]
                texts = [f"{left} = {value}" for left, value in shown]
                assert [t.replace("[]", "") for t in texts] == [e.replace("[]", "") for e in launch.kernel.equations]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_gradient_shown_is_the_adjoint(name: str) -> None:
    """Equations that only rename are left out; the others have the adjoint's values to the last digit."""
    found = worked_examples(explanation(name))
    assert found
    for one in found:
        layer = one.formula.layer
        whole = adjoint(layer, outputs=DEFINITIONS[name].real_results(layer)).only(one.gradients)
        arithmetic = Exact() if one.backward.exact else Float()
        given = {t.name: one.backward.values[t.name] for t in whole.inputs if t.name in one.backward.values}
        values = evaluate(whole, given, one.backward.sizes, arithmetic)
        assert one.gradients == tuple(gradient_name(t.name) for t in layer.inputs if gradient_name(t.name) in values)
        for tensor in one.gradients:
            assert values[tensor] == one.backward.values[tensor], tensor


def test_only_copies_are_left_out() -> None:
    layer = adjoint(DEFINITIONS["linear"].variants[0].layer)
    copied = {e.target.name for e in layer.equations} - {e.target.name for e in without_copies(layer).equations}
    assert copied == {"grad_output_sum"}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_names_of_long_parts_stand_for_these_parts(name: str) -> None:
    """Substituted back, they give the equation itself."""
    lines = [
        line
        for formula in explanation(name).formulas
        for group in (formula.lines, formula.again, formula.gradient, *(s.lines for r in formula.runs for s in r.steps))
        for line in group
    ]
    assert lines
    for line in lines:
        assert replace(line.short, dict(line.named)) == line.value
        known = {node.name for node in walk(line.value) if node.is_Symbol} | {i.name for i in line.left.indices}
        assert not known & {symbol.name for symbol, _ in line.named}
        conditions = sum(len(part.conditions) for part in parts_of(line.tree) if isinstance(part, Over))
        whole = Typesetter().tree(line.value)
        every = sum(len(part.conditions) for part in parts_of(whole) if isinstance(part, Over))
        assert conditions + len(line.conditions) == every


# What is proven ---------------------------------------------------------------------------------------------------


def test_a_certificate_counts_only_for_its_formula_and_kernels(tmp_path: Path) -> None:
    definition = DEFINITIONS["relu"]
    folder = tmp_path / "package"
    shutil.copytree(PACKAGE, folder)
    found = evidence(definition, folder)
    assert not found.problem
    assert found.levels("relu").keys() == {*LEVELS, "compiled"}
    kernels = folder / found.kernels
    kernels.write_text(kernels.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    edited = evidence(definition, folder)
    assert "is not of this formula and these kernels" in edited.problem
    assert "svertka generate relu" in edited.problem
    assert not edited.levels("relu")
    one = explain(definition, folder)
    said = "\n".join(_text(part) for part in rendered(one, one.formulas))
    assert "nothing that counts" in said
    assert "elements in" not in said
    (folder / found.path).unlink()
    assert f"there is no {found.path}" in evidence(definition, folder).problem


def _text(part: RenderableType) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(part)
    return console.export_text()


# Printing ---------------------------------------------------------------------------------------------------------

LETTERS = [Symbol(letter) for letter in "xyz"]
VALUES = {"x": Fraction(3, 7), "y": Fraction(-5, 2), "z": Fraction(11)}


def _combined(children: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    pairs = st.tuples(children, children)
    return st.one_of(
        pairs.map(lambda pair: pair[0] + pair[1]),
        pairs.map(lambda pair: pair[0] - pair[1]),
        pairs.map(lambda pair: pair[0] * pair[1]),
        pairs.map(lambda pair: pair[0] / pair[1] if pair[1] != 0 else pair[0]),
        children.map(lambda child: child**2),
        children.map(lambda child: -child),
        pairs.map(lambda pair: maximum(*pair)),
    )


LEAVES = st.one_of(
    st.sampled_from(LETTERS),
    st.integers(-9, 9).map(Integer),
    st.tuples(st.integers(-5, 5), st.integers(1, 5)).map(lambda pair: Rational(*pair)),
)
EXPRESSIONS = st.recursive(LEAVES, _combined, max_leaves=8)


def meaning(text: str) -> Fraction:
    """Value of a formula in Python's syntax, whose precedence is that of mathematics."""
    return Fraction(eval(re.sub(r"(\d+)", r"Fraction(\1)", text), {"Fraction": Fraction, "max": max, **VALUES}))


def value_of(node: Expr) -> Fraction:
    """Value of an expression."""
    if node.is_Symbol:
        return VALUES[node.name]
    if node.is_Rational:
        return Fraction(int(node.p), int(node.q))
    parts = [value_of(part) for part in node.args]
    if node.is_Add:
        return sum(parts, Fraction(0))
    if node.is_Mul:
        return math.prod(parts, start=Fraction(1))
    return parts[0] ** int(node.args[1]) if node.is_Pow else max(parts)


def of_plain(tree: Tree) -> str:
    text = plain(tree).replace("·", "*").replace("−", "-").replace("^", "**")
    return re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]", lambda found: f"**{unicodedata.digit(found[0])}", text)


def of_mathml(tree: Tree) -> str:
    """The text that browsers show, with explicit fractions and powers and no other brackets."""

    def text(node: ElementTree.Element) -> str:
        parts = [text(child) for child in node]
        if node.tag == "mfrac":
            return f"(({parts[0]})/({parts[1]}))"
        if node.tag == "msup":
            assert parts[0].isalnum() or parts[0].endswith(")")  # a browser raises only this part
            return f"{parts[0]}**({parts[1]})"
        return (node.text or "").replace("·", "*").replace("−", "-") + "".join(parts)

    return text(ElementTree.fromstring(f"<math>{mathml(tree)}</math>"))


def of_latex(tree: Tree) -> str:
    text = latex(tree).replace(r"\left", "").replace(r"\right", "").replace(r"\cdot", "*").replace(r"\max", "max")
    while r"\frac" in text:
        text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", _inner_powers(text))
    return _inner_powers(text)


def _inner_powers(text: str) -> str:
    while (found := re.sub(r"\{([^{}]*)\}\^\{([^{}]*)\}", r"\1**(\2)", text)) != text:
        text = found
    return text


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS)
@pytest.mark.parametrize("language", [of_plain, of_mathml, of_latex])
def test_brackets_keep_the_meaning(language: Callable[[Tree], str], expression: Expr) -> None:
    """The text, read by the rules of arithmetic, has the expression's value."""
    try:
        expected = value_of(expression)
    except (ZeroDivisionError, TypeError, ValueError):
        return
    assert meaning(language(Typesetter().tree(expression))) == expected


def test_the_notation_is_printed_in_three_languages() -> None:
    w, q, s = axes("w q s")
    x, v, stride = Tensor("x", w), Tensor("v", s), integer("stride", positive=True)
    total = Typesetter((q,)).tree(Sum(x[stride * q + s] * v[s], s) / s.extent)
    assert plain(total) == "(Σ_s v[s] · x[stride·q + s]) / S"
    assert latex(total) == (r"\frac{\sum_{s} v\left[s\right] \cdot x\left[\mathrm{stride} \cdot q + s\right]}{S}")
    assert "<munder><mo>∑</mo><mrow><mi>s</mi></mrow></munder>" in mathml(total)
    largest = Typesetter((w,)).tree(Max(x[w + s], s))
    assert plain(largest) == "max_s(x[w + s])"
    assert latex(largest) == r"\operatorname*{max}_{s} x\left[w + s\right]"
    choice = Typesetter().tree(Select(x[w] > 0, FloorDiv(w, 2), -1))
    assert plain(choice) == "{⌊w / 2⌋ if x[w] > 0, else −1}"
    assert r"\left\lfloor \frac{w}{2} \right\rfloor & \text{if } x" in latex(choice)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_latex_is_balanced(name: str) -> None:
    """Braces, growing brackets and environments are closed; the underscore of a name is no subscript."""
    for formula in explanation(name).formulas:
        for line in (*formula.lines, *formula.again, *formula.gradient):
            for tree in (line.tree, *line.where, *line.conditions):
                text = latex(tree)
                depth = 0
                for letter in re.sub(r"\\[{}]", "", text):
                    depth += (letter == "{") - (letter == "}")
                    assert depth >= 0, text
                assert depth == 0, text
                assert len(re.findall(r"\\left\b", text)) == len(re.findall(r"\\right\b", text))
                assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)
                assert not re.search(r"(?<!\\)_(?!\{)", text), text
                assert text.isascii(), text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("padding_h", "padding_h"),
        ("alpha", "α"),
        ("eps", "ε"),
        ("r1", "r₁"),
        ("h'", "h′"),
        ("running_mean", "running_mean"),
    ],
)
def test_names(name: str, shown: str) -> None:
    assert plain(name_of(name)) == shown


def test_a_node_without_a_rule_is_an_error_that_names_it() -> None:

    from sympy.logic.boolalg import Xor

    condition = Xor(Symbol("a"), Symbol("b"))
    with pytest.raises(TypeError, match="Xor has no rule"):
        Typesetter().tree(condition)
