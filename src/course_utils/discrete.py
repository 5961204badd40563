"""Codes that are choices: quantisers, the autoencoder around one, and a prior over its codes.

An image has m codes, each one of K values; a value is a vector of r numbers, a row of the codebook.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.arguments import named_errors
from course_utils.shapes import expect_finite, expect_shapes, expect_sizes, expect_whole


def nearest_value(z: Tensor, codebook: Tensor) -> Tensor:
    """Find which row of the codebook is nearest to each vector. Defined in chapter 20.

    Args:
        z: (…, r).
        codebook: (K, r).

    Returns:
        (…) whole numbers from 0 to K - 1. No gradient passes.

    Raises:
        ValueError: the shapes do not fit, or a number is not finite.
    """
    flat = z.detach().reshape(-1, z.shape[-1])
    expect_shapes("n r, K r", z=flat, codebook=codebook)
    expect_finite(z=flat, codebook=codebook)
    exact = "donot_use_mm_for_euclid_dist"  # a product of matrices loses small distances
    return torch.cdist(flat, codebook.detach(), compute_mode=exact).argmin(1).view(z.shape[:-1])


def straight_through(z: Tensor, e: Tensor) -> Tensor:
    """Return ``e``, and let the gradient pass to ``z`` as if it were z. Defined in chapter 20.

    Args:
        z: what was quantised, any shape.
        e: what it became, the same shape. It gets no gradient.

    Raises:
        ValueError: the shapes do not fit.

    Source:
        Bengio, Léonard and Courville (2013), https://arxiv.org/abs/1308.3432.
    """
    if z.shape != e.shape:
        raise ValueError(f"e must have the shape of z, {tuple(z.shape)}, got {tuple(e.shape)}")
    return z + (e - z).detach()


def perplexity(codes: Tensor, n_values: int) -> float:
    """Compute exp(−Σ_j p_j ln p_j), p the shares of the values among codes. Defined in chapter 20.

    Args:
        codes: whole numbers from 0 to n_values - 1, any shape, at least one.
        n_values: K, at least 1.

    Returns:
        Between 1, where one value has all, and K, where all are used alike.

    Raises:
        ValueError: there is no code, or one that is no value.
    """
    expect_whole("n_values", n_values, 1)
    inside = codes.numel() > 0 and 0 <= int(codes.min()) <= int(codes.max()) < n_values
    if not inside:
        raise ValueError(f"codes must be one or more from 0 to {n_values - 1}, got {codes}")
    p = torch.bincount(codes.flatten(), minlength=n_values).double() / codes.numel()
    return math.exp(-torch.special.xlogy(p, p).sum())


def squares(difference: Tensor) -> Tensor:
    """Sum squares over codes and their numbers. Defined in chapter 20.

    Args:
        difference: (n, m, r).

    Returns:
        One number, a mean over the n images.
    """
    expect_shapes("n m r", difference=difference)
    return (difference**2).sum(dim=(1, 2)).mean()


class VectorQuantiser(nn.Module):
    """Replace each vector by the nearest row of a learned codebook. Defined in chapter 20.

    The rows learn by the gradient of the codebook loss, which is part of the penalty.

    Source:
        van den Oord, Vinyals and Kavukcuoglu (2017), https://arxiv.org/abs/1711.00937.
    """

    def __init__(self, n_values: int, width: int, *, commitment: float = 0.25) -> None:
        """Draw the first codebook, standard normal, from PyTorch's global generator.

        Args:
            n_values: K, rows of the codebook, at least 1.
            width: r, numbers in a row, at least 1.
            commitment: weight of the commitment loss, at least 0.

        Raises:
            ValueError: a number is out of its range.
        """
        super().__init__()
        expect_sizes("(n_values, width)", (n_values, width), 1)
        if not 0 <= commitment < math.inf:
            raise ValueError(f"commitment must be at least 0 and finite, got {commitment}")
        self.n_values, self.width, self.commitment = n_values, width, commitment
        self.codebook = nn.Parameter(torch.randn(n_values, width))

    def forward(
        self, z: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise (n, m, r): the rows chosen (n, m, r), which they are (n, m), and the penalty.

        The penalty is one number for the loss: a sum over codes, a mean over images.
        """
        expect_shapes(f"n m {self.width}", z=z)
        codes = nearest_value(z, self.codebook)
        e = self.codebook[codes]
        penalty = squares(z.detach() - e) + self.commitment * squares(z - e.detach())
        return straight_through(z, e), codes, penalty

    def lookup(self, codes: Tensor) -> Tensor:
        """Find the rows of codes: (n, m) whole numbers -> (n, m, r)."""
        expect_shapes("n m", codes=codes)
        return self.codebook[codes]

    @torch.no_grad()
    def place(self, rows: Tensor) -> None:
        """Put the codebook at these rows, (K, r)."""
        expect_shapes(f"{self.n_values} {self.width}", rows=rows)
        expect_finite(rows=rows)
        self.codebook.copy_(rows)


