"""Counter-based random numbers: Philox4x32-10.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11. The generator has no state:
it maps a counter and a key to four random words. So the forward and the backward of dropout, the kernels and this
reference all draw the same numbers without storing them.
"""

import numpy as np
from numpy.typing import NDArray

from svertka.reference.arguments import complaint, require, whole_number

ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL_STEPS = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))
LOW_WORD = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)

# From Triton's `uint_to_uniform_float`: the largest int32 times this factor is less than 1.
UNIFORM_SCALE = np.float32(4.6566127342e-10)

Words = NDArray[np.uint32]


def philox(counter: Words, key: Words) -> Words:
    """Return four random words for every counter: Philox4x32-10.

    Args:
        counter: (..., 4), uint32.
        key: (..., 2), uint32; leading axes broadcast against the counter's.

    Returns:
        (..., 4), uint32.

    Raises:
        TypeError: An argument is not a uint32 array.
        ValueError: The last axis does not have 4 words, or 2 for the key.
    """
    _check_words("counter", counter, 4)
    _check_words("key", key, 2)
    c0, c1, c2, c3 = np.moveaxis(counter, -1, 0)
    k0, k1 = np.moveaxis(key, -1, 0)
    for _ in range(ROUNDS):
        high_0, low_0 = _product(MULTIPLIERS[0], c0)
        high_1, low_1 = _product(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        with np.errstate(over="ignore"):
            k0, k1 = k0 + WEYL_STEPS[0], k1 + WEYL_STEPS[1]
    return np.stack([c0, c1, c2, c3], axis=-1)


def uniform(seed: int, count: int) -> NDArray[np.float32]:
    """Return `count` random numbers in [0, 1), the random field of dropout.

    Number i is word i % 4 of Philox with counter (low word of i // 4, high word of i // 4, 0, 0) and key (low word of
    the seed, high word of the seed), turned into a float as Triton does, in float32; so that Triton's
    `rand4x(seed, i // 4)` gives the same bits.

    Args:
        seed: At least 0 and less than 2**63.
        count: How many numbers.

    Raises:
        TypeError: An argument is not an integer.
        ValueError: The seed is out of range, or the count negative.
    """
    number = whole_number("seed", seed)
    rule, remedy = "must be at least 0 and less than 2**63", "Pass another seed"
    require(0 <= number < 2**63, "seed", seed, rule, remedy)
    size = whole_number("count", count, minimum=0)
    blocks = _low_and_high(np.arange((size + 3) // 4, dtype=np.uint64))
    counter = np.concatenate([blocks, np.zeros_like(blocks)], axis=-1)
    words = philox(counter, _low_and_high(np.array(number, dtype=np.uint64)))
    return _as_uniform(words.reshape(-1)[:size])


def _as_uniform(words: Words) -> NDArray[np.float32]:
    """Turn words into float32 numbers in [0, 1), as Triton's uint_to_uniform_float."""
    signed = words.view(np.int32)
    folded = np.where(signed < 0, -signed - 1, signed)
    return folded.astype(np.float32) * UNIFORM_SCALE


def _product(multiplier: np.uint64, word: Words) -> tuple[Words, Words]:
    """Return the high and the low word of a product."""
    product = multiplier * word.astype(np.uint64)
    low = (product & LOW_WORD).astype(np.uint32)
    return (product >> WORD_BITS).astype(np.uint32), low


def _low_and_high(numbers: NDArray[np.uint64]) -> Words:
    """Split 64-bit numbers into (..., 2) words."""
    halves = [numbers & LOW_WORD, numbers >> WORD_BITS]
    return np.stack(halves, axis=-1).astype(np.uint32)


def _check_words(argument: str, words: object, number: int) -> None:
    remedy = "Convert with np.asarray(..., dtype=np.uint32)"
    if not isinstance(words, np.ndarray) or words.dtype != np.uint32:
        rule = "must be a NumPy array of uint32"
        raise TypeError(complaint(argument, words, rule, remedy))
    rule, remedy = f"the last axis must have {number} words", "Reshape the array"
    fits = words.shape[-1:] == (number,)
    require(fits, f"{argument}.shape", words.shape, rule, remedy)
