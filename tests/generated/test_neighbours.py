"""Code around a layer that changes a result in place, or resizes the memory of an argument."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from svertka import generated
from svertka.generated import functional

from .cases import Case
from .test_autograd import as_tuple, call, differentiable, every_function

IMAGE = torch.linspace(-2, 3, 2 * 3 * 5 * 4).view(2, 3, 5, 4)

LAYERS: dict[str, Callable[[], torch.nn.Module]] = {
    "batch_norm": lambda: generated.BatchNorm2d(3),
    "linear": lambda: generated.Linear(4, 4),
    "local_response_norm": lambda: generated.LocalResponseNorm(3),
    "cross_channel_norm": lambda: generated.CrossChannelNorm(3),
    "dropout": lambda: generated.Dropout(0.3),
    "conv2d": lambda: generated.Conv2d(3, 3, 3, padding=1),
    "batch_norm_relu": lambda: generated.BatchNorm2dReLU(3),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["row-major", "channels_last"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_result_may_be_changed_in_place(name: str, layout: torch.memory_format, road: str) -> None:
    """``out += identity``, at the first call and at later ones; the gradient is that of ``out + identity``."""
    layer = LAYERS[name]()
    for _ in range(2):
        grads = []
        for in_place in (True, False):
            torch.manual_seed(3)
            image = IMAGE.clone(memory_format=layout).requires_grad_()
            out = layer(image * 1)
            if in_place:
                out += image
            else:
                out = out + image
            out.square().sum().backward()
            grads.append(image.grad)
        torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_relu_in_place_behind_batch_norm(road: str) -> None:
    ours = torch.nn.Sequential(generated.BatchNorm2d(3), generated.ReLU(inplace=True)).double()
    theirs = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU(inplace=True)).double()
    found = []
    for network in (ours, theirs):
        image = IMAGE.double().requires_grad_()
        network(image).square().sum().backward()
        found.append([image.grad, *(p.grad for p in network.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@every_function
def test_results_are_no_views_and_share_no_memory(case: Case, road: str) -> None:
    """Not with arguments, and not with each other: an in-place change affects nothing else."""
    given = {k: t.requires_grad_(k in differentiable(case)) for k, t in case.tensors().items()}
    results = as_tuple(call(case, given))
    memories = [t.untyped_storage().data_ptr() for t in (*results, *given.values()) if t.numel()]
    assert len({*memories}) == len(memories)
    for result in results:
        # Over one axis an interpolation is the view of a result over two, which nobody else has.
        assert not result._is_view() or (case.function == "interpolate" and result.dim() == 3)


def test_what_the_backward_reads_may_not_change() -> None:
    """As with torch's own layers: autograd detects the changed version and raises an error."""
    scores = IMAGE.clone().requires_grad_()
    hidden = scores * 1
    out = functional.softmax(hidden, 1)
    hidden.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.square().sum().backward()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@every_function
def test_arguments_keep_memory_of_their_own(case: Case, dtype: torch.dtype, road: str) -> None:
    """It may be resized after a call and its backward, as sharded training does."""
    if road == "interpreter" and dtype == torch.bfloat16:
        pytest.skip("the interpreter casts bfloat16 wrongly; the memory is float16's")
    given = {k: t.requires_grad_(k in differentiable(case)) for k, t in case.tensors(dtype).items()}
    result = as_tuple(getattr(functional, case.function)(**given, **case.others(dtype)))[0]
    result.backward(torch.ones_like(result))
    for tensor in given.values():
        size = tensor.untyped_storage().nbytes()
        tensor.untyped_storage().resize_(0)
        tensor.untyped_storage().resize_(size)


def test_the_sign_of_a_negative_view_is_kept(road: str) -> None:
    """The imaginary part of a conjugate is a tensor whose sign is a flag, not in its memory."""
    numbers = torch.complex(torch.tensor([1.0, -2.0, 3.0]), torch.tensor([-1.0, 2.0, -3.0]))
    view = numbers.conj().imag
    assert view.is_neg()
    assert functional.relu(view).tolist() == [1.0, 0.0, 3.0]
    leaf = torch.zeros(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(functional.relu(leaf + 1), leaf, view)
    assert gradient.tolist() == [1.0, -2.0, 3.0]


def test_memory_formats_are_kept(road: str) -> None:
    """Convolution, pooling and normalizations return channels last for channels last, as torch's do."""
    image = IMAGE.contiguous(memory_format=torch.channels_last)
    for name, layer in LAYERS.items():
        if name not in ("linear", "dropout"):  # dropout's mask follows row-major positions
            out = layer()(image)
            assert out.is_contiguous(memory_format=torch.channels_last), name
    strides = [functional.max_pool2d(one, 2).stride() for one in (image, IMAGE)]
    assert all(one != other for one, other in pairwise(strides))
