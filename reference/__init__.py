"""The oracle of svertka: every layer in plain NumPy, forward and backward written by hand.

Names, arguments and defaults are those of `torch.nn.functional`. `name_backward` takes the output's gradient, then the
arguments of `name`, and returns one gradient per differentiable array. All functions compute in float64 and round once,
to the type of their input array. This code does not use the formulas of `svertka.spec`: the two are independent, and
their results must agree.
"""

from svertka.reference.activation import (
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    softmax,
    softmax_backward,
)
from svertka.reference.average_pooling import (
    avg_pool1d,
    avg_pool1d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    avg_pool3d,
    avg_pool3d_backward,
)
from svertka.reference.batch_normalization import batch_norm, batch_norm_backward
from svertka.reference.channel_normalization import (
    cross_channel_norm,
    cross_channel_norm_backward,
    local_response_norm,
    local_response_norm_backward,
)
from svertka.reference.convolution import (
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv3d,
    conv3d_backward,
)
from svertka.reference.dropout import dropout, dropout_backward
from svertka.reference.fused import (
    batch_norm_add_relu,
    batch_norm_add_relu_backward,
    batch_norm_relu,
    batch_norm_relu_backward,
    conv2d_relu,
    conv2d_relu_backward,
    relu_cross_channel_norm,
    relu_cross_channel_norm_backward,
)
from svertka.reference.image import (
    center_crop,
    center_crop_backward,
    image_input,
    image_input_backward,
    normalize,
    normalize_backward,
    resize,
    resize_backward,
)
from svertka.reference.linear import linear, linear_backward
from svertka.reference.loss import cross_entropy, cross_entropy_backward
from svertka.reference.max_pooling import (
    max_pool1d,
    max_pool1d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool3d,
    max_pool3d_backward,
)
from svertka.reference.random import philox, uniform

__all__ = [
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "batch_norm",
    "batch_norm_add_relu",
    "batch_norm_add_relu_backward",
    "batch_norm_backward",
    "batch_norm_relu",
    "batch_norm_relu_backward",
    "center_crop",
    "center_crop_backward",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_relu",
    "conv2d_relu_backward",
    "conv3d",
    "conv3d_backward",
    "cross_channel_norm",
    "cross_channel_norm_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "image_input",
    "image_input_backward",
    "linear",
    "linear_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
    "normalize",
    "normalize_backward",
    "philox",
    "relu",
    "relu_backward",
    "relu_cross_channel_norm",
    "relu_cross_channel_norm_backward",
    "resize",
    "resize_backward",
    "softmax",
    "softmax_backward",
    "uniform",
]
