"""Error messages name the argument and its value."""

import re
from typing import Any

import numpy as np
import pytest

import svertka.reference as reference

IMAGE = np.ones((2, 4, 6, 5))
WEIGHT = np.ones((6, 4, 3, 2))
LOGITS = np.ones((2, 3))
LABELS = np.array([0, 2])

VALUE, TYPE = ValueError, TypeError
Case = tuple[str, list[Any], dict[str, Any], type[Exception], str]

CONVOLUTION: list[Case] = [
    ("conv2d", [np.ones((4, 6)), WEIGHT], {}, VALUE, "input.shape=(4, 6)"),
    ("conv2d", [IMAGE, np.ones((6, 4, 3))], {}, VALUE, "weight.shape=(6, 4, 3)"),
    ("conv2d", [IMAGE[:, :3], WEIGHT], {}, VALUE, "weight.shape=(6, 4, 3, 2)"),
    ("conv2d", [IMAGE, WEIGHT, np.ones(5)], {}, VALUE, "bias.shape=(5,)"),
    ("conv2d", [IMAGE, WEIGHT.astype(int)], {}, TYPE, "weight.dtype='int64'"),
    ("conv2d", [IMAGE, WEIGHT], {"groups": 3}, VALUE, "groups=3"),
    ("conv2d", [IMAGE, WEIGHT], {"groups": 4}, VALUE, "groups=4"),
    ("conv2d", [IMAGE, WEIGHT], {"groups": 0}, VALUE, "groups=0"),
    ("conv2d", [IMAGE, WEIGHT], {"groups": True}, TYPE, "groups=True"),
    ("conv2d", [IMAGE, WEIGHT], {"stride": 0}, VALUE, "stride=0"),
    ("conv2d", [IMAGE, WEIGHT], {"stride": (1, -1)}, VALUE, "stride=(1, -1)"),
    ("conv2d", [IMAGE, WEIGHT], {"stride": (1, 1, 1)}, VALUE, "stride=(1, 1, 1)"),
    ("conv2d", [IMAGE, WEIGHT], {"stride": 1.5}, TYPE, "stride=1.5"),
    ("conv2d", [IMAGE, WEIGHT], {"dilation": 0}, VALUE, "dilation=0"),
    ("conv2d", [IMAGE, WEIGHT], {"padding": -1}, VALUE, "padding=-1"),
    ("conv2d", [IMAGE, WEIGHT], {"padding": "half"}, VALUE, "padding='half'"),
    ("conv2d", [IMAGE, WEIGHT], {"padding": ((1, 2, 3),)}, VALUE, "((1, 2, 3),)"),
    ("conv2d", [IMAGE, WEIGHT], {"padding": "same", "stride": 2}, VALUE, "'same'"),
    ("conv2d", [IMAGE, WEIGHT], {"dilation": 4}, VALUE, "weight=(3, 2)"),
    ("conv2d", [IMAGE, WEIGHT[:, :, :0]], {}, VALUE, "weight=(0, 2)"),
    ("conv2d", [IMAGE[:, :, :0], WEIGHT], {"padding": 3}, VALUE, "input=(0, 5)"),
    ("linear", [IMAGE, np.ones((3, 4))], {}, VALUE, "input.shape=(2, 4, 6, 5)"),
    ("linear", [IMAGE, np.ones(5)], {}, VALUE, "weight.shape=(5,)"),
    ("linear", [IMAGE, np.ones((3, 5)), np.ones(5)], {}, VALUE, "bias.shape=(5,)"),
]

POOLING: list[Case] = [
    ("max_pool2d", [IMAGE[0, 0], 2], {}, VALUE, "input.shape=(6, 5)"),
    ("max_pool2d", [IMAGE, 0], {}, VALUE, "kernel_size=0"),
    ("max_pool2d", [IMAGE, 2.0], {}, TYPE, "kernel_size=2.0"),
    ("max_pool2d", [IMAGE, 7], {}, VALUE, "kernel_size=(7, 7)"),
    ("max_pool2d", [IMAGE, 2], {"stride": 0}, VALUE, "stride=0"),
    ("max_pool2d", [IMAGE, 2], {"padding": 2}, VALUE, "padding=2"),
    ("max_pool2d", [IMAGE, 2], {"padding": -1}, VALUE, "padding=-1"),
    ("max_pool2d", [IMAGE, 2], {"dilation": (1, 0)}, VALUE, "dilation=(1, 0)"),
    ("avg_pool2d", [IMAGE, 2], {"divisor_override": 0}, VALUE, "divisor_override=0"),
    ("avg_pool2d", [IMAGE, (3, 2)], {"padding": (1, 2)}, VALUE, "padding=(1, 2)"),
]

LOSS: list[Case] = [
    ("softmax", [IMAGE, 4], {}, VALUE, "dim=4"),
    ("log_softmax", [IMAGE, "1"], {}, TYPE, "dim='1'"),
    ("cross_entropy", [np.array(1.0), LABELS], {}, VALUE, "input.shape=()"),
    ("cross_entropy", [LOGITS[:, :0], LABELS], {}, VALUE, "input.shape=(2, 0)"),
    ("cross_entropy", [LOGITS, LABELS[:1]], {}, VALUE, "target.shape=(1,)"),
    ("cross_entropy", [LOGITS, LABELS + 1], {}, VALUE, "target=[3]"),
    ("cross_entropy", [LOGITS, LABELS - 1], {}, VALUE, "target=[-1]"),
    ("cross_entropy", [LOGITS, LABELS / 2], {}, TYPE, "target.dtype='float64'"),
    ("cross_entropy", [LOGITS, LOGITS > 0], {}, TYPE, "target.dtype='bool'"),
    ("cross_entropy", [LOGITS, [0, 2]], {}, TYPE, "target=[0, 2]"),
    ("cross_entropy", [LOGITS, LABELS, LOGITS], {}, VALUE, "weight.shape=(2, 3)"),
    (
        "cross_entropy",
        [LOGITS, LABELS],
        {"reduction": "average"},
        VALUE,
        "reduction='average'",
    ),
    (
        "cross_entropy",
        [LOGITS, LABELS],
        {"label_smoothing": 1.5},
        VALUE,
        "label_smoothing=1.5",
    ),
    ("cross_entropy", [LOGITS, LOGITS], {"ignore_index": 1}, VALUE, "ignore_index=1"),
    ("cross_entropy", [LOGITS, LABELS], {"ignore_index": 0.5}, TYPE, "=0.5"),
]

