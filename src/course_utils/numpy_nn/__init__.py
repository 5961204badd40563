"""Neural networks in NumPy, with their gradients by hand.

Rows are samples: a layer computes ``x @ w + b`` with ``x`` (n, d_in), ``w`` (d_in, d_out) and ``b``
(d_out,). Losses are sums over the numbers of one sample and means over samples, unless the name
says otherwise. Nothing changes its arguments.
"""

from course_utils.numpy_nn.autoencoders import (
    autoencode,
    autoencoder_gradients,
    linear_autoencoder_gradients,
    linear_autoencoder_loss,
    train_autoencoder,
)
from course_utils.numpy_nn.gradients import (
    numerical_gradient,
    relative_error,
)
from course_utils.numpy_nn.layers import (
    RELU,
    SIGMOID,
    SOFTPLUS,
    TANH,
    Activation,
    Layer,
    backward,
    dense,
    dense_backward,
    flatten_layers,
    forward,
    forward_with,
    init_layers,
    relu,
    sigmoid,
    softplus,
    unflatten_layers,
)
from course_utils.numpy_nn.losses import (
    LossAndGradient,
    cross_entropy,
    cross_entropy_and_gradient,
    squared_error,
    squared_error_and_gradient,
)
from course_utils.numpy_nn.optimisers import (
    AdamState,
    adam_step,
    batches,
    expect_gradients,
    sgd_step,
)

__all__ = [
    "Activation",
    "AdamState",
    "Layer",
    "LossAndGradient",
    "RELU",
    "SIGMOID",
    "SOFTPLUS",
    "TANH",
    "adam_step",
    "autoencode",
    "autoencoder_gradients",
    "backward",
    "batches",
    "cross_entropy",
    "cross_entropy_and_gradient",
    "dense",
    "dense_backward",
    "expect_gradients",
    "flatten_layers",
    "forward",
    "forward_with",
    "init_layers",
    "linear_autoencoder_gradients",
    "linear_autoencoder_loss",
    "numerical_gradient",
    "relative_error",
    "relu",
    "sgd_step",
    "sigmoid",
    "softplus",
    "squared_error",
    "squared_error_and_gradient",
    "train_autoencoder",
    "unflatten_layers",
]
