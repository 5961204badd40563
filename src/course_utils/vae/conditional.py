"""The conditional VAE of chapter 17: p(x|z, y), a digit on request."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.arguments import named_errors
from course_utils.shapes import as_labels, expect_shapes, expect_sizes, expect_whole
from course_utils.vae.dense import VAE, Decoder, Encoder
from course_utils.vae.likelihoods import Bernoulli


class ConditionalVAE(VAE):
    """A VAE whose encoder and decoder are told the class. Defined in chapter 17.

    ``ConditionalVAE(784, 400, 10)`` is 784 + 10 → 400 → (10, 10) and 10 + 10 → 400 → 784: the class
    is a one-hot vector beside the image, and beside the code. Its data are rows, image and label
    together, that ``with_labels`` makes: so ``fit``, ``negative_elbo`` and ``evaluation`` need not
    know that there are labels. Its bound is on ln p(x|y).

    ``decode`` takes a code with its one-hot label, (n, k + n_classes); ``generate`` takes the class
    by its number.

    Source:
        Sohn, Lee and Yan (2015), Learning structured output representation using deep conditional
        generative models; Kingma et al. (2014), model M2, https://arxiv.org/abs/1406.5298.
    """

    def __init__(
        self, *sizes: int, n_classes: int = 10, likelihood: nn.Module | None = None
    ) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            sizes: of the image, the encoder's hidden layers and the code, without the label; the
                decoder mirrors them. At least three, each at least 1.
            n_classes: number of classes, at least 1.
            likelihood: ``Bernoulli()`` (the default), ``Gaussian(…)`` or ``Laplace(…)``.

        Raises:
            ValueError: an argument is out of its range.
        """
        nn.Module.__init__(self)  # not VAE's: that would build layers without a label
        expect_sizes("sizes", sizes, 3)
        expect_whole("n_classes", n_classes, 1)
        d, *hidden, k = sizes
        self.sizes, self.latent_dim, self.n_classes = sizes, k, n_classes
        self.encoder = Encoder(d + n_classes, *hidden, k)
        self.decoder = Decoder(k + n_classes, *hidden[::-1], d)
        self.likelihood = likelihood or Bernoulli()

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Map images with labels, (n, d + n_classes), to mu and logvar, (n, k) each."""
        expect_shapes(f"n {self.sizes[0] + self.n_classes}", rows=rows)
        return self.encoder(rows)

    def log_likelihood(self, rows: Tensor, z: Tensor) -> Tensor:
        """Compute ln p(x|z, y): (n, d + n_classes), (n, k) -> (n,) nats. The label has no term."""
        x, label = rows.split((self.sizes[0], self.n_classes), dim=1)
        return self.likelihood.log_prob(x, self.decoder.logits(torch.cat([z, label], dim=1)))

    def generate(self, y: Tensor, z: Tensor) -> Tensor:
        """Decode codes as the classes asked for: (n,) int64, (n, k) -> (n, d), in [0, 1]."""
        expect_shapes(f"n, n {self.sizes[-1]}", y=y, z=z)
        return self.decoder(torch.cat([z, F.one_hot(y, self.n_classes).to(z)], dim=1))

    def forward(
        self, rows: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct: (n, d + n_classes) -> recon_x (n, d) without label, mu, logvar (n, k)."""
        mu, logvar = self.encode(rows)
        code = torch.cat([self.reparameterize(mu, logvar, generator), rows[:, self.sizes[0] :]], 1)
        return self.decode(code), mu, logvar


def with_labels(x: np.ndarray, y: np.ndarray, n_classes: int = 10) -> np.ndarray:
    """Append the label of each image to its row, as a one-hot vector. Defined in chapter 17.

    Args:
        x: (n, d) images.
        y: (n,) whole numbers from 0 to n_classes − 1.
        n_classes: number of classes; all of them, also where ``y`` lacks some.

    Returns:
        (n, d + n_classes) float32.

    Raises:
        ValueError: the shapes do not fit, or a label is no such number.

    >>> with_labels(np.array([[0.5, 0.25]]), np.array([2]), 3)
    array([[0.5 , 0.25, 0.  , 0.  , 1.  ]], dtype=float32)
    """
    expect_whole("n_classes", n_classes, 1)
    expect_shapes("n d", x=x)
    images, labels = np.asarray(x, dtype=np.float32), as_labels("y", y, len(x), n_classes)
    return np.hstack([images, np.eye(n_classes, dtype=np.float32)[labels]])


named_errors(globals())
