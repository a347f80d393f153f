"""Exponentials of any size: kernels and CPU path, forward and backward, against numbers that do not overflow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sympy import Eq, Expr, exp, log

from svertka.codegen.driver.generate import generate_package
from svertka.codegen.passes import pipeline
from svertka.codegen.passes.exponents import Exponents, Known
from svertka.codegen.passes.pipeline import PASSES
from svertka.codegen.passes.stabilize import unshifted
from svertka.codegen.verify import bounds
from svertka.codegen.verify.cases import Case, at_zero
from svertka.codegen.verify.equivalence import Comparison, Values, compare_at
from svertka.codegen.verify.extremes import enters_exponents, expected_at
from svertka.codegen.verify.levels import LEVELS, Subject
from svertka.codegen.verify.levels.reference import _operator, through_reference
from svertka.codegen.verify.levels.rounding import _at_extremes
from svertka.codegen.verify.precise import Precise, precise_values
from svertka.codegen.verify.validate import load_package
from svertka.spec import Array, Equation, Layer, Select, Sum, Tensor, adjoint, axes, define, evaluate, number
from svertka.spec.layer import walk
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Reduction

n, c, g, h, b, i, d = axes("n c g h b i d")
j, p, k, m = c.twin("j"), i.twin("p"), i.twin("k"), g.twin("m")
x, z, s, v = Tensor("x", n, c), Tensor("z", g, h), Tensor("s", b, i, p), Tensor("v", b, p, d)
label, smoothing = Tensor("label", n, kind="integer"), number("smoothing")
rows, grid, total, group = Tensor("y", n), Tensor("y", n, c), Tensor("total", n), Tensor("group", g)
weights, mixed, row = Tensor("weights", b, i, p), Tensor("mixed", b, i, d), Tensor("of_query", b, i)

of_row = Sum(exp(x[n, j]), j)
guarded = Sum(exp(x[n, j]), j, where=j > 0)
causal = Sum(exp(s[b, i, k]), k, where=k <= i)
log_share = Tensor("log_share", n, c)


def layer(name: str, inputs: tuple[Tensor, ...], *equations: tuple[Tensor, Expr]) -> Layer:
    made = tuple(Equation(target, value) for target, value in equations)
    return Layer(name, inputs, made, (made[-1].target.name,))


FORMULAS = {
    made.name: made
    for made in (
        layer("softmax_of_formula", (x,), (grid, exp(x[n, c]) / of_row)),
        layer("guarded_softmax", (x,), (total, guarded), (grid, Select(c > 0, exp(x[n, c]) / total[n], 0))),
        layer("guarded_lse", (x,), (rows, log(guarded))),
        layer("guarded_log_softmax", (x,), (grid, Select(c > 0, x[n, c] - log(guarded), 0))),
        layer(
            "guarded_entropy",
            (x, label),
            (log_share, x[n, c] - log(guarded)),
            (
                rows,
                -(1 - smoothing) * Sum(Select(Eq(label[n], c), log_share[n, c], 0), c)
                - smoothing / (c.extent - 1) * Sum(log_share[n, c], c, where=c > 0),
            ),
        ),
        layer("causal_weights", (s,), (weights, Select(p <= i, exp(s[b, i, p]) / causal, 0))),
        layer("causal", (s, v), (mixed, Sum(exp(s[b, i, p]) / causal * v[b, p, d], p, where=p <= i))),
        layer(
            "causal_named",
            (s, v),
            (row, causal),
            (weights, exp(s[b, i, p]) / row[b, i]),
            (mixed, Sum(weights[b, i, p] * v[b, p, d], p, where=p <= i)),
        ),
        layer(
            "two_levels",
            (z,),
            (group, log(Sum(exp(z[g, h]), h))),
            (Tensor("y", g), exp(group[g]) / Sum(exp(group[m]), m)),
        ),
        layer("sums_of_sums", (z,), (group, Sum(exp(z[g, h]), h)), (Tensor("y", g), group[g] / Sum(group[m], m))),
        layer("some_of_all", (x,), (rows, log(of_row) - log(guarded))),
        layer("logistic", (x,), (grid, exp(x[n, c]) / (1 + exp(x[n, c])))),
        layer("tangent", (x,), (grid, (exp(x[n, c]) - exp(-x[n, c])) / (exp(x[n, c]) + exp(-x[n, c])))),
    )
}
SIZES = {"N": 3, "C": 5, "G": 3, "H": 4, "B": 2, "I": 4, "P": 4, "D": 2, "smoothing": 0.25}
INVARIANT = [name for name in FORMULAS if name != "some_of_all"]


def _mixed(values: torch.Tensor) -> torch.Tensor:
    """Rows and elements of very different magnitudes; the first, which guards exclude, is far above the others."""
    places = torch.arange(values.numel()).reshape(values.shape)
    steps = torch.tensor([9e3, 0.0, 360.0, -800.0, 100.0, 359.0, -1e4], dtype=torch.float64)
    return values + steps[places % len(steps)]


LEVELS_OF_INPUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    **{f"{level:g}": lambda values, level=level: values + level for level in (0.0, 100.0, 360.0, -800.0, 800.0, 1e4)},
    "mixed": _mixed,
}


def _case(name: str) -> Case:
    return Case(name, SIZES, frozenset())


def _values(formula: Layer, arrange: Callable[[torch.Tensor], torch.Tensor]) -> Values:
    draw = torch.Generator().manual_seed(7)
    entering = enters_exponents(formula)

    def drawn(tensor: Tensor) -> torch.Tensor:
        shape = [SIZES[str(index.extent)] for index in tensor.axes]
        if tensor.kind == "integer":
            return torch.arange(shape[0]) % int(SIZES["C"]) + 1
        values = torch.randint(-12, 13, shape, generator=draw).double() / 4
        return arrange(values) if tensor.name in entering else values

    seeds = {f"grad_{name}": formula.tensors[name] for name in formula.outputs}
    gradients = {name: torch.where((u := drawn(Tensor(name, *t.axes))) == 0, 1.0, u) for name, t in seeds.items()}
    return Values({tensor.name: drawn(tensor) for tensor in formula.inputs}, gradients)


@pytest.fixture(scope="module")
def subjects() -> Iterator[dict[str, Subject]]:
    yield from made([*FORMULAS.values()])


def made(formulas: list[Layer]) -> Iterator[dict[str, Subject]]:
    """A package of formulas, imported."""
    definitions = [define(formula) for formula in formulas]
    package = generate_package(definitions)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in package.sources.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        with load_package(Path(folder)) as name:
            yield {made.name: Subject(package.modules[made.name], made.variants[0], name) for made in definitions}


def _compared(subject: Subject, road: Any, level: str, dtype: torch.dtype) -> list[Comparison]:
    formula, case = subject.layer, _case(level)
    values = _values(formula, LEVELS_OF_INPUTS[level])
    expected: dict[str, Any] = {}
    for equations in (formula, adjoint(formula)):
        expected |= expected_at(equations, case, values, dtype)
    return list(compare_at(subject.module, formula, road, case, values, expected, dtype))


@pytest.mark.thinned(4)
@pytest.mark.parametrize("level", LEVELS_OF_INPUTS)
@pytest.mark.parametrize("name", FORMULAS)
def test_plain_road(subjects: dict[str, Subject], name: str, level: str) -> None:
    subject = subjects[name]
    road = through_reference(_operator(subject), _case(level))
    found = _compared(subject, road, level, torch.float64)
    assert len(found) >= 3
    assert [str(one) for one in found if not one.holds] == []


@pytest.mark.thinned(4)
@pytest.mark.parametrize("level", LEVELS_OF_INPUTS)
@pytest.mark.parametrize("name", FORMULAS)
def test_kernels(subjects: dict[str, Subject], name: str, level: str) -> None:
    subject = subjects[name]
    found = _compared(subject, subject.kernels, level, torch.float32)
    assert len(found) >= 3
    assert [str(one) for one in found if not one.holds] == []


@pytest.mark.parametrize("name", FORMULAS)
def test_the_function_stays(name: str) -> None:
    """The literal equations and the shifted ones are the same function, forward and backward, to 256 bits."""
    formula = FORMULAS[name]
    values = _values(formula, lambda tensor: tensor)
    for equations in (formula, adjoint(formula)):
        given = {t.name: values.all[t.name] for t in equations.inputs}
        arrays = {
            t.name: Array(
                tuple(given[t.name].shape),
                [u if t.kind == "integer" else Precise().number(u) for u in given[t.name].reshape(-1).tolist()],
            )
            for t in equations.inputs
        }
        changed = bounds.computed(equations)
        for output in equations.outputs:
            left, right = (
                evaluate(one, {t.name: arrays[t.name] for t in one.inputs}, SIZES, Precise())[output].values
                for one in (equations, changed)
            )
            assert all(abs(a - e) <= abs(a) * 2.0**-200 + 2.0**-200 for a, e in zip(left, right, strict=True))


@pytest.mark.parametrize("name", INVARIANT)
def test_no_exponent_is_unbounded(name: str) -> None:
    """If a value is bounded for every size of its inputs, no exponential in it can overflow."""
    for equations in (FORMULAS[name], adjoint(FORMULAS[name])):
        changed = bounds.computed(equations)
        assert unshifted(changed) == ()
        known = Exponents(Known.of(changed))
        for equation in changed.equations:
            if not isinstance(equation.value, Reduction):
                loose = [str(e) for e in walk(equation.value) if isinstance(e, exp)]
                assert not known.unbounded(equation.value) or name.startswith(("guarded", "causal")), loose


def test_a_shift_is_of_the_sum_s_own_elements() -> None:
    """Two sums over other elements of one row have different shifts."""
    changed = bounds.computed(FORMULAS["some_of_all"])
    maxima = [e.value for e in changed.equations if isinstance(e.value, Reduction) and e.value.operation == "max"]
    assert len(maxima) == 2
    assert len({value.guard for value in maxima}) == 2


@pytest.mark.usefixtures("own_cache")
def test_no_level_passes_without_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels, CPU path and bounds from equations that are not shifted: both levels that run numbers refuse them."""
    without = tuple(replace(one, rewrite=lambda layer: layer) if one.name == "stabilize" else one for one in PASSES)
    monkeypatch.setattr(pipeline, "PASSES", without)
    pipeline.through.cache_clear()
    try:
        for subjects in made([FORMULAS["softmax_of_formula"]]):
            (subject,) = subjects.values()
            for level in ("reference", "rounding"):
                failures = LEVELS[level](subject).failures
                assert any("grad_x" in text for text in failures)
                assert any("around" in text for text in failures)
    finally:
        pipeline.through.cache_clear()


