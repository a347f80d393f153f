"""The rounding model is rigorous: float32, and Hopper's matrix unit, emulated step by step, stay within its bounds.

Exact values are fractions; exp and log are float64's, whose own error is 2**-29 of float32's. Bounds ignore overflow:
sums of magnitudes stay below float32's largest number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from random import Random
from typing import TypeAlias

import numpy as np
import pytest

from svertka.spec import FORMATS, RunningError
from svertka.spec.exact import Exact
from svertka.spec.running_error import Bounded, on_matrix_unit

Numbers: TypeAlias = list[float]
Data: TypeAlias = Callable[[Random, int], Numbers]
Triple: TypeAlias = tuple[np.float32, Fraction, Bounded]
Kind: TypeAlias = Callable[[Data, Random], Iterator[float]]
FLOAT32 = RunningError(FORMATS["float32"])
TRIALS, SINGLE = 100, np.float32


def _single(value: float) -> float:
    """Round to float32."""
    return float(SINGLE(value))


# Data ----------------------------------------------------------------------------------------------------------------


def _typical(draw: Random, count: int) -> Numbers:
    return [_single(draw.gauss(0.0, 1.0)) for _ in range(count)]


def _positive(draw: Random, count: int) -> Numbers:
    return [_single(draw.uniform(0.5, 1.5)) for _ in range(count)]


def _cancelling(draw: Random, count: int) -> Numbers:
    """Pairs that differ in their last bits, and one small number."""
    found: Numbers = []
    while len(found) < count - 1:
        value = draw.gauss(0.0, 1.0)
        found += [_single(value), -_single(value * (1 + draw.uniform(-4, 4) * 2.0**-23))]
    return [*found[: count - 1], _single(draw.gauss(0.0, 2.0**-20))]


def _mixed(draw: Random, count: int) -> Numbers:
    """Magnitudes from 2**-30 to 2**30."""
    return [_single(math.ldexp(draw.gauss(0.0, 1.0), draw.randint(-30, 30))) for _ in range(count)]


def _tiny(draw: Random, count: int) -> Numbers:
    """Subnormal numbers among the smallest normal ones; their products are 0 or nearly 0."""
    return [_single(math.ldexp(draw.gauss(0.0, 1.0), draw.randint(-148, -60))) for _ in range(count)]


def _huge(draw: Random, count: int) -> Numbers:
    return [_single(math.ldexp(draw.uniform(-1.0, 1.0), 60)) for _ in range(count)]


def _one_among_small(draw: Random, count: int) -> Numbers:
    """One huge number; the small ones are truncated when they are aligned to it; signs alternate."""
    found = [(-1) ** n * _single(draw.uniform(1.0, 2.0)) * 2.0**-13 for n in range(count)]
    found[draw.randrange(count)] = _single(draw.uniform(1.0, 2.0)) * 2.0**11
    return found


DATA = (_typical, _positive, _cancelling, _mixed, _tiny, _huge, _one_among_small)


# float32, one operation at a time ------------------------------------------------------------------------------------


def _summed(values: Sequence[np.float32], draw: Random) -> np.float32:
    """A sum as a random tree: any two partial sums are added next."""
    rest = list(values)
    while len(rest) > 1:
        one, other = (rest.pop(draw.randrange(len(rest))) for _ in range(2))
        rest.append(SINGLE(one + other))
    return rest[0]


def _dot(left: Numbers, right: Numbers, draw: Random) -> np.float32:
    """A dot product in any order, or with fused multiplications and additions."""
    if draw.random() < 0.5:
        return _summed([SINGLE(a) * SINGLE(b) for a, b in zip(left, right, strict=True)], draw)
    total = SINGLE(0.0)
    for place in draw.sample(range(len(left)), len(left)):
        total = SINGLE(left[place] * right[place] + float(total))
    return total


def _exact_dot(left: Numbers, right: Numbers) -> Fraction:
    return sum((Fraction(a) * Fraction(b) for a, b in zip(left, right, strict=True)), Fraction(0))


def _bounded_dot(arithmetic: RunningError, left: Numbers, right: Numbers) -> Bounded:
    pairs = zip(map(arithmetic.exact, left), map(arithmetic.exact, right), strict=True)
    return arithmetic.total([arithmetic.multiply(a, b) for a, b in pairs])


def _ratio(got: float | Fraction, exact: float | Fraction, bound: Bounded) -> float:
    """Error over bound, both from the exact value and from the bound's own value; at most 1 is asserted."""
    off = max(abs(Fraction(got) - Fraction(right)) for right in (exact, bound.value))
    assert off <= Fraction(bound.error), f"{float(got)!r} is not {float(exact)!r} +- {bound.error:.3g}"
    return float(off / Fraction(bound.error)) if off else 0.0


