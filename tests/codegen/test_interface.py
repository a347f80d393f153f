"""The level "interface" finds faults between a call and the kernels; reductions over ``dim`` hold in every rank."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from svertka.codegen.driver import generate
from svertka.codegen.driver.generate import generate_package
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.levels.calls import calls
from svertka.codegen.verify.symbolic.small import small_cases
from svertka.codegen.verify.validate import Verdict, validate_package
from svertka.spec import Equation, Layer, Max, Sum, Tensor, adjoint, axis, define, number
from svertka.spec.definition import Definition
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS

m, c, s = axis("m", many=True), axis("c"), axis("s", many=True)
x, y, z, weight = Tensor("x", m, c, s), Tensor("y", m, s), Tensor("z", m, s), Tensor("weight", c, default=1)
k = axis("k", many=True)
left, right, product = Tensor("left", m, c), Tensor("right", c, k), Tensor("product", m, k)
before, behind = Tensor("before", m), Tensor("behind", s)

mean = Layer(
    "mean_of", (x, weight), (Equation(y, number("scale") * Sum(weight[c] * x[m, c, s], c) / c.extent),), ("y",)
)
LAYERS = {
    "total": Layer("total", (x,), (Equation(y, Sum(x[m, c, s], c)),), ("y",)),
    "mean": mean,
    "largest": Layer("largest", (x,), (Equation(y, Max(x[m, c, s], c)),), ("y",)),
    "smallest": Layer("smallest", (x,), (Equation(y, -Max(-x[m, c, s], c)),), ("y",)),
    "weighted": Layer("weighted", (z, x), (Equation(y, z[m, s] * Sum(x[m, c, s] ** 2, c)),), ("y",)),
    "sides": Layer(
        "sides",
        (x,),
        (Equation(before, Sum(x[m, c, s], c, s)), Equation(behind, Max(x[m, c, s], m, c))),
        ("before", "behind"),
    ),
    "products": Layer("products", (left, right), (Equation(product, Sum(left[m, c] * right[c, k], c)),), ("product",)),
}
LAYERS["gradient"] = adjoint(Layer("squares", (x,), (Equation(y, Sum(x[m, c, s] ** 2, c)),), ("y",)))


def faces(definition: Definition) -> Definition:
    """A definition without second-order kernels, which would take long."""
    return replace(definition, orders=1)


DEFINED = {
    "mean": define(mean, defaults={"scale": 2.0}),
    **{name: faces(DEFINITIONS[name]) for name in ("relu", "average_pooling_1d", "softmax", "max_pooling_1d")},
    "statistics": faces(DEFINITIONS["batch_normalization"]),
}


@cache
def sources(name: str) -> dict[str, str]:
    return generate_package([DEFINED[name]]).sources


def judged(name: str, changed: dict[str, str]) -> Verdict:
    [verdict] = validate_package({**sources(name), **changed}, [DEFINED[name]], levels=["interface"], processes=1)
    return verdict


@pytest.mark.thinned(4)
@pytest.mark.parametrize("name", LAYERS)
def test_what_lacks_the_dimension_holds_in_every_rank_forward_and_backward(name: str) -> None:
    definition = define(LAYERS[name])
    [verdict] = validate_package(
        generate_package([definition]).sources, [definition], levels=["interface"], processes=1
    )
    assert not verdict.failures
    [outcome] = verdict.outcomes
    ways = outcome.figures["ways"]
    if name == "products":
        assert {f"rank m: {m_}, k: {k_}" for m_ in range(4) for k_ in range(4)} <= set(ways)
        return
    for rank in range(1, 6):
        for dim in range(rank):
            word = f"rank m: {dim}, s: {rank - 1 - dim}"
            assert {word, f"{word}, dim={dim - rank}"} <= set(ways)


@pytest.mark.thinned(3)
@pytest.mark.parametrize("name", DEFINED)
def test_what_is_sound_passes(name: str) -> None:
    assert not judged(name, {}).failures


FUNCTION = "the module of the function"
FAULTS = {
    "dimensions before and behind exchanged": ("mean", "views.py", "] = around\n", "] = whole - 1 - around\n"),
    "result's shape exchanged": (
        "mean",
        FUNCTION,
        "(*x.shape[:dim], *x.shape[dim + 1 :])",
        "(*x.shape[dim + 1 :], *x.shape[:dim])",
    ),
    "another default": ("mean", FUNCTION, "scale: float = 2.0", "scale: float = 1.0"),
    "another default of the module": ("mean", "modules.py", "scale: float = 2.0", "scale: float = 1.0"),
    "an argument that the module drops": ("mean", "modules.py", "scale=self.scale", "scale=2.0"),
    "dimensions from the end": ("softmax", "arguments.py", "return number % rank", "return abs(number)"),
    "no squeeze": (
        "average_pooling_1d",
        FUNCTION,
        "output.squeeze(0) if unbatched else output",
        "output",
    ),
    "every squeeze": (
        "average_pooling_1d",
        FUNCTION,
        "output.squeeze(0) if unbatched else output",
        "output.squeeze() if unbatched else output",
    ),
    "a flag turned": (
        "average_pooling_1d",
        FUNCTION,
        "count_include_pad=int(count_include_pad)",
        "count_include_pad=1 - int(count_include_pad)",
    ),
    "a flag turned that decides on extents": (
        "average_pooling_1d",
        FUNCTION,
        "(stride_w - 1) * ceil_mode",
        "(stride_w - 1) * (not ceil_mode)",
    ),
    "a type that is passed over": (
        "softmax",
        FUNCTION,
        'in_type("dtype", dtype,',
        'in_type("dtype", input.dtype,',
    ),
    "an optional result always": ("max_pooling_1d", FUNCTION, "if not return_indices:", "if False:"),
    "order of memory not undone": ("relu", "views.py", ".permute(_inverse(self.order))", ".permute(self.order)"),
    "nothing overwritten": ("relu", FUNCTION, "overwritten.copy_(output) if inplace else output", "output"),
    "overwritten unasked": (
        "relu",
        FUNCTION,
        "overwritten.copy_(output) if inplace else output",
        "overwritten.detach().copy_(output.detach()) * 0 + output",
    ),
    "gradients in the formula's shape": (
        "softmax",
        "runtime.py",
        "view.shaped(g, like.shape) for g, like in pairs",
        "g for g, like in pairs",
    ),
    "state exchanged": (
        "statistics",
        FUNCTION,
        "store((running_mean, new_running_mean), (running_var, new_running_var))",
        "store((running_mean, new_running_var), (running_var, new_running_mean))",
    ),
    "state never replaced": ("statistics", FUNCTION, "if input.numel():", "if False:"),
}


@pytest.mark.thinned(4)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_way_in_or_out_is_seen(fault: str) -> None:
    name, path, old, new = FAULTS[fault]
    path = f"functions/{DEFINED[name].name}.py" if path == FUNCTION else path
    text = sources(name)[path]
    assert old in text
    changed = text.replace(old, new)
    ast.parse(changed)
    assert judged(name, {path: changed}).failures


def test_nothing_is_written_where_a_function_is_wrong(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernels are right, the function is not: generation stops."""
    from svertka.codegen.driver import from_python
    from svertka.codegen.verify import validate

    definition = DEFINED["mean"]
    whole = generate_package([definition])
    path = f"functions/{definition.name}.py"
    wrong = {**whole.sources, path: whole.sources[path].replace("scale: float = 2.0", "scale: float = 1.0")}
    monkeypatch.setattr(generate, "generate_package", lambda *_, **__: replace(whole, sources=wrong))
    check = validate.validate_package
    monkeypatch.setattr(validate, "validate_package", lambda *args: check(*args, levels=["interface"], processes=1))
    import pickle

    given = tmp_path / "definition"
    given.write_bytes(pickle.dumps(definition))
    assert from_python.main(str(given), str(tmp_path / "package"), "--validate") == 1
    assert "interface: mean_of has scale=1.0 by default; its definition has 2.0" in capsys.readouterr().err
    assert not (tmp_path / "package").exists()