OTHERS: list[Case] = [
    ("dropout", [IMAGE, 1.5], {}, VALUE, "p=1.5"),
    ("dropout", [IMAGE, -0.1], {}, VALUE, "p=-0.1"),
    ("dropout", [IMAGE, float("nan")], {}, VALUE, "p=nan"),
    ("dropout", [IMAGE, "half"], {}, TYPE, "p='half'"),
    ("dropout", [IMAGE], {"seed": -1}, VALUE, "seed=-1"),
    ("dropout", [IMAGE], {"seed": 2**63}, VALUE, f"seed={2**63}"),
    ("dropout", [IMAGE], {"seed": 1.0}, TYPE, "seed=1.0"),
    ("uniform", [0, -1], {}, VALUE, "count=-1"),
    (
        "philox",
        [np.zeros(4), np.zeros(2, np.uint32)],
        {},
        TYPE,
        "counter=array([0., 0., 0., 0.])",
    ),
    (
        "philox",
        [np.zeros(4, np.uint32), np.zeros(3, np.uint32)],
        {},
        VALUE,
        "key.shape=(3,)",
    ),
    ("batch_norm", [np.ones(3)], {"training": True}, VALUE, "input.shape=(3,)"),
    (
        "batch_norm",
        [np.ones((1, 3, 1))],
        {"training": True},
        VALUE,
        "input.shape=(1, 3, 1)",
    ),
    ("batch_norm", [IMAGE], {}, VALUE, "running_mean=None"),
    ("batch_norm", [IMAGE, np.ones(4)], {}, VALUE, "running_var=None"),
    (
        "batch_norm",
        [IMAGE, None, np.ones(4)],
        {"training": True},
        VALUE,
        "running_mean=None",
    ),
    (
        "batch_norm",
        [IMAGE, np.ones(4), np.ones(3)],
        {},
        VALUE,
        "running_var.shape=(3,)",
    ),
    (
        "batch_norm",
        [IMAGE, None, None, np.ones(5)],
        {"training": True},
        VALUE,
        "weight.shape=(5,)",
    ),
    ("batch_norm", [IMAGE], {"training": True, "eps": -1.0}, VALUE, "eps=-1.0"),
    ("batch_norm", [IMAGE], {"momentum": None}, TYPE, "momentum=None"),
    ("local_response_norm", [LOGITS, 3], {}, VALUE, "input.shape=(2, 3)"),
    ("local_response_norm", [IMAGE, 0], {}, VALUE, "size=0"),
    ("cross_channel_norm", [np.ones(3), 3], {}, VALUE, "input.shape=(3,)"),
    ("cross_channel_norm", [IMAGE, 0], {}, VALUE, "window_channel_size=0"),
    ("cross_channel_norm", [IMAGE, 3], {"alpha": "1"}, TYPE, "alpha='1'"),
    ("resize", [IMAGE[0], 3], {}, VALUE, "input.shape=(4, 6, 5)"),
    ("resize", [IMAGE[:, :, :0], 3], {}, VALUE, "input.shape=(2, 4, 0, 5)"),
    ("resize", [IMAGE, (3, 0)], {}, VALUE, "size=(3, 0)"),
    ("center_crop", [np.ones(3), 3], {}, VALUE, "input.shape=(3,)"),
    ("center_crop", [IMAGE, (7, 2)], {}, VALUE, "size=(7, 2)"),
    ("image_input", [IMAGE[0]], {}, VALUE, "input.shape=(4, 6, 5)"),
    ("image_input", [IMAGE[:, :, :0]], {"crop": True}, VALUE, "input.shape=(2, 4, 0, 5)"),
    ("image_input", [IMAGE], {"size": 0}, VALUE, "size=0"),
    ("image_input", [IMAGE], {"std": 0.0}, VALUE, "std=0.0"),
    ("normalize", [LOGITS[0], 0.0, 1.0], {}, VALUE, "input.shape=(3,)"),
    ("normalize", [IMAGE, [0.0, 1.0], 1.0], {}, VALUE, "mean=[0.0, 1.0]"),
    ("normalize", [IMAGE, 0.0, 0.0], {}, VALUE, "std=0.0"),
    ("normalize", [IMAGE, "grey", 1.0], {}, TYPE, "mean='grey'"),
]


@pytest.mark.parametrize(
    ("name", "arguments", "options", "error", "message"),
    CONVOLUTION + POOLING + LOSS + OTHERS,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_complaint(
    name: str,
    arguments: list[Any],
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    """The message has name and value, a rule after a colon, and a remedy at the end."""
    with pytest.raises(error, match=re.escape(message)) as raised:
        getattr(reference, name)(*arguments, **options)
    assert re.search(r"=.*: \S.*\. [A-Z].*\.$", str(raised.value))