def _sums(data: Data, draw: Random) -> Iterator[float]:
    for _ in range(TRIALS):
        values = data(draw, draw.randint(2, 40))
        got, exact = _summed(list(map(SINGLE, values)), draw), sum(map(Fraction, values), Fraction(0))
        bounded = list(map(FLOAT32.exact, values))
        yield _ratio(float(got), exact, FLOAT32.total(bounded))
        yield _ratio(float(got), exact, FLOAT32.add(*bounded))


def _products(data: Data, draw: Random) -> Iterator[float]:
    for _ in range(TRIALS):
        values = data(draw, draw.randint(2, 3 if data is not _huge else 2))
        got = SINGLE(values[0])
        for value in values[1:]:
            got = SINGLE(got * SINGLE(value))
        exact = math.prod(map(Fraction, values), start=Fraction(1))
        yield _ratio(float(got), exact, FLOAT32.multiply(*map(FLOAT32.exact, values)))


def _dot_products(data: Data, draw: Random) -> Iterator[float]:
    for _ in range(TRIALS):
        count = draw.randint(1, 40)
        left, right = data(draw, count), _typical(draw, count)
        bound = _bounded_dot(FLOAT32, left, right)
        yield _ratio(float(_dot(left, right, draw)), _exact_dot(left, right), bound)


def _powered(base: np.float32, exponent: float, draw: Random) -> np.float32:
    """A power by one of the two instruction sequences of the model."""
    own = {2.0: base * base, 3.0: base * base * base, 0.5: np.sqrt(base), -0.5: 1 / np.sqrt(base), -1.0: 1 / base}
    if exponent in own and draw.random() < 0.5:
        return SINGLE(own[exponent])
    if exponent not in own and draw.random() < 0.5:
        return SINGLE(np.exp2(SINGLE(exponent) * np.log2(base)))
    return SINGLE(np.power(base, SINGLE(exponent)))


def _positive_sum(data: Data, draw: Random) -> Triple:
    """A sum of magnitudes, which has its own error."""
    values = [abs(value) for value in data(draw, draw.randint(1, 9))]
    bound = FLOAT32.total(list(map(FLOAT32.exact, values)))
    return _summed(list(map(SINGLE, values)), draw), sum(map(Fraction, values), Fraction(0)), bound


def _powers(data: Data, draw: Random) -> Iterator[float]:
    """Powers and roots."""
    for _ in range(TRIALS):
        total, base, bound = _positive_sum(data, draw)
        exponent = draw.choice((2.0, 3.0, 0.5, -0.5, -1.0, 0.75, -0.75, 1.5, -2.0, 4.0))
        power = FLOAT32.power(bound, FLOAT32.number(exponent))
        if 2.0**-126 < power.value < 2.0**127:
            yield _ratio(float(_powered(total, exponent, draw)), float(base) ** exponent, power)


def _exponential(value: np.float32, draw: Random) -> np.float32:
    """The exponential itself, and as GPUs compute it."""
    return SINGLE(np.exp(value) if draw.random() < 0.5 else np.exp2(value * SINGLE(math.log2(math.e))))


def _exponentials(data: Data, draw: Random) -> Iterator[float]:
    for _ in range(TRIALS):
        values = data(draw, 2)
        difference, exact = SINGLE(values[0]) - SINGLE(values[1]), Fraction(values[0]) - Fraction(values[1])
        if abs(exact) > 80:
            continue
        bound = FLOAT32.function("exp", FLOAT32.add(*map(FLOAT32.exact, (values[0], -values[1]))))
        yield _ratio(float(_exponential(difference, draw)), math.exp(exact), bound)


def _logarithms(data: Data, draw: Random) -> Iterator[float]:
    for _ in range(TRIALS):
        total, exact, bound = _positive_sum(data, draw)
        got = np.log(total) if draw.random() < 0.5 else np.log2(total) * SINGLE(math.log(2))
        if total > 0:
            yield _ratio(float(got), math.log(exact), FLOAT32.function("log", bound))


KINDS = (_sums, _products, _dot_products, _powers, _exponentials, _logarithms)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_within_the_bound(kind: Kind, data: Data) -> None:
    with np.errstate(all="ignore"):
        assert all(ratio <= 1 for ratio in kind(data, Random(f"{kind.__name__} {data.__name__}")))


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_not_absurdly_loose(kind: Kind) -> None:
    assert max(kind(_typical, Random(kind.__name__))) >= 1e-3
    assert max(kind(_positive, Random(kind.__name__))) >= 1e-3


