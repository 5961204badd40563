"""Variational autoencoders: codes that are distributions, and the loss that keeps them so.

A code is described by ``mu`` and ``logvar``, the logarithm of the variance, (n, k) each. Everything
is in nats: a sum over the numbers of one sample, and a mean over samples where a loss is returned.

Every VAE of the course has ``encode(x)`` to (mu, logvar), ``decode(z)``, ``log_likelihood(x, z)``
and ``forward(x)`` to (recon_x, mu, logvar). ``negative_elbo`` and ``course_utils.evaluation`` ask
for no more.
"""

from course_utils.vae.conditional import ConditionalVAE, with_labels
from course_utils.vae.convolutional import ConvVAE
from course_utils.vae.dense import VAE, Decoder, Encoder
from course_utils.vae.elbo import kl_divergence, negative_elbo, reparameterize
from course_utils.vae.likelihoods import Bernoulli, Gaussian, Laplace
from course_utils.vae.small import SmallVAE
from course_utils.vae.weights import load_weights

__all__ = [
    "VAE",
    "Bernoulli",
    "ConditionalVAE",
    "ConvVAE",
    "Decoder",
    "Encoder",
    "Gaussian",
    "Laplace",
    "SmallVAE",
    "kl_divergence",
    "load_weights",
    "negative_elbo",
    "reparameterize",
    "with_labels",
]