@torch.no_grad()
def kmeans_step(
    codebook: Tensor, counts: Tensor, z: Tensor, codes: Tensor, *, decay: float
) -> tuple[Tensor, Tensor]:
    """Take one step of moving averages towards the means of the cells. Defined in chapter 20.

    N_j ← decay N_j + (1 − decay) n_j, and s_j alike, for the sum of the vectors that chose row j;
    the row is s_j / N_j. A row that no vector chose stays.

    Args:
        codebook: (K, r).
        counts: (K,) moving averages N_j of how many vectors chose each row.
        z: (n, r) vectors of a batch.
        codes: (n,) the row that each chose.
        decay: in [0, 1).

    Returns:
        The new codebook and the new counts.

    Raises:
        ValueError: the shapes do not fit, or a number is not finite or out of its range.

    Source:
        van den Oord, Vinyals and Kavukcuoglu (2017), appendix A.1,
        https://arxiv.org/abs/1711.00937.
    """
    if not (isinstance(decay, (int, float)) and 0 <= decay < 1):
        raise ValueError(f"decay must be a number in [0, 1), got {decay!r}")
    expect_shapes("K r, K, n r, n", codebook=codebook, counts=counts, z=z, codes=codes)
    expect_finite(codebook=codebook, counts=counts, z=z)
    chosen = F.one_hot(codes, len(codebook)).to(z.dtype)  # (n, K)
    kept, new = decay * counts, (1 - decay) * chosen.sum(dim=0)
    sums = kept[:, None] * codebook + (1 - decay) * chosen.T @ z
    total = (kept + new)[:, None]
    # A row that is idle for thousands of steps has a count of nearly nothing.
    return torch.where(total > 1e-6, sums / total, codebook), kept + new


class MovingQuantiser(VectorQuantiser):
    """The same, with rows that are ratios of moving averages. Defined in chapter 20.

    Each call in training mode takes a ``kmeans_step``; the loss leaves the rows alone.

    Source:
        van den Oord, Vinyals and Kavukcuoglu (2017), appendix A.1,
        https://arxiv.org/abs/1711.00937; restarts as in Dhariwal et al. (2020),
        https://arxiv.org/abs/2005.00341.
    """

    counts: Tensor

    def __init__(
        self, n_values: int, width: int, *, decay: float = 0.99, restart: float = 0.0
    ) -> None:
        """Draw the first codebook as ``VectorQuantiser`` does; the commitment is its default.

        Args:
            n_values, width: as there.
            decay: of the moving averages, in [0, 1).
            restart: a row whose moving count of vectors a batch is below this is placed on a vector
                of the batch; at least 0, and 0 for never.

        Raises:
            ValueError: a number is out of its range.
        """
        super().__init__(n_values, width)
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        if not 0 <= restart < math.inf:
            raise ValueError(f"restart must be at least 0 and finite, got {restart}")
        self.decay, self.restart = decay, restart
        self.codebook.requires_grad_(False)
        self.register_buffer("counts", torch.ones(n_values))

    def forward(
        self, z: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise as ``VectorQuantiser`` does; then, in training mode, move the codebook."""
        e, codes, penalty = super().forward(z)
        if self.training:
            vectors = z.detach().flatten(0, 1)  # (n m, r)
            book, counts = kmeans_step(
                self.codebook, self.counts, vectors, codes.flatten(), decay=self.decay
            )
            idle = counts < self.restart
            n = (int(idle.sum()),)
            rows = torch.randint(len(vectors), n, generator=generator, device=z.device)
            book[idle], counts[idle] = vectors[rows], self.restart
            self.codebook.copy_(book)
            self.counts.copy_(counts)
        return e, codes, penalty


class FiniteScalar(nn.Module):
    """Bound each number and round it to one of a few levels. Defined in chapter 20.

    With L levels: L evenly spaced numbers from -1 to 1. A code is a choice of one level for each of
    r numbers, so K is the product of the levels; there is nothing to learn and no penalty.

    Source:
        Mentzer et al. (2024), https://arxiv.org/abs/2309.15505 (there levels and bound lie a
        little differently).
    """

    steps: Tensor
    places: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        """Take the numbers of levels, r of them, each at least 2.

        Raises:
            ValueError: no level, or one below 2.
        """
        super().__init__()
        expect_sizes("levels", levels, 1)
        if min(levels) < 2:
            raise ValueError(f"levels must be at least 2 each, got {tuple(levels)}")
        self.width, self.n_values = len(levels), math.prod(levels)
        self.register_buffer("steps", torch.tensor(levels) - 1)  # (r,): gaps between levels
        places = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("places", torch.tensor(places))  # (r,): what a level counts

    def forward(
        self, z: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise (n, m, r), as ``VectorQuantiser`` does; the penalty is 0."""
        expect_shapes(f"n m {self.width}", z=z)
        bounded = torch.tanh(z)
        levels = torch.round((bounded.detach() + 1) / 2 * self.steps)  # 0 … L - 1
        codes = (levels.long() * self.places).sum(dim=2)
        return straight_through(bounded, 2 * levels / self.steps - 1), codes, z.new_zeros(())

    def lookup(self, codes: Tensor) -> Tensor:
        """Find the vectors of codes: (n, m) whole numbers -> (n, m, r)."""
        expect_shapes("n m", codes=codes)
        levels = codes[..., None] // self.places % (self.steps + 1)
        return 2 * levels / self.steps - 1