def test_log_beside_one() -> None:
    """GPUs approximate log2 within 2**-22 near 1: also where the formula's argument is 1 and the kernel's is not.

    At 1 an approximation is exact. The bound must be finite, because an infinite one would accept anything.
    """
    assert FLOAT32.function("log", FLOAT32.exact(1.0)).error < 2.0**-20
    argument = FLOAT32.total([FLOAT32.exact(0.5 + sign * 2.0**-23) for sign in (-1, 1)])
    bound = FLOAT32.function("log", argument)
    assert bound.error < 2.0**-20
    for value in (1 - 2.0**-24, 1 + 2.0**-24):
        assert abs(value - 1) <= argument.error
        for wrong in (-(2.0**-22), 2.0**-22):
            _ratio(_single(_single(math.log2(value) + wrong) * _single(math.log(2))), 0.0, bound)


# Sums that are rescaled ----------------------------------------------------------------------------------------------


def _rounded_exp(argument: np.float32, units: float) -> np.float32:
    """An exponential with the largest error that functions may have; that of 0 is exact."""
    if argument == 0 or np.isinf(argument):
        return np.exp(argument)
    error = units * RunningError.ULPS * (1 + abs(float(argument)) / 2) * 2.0**-24
    return SINGLE(math.exp(float(argument)) * (1 + error))


def _rescaled(elements: Numbers, weights: Numbers, units: float) -> tuple[float, float, Bounded, Bounded]:
    """A sum of weighted exponentials as one lane computes it, its value, and its bounds with and without rescaling."""
    largest, found = SINGLE(-np.inf), SINGLE(0)
    for element, weight in zip(map(SINGLE, elements), map(SINGLE, weights), strict=True):
        larger = max(largest, element)
        found = found * _rounded_exp(largest - larger, units) + weight * _rounded_exp(element - larger, units)
        largest = larger
    shift = FLOAT32.exact(float(largest))
    exponents = [FLOAT32.add(FLOAT32.exact(e), Bounded(-shift.value, 0.0)) for e in elements]
    powers = [FLOAT32.function("exp", exponent) for exponent in exponents]
    terms = [FLOAT32.multiply(FLOAT32.exact(w), power) for w, power in zip(weights, powers, strict=True)]
    exact = math.fsum(w * math.exp(e - shift.value) for e, w in zip(elements, weights, strict=True))
    sums = (
        math.fsum(part(term) for term in terms) for part in (lambda t: t.value, lambda t: t.error, lambda t: t.size)
    )
    bound = FLOAT32.rescaled(*sums, len(terms), math.fsum(map(abs, weights)))
    return float(found), exact, bound, FLOAT32.total(terms)


RISING: dict[str, Callable[[Random, int], Numbers]] = {
    "random": lambda draw, count: [_single(draw.gauss(0, 3)) for _ in range(count)],
    "in every step, by little": lambda _, count: [place * 2.0**-8 for place in range(count)],
    "in every step": lambda _, count: [place * 0.5 for place in range(count)],
    "never": lambda _, count: [-place * 0.25 for place in range(count)],
    "at the end": lambda draw, count: [*(_single(draw.gauss(0, 1)) for _ in range(count - 1)), 40.0],
}


@pytest.mark.parametrize("units", [1.0, -1.0])
@pytest.mark.parametrize("rising", RISING)
@pytest.mark.parametrize("weigh", ["ones", "signed"])
def test_a_sum_that_is_rescaled_stays_within_its_bound(rising: str, weigh: str, units: float) -> None:
    draw = Random(f"{rising} {weigh}")
    with np.errstate(all="ignore"):
        for count in (1, 2, 3, 17, 200):
            weights = [1.0 if weigh == "ones" else _single(draw.gauss(0, 1)) for _ in range(count)]
            found, exact, bound, _ = _rescaled(RISING[rising](draw, count), weights, units)
            assert math.isfinite(bound.error)
            assert abs(found - exact) <= bound.error, (count, found, exact, bound)


def test_the_bound_of_a_sum_does_not_serve_one_that_is_rescaled() -> None:
    """In a row that rises in every step each term is rescaled by the exponentials of all steps behind it."""
    found, exact, bound, plain = _rescaled(RISING["in every step, by little"](Random(0), 200), [1.0] * 200, 1.0)
    assert plain.error < abs(found - exact) <= bound.error


