"""Every derived gradient equals brute-force differentiation, symbol by symbol, at small asymmetric sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pytest
import sympy

from svertka.spec import adjoint
from svertka.spec.definition import Definition
from svertka.spec.evaluate import Array
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers import DEFINITIONS
from svertka.spec.layers.convolution import convolution
from svertka.spec.proof import Disproved, Setting, prove_adjoint, prove_tangent
from svertka.spec.rewrite import replace, substitute

Owner: TypeAlias = Callable[[str], Definition]
Completer: TypeAlias = Callable[[Definition, Mapping[str, Any]], dict[str, Any]]

k, alpha, beta = sympy.symbols("k alpha beta", positive=True)
eps = sympy.Symbol("eps", positive=True)
momentum, p, smoothing = sympy.symbols("momentum p label_smoothing", real=True)
slope = sympy.Symbol("negative_slope", real=True)
HALF = {p: sympy.Rational(1, 2)}
FIRM = {eps: sympy.Rational(1, 10)}  # it decides what is positive after a normalization
TENTH = {smoothing: sympy.Rational(1, 10)}
NORM = {"k": k, "alpha": alpha, "beta": beta}
LABELS = {"target": Array((2, 2), [1, 2, -7, 0])}  # one label is ignored
ENTROPY = {"N": 2, "K": 3, "M": 2, "ignore_index": -7, "label_smoothing": smoothing}
PROBABLE = {"N": 2, "K": 3, "M": 1, "label_smoothing": smoothing}
POOL = {"ceil_mode": 0, "count_include_pad": 0, "divisor_override": 0}


def axis(name: str, extent: int, window: int, stride: int, dilation: int, low: int, high: int) -> dict[str, int]:
    """Sizes along one spatial axis."""
    return {
        name.upper(): extent,
        {"d": "T", "h": "R", "w": "S"}[name]: window,
        f"stride_{name}": stride,
        f"dilation_{name}": dilation,
        f"padding_{name}": low,
        f"padding_{name}_high": high,
    }


def transposed(
    name: str, window: int, stride: int = 1, dilation: int = 1, padding: int = 0, more: int = 0
) -> dict[str, Any]:
    """Sizes of one spatial axis of a transposed convolution."""
    known = axis(name, 0, window, stride, dilation, padding, padding)
    del known[name.upper()]
    return {**known, f"output_padding_{name}": more}


RESULTS = {"d": "Z", "h": "P", "w": "Q"}


def interpolated(name: str, extent: int, result: int, step: int, lead: int, parts: int) -> dict[str, int]:
    """Sizes of one spatial axis of an interpolation: output ``p`` lies at ``(step p + lead) / parts``."""
    return {
        name.upper(): extent,
        RESULTS[name]: result,
        f"step_{name}": step,
        f"lead_{name}": lead,
        f"parts_{name}": parts,
    }


DEPTH, HEIGHT, WIDTH = axis("d", 3, 2, 2, 1, 1, 1), axis("h", 2, 2, 1, 1, 1, 0), axis("w", 3, 2, 1, 2, 1, 0)

DEEP, WIDER = {"D": 2, "output_d": 1}, {"W": 2, "output_w": 3}  # bands that overlap
ACTIVATIONS = (
    "relu6",
    "selu",
    "gelu_none",
    "gelu_tanh",
    "silu",
    "mish",
    "hardswish",
    "hardsigmoid",
    "sigmoid",
    "tanh",
    "softsign",
)

# name, sizes, and further attributes of the setting
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # windows overlap, padding is uneven; stride; dilation; stride and dilation with a common divisor; groups
    ("convolution_1d", {"N": 2, "G": 1, "K": 2, "C": 3, **axis("w", 5, 3, 1, 1, 1, 2)}, {}),
    ("convolution_1d", {"N": 1, "G": 3, "K": 2, "C": 1, **axis("w", 7, 2, 3, 2, 2, 0)}, {}),
    ("convolution_1d", {"N": 1, "G": 1, "K": 1, "C": 1, **axis("w", 9, 3, 4, 2, 3, 1)}, {}),
    (
        "convolution_2d",
        {"N": 1, "G": 2, "K": 1, "C": 2, **axis("h", 4, 2, 2, 1, 1, 0), **axis("w", 5, 3, 1, 2, 2, 1)},
        {},
    ),
    (
        "convolution_2d",
        {"N": 2, "G": 1, "K": 3, "C": 2, **axis("h", 3, 2, 1, 1, 0, 0), **axis("w", 4, 2, 3, 1, 0, 0)},
        {},
    ),
    ("convolution_3d", {"N": 1, "G": 1, "K": 2, "C": 1, **DEPTH, **HEIGHT, **WIDTH}, {}),
    ("convolution_3d", {"N": 1, "G": 2, "K": 1, "C": 1, **DEPTH, **HEIGHT, **WIDTH}, {}),
    # groups; elements that no window reaches; a stride and a dilation with a common divisor
    ("transposed_convolution_1d", {"N": 2, "G": 2, "K": 1, "C": 2, "Q": 3, **transposed("w", 2, 2, 1, 0, 1)}, {}),
    ("transposed_convolution_1d", {"N": 1, "G": 1, "K": 2, "C": 1, "Q": 2, **transposed("w", 3, 4, 2, 1, 3)}, {}),
    (
        "transposed_convolution_2d",
        {"N": 1, "G": 1, "K": 2, "C": 2, "P": 2, "Q": 3, **transposed("h", 3, 1, 2, 1, 0), **transposed("w", 2, 3)},
        {},
    ),
    (
        "transposed_convolution_3d",
        {
            **{"N": 1, "G": 2, "K": 1, "C": 1, "Z": 1, "P": 2, "Q": 2},
            **transposed("d", 2),
            **transposed("h", 2, 2, 1, 1, 1),
            **transposed("w", 1, 3, 1, 0, 2),
        },
        {},
    ),
    (
        "nearest_interpolation_2d",
        {"N": 1, "C": 2, **interpolated("h", 3, 5, 1, 1, 2), **interpolated("w", 4, 3, 8, 4, 6)},
        {},
    ),
    (
        "nearest_interpolation_3d",
        {
            **{"N": 1, "C": 1, **interpolated("d", 2, 3, 4, 2, 6)},
            **interpolated("h", 3, 2, 3, 1, 2),
            **interpolated("w", 4, 2, 4, 0, 2),
        },
        {},
    ),
    (
        "linear_interpolation_2d",
        {"N": 2, "C": 1, **interpolated("h", 3, 4, 3, 3, 4), **interpolated("w", 2, 3, 2, 3, 3)},
        {},
    ),
    (
        "linear_interpolation_3d",
        {
            **{"N": 1, "C": 1, **interpolated("d", 2, 2, 3, 3, 3)},
            **interpolated("h", 2, 3, 1, 2, 2),
            **interpolated("w", 3, 2, 3, 4, 2),
        },
        {},
    ),
    ("relu", {"I": 9}, {}),
    ("max_pooling_1d", {"N": 2, "C": 2, **axis("w", 7, 3, 2, 1, 1, 1), **POOL}, {}),
    ("max_pooling_1d", {"N": 1, "C": 1, **axis("w", 9, 3, 1, 2, 1, 1), **POOL}, {}),
    ("max_pooling_1d", {"N": 1, "C": 2, **axis("w", 6, 2, 3, 1, 1, 1), **POOL, "ceil_mode": 1}, {}),
    ("max_pooling_1d", {"N": 1, "C": 1, **axis("w", 6, 3, 1, 1, 0, 0), **POOL}, {"samples": (4,)}),  # all tie
    (
        "max_pooling_2d",
        {"N": 1, "C": 2, **axis("h", 4, 3, 2, 1, 1, 1), **axis("w", 5, 2, 1, 2, 0, 0), **POOL},
        {},
    ),
    (
        "max_pooling_2d",
        {
            "N": 1,
            "C": 1,
            **axis("h", 5, 2, 2, 1, 1, 1),
            **axis("w", 3, 3, 1, 1, 1, 1),
            **POOL,
            "ceil_mode": 1,
        },
        {},
    ),
    ("max_pooling_3d", {"N": 1, "C": 1, **DEPTH, **axis("h", 4, 2, 1, 1, 0, 0), **WIDTH, **POOL}, {}),
    ("average_pooling_1d", {"N": 1, "C": 2, **axis("w", 7, 3, 2, 1, 1, 1), **POOL}, {}),
    (
        "average_pooling_1d",
        {"N": 1, "C": 2, **axis("w", 6, 3, 2, 1, 1, 1), **POOL, "count_include_pad": 1},
        {},
    ),
    ("average_pooling_1d", {"N": 1, "C": 1, **axis("w", 6, 2, 3, 1, 1, 1), **POOL, "ceil_mode": 1}, {}),
    (
        "average_pooling_2d",
        {"N": 1, "C": 2, **axis("h", 4, 3, 2, 1, 1, 1), **axis("w", 5, 2, 1, 1, 1, 1), **POOL},
        {},
    ),
    (
        "average_pooling_2d",
        {
            **{"N": 1, "C": 1, **axis("h", 4, 3, 2, 1, 1, 1), **axis("w", 3, 2, 2, 1, 0, 0), **POOL},
            "divisor_override": 5,
        },
        {},
    ),
    (
        "average_pooling_3d",
        {
            **{"N": 1, "C": 1, **DEPTH, **axis("h", 3, 2, 1, 1, 0, 0), **axis("w", 4, 2, 2, 1, 1, 1), **POOL},
            "count_include_pad": 1,
        },
        {},
    ),
    ("linear", {"M": 2, "I": 3, "O": 4}, {}),
    ("softmax", {"A": 2, "K": 3, "B": 2}, {}),
    ("log_softmax", {"A": 2, "K": 3, "B": 2}, {}),
    *(
        (
            f"cross_entropy_labels_{reduction}",
            sizes,
            {"given": LABELS, "parameters": TENTH, "positive": ("weight",)},
        )
        for reduction in ("none", "sum", "mean")
        for sizes in (ENTROPY, {**ENTROPY, "label_smoothing": 0})
    ),
    *(
        (f"cross_entropy_probabilities_{reduction}", PROBABLE, {"parameters": TENTH, "positive": ("weight",)})
        for reduction in ("none", "sum", "mean")
    ),
    ("dropout", {"I": 8, "p": p, "seed": 5}, {"parameters": HALF}),
    ("batch_normalization_training", {"N": 2, "C": 2, "M": 2, "eps": eps, "momentum": momentum}, {}),
    ("batch_normalization_without_estimates", {"N": 3, "C": 1, "M": 1, "eps": eps}, {}),
    (
        "batch_normalization_inference",
        {"N": 2, "C": 2, "M": 3, "eps": eps},
        {"positive": ("running_var",)},
    ),
    *(
        (f"{name}_normalization", {"N": 1, "C": 4, "M": 2, "J": window, **NORM}, {})
        for name in ("cross_channel", "local_response")
        for window in (1, 2, 3, 6)
    ),
    ("resize", {"N": 1, "C": 2, "H": 4, "W": 3, "P": 3, "Q": 5, "antialias": 1}, {}),
    ("resize", {"N": 1, "C": 1, "H": 5, "W": 2, "P": 2, "Q": 3, "antialias": 0}, {}),
    ("center_crop", {"N": 1, "C": 2, "H": 5, "W": 4, "P": 2, "Q": 3}, {}),
    ("normalize", {"N": 2, "C": 2, "M": 3}, {"positive": ("std",)}),
    (
        "image_input",
        {"N": 1, "C": 2, "H": 5, "W": 3, "P": 2, "Q": 2, "antialias": 1, "crop": 1},
        {"positive": ("std",)},
    ),
    (
        "convolution_2d_relu",
        {"N": 1, "G": 2, "K": 1, "C": 1, **axis("h", 3, 2, 2, 1, 1, 0), **axis("w", 4, 2, 1, 2, 1, 0)},
        {},
    ),
    *(
        (
            f"batch_normalization_{parts}_{mode}",
            {"N": 2, "C": 1, "M": 2, "eps": eps, **more},
            {"parameters": FIRM, **rest},
        )
        for parts in ("relu", "add_relu")
        for mode, more, rest in (
            ("training", {"momentum": momentum}, {}),
            ("without_estimates", {}, {}),
            ("inference", {}, {"positive": ("running_var",)}),
        )
    ),
    *(
        ("relu_cross_channel_normalization", {"N": 1, "C": 4, "M": 2, "J": window, **NORM}, {})
        for window in (1, 2, 3, 6)
    ),
    ("leaky_relu", {"I": 9, "negative_slope": slope}, {"parameters": {slope: sympy.Rational(1, 4)}}),
    ("hardtanh", {"I": 9, "min_val": -1, "max_val": 3}, {}),
    ("elu", {"I": 9, "alpha": alpha}, {"parameters": {alpha: sympy.Rational(3, 2)}}),
    ("softplus", {"I": 9, "beta": 2, "threshold": 4}, {}),
    *((name, {"I": 9}, {}) for name in ACTIVATIONS),
    ("prelu", {"N": 2, "W": 3, "K": 1, "M": 2}, {}),
    ("prelu", {"N": 3, "W": 1, "K": 2, "M": 1}, {}),  # one weight for all channels
    *(
        (f"adaptive_{kind}_pooling_{rank}d", {"N": 1, "C": 2, **sizes}, {})
        for kind in ("average", "max")
        for rank, sizes in (
            (1, {"W": 5, "output_w": 3}),
            (2, {"H": 3, "output_h": 2, **WIDER}),
            (3, {**DEEP, "H": 3, "output_h": 2, **WIDER}),
        )
    ),
    ("layer_normalization", {"M": 2, "C": 3, "eps": eps}, {}),
    ("root_mean_square_normalization", {"M": 2, "C": 3, "eps": eps}, {}),
    ("group_normalization", {"N": 1, "G": 2, "K": 1, "S": 2, "eps": eps}, {}),
    ("instance_normalization_by_its_own", {"N": 2, "C": 1, "S": 2, "eps": eps}, {}),
    ("instance_normalization_training", {"N": 1, "C": 2, "S": 2, "eps": eps, "momentum": momentum}, {}),
    (
        "instance_normalization_by_estimates",
        {"N": 2, "C": 2, "S": 3, "eps": eps},
        {"positive": ("running_var",)},
    ),
]
NAMES = [f"{number}-{name}" for number, (name, _, _) in enumerate(CASES)]


def test_every_formula_has_a_case() -> None:
    formulas = {variant.layer.name for d in DEFINITIONS.values() for variant in d.variants}
    assert formulas == {name for name, _, _ in CASES}


@pytest.mark.parametrize(("name", "sizes", "rest"), CASES, ids=NAMES)
def test_adjoint_is_the_gradient(
    name: str,
    sizes: dict[str, Any],
    rest: dict[str, Any],
    owner: Owner,
    complete: Completer,
) -> None:
    definition = owner(name)
    layer = next(v.layer for v in definition.variants if v.layer.name == name)
    setting = Setting(complete(definition, sizes), **rest)
    wrt = definition.differentiable(layer)
    assert prove_adjoint(layer, setting, wrt, definition.result) > 0


@pytest.mark.parametrize(("name", "sizes", "rest"), CASES, ids=NAMES)
def test_tangent_is_the_derivative(
    name: str,
    sizes: dict[str, Any],
    rest: dict[str, Any],
    owner: Owner,
    complete: Completer,
) -> None:
    definition = owner(name)
    layer = next(v.layer for v in definition.variants if v.layer.name == name)
    setting = Setting(complete(definition, sizes), **rest)
    assert prove_tangent(layer.only(definition.result), setting, definition.differentiable(layer)) > 0


def test_running_estimates_have_gradients_too() -> None:
    layer = DEFINITIONS["batch_normalization"].variants[0].layer
    setting = Setting({"N": 2, "C": 1, "M": 2, "eps": eps, "momentum": momentum})
    assert prove_adjoint(layer, setting) == 4 + 1 + 1 + 1 + 1  # input, both estimates, weight, bias


SECOND = ["convolution_1d", "transposed_convolution_1d", "relu", "max_pooling_1d", "linear", "softmax"]
SECOND += ["cross_channel_normalization"]


@pytest.mark.parametrize("name", SECOND)
def test_gradient_of_the_gradient(name: str, owner: Owner, complete: Completer) -> None:
    _, sizes, rest = next(case for case in CASES if case[0] == name)
    definition = owner(name)
    gradient = adjoint(definition.variants[0].layer, ["input"], definition.result)
    assert prove_adjoint(gradient, Setting(complete(definition, sizes), **rest)) > 0
    assert "grad2_grad_output" in adjoint(gradient).outputs


def test_forward_over_reverse(complete: Completer) -> None:
    """The derivative of a gradient along a direction: a Hessian times a vector."""
    gradient = adjoint(DEFINITIONS["cross_entropy"].variants[3].layer, ["input"])
    setting = Setting({**PROBABLE, "label_smoothing": 0}, positive=("weight",))
    assert prove_tangent(gradient, setting, ["input"]) == 6


def test_class_weights_may_be_differentiated() -> None:
    layer = DEFINITIONS["cross_entropy"].variants[0].layer
    setting = Setting(ENTROPY, LABELS, parameters=TENTH, positive=("weight",))
    assert prove_adjoint(layer, setting, ["weight"]) == 3


def altered(layer: Layer, old: sympy.Expr, new: sympy.Expr) -> Layer:
    """A layer with another formula: a replacement in every equation."""
    equations = tuple(Equation(e.target, replace(e.value, {old: new})) for e in layer.equations)
    return Layer(layer.name, layer.inputs, equations, layer.outputs)


def test_a_wrong_gradient_is_disproved(monkeypatch: pytest.MonkeyPatch, complete: Completer) -> None:
    """The gradient of another formula, with the padding off by one, must not pass."""
    layer = convolution(1)
    padding = sympy.Symbol("padding_w", integer=True)
    wrong = adjoint(altered(layer, padding, padding + 1))
    monkeypatch.setattr("svertka.spec.proof.adjoint", lambda *_: wrong)
    with pytest.raises(Disproved, match="convolution_1d_adjoint: at input_0_0_0_0 the derived layer gives"):
        prove_adjoint(layer, Setting(complete(DEFINITIONS["convolution_1d"], CASES[0][1])))


def test_a_wrong_tie_is_disproved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that goes to the last maximal element must not pass; without ties it passes."""
    layer = DEFINITIONS["max_pooling_1d"].variants[0].layer.only(["output"])
    s = layer.equations[0].value.indices[0]
    sizes = {"N": 1, "C": 1, **axis("w", 2, 2, 1, 1, 0, 0), "Q": 1}
    element = layer.equations[0].value.body
    backwards = adjoint(altered(layer, element, substitute(element, {s: s.extent - 1 - s})))
    monkeypatch.setattr("svertka.spec.proof.adjoint", lambda *_: backwards)
    assert prove_adjoint(layer, Setting(sizes, samples=(1, 2))) == 2
    with pytest.raises(Disproved):
        prove_adjoint(layer, Setting(sizes, samples=(1,)))