def every_variant() -> Iterator[tuple[Definition, Any]]:
    for definition in DEFINITIONS.values():
        for variant in definition.variants:
            yield definition, variant


@pytest.mark.parametrize(
    ("definition", "variant"), [pytest.param(d, v, id=v.layer.name) for d, v in every_variant() if "3d" not in d.name]
)
def test_every_argument_is_told_and_left_out(definition: Definition, variant: Any) -> None:
    """For each argument some call gives it, and for each default that small images allow some call leaves it out."""
    made = calls(definition, variant, small_cases(definition, variant))
    tensors = {tensor.name for tensor in variant.layer.inputs}
    for argument in definition.arguments:
        if hasattr(argument, "bound"):
            assert argument.bound not in tensors or any(argument.bound not in call.case.absent for call in made)
        else:
            assert any(argument.name in call.scalars for call in made)
    left_out = {a.name for a in definition.arguments for call in made if a.name not in call.scalars}
    assert definition.function == "image_input" or all(
        a.name in left_out or a.name in variant.when or a.name in ("seed", "training")
        for a in definition.arguments
        if a.default is not None and str(a.default) != "REQUIRED"
    )


def test_gradients_have_no_function_and_say_so() -> None:
    [definition] = [d for d in with_gradients([DEFINITIONS["relu"]]) if d.name == "relu_gradient"]
    package = generate_package([DEFINITIONS["relu"]])
    [verdict] = validate_package(package.sources, [definition], levels=["interface"], processes=1)
    [outcome] = verdict.outcomes
    assert outcome.inapplicable.startswith("it has no function")
    assert set(LEVELS) >= {"interface"}


def test_every_package_has_operators_of_its_own() -> None:
    library = importlib.import_module("svertka.generated.library")
    names = ["svertka.generated", "my_layers", "my.layers", "my__layers", "my._layers", "my_.layers", "my._0layers"]
    spaces = [library.namespace_of(name) for name in names]
    assert len(set(spaces)) == len(names)
    assert spaces[0] == "svertka"
    assert all(space.isidentifier() for space in spaces)
    importlib.import_module("svertka.generated.functional")  # importing defines them
    assert torch.ops.svertka.relu