def test_weights_that_overflow_before_they_fade_have_no_bound() -> None:
    largest = FORMATS["float32"].compute_largest
    assert math.isinf(FLOAT32.rescaled(1.0, 0.0, 1.0, 2, 0.7 * largest).error)
    assert math.isfinite(FLOAT32.rescaled(1.0, 0.0, 1.0, 2, 0.2 * largest).error)


# Nested operations ---------------------------------------------------------------------------------------------------


LEAVES: dict[str, Callable[[Random], float]] = {
    "integers": lambda draw: float(draw.randint(-4, 4)),
    "eighths": lambda draw: draw.randint(-16, 16) / 8,
    "powers of two": lambda draw: draw.choice((-1, 1)) * 2.0 ** draw.randint(-40, 20),
    "reals": lambda draw: _single(draw.gauss(0.0, 1.0) * 2.0 ** draw.randint(-3, 3)),
}


def _nested(
    draw: Random, depth: int, arithmetic: RunningError, leaf: Callable[[Random], float], powers: Sequence[int]
) -> Triple:
    """A random expression in float32, in fractions, and bounded."""
    if depth == 0:
        value = leaf(draw)
        return SINGLE(value), Fraction(value), arithmetic.exact(value)
    parts = [_nested(draw, depth - 1, arithmetic, leaf, powers) for _ in range(draw.randint(2, 3))]
    rounded, exact, bounded = (list(column) for column in zip(*parts, strict=True))
    road, exponent = draw.randrange(5), draw.choice(powers)
    if road in (0, 1):
        summed = arithmetic.add(*bounded) if road else arithmetic.total(bounded)
        return _summed(rounded, draw), sum(exact, Fraction(0)), summed
    if road in (2, 3) or (exact[0] == 0 and exponent < 0):
        return rounded[0] * rounded[1], exact[0] * exact[1], arithmetic.multiply(*bounded[:2])
    power = SINGLE(rounded[0] ** SINGLE(abs(exponent)))
    bound = arithmetic.power(bounded[0], arithmetic.number(float(exponent)))
    return power if exponent > 0 else SINGLE(1) / power, exact[0] ** exponent, bound


def test_nested_operations_stay_within_the_bound() -> None:
    """Errors are propagated through operations; few bounds are infinite."""
    draw, finite = Random("nested"), 0
    with np.errstate(all="ignore"):
        for _ in range(600):
            got, exact, bound = _nested(draw, draw.randint(1, 4), FLOAT32, LEAVES["reals"], (-1,))
            if math.isfinite(bound.error):
                _ratio(float(got), exact, bound)
                finite += 1
    assert finite > 500


# Hopper's matrix unit ------------------------------------------------------------------------------------------------


BLOCK, FRACTION_BITS, TF32_BITS = 16, 25, 10


def _exponent(value: Fraction) -> int:
    """floor(log2 |value|)."""
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    return guess if abs(value) >= Fraction(2) ** guess else guess - 1


def _truncated(value: Fraction, quantum: Fraction) -> Fraction:
    """Towards zero."""
    return math.trunc(value / quantum) * quantum


def _significant(value: Fraction, fraction_bits: int) -> Fraction:
    """Truncate to some bits after the first."""
    return _truncated(value, Fraction(2) ** (_exponent(value) - fraction_bits)) if value else value


def _matrix_unit(left: Numbers, right: Numbers, tf32: bool) -> Fraction:
    """A dot product: a block's products are aligned, truncated, added, and truncated into a float32 accumulator."""
    factors = [list(map(Fraction, side)) for side in (left, right)]
    if tf32:
        factors = [[_significant(value, TF32_BITS) for value in side] for side in factors]
    products = [a * b for a, b in zip(*factors, strict=True)]
    total = Fraction(0)
    for start in range(0, len(products), BLOCK):
        parts = [part for part in (total, *products[start : start + BLOCK]) if part]
        if parts:
            quantum = Fraction(2) ** (max(map(_exponent, parts)) - FRACTION_BITS)
            total = _significant(sum((_truncated(part, quantum) for part in parts), Fraction(0)), 23)
    return total


def _dots(data: Data, draw: Random, tf32: bool) -> Iterator[tuple[Numbers, Numbers, Fraction]]:
    """Dot products of normal numbers, and the matrix unit's results; in half precision unless it is tf32."""
    for _ in range(TRIALS):
        count = draw.randint(1, 80)
        left, right = data(draw, count), draw.choice((_typical, _positive, _cancelling))(draw, count)
        if not tf32:
            left, right = ([float(_significant(Fraction(v), 7)) for v in side] for side in (left, right))
        yield left, right, _matrix_unit(left, right, tf32)


