"""PyTorch autoencoders: the plain one, and what keeps it from the identity, one kind a module.

A loss is a function ``loss(model, x, generator)`` that returns the mean over the rows of ``x`` of a
sum over their numbers, as a tensor with one value; ``training.fit`` minimises it.
"""

from course_utils.autoencoders.vanilla import (
    Autoencoder,
    cross_entropy_loss,
    load_layers,
    mlp,
    squared_error_loss,
)

__all__ = ["Autoencoder", "cross_entropy_loss", "load_layers", "mlp", "squared_error_loss"]