class VQVAE(nn.Module):
    """A dense autoencoder with m codes an image, all by one quantiser. Defined in chapter 20.

    ``VQVAE(784, 400, 16, quantiser)`` is 784 → 400 → 16 vectors, 16 vectors → 400 → 784. The
    original is convolutional, with one code for each place of the image.
    """

    def __init__(self, d: int, hidden: int, m: int, quantiser: nn.Module) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            d, hidden, m: numbers in an image, hidden units, codes an image, each at least 1.
            quantiser: a ``VectorQuantiser`` or a ``FiniteScalar``.

        Raises:
            ValueError: a size is below 1.
        """
        super().__init__()
        expect_sizes("(d, hidden, m)", (d, hidden, m), 1)
        self.m, self.quantiser = m, quantiser
        width = int(quantiser.width)
        self.encoder = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, m * width))
        self.decoder = nn.Sequential(
            nn.Linear(m * width, hidden), nn.ReLU(), nn.Linear(hidden, d), nn.Sigmoid()
        )

    def encode(self, x: Tensor) -> Tensor:
        """Compute the vectors before they are quantised: (n, d) -> (n, m, r)."""
        return self.encoder(x).unflatten(1, (self.m, -1))

    def decode(self, e: Tensor) -> Tensor:
        """Decode vectors: (n, m, r) -> (n, d), in [0, 1]."""
        expect_shapes(f"n {self.m} {self.quantiser.width}", e=e)
        return self.decoder(e.flatten(1))

    def codes(self, x: Tensor) -> Tensor:
        """Compute the codes of images: (n, d) -> (n, m) whole numbers."""
        expect_finite(x=x)
        return self.quantiser(self.encode(x))[1]


def vq_loss(model: nn.Module, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Compute the squared error plus the quantiser's penalty. Defined in chapter 20.

    Both are sums, over pixels and over codes, and means over images.

    Args:
        model: a ``VQVAE``.
        x: (n, d).
        generator: of restarts.

    Returns:
        One number.
    """
    e, _, penalty = model.quantiser(model.encode(x), generator)
    return ((x - model.decode(e)) ** 2).sum(dim=1).mean() + penalty


class CodePrior(nn.Module):
    """Probabilities of each code, given the codes before it. Defined in chapter 20.

    Two layers with masked weights: the hidden units of place i see the codes before place i, and
    its logits see the hidden units of the places up to i.

    Source:
        Germain, Gregor, Murray and Larochelle (2015), https://arxiv.org/abs/1502.03509.
    """

    sees: Tensor
    answers: Tensor

    def __init__(self, m: int, n_values: int, *, hidden: int = 32) -> None:
        """Build the layers, with PyTorch's initial weights, from its global generator.

        Args:
            m: codes an image, at least 1.
            n_values: K, at least 1.
            hidden: units for each place, at least 1.

        Raises:
            ValueError: a number is out of its range.
        """
        super().__init__()
        expect_sizes("(m, n_values, hidden)", (m, n_values, hidden), 1)
        self.m, self.n_values = m, n_values
        self.first = nn.Linear(m * n_values, m * hidden)
        self.second = nn.Linear(m * hidden, m * n_values)
        outer = torch.arange(m).repeat_interleave(n_values)  # the place of each input and output
        inner = torch.arange(m).repeat_interleave(hidden)
        self.register_buffer("sees", (outer < inner[:, None]).float())
        self.register_buffer("answers", (inner <= outer[:, None]).float())

    def forward(self, codes: Tensor) -> Tensor:
        """Compute logits of every value at every place: (n, m) -> (n, m, K)."""
        expect_shapes(f"n {self.m}", codes=codes)
        one_hot = F.one_hot(codes.long(), self.n_values).to(self.first.weight.dtype).flatten(1)
        h = torch.relu(F.linear(one_hot, self.first.weight * self.sees, self.first.bias))
        logits = F.linear(h, self.second.weight * self.answers, self.second.bias)
        return logits.unflatten(1, (self.m, self.n_values))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n lists of codes, place after place: -> (n, m)."""
        expect_whole("n", n, 1)
        codes = torch.zeros(n, self.m, dtype=torch.long, device=self.first.weight.device)
        for i in range(self.m):
            shares = torch.softmax(self(codes)[:, i], dim=1)
            codes[:, i] = torch.multinomial(shares, 1, generator=generator)[:, 0]
        return codes


def code_loss(model: nn.Module, codes: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Compute −ln p(codes), a sum over places, in nats, a mean over images. Defined in chapter 20.

    Args:
        model: a ``CodePrior``.
        codes: (n, m), also as floats, as ``training.fit`` gives them.
        generator: not used.

    Returns:
        One number.
    """
    logits = model(codes)
    return F.cross_entropy(logits.transpose(1, 2), codes.long(), reduction="sum") / len(codes)


named_errors(globals())
