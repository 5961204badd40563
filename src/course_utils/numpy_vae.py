"""A variational autoencoder in NumPy: six small functions first, then one that learns.

The six (``initialize_weights`` to ``train_step``) reproduce a form that is often met, faults
included. The rest is the real thing, in nats: sums over the numbers of one image, means over
images.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import default_rng

from course_utils.arguments import named_errors
from course_utils.gaussians import kl_to_standard_normal
from course_utils.numpy_nn import (
    Layer,
    adam_step,
    backward,
    batches,
    cross_entropy,
    cross_entropy_and_gradient,
    dense,
    flatten_layers,
    forward,
    unflatten_layers,
)
from course_utils.shapes import expect_shapes


def initialize_weights(
    input_dim: int, latent_dim: int, *, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw weights from N(0, 1), with biases zero. Defined in chapter 12.

    The variance of one is a fault at a large fan-in, and kept on purpose: ``init_layers`` mends it.

    Args:
        input_dim: d, at least 1. latent_dim: k, at least 1.
        rng: the generator; a fresh one, seeded by the system, where none is given.

    Returns:
        ``enc_w`` (d, k), ``enc_b`` (k,), ``dec_w`` (k, d), ``dec_b`` (d,).

    Raises:
        ValueError: a size below 1.
    """
    if min(input_dim, latent_dim) < 1:
        raise ValueError(f"sizes must be at least 1, got {input_dim} and {latent_dim}")
    rng = default_rng() if rng is None else rng
    enc_w = rng.normal(size=(input_dim, latent_dim))
    dec_w = rng.normal(size=(latent_dim, input_dim))
    return enc_w, np.zeros(latent_dim), dec_w, np.zeros(input_dim)


