"""Philox against its published answers and Triton; dropout."""

import numpy as np
import pytest
import torch

import svertka.reference as reference

from .against_torch import check_linear, normal

# Random123, kat_vectors, philox4x32 with 10 rounds.
PUBLISHED = [
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]

# The results of Triton's interpreter for rand4x(seed, [0, 1]), as bits.
TRITON = {
    0: "1.989fa2p-1 1.e963a6p-3 1.0ea14cp-1 1.93fc8ep-1 1.c6ccd4p-5 1.72c802p-1 1.396a2ap-1 1.2fdfeap-4",
    7: "1.73f0b8p-4 1.ffb030p-2 1.d3aba2p-3 1.5edac6p-3 1.a0ba38p-1 1.a3421ep-2 1.5fd7fap-2 1.59422ap-4",
    2**40 + 3: "1.575be8p-1 1.3afee6p-1 1.236994p-1 1.8f3082p-3 1.1e9266p-2 1.5c82bep-1 1.580706p-5 1.fd2876p-2",
}


def words(text: str) -> np.ndarray:
    """Read hexadecimal words."""
    return np.array([int(word, 16) for word in text.split()], dtype=np.uint32)


@pytest.mark.parametrize(("counter", "key", "answer"), PUBLISHED)
def test_published_answers(counter: str, key: str, answer: str) -> None:
    found = reference.philox(words(counter), words(key))
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, words(answer))


def test_philox_of_many_counters() -> None:
    counters = np.stack([words(counter) for counter, _, _ in PUBLISHED])
    keys = np.stack([words(key) for _, key, _ in PUBLISHED])
    answers = np.stack([words(answer) for _, _, answer in PUBLISHED])
    np.testing.assert_array_equal(reference.philox(counters, keys), answers)
    alone = reference.philox(counters, keys[0])
    np.testing.assert_array_equal(alone[0], answers[0])


@pytest.mark.parametrize("seed", TRITON)
def test_uniform_has_the_bits_of_triton(seed: int) -> None:
    expected = [float.fromhex(f"0x{number}") for number in TRITON[seed].split()]
    for count in range(9):
        assert reference.uniform(seed, count).tolist() == expected[:count]


def test_uniform_stays_below_one() -> None:
    numbers = reference.uniform(3, 100_000)
    assert numbers.dtype == np.float32
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_dropout(p: float, seed: int) -> None:
    shape = (3, 5, 7)
    kept = (reference.uniform(seed, 105) >= np.float32(p)).reshape(shape)
    check_linear(
        lambda x: reference.dropout(x, p, seed=seed),
        lambda g, x: reference.dropout_backward(g, x, p, seed=seed),
        lambda x: x * torch.tensor(kept / (1 - p)),
        [normal(12, *shape)],
        operations=3,
    )


def test_field_at_the_threshold_is_kept() -> None:
    """The comparison is u >= p, in float32: if p rounds to u, u is kept too."""
    threshold = float(reference.uniform(0, 1)[0])
    for p in (threshold, threshold + 1e-12):
        assert reference.dropout(np.ones(1), p) > 0
    above = float(np.nextafter(np.float32(threshold), np.float32(1)))
    assert reference.dropout(np.ones(1), above) == 0


def test_share_that_dropout_keeps() -> None:
    """The number of kept elements is binomial; five deviations are exceeded once in a million."""
    count, p = 100_000, 0.3
    kept = np.count_nonzero(reference.dropout(np.ones(count), p, seed=5))
    deviation = np.sqrt(count * p * (1 - p))
    assert abs(kept - count * (1 - p)) < 5 * deviation


def test_dropout_outside_training() -> None:
    values = normal(13, 4)
    output = reference.dropout(values, 0.9, training=False)
    np.testing.assert_array_equal(output, values)
    assert not np.shares_memory(output, values)
    (grad,) = reference.dropout_backward(values, values, 0.9, training=False)
    np.testing.assert_array_equal(grad, values)


def test_position_alone_decides() -> None:
    """The mask depends on the row-major index, for every shape and memory order."""
    values = np.ones((6, 4))
    mask = reference.dropout(values, seed=9)
    flat = reference.dropout(np.ones(24), seed=9)
    np.testing.assert_array_equal(mask.ravel(), flat)
    np.testing.assert_array_equal(reference.dropout(np.asfortranarray(values), seed=9), mask)