@pytest.mark.parametrize("data", [data for data in DATA if data is not _tiny])
@pytest.mark.parametrize("tf32", [False, True])
def test_matrix_unit_stays_within_the_bound(data: Data, tf32: bool) -> None:
    arithmetic = RunningError(on_matrix_unit(FORMATS["float32" if tf32 else "bfloat16"], tf32))
    largest = 0.0
    for left, right, got in _dots(data, Random(f"{data.__name__} {tf32}"), tf32):
        largest = max(largest, _ratio(got, _exact_dot(left, right), _bounded_dot(arithmetic, left, right)))
    assert largest >= 1e-3


@pytest.mark.parametrize("tf32", [False, True])
def test_every_block_of_one_sign(tf32: bool) -> None:
    """The worst case for truncation: all truncated parts have the same sign, in products, in sums and in factors."""
    last = 2 - 2.0**-23 if tf32 else 2 - 2.0**-7
    arithmetic = RunningError(on_matrix_unit(FORMATS["float32" if tf32 else "bfloat16"], tf32))
    for count in (1, 2, 15, 16, 17, 32, 33, 200):
        for small in (1.0, 2.0**-6, 2.0**-12):
            left, right = [last, *[last * small] * (count - 1)], [last] * count
            bound = _bounded_dot(arithmetic, left, right)
            _ratio(_matrix_unit(left, right, tf32), _exact_dot(left, right), bound)


def test_the_model_of_float32_does_not_serve_the_matrix_unit() -> None:
    """The assertion above can fail: without the truncation of factors it does."""
    untruncated = RunningError(on_matrix_unit(FORMATS["float32"]))
    for arithmetic in (FLOAT32, untruncated):
        outside = [
            abs(got - _exact_dot(left, right)) > Fraction(_bounded_dot(arithmetic, left, right).error)
            for left, right, got in _dots(_positive, Random("plain"), tf32=True)
        ]
        assert sum(outside) > TRIALS // 2


# Arithmetic that admits no rounding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("leaves", LEAVES)
def test_exact_is_exact_where_it_claims_to_be(leaves: str) -> None:
    """Equal to the fractions' result, and so is float32 in any order of its sums; all other errors are infinite."""
    draw, claimed = Random(leaves), 0
    with np.errstate(all="ignore"):
        for _ in range(1500):
            rounded, exact, bounded = _nested(draw, draw.randint(1, 3), Exact(), LEAVES[leaves], (-2, -1, 1, 2, 3))
            assert bounded.error in (0.0, math.inf)
            if bounded.error == 0:
                assert Fraction(bounded.value) == exact
                assert Fraction(float(rounded)) == exact
                claimed += 1
    least, most = {"integers": (500, 1500), "eighths": (500, 1500), "powers of two": (1, 1500), "reals": (0, 0)}[leaves]
    assert least <= claimed <= most


def test_exact_is_infinite_as_soon_as_something_rounds() -> None:
    arithmetic = Exact()
    number, quantum, largest = arithmetic.exact, 2.0**-8, 2.0**16
    third = arithmetic.power(number(3.0), arithmetic.number(-1.0))
    rounding = (
        arithmetic.multiply(number(quantum), number(0.5)),
        arithmetic.multiply(number(largest), number(2.0)),
        arithmetic.add(number(largest), number(quantum)),
        arithmetic.total([number(largest), number(1.0), number(-largest)]),
        arithmetic.power(number(4.0), arithmetic.number(0.5)),
        arithmetic.function("exp", number(0.0)),
        arithmetic.number(0.1),
        third,
        arithmetic.multiply(third, number(0.0)),
        arithmetic.add(third, number(0.0)),
    )
    assert [bounded.error for bounded in rounding] == [math.inf] * len(rounding)
    kept = (
        arithmetic.multiply(number(quantum), number(largest)),
        arithmetic.total([number(largest - quantum), number(quantum)]),
        arithmetic.power(number(-0.25), arithmetic.number(-2.0)),
        arithmetic.function("Abs", number(-quantum)),
    )
    assert [bounded.value for bounded in kept] == [256.0, largest, 16.0, quantum]
    assert [bounded.error for bounded in kept] == [0.0] * len(kept)


def test_exact_takes_no_number_that_it_does_not_hold() -> None:
    """A number below the quantum vanishes in a float64 sum; then other orders give other sums."""
    arithmetic = Exact()
    one, less, small = (arithmetic.exact(value) for value in (1.0, -1.0, 2.0**-60))
    assert arithmetic.add(one, small, less).error == math.inf
    assert arithmetic.total([one, small]).error == math.inf
