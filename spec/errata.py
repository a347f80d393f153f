"""Errata of the lecture and identities of its softmax slide, each shown by an exact computation.

1. Slide 20 lacks the square root: what it prints does not have variance 1.
2. Slides 3 to 5 compute a cross-correlation: flipping the kernel gives other numbers.
3. Slide 21 divides by the window at the borders too, where fewer channels are summed; PyTorch mirrors even
windows.

Input: numbers. Output: exact numbers, computed by evaluating formulas; ``errata()`` has them with explanations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sympy import Expr, Integer, Symbol, exp, expand, log, sqrt, symbols

from svertka.spec.arithmetic import Rational, Symbolic
from svertka.spec.binding import call
from svertka.spec.evaluate import Array, evaluate
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Sum, Tensor, axis
from svertka.spec.slides import A, B, Illustration

__all__ = [
    "BORDERS",
    "Computation",
    "Erratum",
    "errata",
    "first_element",
    "normalised_variance",
    "slide_20",
    "softmax_is_shift_invariant",
    "softmax_of_logarithms_is_bayes",
    "squares_at",
]


def normalised_variance(values: Sequence[int], *, root: bool) -> Expr:
    """Variance of a normalised batch in the limit of eps -> 0, with the root that slide 20 omits or without it.

    The variance is continuous at eps = 0 where the batch's variance is not 0, so the limit is the value there. With the
    root it is 1; as printed it is 1 / variance.
    """
    array = Array((len(values),), [Integer(value) for value in values])
    result: Expr = evaluate(slide_20(root=root), {"input": array}, {}, Symbolic())["again"].values[0]
    return result


def slide_20(*, root: bool) -> Layer:
    """Slide 20's normalisation in the limit of eps -> 0 and the variance of the result."""
    i = axis("i")
    x, mean, variance = Tensor("input", i), Tensor("mean"), Tensor("variance")
    normalised, again = Tensor("normalised", i), Tensor("again")
    middle, spread = mean[()], variance[()]
    return Layer(
        "slide_20",
        (x,),
        (
            Equation(mean, Sum(x[i], i) / i.extent),
            Equation(variance, Sum((x[i] - middle) ** 2, i) / i.extent),
            Equation(normalised, (x[i] - middle) / (sqrt(spread) if root else spread)),
            Equation(again, Sum(normalised[i] ** 2, i) / i.extent),
        ),
        ("again",),
    )


def first_element(image: Sequence[Sequence[int]], kernel: Sequence[Sequence[int]], *, turned: bool) -> Fraction:
    """First element of the slides' cross-correlation, or of a convolution with the kernel flipped."""
    used = [row[::-1] for row in kernel[::-1]] if turned else kernel
    result = call(DEFINITIONS["convolution_2d"], Rational(), input=[[image]], weight=[[used]])
    first: Fraction = result[0][0][0][0]
    return first


BORDERS = ("lecture", "present", "alexnet", "pytorch")
"""Readings of slide 21's sum of squares; see ``squares_at``."""


def squares_at(channels: Sequence[int], window: int, reading: str) -> tuple[Fraction, ...]:
    """The factor of alpha in slide 21, for every channel.

    Args:
        channels: one element of every channel.
        window: the window's size.
        reading: ``"lecture"`` divides by the window everywhere; ``"present"`` by the number of channels summed;
            ``"alexnet"`` by nothing; ``"pytorch"`` by the window, which it mirrors if it is even.
    """
    name = "local_response_normalization" if reading == "pytorch" else "cross_channel_normalization"
    size = "size" if reading == "pytorch" else "window_channel_size"
    mean = _denominators(name, channels, {size: window})
    if reading == "alexnet":
        return tuple(window * value for value in mean)
    if reading == "present":
        present = _denominators(name, [1] * len(channels), {size: window})
        return tuple(value / share for value, share in zip(mean, present, strict=True))
    return mean


def _denominators(name: str, channels: Sequence[int], size: dict[str, int]) -> tuple[Fraction, ...]:
    """The layer's denominator with k = 0 and alpha = beta = 1: the squares over the window."""
    rows = call(DEFINITIONS[name], Rational(), input=[list(channels)], k=0, alpha=1, beta=1, **size)
    return tuple(Fraction(x) / y for x, y in zip(channels, rows[0], strict=True))


def softmax_of_logarithms_is_bayes(classes: int) -> bool:
    """Slide 18: with a_k = ln p(x|C_k) p(C_k), softmax(a) is the posterior probability of the class."""
    likelihoods = symbols(f"likelihood:{classes}", positive=True)
    priors = symbols(f"prior:{classes}", positive=True)
    joint = [a * b for a, b in zip(likelihoods, priors, strict=True)]
    posterior = [product / sum(joint) for product in joint]
    result = _softmax([log(product) for product in joint])
    return all(expand(p - q) == 0 for p, q in zip(result, posterior, strict=True))


