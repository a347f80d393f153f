"""Errata of the lecture and identities of its softmax slide, each shown by an exact computation.

1. Slide 20 lacks the square root: what it prints does not have variance 1.
2. Slides 3 to 5 compute a cross-correlation: turning the kernel round gives other numbers.
3. Slide 21 divides by the window at the borders too, where fewer channels are summed; PyTorch mirrors even
windows.

Input: numbers. Output: exact numbers, computed by evaluating formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from sympy import Expr, Integer, Symbol, exp, expand, log, sqrt, symbols

from svertka.spec.arithmetic import Rational, Symbolic
from svertka.spec.binding import call
from svertka.spec.evaluate import Array, evaluate
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Sum, Tensor, axis

__all__ = [
    "BORDERS",
    "first_element",
    "normalised_variance",
    "softmax_is_shift_invariant",
    "softmax_of_logarithms_is_bayes",
    "squares_at",
]


def normalised_variance(values: Sequence[int], *, root: bool) -> Expr:
    """Variance of a normalised batch in the limit of eps -> 0, with slide 20's missing root or without.

    The variance is continuous at eps = 0 where the batch's variance is not 0, so that the limit is the value
    there. With the root it is 1; as printed it is 1 / variance.
    """
    i = axis("i")
    x, mean, variance = Tensor("input", i), Tensor("mean"), Tensor("variance")
    normalised, again = Tensor("normalised", i), Tensor("again")
    middle, spread = mean[()], variance[()]
    layer = Layer(
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
    array = Array((len(values),), [Integer(value) for value in values])
    result: Expr = evaluate(layer, {"input": array}, {}, Symbolic())["again"].values[0]
    return result


def first_element(image: Sequence[Sequence[int]], kernel: Sequence[Sequence[int]], *, turned: bool) -> Fraction:
    """First element of the slides' cross-correlation, or of a convolution with the kernel turned round."""
    used = [row[::-1] for row in kernel[::-1]] if turned else kernel
    result = call(DEFINITIONS["convolution_2d"], Rational(), input=[[image]], weight=[[used]])
    first: Fraction = result[0][0][0][0]
    return first


BORDERS = ("lecture", "present", "alexnet", "pytorch")
"""Readings of slide 21's sum of squares; see ``squares_at``."""


def squares_at(channels: Sequence[int], window: int, reading: str) -> tuple[Fraction, ...]:
    """What alpha multiplies in slide 21, channel by channel.

    Args:
        channels: one element of every channel.
        window: the window's size.
        reading: ``"lecture"`` divides by the window everywhere; ``"present"`` by the channels that are there;
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
    """softmax(a + t) = softmax(a), which licenses subtracting the maximum."""
    scores = symbols(f"a:{classes}", real=True)
    shift = Symbol("t", real=True)
    shifted = _softmax([score + shift for score in scores])
    plain = _softmax(list(scores))
    return all(_same_fraction(p, q) for p, q in zip(shifted, plain, strict=True))


def _softmax(scores: list[Any]) -> list[Expr]:
    values: tuple[Expr, ...] = call(DEFINITIONS["softmax"], Symbolic(), input=scores, dim=0)
    return list(values)


def _same_fraction(left: Expr, right: Expr) -> bool:
    """Whether two quotients are equal: cross-multiplied and expanded, nothing is left."""
    (top, bottom), (other_top, other_bottom) = (_quotient(side) for side in (left, right))
    return bool(expand(top * other_bottom - other_top * bottom) == 0)


def _quotient(value: Expr) -> tuple[Expr, Expr]:
    numerator, denominator = value, Integer(1)
    for factor in value.args:
        if factor.is_Pow and not isinstance(factor, exp) and factor.exp == -1:
            numerator, denominator = numerator / factor, denominator * factor.base
    return numerator, denominator