def test_the_shift_of_another_row_is_seen() -> None:
    """Over the reals it cancels; it overflows where the rows differ in magnitude."""
    for subjects in made([FORMULAS["softmax_of_formula"]]):
        (subject,) = subjects.values()
        path = Path(str(subject.kernels.__file__))
        text = path.read_text(encoding="utf-8")
        place = text.index("x_ptr + n * x_stride_n")
        wrong = f"{text[:place]}x_ptr + 0 * x_stride_n{text[place + len('x_ptr + n * x_stride_n') :]}"
        path.write_text(wrong, encoding="utf-8")
        exec(compile(wrong, str(path), "exec"), vars(subject.kernels))
        assert [str(result) for _, _, result in _at_extremes(subject, subject.small_cases[0]) if not result.holds]


def test_precise_numbers_have_no_end() -> None:
    """exp(1e4) / exp(1e4 - 1) is e; results outside float64's range become infinities and zeros."""
    one = Layer("one", (x,), (Equation(grid, exp(x[n, c]) / exp(x[n, c] - 1)),), ("y",))
    large = Layer("large", (x,), (Equation(grid, exp(x[n, c])),), ("y",))
    given = {"x": torch.tensor([[1e4, -1e4]], dtype=torch.float64)}
    (found,) = precise_values(one, given, {"N": 1, "C": 2}).values()
    assert found.tolist() == [[torch.e, torch.e]]
    (found,) = precise_values(large, given, {"N": 1, "C": 2}).values()
    assert found.tolist() == [[torch.inf, 0.0]]


def test_parameters_of_a_base_are_0_one_at_a_time() -> None:
    """``(k + alpha * sum) ** beta`` without k, without alpha, without both, and with beta 0."""
    definition = DEFINITIONS["local_response_normalization"]
    formula = definition.variants[0].layer
    sizes = {"k": 1.0, "alpha": 0.5, "beta": 0.75}
    found = at_zero(definition, formula, Case("plain", sizes, frozenset()))
    assert [tuple(case.sizes.values()) for case in found] == [
        (1.0, 0.0, 0.75),
        (0.0, 0.5, 0.75),
        (0.0, 0.0, 0.75),
        (0.0, 0.0, 0.0),
    ]