def softmax_is_shift_invariant(classes: int) -> bool:
    """softmax(a + t) = softmax(a), which justifies subtracting the maximum."""
    scores = symbols(f"a:{classes}", real=True)
    shift = Symbol("t", real=True)
    shifted = _softmax([score + shift for score in scores])
    plain = _softmax(list(scores))
    return all(_same_fraction(p, q) for p, q in zip(shifted, plain, strict=True))


def _softmax(scores: list[Any]) -> list[Expr]:
    values: tuple[Expr, ...] = call(DEFINITIONS["softmax"], Symbolic(), input=scores, dim=0)
    return list(values)


def _same_fraction(left: Expr, right: Expr) -> bool:
    """Whether two quotients are equal: the expanded difference of the cross products is 0."""
    (top, bottom), (other_top, other_bottom) = (_quotient(side) for side in (left, right))
    return bool(expand(top * other_bottom - other_top * bottom) == 0)


def _quotient(value: Expr) -> tuple[Expr, Expr]:
    numerator, denominator = value, Integer(1)
    for factor in value.args:
        if factor.is_Pow and not isinstance(factor, exp) and factor.exp == -1:
            numerator, denominator = numerator / factor, denominator * factor.base
    return numerator, denominator


@dataclass(frozen=True)
class Computation:
    """A formula with numbers; the last tensor is the result to show.

    Attributes:
        title: what is computed.
        layer: the formula.
        inputs: elements of every tensor, by tensor, one per index.
    """

    title: str
    layer: Layer
    inputs: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Erratum:
    """An omission or an error of a slide, or an identity that it states, and the computation that shows it.

    Attributes:
        slide: its number.
        title: the subject in one line.
        text: what it means and what svertka does.
        rows: what was computed, and the result.
        computations: formulas with numbers.
        calls: layers with numbers; the first element of the result is the one to look at.
    """

    slide: int
    title: str
    text: str
    rows: tuple[tuple[str, str], ...]
    computations: tuple[Computation, ...] = ()
    calls: tuple[Illustration, ...] = ()


def errata() -> tuple[Erratum, ...]:
    """All of them in the order of the slides, computed."""
    return (_not_turned(), _identities(), _missing_root(), _borders())


def _not_turned() -> Erratum:
    turned = tuple(row[::-1] for row in B[::-1])
    calls = tuple(
        Illustration(3, title, "convolution_2d", {"input": ((A,),), "weight": ((kernel,),)})
        for title, kernel in (("the kernel as it stands", B), ("the kernel turned round", turned))
    )
    rows = tuple(
        (f"first element, {call.title}", str(first_element(A, B, turned=place == 1)))
        for place, call in enumerate(calls)
    )
    return Erratum(
        3,
        "What the slides call convolution is a cross-correlation",
        "Elsewhere the kernel is turned round before it slides. The slides' numbers come out only if it is not, and so "
        "it is in PyTorch and here.",
        rows,
        calls=calls,
    )


def _identities() -> Erratum:
    proofs = (
        ("the posterior of Bayes is the softmax of ln p(x|C) p(C), for 4 classes", softmax_of_logarithms_is_bayes(4)),
        (
            "softmax does not change when all scores shift by the same number, for 4 classes",
            softmax_is_shift_invariant(4),
        ),
    )
    return Erratum(
        18,
        "Both identities of the softmax slide hold",
        "They are proven on symbols: every exponential is a symbol of its own, and what is left is polynomial. The "
        "second one is what allows kernels to subtract the largest score.",
        tuple((claim, "proven" if holds else "not proven") for claim, holds in proofs),
    )


def _missing_root() -> Erratum:
    values = (1, 5, 1, 5)
    titles = {True: "with the square root", False: "as the slide prints it, without the root"}
    return Erratum(
        20,
        "The square root is missing",
        "A normalised batch has variance 1. With the variance itself in the denominator it has 1 / variance; with its "
        "square root it has 1. The layer here has the root, as the paper does (Ioffe and Szegedy, arXiv:1502.03167).",
        tuple(
            (
                f"variance of the normalised batch {', '.join(map(str, values))}, {title}",
                str(normalised_variance(values, root=root)),
            )
            for root, title in titles.items()
        ),
        tuple(Computation(title, slide_20(root=root), {"input": values}) for root, title in titles.items()),
    )


def _borders() -> Erratum:
    channels, window = (1, 2, 3, 4, 5), 4
    readings = {
        "lecture": "divided by the window, as on the slide",
        "present": "divided by the channels that are there",
        "alexnet": "not divided, as in the AlexNet paper",
        "pytorch": "divided by the window, which PyTorch mirrors when it is even",
    }
    rows = tuple(
        (words, ", ".join(str(value) for value in squares_at(channels, window, reading)))
        for reading, words in readings.items()
    )
    return Erratum(
        21,
        "The window divides at the borders too",
        "At the first and last channels fewer squares are summed, and still the slide divides by the whole window. "
        f"For channels {', '.join(map(str, channels))} and a window of {window}, what alpha multiplies is, channel by "
        "channel:",
        rows,
    )