def encoder(x: np.ndarray, enc_w: np.ndarray, enc_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mu = x enc_w + enc_b, with sigma fixed at one. Defined in chapter 12.

    Args:
        x: (n, d). enc_w: (d, k). enc_b: (k,).

    Returns:
        ``mu`` and ``sigma``, (n, k) each; ``sigma`` is a standard deviation.

    Raises:
        ValueError: a shape does not fit.
    """
    mu = dense(x, enc_w, enc_b)  # (n, d) -> (n, k)
    return mu, np.ones_like(mu)


def sampling(
    mu: np.ndarray, sigma: np.ndarray, *, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Draw z = mu + sigma · eps, eps from N(0, 1), new for each number. Defined in chapter 12.

    Args:
        mu, sigma: (n, k); ``sigma`` is a standard deviation, not a variance.
        rng: the generator; a fresh one, seeded by the system, where none is given.

    Returns:
        (n, k).

    Raises:
        ValueError: the shapes differ.
    """
    expect_shapes("n k, n k", mu=mu, sigma=sigma)
    rng = default_rng() if rng is None else rng
    return mu + sigma * rng.normal(size=mu.shape)


def decoder(z: np.ndarray, dec_w: np.ndarray, dec_b: np.ndarray) -> np.ndarray:
    """Compute the reconstruction z dec_w + dec_b. Defined in chapter 12.

    Args:
        z: (n, k). dec_w: (k, d). dec_b: (d,).

    Returns:
        (n, d).

    Raises:
        ValueError: a shape does not fit.
    """
    return dense(z, dec_w, dec_b)  # (n, k) -> (n, d)


def loss_function(x: np.ndarray, recon_x: np.ndarray, mu: np.ndarray, sigma: np.ndarray) -> float:
    """Add a mean of squared errors and a sum of KLs, which do not fit. Defined in chapter 12.

    (1/(n d)) Σ_ij (x_ij − recon_x_ij)² + ½ Σ_ij [mu_ij² + sigma_ij² − 1 − ln sigma_ij²]: the mean
    is over images and pixels, the sum over images and code numbers. So a code number weighs n · d
    times as much as under a sum over pixels and a mean over images. A fault, kept on purpose.

    Args:
        x, recon_x: (n, d). mu, sigma: (n, k); ``sigma`` is a standard deviation, above 0.

    Returns:
        The loss, in no unit.

    Raises:
        ValueError: a shape does not fit, or ``sigma`` is not above 0.
    """
    expect_shapes("n d, n d, n k, n k", x=x, recon_x=recon_x, mu=mu, sigma=sigma)
    if not np.all(sigma > 0):
        raise ValueError(f"sigma must be above 0, got {np.min(sigma):.3g}")
    reconstruction = np.mean((x - recon_x) ** 2)
    kl = 0.5 * np.sum(mu**2 + sigma**2 - 1 - np.log(sigma**2))
    return float(reconstruction + kl)


def train_step(
    x: np.ndarray,
    enc_w: np.ndarray,
    enc_b: np.ndarray,
    dec_w: np.ndarray,
    dec_b: np.ndarray,
    *,
    rng: np.random.Generator | None = None,
) -> float:
    """Encode, sample, decode, and return the loss. Defined in chapter 12.

    In spite of its name it trains nothing: no gradient, no new weights. ``train_vae`` does that.

    Args:
        x: (n, d). enc_w: (d, k). enc_b: (k,). dec_w: (k, d). dec_b: (d,).
        rng: the generator; a fresh one, seeded by the system, where none is given.

    Returns:
        ``loss_function`` of one draw of codes.

    Raises:
        ValueError: a shape does not fit.
    """
    mu, sigma = encoder(x, enc_w, enc_b)
    z = sampling(mu, sigma, rng=rng)
    recon_x = decoder(z, dec_w, dec_b)
    return loss_function(x, recon_x, mu, sigma)


def gaussian_encoder(x: np.ndarray, enc_layers: Sequence[Layer]) -> tuple[np.ndarray, np.ndarray]:
    """Compute mu and logvar of q(z|x), two halves of what a network gives. Defined in chapter 12.

    Args:
        x: (n, d). enc_layers: layers from d to 2k, with ReLU between them.

    Returns:
        ``mu`` and ``logvar``, (n, k) each; ``logvar`` is the logarithm of the variance.

    Raises:
        ValueError: a shape does not fit, or the network gives an odd number of outputs.
    """
    mu, logvar = np.split(forward(x, enc_layers)[-1], 2, axis=1)  # (n, 2k) -> (n, k) each
    return mu, logvar


def draw_code(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """Compute z = mu + exp(logvar / 2) · eps. Defined in chapter 12.

    Args:
        mu, logvar: (n, k). eps: (n, k), from N(0, 1), independent in rows and columns.

    Returns:
        (n, k).

    Raises:
        ValueError: the shapes differ. An ``eps`` of shape (n, 1) would else be shared by all codes.
    """
    expect_shapes("n k, n k, n k", mu=mu, logvar=logvar, eps=eps)
    return mu + np.exp(logvar / 2) * eps


def code_gradients(
    mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray, z_gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Carry a gradient from z back to mu and logvar, and add that of the KL. Defined in chapter 12.

    With G = ∂L/∂z: for mu, G + mu / n; for logvar, ½ G · eps · exp(logvar / 2)
    + (exp(logvar) − 1) / (2n). The loss is a mean over n images, so G has its 1/n already.

    Args:
        mu, logvar, eps: (n, k), those of ``draw_code``.
        z_gradient: (n, k), of the reconstruction term, a mean over images.

    Returns:
        The gradients for ``mu`` and ``logvar``, (n, k) each, of reconstruction plus KL.

    Raises:
        ValueError: the shapes differ.
    """
    expect_shapes("n k, n k, n k, n k", mu=mu, logvar=logvar, eps=eps, z_gradient=z_gradient)
    n = len(mu)
    for_mu = z_gradient + mu / n
    for_logvar = 0.5 * z_gradient * eps * np.exp(logvar / 2) + 0.5 * (np.exp(logvar) - 1) / n
    return for_mu, for_logvar


def vae_terms(
    x: np.ndarray, enc_layers: Sequence[Layer], dec_layers: Sequence[Layer], eps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute both terms of the loss for each image, from one code each. Defined in chapter 12.

    −ln p(x|z) with a Bernoulli decoder, whose logits the network gives, and KL(q(z|x)‖N(0, I)).
    The mean over ``eps`` of minus their sum is the ELBO.

    Args:
        x: (n, d) in [0, 1]. enc_layers: from d to 2k. dec_layers: from k to d.
        eps: (n, k), the noise; zeros give the mean code, whose value bounds nothing.

    Returns:
        Two arrays (n,), in nats: sums over pixels and over code numbers.

    Raises:
        ValueError: a shape does not fit, or ``x`` leaves [0, 1].
    """
    mu, logvar = gaussian_encoder(x, enc_layers)
    logits = forward(draw_code(mu, logvar, eps), dec_layers)[-1]
    return cross_entropy(x, logits), kl_to_standard_normal(mu, logvar)


def vae_gradients(
    x: np.ndarray, enc_layers: Sequence[Layer], dec_layers: Sequence[Layer], eps: np.ndarray
) -> tuple[float, list[Layer], list[Layer]]:
    """Compute the loss, a mean over images, and all its gradients. Defined in chapter 12.

    Args:
        x: (n, d) in [0, 1]. enc_layers: from d to 2k. dec_layers: from k to d.
        eps: (n, k), the noise, held fixed.

    Returns:
        The loss in nats per image; the gradients for ``enc_layers`` and ``dec_layers``.

    Raises:
        ValueError: a shape does not fit, or ``x`` leaves [0, 1].
    """
    encoded = forward(x, enc_layers)
    mu, logvar = np.split(encoded[-1], 2, axis=1)
    decoded = forward(draw_code(mu, logvar, eps), dec_layers)
    reconstruction, logits_gradient = cross_entropy_and_gradient(x, decoded[-1])
    dec_gradients, z_gradient = backward(dec_layers, decoded, logits_gradient)
    both = np.concatenate(code_gradients(mu, logvar, eps, z_gradient), axis=1)  # (n, 2k)
    enc_gradients, _ = backward(enc_layers, encoded, both)
    kl = kl_to_standard_normal(mu, logvar).mean()
    return reconstruction + float(kl), enc_gradients, dec_gradients


def train_vae(
    x: np.ndarray,
    x_test: np.ndarray,
    enc_layers: list[Layer],
    dec_layers: list[Layer],
    rng: np.random.Generator,
    *,
    n_epochs: int,
    batch_size: int = 64,
    step: Callable[..., tuple[list[np.ndarray], Any]] = adam_step,
) -> tuple[list[Layer], list[Layer], np.ndarray]:
    """Train on mini-batches, with new noise for each image at each step. Defined in chapter 12.

    Args:
        x: (n, d) in [0, 1], to train on. x_test: (n_test, d), watched only.
        enc_layers: from d to 2k. dec_layers: from k to d. Not changed.
        rng: the generator that shuffles and draws the noise.
        n_epochs: passes over ``x``. batch_size: images a step.
        step: an optimiser, ``step(params, gradients, state) -> (params, state)``.

    Returns:
        The trained layers, and the terms (n_epochs, 2, 2) after each epoch: for ``x`` and for
        ``x_test``, reconstruction and KL in nats, means over images, from one draw an image.

    Raises:
        ValueError: a shape does not fit, or ``x`` leaves [0, 1].
    """
    params, state, history = flatten_layers([*enc_layers, *dec_layers]), None, []
    k = len(dec_layers[0][0])
    for _ in range(n_epochs):
        for rows in batches(len(x), batch_size, rng):
            eps = rng.normal(size=(len(rows), k))
            _, for_enc, for_dec = vae_gradients(x[rows], enc_layers, dec_layers, eps)
            params, state = step(params, flatten_layers([*for_enc, *for_dec]), state)
            layers = unflatten_layers(params)
            enc_layers, dec_layers = layers[: len(enc_layers)], layers[len(enc_layers) :]
        terms = [
            vae_terms(each, enc_layers, dec_layers, rng.normal(size=(len(each), k)))
            for each in (x, x_test)
        ]
        history.append([[term.mean() for term in pair] for pair in terms])
    return enc_layers, dec_layers, np.array(history)


def estimate_elbo(
    x: np.ndarray,
    enc_layers: Sequence[Layer],
    dec_layers: Sequence[Layer],
    rng: np.random.Generator,
    *,
    n_draws: int = 100,
) -> np.ndarray:
    """Estimate the ELBO of each image by a mean over draws of its code. Defined in chapter 12.

    Args:
        x: (n, d) in [0, 1]. enc_layers: from d to 2k. dec_layers: from k to d.
        rng: the generator. n_draws: codes drawn for each image, at least 1.

    Returns:
        (n,), in nats: a lower bound of ln p(x), up to the error of the mean over draws.

    Raises:
        ValueError: a shape does not fit, or ``n_draws`` is below 1.
    """
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1, got {n_draws}")
    total = np.zeros(len(x))
    for _ in range(n_draws):
        eps = rng.normal(size=(len(x), len(dec_layers[0][0])))
        reconstruction, kl = vae_terms(x, enc_layers, dec_layers, eps)
        total -= reconstruction + kl
    return total / n_draws


named_errors(globals())
