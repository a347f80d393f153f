"""The lecture's numbers, slide by slide."""

import numpy as np
import torch

import svertka.reference as reference

from .bounds import within

A = np.array([[1, 3, -1, 0], [2, -2, 0, 5], [4, 1, -1, 3], [-3, 0, 1, 2]], dtype=float)
B = np.array([[1, 0], [2, -1]], dtype=float)
C = np.array([[7, -1, -6], [9, 1, -5], [-2, 0, -1]], dtype=float)
D = np.array([[2, 4, 9], [-5, 1, 7], [-2, 0, -1]], dtype=float)
E = np.array([[7, 0, 0], [9, 1, 0], [0, 0, 0]], dtype=float)


def test_slides_3_to_5_convolution() -> None:
    found = reference.conv2d(A[None], B[None, None])
    np.testing.assert_array_equal(found[0], C)
    assert found[0, 0, 0] == 1 * 1 + 3 * 0 + 2 * 2 + (-2) * (-1)
    assert found[0, 0, 1] == 3 * 1 - 1 * 0 - 2 * 2 + 0 * (-1)


def test_erratum_2_a_kernel_turned_round_gives_other_numbers() -> None:
    turned = B[::-1, ::-1].copy()
    found = reference.conv2d(A[None], turned[None, None])
    assert found[0, 0, 0] != C[0, 0]


def test_slide_6_many_kernels() -> None:
    kernels = np.stack([B, 2 * B, -B, B + 1, B.T])[:, None]
    found = reference.conv2d(A[None, None], kernels)
    assert found.shape == (1, 5, 3, 3)
    np.testing.assert_array_equal(found[0, 0], C)
    np.testing.assert_array_equal(found[0, 2], -C)


def test_slides_7_to_10_matrix_d() -> None:
    """Numbers of ours, because the slides' figures are lost."""
    image, kernel = D[None], B[None, None]
    padded = reference.conv2d(image, kernel, padding=1, stride=2)
    first = [-1 * 2, 2 * 4 - 1 * 9]
    second = [-1 * (-2), 1 * 1 + 2 * 0 - 1 * (-1)]
    np.testing.assert_array_equal(padded, [[first, second]])
    dilated = reference.conv2d(image, kernel, dilation=2)
    np.testing.assert_array_equal(dilated, [[[1 * 2 + 0 * 9 + 2 * (-2) - 1 * (-1)]]])


def test_slide_11_rectification() -> None:
    np.testing.assert_array_equal(reference.relu(C), E)


def test_slides_12_to_16_pooling() -> None:
    found, places = reference.max_pool2d(A[None], 2, return_indices=True)
    np.testing.assert_array_equal(found[0], [[3, 5], [4, 3]])
    np.testing.assert_array_equal(places[0], [[1, 7], [8, 11]])
    averages = reference.avg_pool2d(A[None], 2)
    np.testing.assert_array_equal(averages[0], [[1, 1], [0.5, 1.25]])


def test_slide_18_softmax_is_bayes_rule() -> None:
    likelihood, prior = np.array([0.2, 0.7, 0.1]), np.array([0.5, 0.25, 0.25])
    joint = likelihood * prior
    found = reference.softmax(np.log(joint), 0)
    magnitude = joint / joint.sum() * (1 + np.abs(np.log(joint)).max())
    assert within(found, joint / joint.sum(), magnitude, 20)


def test_erratum_1_the_square_root_of_slide_20() -> None:
    """With the root the variance is 1; without it, as printed, 1 / variance."""
    batch = np.array([[1.0], [2.0], [4.0], [9.0]])
    variance = batch.var()
    found = reference.batch_norm(batch, training=True, eps=0.0)
    assert within(found.var(), 1.0, 1.0, 60)
    printed = (batch - batch.mean()) / variance
    assert within(printed.var(), 1 / variance, 1 / variance, 60)


def test_slide_21_matlab_s_example() -> None:
    """All ones, 3 channels, window 3, alpha = beta = 1, K = 1e-5."""
    found = reference.cross_channel_norm(np.ones((1, 3, 1, 1)), 3, k=1e-5, alpha=1.0, beta=1.0)
    outer, middle = 1 / (1e-5 + 2 / 3), 1 / (1e-5 + 3 / 3)
    assert within(found.reshape(-1), [outer, middle, outer], found.reshape(-1), 10)


def test_erratum_3_torch_mirrors_even_windows() -> None:
    """One large channel of three: the slide's window extends further after the centre, torch's further before it."""
    input = np.array([0.0, 1.0, 0.0]).reshape(1, 3, 1) + 1e-3
    options = {"alpha": 1.0, "beta": 1.0, "k": 1.0}
    slide = reference.cross_channel_norm(input, 2, **options).reshape(-1)
    mirrored = reference.local_response_norm(input, 2, **options).reshape(-1)
    assert slide[0] < mirrored[0]
    assert slide[2] > mirrored[2]
    theirs = torch.nn.functional.local_response_norm(torch.tensor(input), 2, **options)
    assert within(mirrored, theirs.numpy().reshape(-1), mirrored, 10)
