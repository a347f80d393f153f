"""The formulas give the lecture's numbers, and its errata are computed."""

from __future__ import annotations

from fractions import Fraction

import pytest
from sympy import Integer, log
from sympy import Rational as Quotient

from svertka.spec import Rational, Symbolic, slides
from svertka.spec.binding import call
from svertka.spec.errata import (
    first_element,
    normalised_variance,
    softmax_is_shift_invariant,
    softmax_of_logarithms_is_bayes,
    squares_at,
)
from svertka.spec.layers import DEFINITIONS
from svertka.spec.slides import (
    EXAMPLES,
    POOLING_STEPS,
    WORKED_SUMS,
    A,
    B,
    C,
    E,
    Example,
    PoolingStep,
    WorkedSum,
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.slide}-{e.definition}")
def test_examples(example: Example) -> None:
    result = call(DEFINITIONS[example.definition], Rational(), **example.inputs, **example.arguments)
    assert result == example.expected


def test_the_slides_own_numbers_are_all_there() -> None:
    own = {(example.slide, example.expected) for example in EXAMPLES if not example.ours}
    assert {(3, ((C,),)), (11, E), (16, ((((3, 5), (4, 3)),),))} <= own


def test_every_slide_has_numbers_or_is_noted_as_lost() -> None:
    shown = {e.slide for e in EXAMPLES} | {s.slide for s in WORKED_SUMS} | {s.slide for s in POOLING_STEPS}
    assert shown | set(slides.LOST) | {18} == set(range(1, 22))  # slide 18 has identities, below


@pytest.mark.parametrize("worked", WORKED_SUMS, ids=str)
def test_worked_sums(worked: WorkedSum) -> None:
    kernel = [element for row in B for element in row]
    window = [A[worked.row + r][worked.column + s] for r in range(2) for s in range(2)]
    assert sum(a * b for a, b in worked.products) == worked.result == C[worked.row][worked.column]
    # the slide writes 3*1 - 1*0 - 2*2: the signs belong to the image
    assert list(worked.products) == list(zip(window, kernel, strict=True))


@pytest.mark.parametrize("step", POOLING_STEPS, ids=lambda step: str(step.slide))
def test_pooling_window_by_window(step: PoolingStep) -> None:
    (pooled,) = call(DEFINITIONS["max_pooling_2d"], Rational(), input=(A,), kernel_size=2)
    filled = [
        (value, expected)
        for row, steps in zip(pooled, step.filled, strict=True)
        for value, expected in zip(row, steps, strict=True)
    ]
    assert all(expected in (None, value) for value, expected in filled)
    assert sum(expected is not None for _, expected in filled) == step.slide - 12


def test_where_the_maxima_were() -> None:
    _, indices = call(DEFINITIONS["max_pooling_2d"], Rational(), input=(A,), kernel_size=2, return_indices=True)
    assert indices == (((1, 7), (8, 11)),)


def test_softmax_of_logarithms() -> None:
    result = call(DEFINITIONS["softmax"], Symbolic(), input=[log(1), log(2), log(3)], dim=0)
    assert result == (Quotient(1, 6), Quotient(1, 3), Quotient(1, 2))


def test_cross_entropy_is_minus_the_logarithm_of_softmax() -> None:
    scores = [Integer(0), log(2), log(5)]
    loss = call(DEFINITIONS["cross_entropy"], Symbolic(), input=scores, target=2, ignore_index=-100, label_smoothing=0)
    assert loss == -log(5) + log(8)


def test_slide_2_photograph_fits_the_network() -> None:
    """The shorter side becomes 224 and the middle is cut out: 224 x 336, of which 224 x 224 remain."""
    from svertka.spec.evaluate import whole

    (height, width), (rows, columns) = slides.IMAGE_SIZE, slides.NETWORK_SIZE
    sizes = {"H": height, "W": width, "P": rows, "Q": columns, "crop": 1, "antialias": 1}
    for name, expression in DEFINITIONS["image_input"].extents.items():
        sizes[name] = whole(expression, sizes)
    assert (sizes["scaled_h"], sizes["scaled_w"], sizes["top"], sizes["left"]) == (224, 336, 0, 56)


class TestErrata:
    def test_slide_20_lacks_the_root(self) -> None:
        batch = (1, 2, 4, 9)  # of mean 4 and variance 19/2
        assert normalised_variance(batch, root=True) == 1
        assert normalised_variance(batch, root=False) == Quotient(2, 19)

    def test_without_the_root_only_variance_one_is_normalised(self) -> None:
        assert normalised_variance((1, 3), root=False) == 1

    def test_slides_3_to_5_correlate(self) -> None:
        assert first_element(A, B, turned=False) == 7
        assert first_element(A, B, turned=True) == 3

    def test_slide_21_divides_by_the_window_at_the_borders(self) -> None:
        ones = (1, 1, 1)
        assert list(squares_at(ones, 3, "lecture")) == [Fraction(2, 3), 1, Fraction(2, 3)]
        assert list(squares_at(ones, 3, "present")) == [1, 1, 1]
        assert list(squares_at(ones, 3, "alexnet")) == [2, 3, 2]

    def test_pytorch_mirrors_even_windows(self) -> None:
        channels = (1, 2, 3, 4)
        lecture, pytorch = (squares_at(channels, 2, reading) for reading in ("lecture", "pytorch"))
        assert lecture == (Fraction(5, 2), Fraction(13, 2), Fraction(25, 2), Fraction(8))
        assert pytorch == (Fraction(1, 2), Fraction(5, 2), Fraction(13, 2), Fraction(25, 2))
        assert pytorch == squares_at(channels[::-1], 2, "lecture")[::-1]
        assert squares_at(channels, 3, "lecture") == squares_at(channels, 3, "pytorch")

    @pytest.mark.parametrize("classes", [1, 2, 4])
    def test_both_identities_of_slide_18(self, classes: int) -> None:
        assert softmax_of_logarithms_is_bayes(classes)
        assert softmax_is_shift_invariant(classes)
