"""diagnose on many small VAEs: the healthy ones are never accused, each broken one by its fault.

Every broken one is a healthy one with one line changed; the name before the colon is the fault's.
"""

# ruff: noqa: E501 - a row of the tables is a line
import math
from functools import partial

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from course_utils import runtime  # noqa: E402
from course_utils.diagnosis import diagnose  # noqa: E402
from course_utils.diagnosis.faults import FAULTS  # noqa: E402
from course_utils.vae import VAE, ConvVAE, Gaussian, Laplace, SmallVAE, negative_elbo  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with runtime.threads(1):
        yield


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def grey(n=40, d=12, seed=3):
    """Images of two factors, in (0, 1)."""
    z = torch.randn(n, 2, generator=generator(seed))
    return torch.sigmoid(2 * z @ torch.randn(2, d, generator=generator(1)))


def binary(n=40, d=12):
    return (grey(n, d) > 0.5).float()


def standard(n=40, d=12, scale=1.0, shift=0.0):
    x = grey(n, d)
    return shift + scale * (x - x.mean(0)) / x.std(0)


class Tiny(nn.Module):
    """d → 16 → (k, k) → 16 → d in the protocol; its data may have any centre and spread."""

    def __init__(
        self, d=12, k=3, h=16, act=nn.ReLU, out=torch.sigmoid, head=None, scale=1.0, shift=0.0
    ):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(d, h), act())
        self.mu, self.second = nn.Linear(h, k), nn.Linear(h, k)
        self.back = nn.Sequential(nn.Linear(k, h), act(), nn.Linear(h, d))
        self.out, self.head, self.scale, self.shift = out, head, scale, shift

    def encode(self, x):
        h = self.body((x - self.shift) / self.scale)
        a = self.second(h)
        return self.mu(h), a if self.head is None else self.head(a)

    def width(self, a):
        return torch.exp(a / 2)

    def sample(self, mu, a):
        return mu + self.width(a) * torch.randn_like(mu)

    def decode(self, z):
        return self.out(self.back(z)) * self.scale + self.shift

    def forward(self, x):
        mu, a = self.encode(x)
        return self.decode(self.sample(mu, a)), mu, a


def same(a):
    return a


Free = partial(Tiny, out=same)  # a decoder that ends in a linear layer


def kl(mu, v):
    return 0.5 * (mu**2 + v.exp() - 1 - v).sum(1)


def bce(p, x):
    return F.binary_cross_entropy(p, x, reduction="none").flatten(1).sum(1)


def logits(p, x):
    return F.binary_cross_entropy_with_logits(p, x, reduction="none").flatten(1).sum(1)


def sse(p, x):
    return ((p - x) ** 2).flatten(1).sum(1)


def half(p, x):
    return sse(p, x) / 2


def absolute(p, x):
    return (p - x).abs().flatten(1).sum(1)


def loss_of(error, charge=kl, beta=1.0):
    def loss(model, x, generator=None):
        p, mu, a = model(x)
        return (error(p, x) + beta * charge(mu, a)).mean()

    return loss


def of_all(f):
    return lambda model, x, generator=None: f(*model(x), x)


def trained(model, x, loss, steps=150, rate=5e-3):
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model, x, generator()).backward()
        optimizer.step()
    return model


def widths_by(width, base=Tiny):
    return type("Width", (base,), {"width": lambda self, a: width(a)})


class Normed(Tiny):
    def __init__(self, **options):
        super().__init__(**options)
        h = self.body[0].out_features
        self.body = nn.Sequential(self.body[0], nn.BatchNorm1d(h), nn.LeakyReLU(), nn.Dropout(0.2))
        self.back = nn.Sequential(
            *self.back[:1], nn.BatchNorm1d(h), nn.ReLU(), nn.Dropout(0.2), self.back[2]
        )


class Layered(Tiny):
    def __init__(self, **options):
        super().__init__(**options)
        self.body = nn.Sequential(*self.body, nn.LayerNorm(self.body[0].out_features))


class Images(Tiny):
    """Convolutions, on (n, 1, 4, 4)."""

    def __init__(self, norm=True, **options):
        super().__init__(d=16, **options)
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4) if norm else nn.Identity(),
            nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.back = nn.Sequential(
            nn.Linear(3, 16), nn.ReLU(), nn.Unflatten(1, (4, 2, 2)),
            nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1),
        )  # fmt: skip


class OneClass(Tiny):
    """Conditional, the class fixed."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12 + 3, 16), nn.ReLU())
        self.back = nn.Sequential(nn.Linear(3 + 3, 16), nn.ReLU(), nn.Linear(16, 12))

    def label(self, x):
        return F.one_hot(torch.ones(len(x), dtype=torch.long), 3).to(x)

    def encode(self, x):
        return super().encode(torch.cat([x, self.label(x)], 1))

    def decode(self, z):
        return super().decode(torch.cat([z, self.label(z)], 1))


class Own(Tiny):
    """With a likelihood of its own, from logits."""

    def log_likelihood(self, x, z):
        return -logits(self.back(z), x)


class LearnedVariance(Tiny):
    def __init__(self, **options):
        super().__init__(out=same, **options)
        self.s = nn.Parameter(torch.zeros(()))

    def log_likelihood(self, x, z):
        return -0.5 * (sse(self.decode(z), x) / self.s.exp() + x.shape[1] * self.s)


class Rsample(Tiny):
    def sample(self, mu, a):
        return torch.distributions.Normal(mu, self.width(a)).rsample()


class KeepsRows(Tiny):
    def sample(self, mu, a):
        return mu + self.width(a) * torch.randn(40, mu.shape[1], dtype=mu.dtype)


class Casts(Tiny):
    def encode(self, x):
        return super().encode(x.float() / 255)

    def decode(self, z):
        return 255 * super().decode(z)


class LearnedPrior(Tiny):
    def __init__(self, **options):
        super().__init__(**options)
        self.prior = nn.Parameter(torch.randn(3))


def elbo_of(model, x, generator=None, *, beta=1.0):
    mu, a = model.encode(x)
    return (beta * kl(mu, a) - model.log_likelihood(x, model.sample(mu, a))).mean()


def drawn_kl(model, x, generator=None, *, sign=1.0, beta=1.0, error=bce):
    mu, a = model.encode(x)
    z = model.sample(mu, a)
    log_q = -0.5 * (a + (z - mu) ** 2 / a.exp()).sum(1)
    return (error(model.decode(z), x) + beta * (sign * log_q + 0.5 * (z**2).sum(1))).mean()


def library_kl(mu, a):
    q = torch.distributions.Normal(mu, torch.exp(a / 2))
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)


def own_bce(p, x):
    return -(x * torch.log(p + 1e-8) + (1 - x) * torch.log(1 - p + 1e-8)).sum(1)


def drawn_kl_of_sigma(model, x, generator=None):
    mu, s = model.encode(x)
    z = model.sample(mu, s)
    log_q = -(s.log() + 0.5 * ((z - mu) / s) ** 2).sum(1)
    return (bce(model.decode(z), x) + log_q + 0.5 * (z**2).sum(1)).mean()


def mixture(model, x, generator_=None):
    mu, a = model.encode(x)
    z = model.sample(mu, a)
    log_q = -0.5 * (a + (z - mu) ** 2 / a.exp()).sum(1)
    centres = 2 * torch.randn(4, 3, generator=generator(9))
    log_p = torch.logsumexp(-0.5 * ((z[:, None] - centres) ** 2).sum(2), 1)
    return (bce(model.decode(z), x) + log_q - log_p).mean()


def several_draws(model, x, generator=None):
    mu, a = model.encode(x)
    errors = [bce(model.decode(model.sample(mu, a)), x) for _ in range(3)]
    return (sum(errors) / 3 + kl(mu, a)).mean()


class PlainLearned(Tiny):
    def __init__(self, start):
        super().__init__(out=same)
        self.s = nn.Parameter(torch.tensor(start))


def plain_learned(model, x, generator=None):
    p, mu, a = model(x)
    return (half(p, x) / model.s.exp() + x.shape[1] * model.s / 2 + kl(mu, a)).mean()


def free_bits(mu, a, x, error, floor=0.1):
    return error + (0.5 * (mu**2 + a.exp() - 1 - a)).mean(0).clamp(min=floor).sum()


def log_mse(p, mu, a, x):
    return x.shape[1] / 2 * ((p - x) ** 2).mean().log() + kl(mu, a).mean()


def prior_of(p, mu, a, x, m=1.0, s=1.0):
    v = math.log(s**2)
    return (bce(p, x) + 0.5 * ((mu - m) ** 2 / s**2 + (a - v).exp() - 1 - a + v).sum(1)).mean()


def likelihood(f, **options):
    cls = type("Density", (Tiny,), {"log_likelihood": lambda self, x, z: f(self, x, z)})
    return partial(cls, **options)


# name: (model, batch, loss, β that is meant)
HEALTHY = {}
for d, k, h in ((12, 1, 8), (12, 2, 16), (24, 3, 32), (16, 8, 16), (2, 1, 8), (12, 12, 16)):
    HEALTHY[f"sizes {d} {h} {k}"] = partial(Tiny, d, k, h), grey(40, d), loss_of(bce), 1
for act in (
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.Mish,
):
    HEALTHY[f"activation {act.__name__}"] = partial(Tiny, act=act), binary(), loss_of(bce), 1
for scale in (1e-3, 0.1, 10.0, 255.0, 1e3, 1e4, 1e5, 1e6):
    HEALTHY[f"data of size {scale:g}"] = (
        partial(Free, scale=scale), standard(scale=scale), loss_of(half), 1,
    )  # fmt: skip
for act in (nn.Tanh, nn.Softplus):
    HEALTHY[f"data of size 1e-3, not scaled, {act.__name__}"] = (
        partial(Free, act=act), standard(scale=1e-3), loss_of(lambda p, x: half(p, x) / 1e-8), 1,
    )  # fmt: skip
HEALTHY |= {
    "data far from 0": (partial(Free, scale=10, shift=1e4), standard(scale=10, shift=1e4), loss_of(half), 1),
    "columns in units of their own": (
        partial(Free, scale=10.0 ** torch.arange(-3, 3).repeat(2)),
        standard() * 10.0 ** torch.arange(-3, 3).repeat(2), loss_of(half), 1,
    ),
    "grey, logits": (Free, grey(), loss_of(logits), 1),
    "binary, logits, tanh": (partial(Free, act=nn.Tanh), binary(), loss_of(logits), 1),
    "two rows": (Tiny, grey(2), loss_of(bce), 1),
    "three hundred rows": (Tiny, grey(300), loss_of(bce), 1),
    "half of the squared error": (Tiny, grey(), loss_of(half), 1),
    "squared error": (Tiny, grey(), loss_of(sse), 1),
    "variance 0.02": (Tiny, grey(), loss_of(lambda p, x: half(p, x) / 0.02), 1),
    "variance 0.3, summed over rows": (
        Tiny, grey(), of_all(lambda p, m, a, x: (half(p, x) / 0.3 + kl(m, a)).sum()), 1,
    ),
    "absolute error": (Tiny, grey(), loss_of(absolute), 1),
    "absolute error, scale 0.2": (Tiny, binary(), loss_of(lambda p, x: 5 * absolute(p, x)), 1),
    "both over pixels": (Tiny, grey(), of_all(lambda p, m, a, x: (bce(p, x) + kl(m, a)).mean() / 12), 1),
    "both summed over rows": (Tiny, grey(), of_all(lambda p, m, a, x: (bce(p, x) + kl(m, a)).sum()), 1),
    "logarithm of the mean square": (Tiny, grey(), of_all(log_mse), 1),
    "β = 4": (Tiny, grey(), loss_of(bce, beta=4), 4),
    "β = 0.1, variance 0.05": (Free, standard(), loss_of(lambda p, x: 10 * sse(p, x), beta=0.1), 0.1),
    "β = 0": (Tiny, grey(), loss_of(bce, beta=0), 0),
    "BatchNorm and dropout": (Normed, grey(), loss_of(bce), 1),
    "BatchNorm, squared error": (partial(Normed, out=same), standard(), loss_of(half), 1),
    "LayerNorm": (Layered, grey(), loss_of(bce), 1),
    "logvar clamped to ±10": (partial(Tiny, head=lambda a: a.clamp(-10, 10)), grey(), loss_of(bce), 1),
    "logvar clamped to -6 … 2": (partial(Tiny, head=lambda a: a.clamp(-6, 2)), grey(), loss_of(bce), 1),
    "logvar 5 tanh": (partial(Tiny, head=lambda a: 5 * torch.tanh(a)), grey(), loss_of(bce), 1),
    "logvar never above 0": (partial(Tiny, head=lambda a: -F.softplus(a)), grey(), loss_of(bce), 1),
    "logvar from softplus": (partial(Tiny, head=lambda a: 2 * F.softplus(a).log()), grey(), loss_of(bce), 1),
    "σ head, softplus": (
        lambda: widths_by(same)(head=F.softplus), grey(), loss_of(bce, lambda m, s: kl(m, 2 * s.log())), 1,
    ),
    "σ head, exp": (
        lambda: widths_by(same)(head=torch.exp), binary(), loss_of(bce, lambda m, s: kl(m, 2 * s.log())), 1,
    ),
    "σ head, softplus + 1e-4": (
        lambda: widths_by(same)(head=lambda a: F.softplus(a) + 1e-4), grey(),
        loss_of(half, lambda m, s: kl(m, 2 * s.log())), 1,
    ),
    "σ² head": (
        lambda: widths_by(torch.sqrt)(head=F.softplus), grey(), loss_of(bce, lambda m, s: kl(m, s.log())), 1,
    ),
    "σ by softplus in sampler and KL": (
        lambda: widths_by(F.softplus)(), grey(), loss_of(bce, lambda m, a: kl(m, 2 * F.softplus(a).log())), 1,
    ),
    "ln σ head": (lambda: widths_by(torch.exp)(), grey(), loss_of(bce, lambda m, a: kl(m, 2 * a)), 1),
    "ln σ head, squared error": (
        lambda: widths_by(torch.exp, Free.func)(out=same), standard(),
        loss_of(half, lambda m, a: kl(m, 2 * a)), 1,
    ),
    "free bits 0.1": (Tiny, grey(), of_all(lambda p, m, a, x: free_bits(m, a, x, bce(p, x).mean())), 1),
    "free bits 0.5": (Tiny, grey(), of_all(lambda p, m, a, x: free_bits(m, a, x, half(p, x).mean(), 0.5)), 1),
    "free bits of a row": (Tiny, grey(), loss_of(bce, lambda m, a: kl(m, a).clamp(min=2)), 1),
    "free bits, ln σ": (
        lambda: widths_by(torch.exp)(), grey(),
        of_all(lambda p, m, a, x: free_bits(m, 2 * a, x, bce(p, x).mean())), 1,
    ),
    "capacity 5": (Tiny, grey(), of_all(lambda p, m, a, x: bce(p, x).mean() + 4 * (kl(m, a).mean() - 5).abs()), 4),
    "capacity 25": (Free, standard(), of_all(lambda p, m, a, x: half(p, x).mean() + 10 * (kl(m, a).mean() - 25).abs()), 10),
    "drawn KL": (Tiny, grey(), drawn_kl, 1),
    "drawn KL, squared error": (Free, standard(), partial(drawn_kl, error=half), 1),
    "drawn KL, β = 4": (Tiny, grey(), partial(drawn_kl, beta=4), 4),
    "the library's KL": (Rsample, grey(), loss_of(bce, library_kl), 1),
    "the library's draw": (Rsample, binary(), loss_of(bce), 1),
    "a prior at 1": (Tiny, grey(), of_all(prior_of), 1),
    "a wide prior": (Tiny, grey(), of_all(partial(prior_of, m=0, s=2)), 1),
    "convolutional": (Images, grey(40, 16).view(-1, 1, 4, 4), loss_of(bce), 1),
    "convolutional, logits, no norm": (
        partial(Images, norm=False, out=same), grey(40, 16).view(-1, 1, 4, 4), loss_of(logits), 1,
    ),
    "convolutional, squared error": (partial(Images, out=same), standard(40, 16).view(-1, 1, 4, 4), loss_of(half), 1),
    "the course's convolutional, in colour": (
        lambda: ConvVAE(4, 4, latent_dim=3, channels=(8,), image_channels=3, likelihood=Gaussian(0.05, learned=True)),
        grey(40, 48), negative_elbo, 1,
    ),
    "conditional": (OneClass, grey(), loss_of(bce), 1),
    "its own likelihood": (Own, grey(), elbo_of, 1),
    "learned variance": (LearnedVariance, standard(), elbo_of, 1),
    "the course's Gaussian": (lambda: VAE(12, 16, 3, likelihood=Gaussian(0.05)), grey(), negative_elbo, 1),
    "the course's Laplace": (lambda: VAE(12, 16, 3, likelihood=Laplace(0.2)), grey(), negative_elbo, 1),
    "the course's Bernoulli": (lambda: VAE(12, 16, 8, 3), binary(), negative_elbo, 1),
    "the small VAE": (lambda: SmallVAE((12, 8, 2)), binary(), negative_elbo, 1),
    "no loss given": (lambda: widths_by(same)(head=F.softplus), grey(), None, 1),
    "ReLU output, data above 0": (partial(Tiny, out=torch.relu), 5 * grey(), loss_of(half), 1),
    "softplus output, counts": (partial(Tiny, out=F.softplus), (20 * grey()).round(), loss_of(half), 1),
    "tanh output, data in [-1, 1]": (partial(Tiny, out=torch.tanh), 2 * grey() - 1, loss_of(half), 1),
    "tanh output, binary data of -1 and 1": (partial(Tiny, out=torch.tanh), 2 * binary() - 1, loss_of(half), 1),
    "tanh output, brought to [-1, 1] by the loss": (
        partial(Tiny, out=torch.tanh), binary(), loss_of(lambda p, x: half(p, 2 * x - 1)), 1,
    ),
    "tanh output, brought to [0, 1] by the loss": (
        partial(Tiny, out=torch.tanh), grey(), loss_of(lambda p, x: half((p + 1) / 2, x) / 0.05), 1,
    ),
    "tanh output, brought to [0, 1] by decode": (
        partial(Tiny, out=lambda a: (torch.tanh(a) + 1) / 2), binary(), loss_of(half), 1,
    ),
    "tanh output, brought to [-1, 1] by the likelihood": (
        likelihood(lambda s, x, z: -half(s.decode(z), 2 * x - 1), out=torch.tanh), binary(), elbo_of, 1,
    ),
    "tanh output, standardised and clipped": (
        partial(Tiny, out=torch.tanh), (standard() / 2).clamp(-1, 1), loss_of(half), 1,
    ),
    "tanh output, standardised and clipped, absolute": (
        partial(Tiny, out=torch.tanh), standard().clamp(-1, 1), loss_of(absolute), 1,
    ),
    "tanh output, a batch of the upper half": (partial(Tiny, out=torch.tanh), 0.2 + 0.7 * grey(), loss_of(half), 1),
    "tanh output, a batch of small numbers": (partial(Tiny, out=torch.tanh), 0.5 * grey(), loss_of(half), 1),
    "tanh output, no loss given": (partial(Tiny, out=torch.tanh), grey(), None, 1),
    "linear output, binary data": (Free, binary(), loss_of(half), 1),
    "output clamped to [0, 1]": (partial(Tiny, out=lambda a: a.clamp(0, 1)), binary(), loss_of(half), 1),
    "output clamped to ±10": (partial(Tiny, out=lambda a: a.clamp(-10, 10)), binary(), loss_of(half), 1),
    "logits clamped to ±4": (partial(Tiny, out=lambda a: a.clamp(-4, 4)), binary(), loss_of(logits), 1),
    "softsign logits, 5 wide": (partial(Tiny, out=lambda a: 5 * F.softsign(a)), grey(), loss_of(logits), 1),
    "bytes, scaled inside": (partial(Tiny, scale=255.0), 255 * grey(), loss_of(half), 1),
    "bytes, scaled by the loss": (
        type("Bytes", (Tiny,), {"encode": lambda self, x: Tiny.encode(self, x / 255)}), 255 * grey(),
        loss_of(lambda p, x: bce(p, x / 255)), 1,
    ),
    "one number of rows": (KeepsRows, grey(), loss_of(bce), 1),
    "casts to float32": (Casts, 255 * grey(), loss_of(half), 1),
    "own logarithms": (Tiny, grey(), loss_of(own_bce), 1),
    "smoothed targets": (Tiny, binary(), loss_of(lambda p, x: bce(p, 0.9 * x + 0.05)), 1),
    "double": (lambda: Tiny().double(), grey().double(), loss_of(bce), 1),
    "bfloat16": (lambda: Tiny().bfloat16(), grey(), loss_of(half), 1),
    "a learned variance that starts at 7": (partial(PlainLearned, 2.0), standard(), plain_learned, 1),
    "a prior of four": (Tiny, grey(), mixture, 1),
    "three draws a row": (Tiny, grey(), several_draws, 1),
    "Huber": (partial(Free, scale=5), standard(scale=5), loss_of(lambda p, x: F.smooth_l1_loss(p, x, reduction="none").sum(1)), 1),
    "σ head, drawn KL": (lambda: widths_by(same)(head=F.softplus), grey(), drawn_kl_of_sigma, 1),
    "capacity, ln σ": (
        lambda: widths_by(torch.exp)(), grey(),
        of_all(lambda p, m, a, x: bce(p, x).mean() + 4 * (kl(m, 2 * a).mean() - 5).abs()), 4,
    ),
    "ReLU6 output": (partial(Tiny, out=lambda a: F.relu6(a) / 6), grey(), loss_of(half), 1),
    "data of size 1e6, variance 1e12": (partial(Free, scale=1e6), 1e6 * grey(), loss_of(lambda p, x: half(p, x) / 1e12), 1),
    "float16": (lambda: Free().half(), standard(), loss_of(half), 1),
}  # fmt: skip
TRAINED = [
    "sizes 12 16 2", "activation Tanh", "data of size 0.001", "data of size 1e+06", "grey, logits",
    "squared error", "BatchNorm and dropout", "σ head, softplus", "ln σ head", "free bits 0.1", "capacity 5",
    "tanh output, data in [-1, 1]", "tanh output, brought to [-1, 1] by the loss",
    "tanh output, standardised and clipped", "linear output, binary data", "logits clamped to ±4",
    "convolutional", "the course's convolutional, in colour", "its own likelihood", "learned variance", "drawn KL", "the course's Gaussian",
]  # fmt: skip


def prepared(name, table, seed=0):
    torch.manual_seed(seed)
    build, x, loss, beta = table[name.removesuffix(", trained")]
    model = build()
    if name.endswith(", trained"):
        trained(model, x, loss)
    return model, x, loss, beta


@pytest.mark.parametrize("name", [*HEALTHY, *(f"{name}, trained" for name in TRAINED)])
def test_a_healthy_variant_is_not_accused(name):
    model, x, loss, beta = prepared(name, HEALTHY)
    report = diagnose(model, x, loss=loss, beta=beta)
    assert report == []
    assert str(report).splitlines()[-1].startswith("not tested: ")


# The broken ones -----------------------------------------------------------------------------
def half_tanh(a):
    return torch.tanh(a) / 2


def heads(f, g=same):
    def encode(self, x):
        mu, a = Tiny.encode(self, x)
        return f(mu), g(a)

    return type("Heads", (Tiny,), {"encode": encode})


def samples(f):
    return type("Sample", (Tiny,), {"sample": lambda self, mu, a: f(mu, a)})


class Confident(Tiny):
    """As sure as late in training."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.back[2].weight.mul_(1000)


def eps_bce(p, x):
    return -(x * torch.log(p + 1e-8) + (1 - x) * torch.log(1e-8 + 1 - p)).sum(1)


def swap(error):
    return lambda p, x: error(x, p)


std = 0.5
BROKEN = {
    "arguments exchanged: probabilities": (Tiny, grey(), loss_of(swap(bce)), 1),
    "arguments exchanged: probabilities, binary": (Tiny, binary(), loss_of(swap(bce)), 1),
    "arguments exchanged: logits": (Free, grey(), loss_of(swap(logits)), 1),
    "arguments exchanged: logits, binary": (Free, binary(), loss_of(swap(logits)), 1),
    "arguments exchanged: a mean": (Free, grey(), of_all(lambda p, m, a, x: F.binary_cross_entropy_with_logits(x, p) + kl(m, a).mean() / 12), 1),
    "arguments exchanged: in log_likelihood": (likelihood(lambda s, x, z: -bce(x, s.decode(z))), grey(), elbo_of, 1),
    "arguments exchanged: in log_likelihood, logits": (
        likelihood(lambda s, x, z: -logits(x, s.back(z)), out=same), grey(), elbo_of, 1,
    ),
    "sigmoid twice: in the loss": (Tiny, grey(), loss_of(logits), 1),
    "sigmoid twice: convolutional": (Images, grey(40, 16).view(-1, 1, 4, 4), loss_of(logits), 1),
    "sigmoid twice: in log_likelihood": (likelihood(lambda s, x, z: -logits(s.decode(z), x)), binary(), elbo_of, 1),
    "no sigmoid: tanh": (partial(Tiny, out=torch.tanh), grey(), loss_of(bce), 1),
    "no sigmoid: linear": (Free, grey(), loss_of(lambda p, x: bce(p.clamp(1e-6, 1 - 1e-6), x)), 1),
    "no sigmoid: linear, raises": (Free, grey(), loss_of(bce), 1),
    "no sigmoid: softplus": (partial(Tiny, out=F.softplus), grey(), loss_of(own_bce), 1),
    "no sigmoid: under a right likelihood": (likelihood(lambda s, x, z: -logits(s.back(z), x), out=same), grey(), elbo_of, 1),
    "decoder cannot reach the data: ReLU": (partial(Tiny, out=torch.relu), standard(), loss_of(half), 1),
    "decoder cannot reach the data: softplus": (partial(Tiny, out=F.softplus), standard(), loss_of(half), 1),
    "decoder cannot reach the data: tanh": (partial(Tiny, out=torch.tanh), standard(), loss_of(half), 1),
    "decoder cannot reach the data: tanh, large": (partial(Tiny, out=torch.tanh), standard(scale=100), loss_of(half), 1),
    "decoder cannot reach the data: exp": (partial(Tiny, out=torch.exp), standard(), loss_of(sse), 1),
    "decoder cannot reach the data: tanh for logits": (partial(Tiny, out=torch.tanh), binary(), loss_of(logits), 1),
    "decoder cannot reach the data: ReLU for logits": (partial(Tiny, out=torch.relu), grey(), loss_of(logits), 1),
    "half of the decoder's range unused: grey": (partial(Tiny, out=torch.tanh), grey(), loss_of(half), 1),
    "half of the decoder's range unused: binary": (partial(Tiny, out=torch.tanh), binary(), loss_of(sse), 1),
    "half of the decoder's range unused: mostly black": (
        partial(Tiny, out=torch.tanh), grey() ** 4 * (grey() > 0.3), loss_of(half), 1,
    ),
    "half of the decoder's range unused: absolute": (partial(Tiny, out=torch.tanh), binary(), loss_of(absolute), 1),
    "half of the decoder's range unused: bytes": (partial(Tiny, out=torch.tanh, scale=255.0), 255 * grey(), loss_of(half), 1),
    "half of the decoder's range unused: softsign": (partial(Tiny, out=F.softsign), grey(), loss_of(half), 1),
    "half of the decoder's range unused: convolutional": (
        partial(Images, out=torch.tanh), grey(40, 16).view(-1, 1, 4, 4), loss_of(half), 1,
    ),
    "half of the decoder's range unused: a likelihood": (
        likelihood(lambda s, x, z: -half(s.decode(z), x) / 0.1, out=torch.tanh), grey(), elbo_of, 1,
    ),
    "half of the decoder's range unused: a likelihood, no loss": (
        likelihood(lambda s, x, z: -5 * absolute(s.decode(z), x), out=torch.tanh), binary(), None, 1,
    ),
    "input range: sigmoid": (Tiny, standard(), loss_of(half), 1),
    "input range: bytes": (Tiny, (255 * grey()).byte(), None, 1),
    "input range: bytes, floats": (Tiny, 255 * grey(), loss_of(bce), 1),
    "input range: logits of standardised data": (Free, standard(), loss_of(logits), 1),
    "input range: divided twice": (Tiny, grey() / 255, loss_of(bce), 1),
    "activation on the heads: tanh on both": (heads(torch.tanh, half_tanh), grey(), loss_of(bce), 1),
    "activation on the heads: tanh on the mean": (heads(torch.tanh), grey(), loss_of(bce), 1),
    "activation on the heads: hardtanh": (heads(F.hardtanh, F.hardtanh), grey(), loss_of(bce), 1),
    "activation on the heads: tanh on logvar": (heads(same, torch.tanh), grey(), loss_of(bce), 1),
    "activation on the heads: softsign": (heads(F.softsign), grey(), None, 1),
    "mean never negative: ReLU": (heads(torch.relu), grey(), loss_of(bce), 1),
    "mean never negative: sigmoid": (heads(torch.sigmoid), grey(), loss_of(bce), 1),
    "logvar never negative: softplus": (heads(same, F.softplus), grey(), loss_of(bce), 1),
    "logvar never negative: ReLU": (heads(same, torch.relu), grey(), loss_of(bce), 1),
    "logarithm of a negative head: σ": (
        lambda: widths_by(same)(), grey(), loss_of(bce, lambda m, s: kl(m, 2 * s.log())), 1,
    ),
    "logarithm of a negative head: variance": (Tiny, grey(), loss_of(bce, lambda m, s: kl(m, s.log())), 1),
    "sigma is zero: ReLU": (heads(same, lambda a: 2 * torch.relu(a).log()), grey(), loss_of(bce), 1),
    "encoder without nonlinearity: data of size 1": (partial(Tiny, act=nn.Identity), grey(), loss_of(bce), 1),
    "encoder without nonlinearity: data of size 1e5": (
        partial(Free, act=nn.Identity, scale=1e5), standard(scale=1e5), loss_of(half), 1,
    ),
    "decoder without nonlinearity: tanh output": (
        partial(Tiny, act=nn.Identity, out=torch.tanh), 2 * grey() - 1, loss_of(half), 1,
    ),
    "decoder without nonlinearity: bytes": (partial(Tiny, act=nn.Identity, scale=255.0), 255 * grey(), loss_of(half), 1),
    "not finite: 1 + 1e-8 in float32": (Confident, binary(), loss_of(eps_bce), 1),
    "not finite: exp of 95": (heads(same, lambda a: a + 95), grey(), loss_of(bce), 1),
    "not finite: the gradient of a root": (Tiny, grey(), of_all(lambda p, m, a, x: (bce(p, x) + kl(m, a)).mean() + (p - p).norm(dim=1).sqrt().sum()), 1),
    "no noise: mean code": (samples(lambda mu, a: mu + 0 * a), grey(), loss_of(bce), 1),
    "width of the noise: variance": (lambda: widths_by(torch.exp)(), grey(), loss_of(bce), 1),
    "width of the noise: σ ignored": (lambda: widths_by(torch.ones_like)(), grey(), loss_of(half), 1),
    "width of the noise: softplus": (lambda: widths_by(F.softplus)(), grey(), loss_of(bce), 1),
    "detached sample: no_grad": (samples(lambda mu, a: (mu + torch.exp(a / 2) * torch.randn_like(mu)).detach()), grey(), loss_of(bce), 1),
    "detached width: item": (samples(lambda mu, a: mu + torch.exp(a / 2).detach() * torch.randn_like(mu)), grey(), loss_of(bce), 1),
    "noise shared by code numbers: (n, 1)": (samples(lambda mu, a: mu + torch.exp(a / 2) * torch.randn_like(mu[:, :1])), grey(), loss_of(bce), 1),
    "noise shared by rows: (k,)": (samples(lambda mu, a: mu + torch.exp(a / 2) * torch.randn_like(mu[0])), grey(), loss_of(bce), 1),
    "noise not standard normal: rand": (samples(lambda mu, a: mu + torch.exp(a / 2) * torch.rand_like(mu)), grey(), loss_of(bce), 1),
    "KL reads logvar otherwise: ln σ": (Tiny, grey(), loss_of(bce, lambda m, a: kl(m, 2 * a)), 1),
    "sign of the KL: closed": (Tiny, grey(), loss_of(bce, beta=-1), 1),
    "sign of the KL: drawn": (Tiny, grey(), partial(drawn_kl, beta=-1), 1),
    "form of the KL: drawn, log q with its sign lost": (Tiny, grey(), partial(drawn_kl, sign=-1), 1),
    "form of the KL: mu not squared": (Tiny, grey(), loss_of(bce, lambda m, a: 0.5 * (m + a.exp() - 1 - a).sum(1)), 1),
    "form of the KL: plus logvar": (Tiny, grey(), loss_of(bce, lambda m, a: 0.5 * (m**2 + a.exp() - 1 + a).sum(1)), 1),
    "form of the KL: half of the logvar": (Tiny, standard().sigmoid(), loss_of(half, lambda m, a: 0.5 * (m**2 + a.exp() - 1 - a / 2).sum(1)), 1),
    "KL not in closed form: |mu|": (Tiny, grey(), loss_of(bce, lambda m, a: 0.5 * (m.abs() + a.exp() - 1 - a).sum(1)), 1),
    "log2 in the KL: squared error": (Tiny, grey(), loss_of(half, lambda m, a: 0.5 * (m**2 + a.exp() - 1 - torch.log2(a.exp())).sum(1)), 1),
    "KL without its -1: plain": (Tiny, grey(), loss_of(bce, lambda m, a: 0.5 * (m**2 + a.exp() - a).sum(1)), 1),
    "KL without its ½: plain": (Tiny, grey(), loss_of(bce, beta=2), 1),
    "no KL: forgotten": (Tiny, grey(), loss_of(bce, beta=0), 1),
    "mean against sum: cross-entropy": (Tiny, grey(), of_all(lambda p, m, a, x: F.binary_cross_entropy(p, x) + kl(m, a).mean()), 1),
    "mean against sum: squared error": (Tiny, grey(), of_all(lambda p, m, a, x: F.mse_loss(p, x) + kl(m, a).mean()), 1),
    "mean against sum: absolute error": (Tiny, grey(), of_all(lambda p, m, a, x: F.l1_loss(p, x) + kl(m, a).mean()), 1),
    "mean against sum: logits": (Free, grey(), of_all(lambda p, m, a, x: F.binary_cross_entropy_with_logits(p, x) + kl(m, a).mean()), 1),
    "reconstruction summed over rows: cross-entropy": (Tiny, grey(), of_all(lambda p, m, a, x: bce(p, x).sum() + kl(m, a).mean()), 1),
    "reconstruction summed over rows: squared error": (Tiny, grey(7), of_all(lambda p, m, a, x: F.mse_loss(p, x, reduction="sum") + kl(m, a).mean()), 1),
    "KL summed over rows: squared error": (Tiny, grey(), of_all(lambda p, m, a, x: F.mse_loss(p, x) + kl(m, a).sum()), 1),
    "KL summed over the wrong axis: squared error": (Tiny, grey(), of_all(lambda p, m, a, x: half(p, x).mean() + 0.5 * (m**2 + a.exp() - 1 - a).sum(0).mean()), 1),
    "weight of the KL: 0.00025": (Tiny, grey(), of_all(lambda p, m, a, x: F.mse_loss(p, x) + 0.00025 * kl(m, a).mean()), 1),
    "weight of the KL: β never used": (Tiny, grey(), loss_of(half), 4),
    "weight of the KL: a root of the mean square": (Tiny, grey(), of_all(lambda p, m, a, x: F.mse_loss(p, x).sqrt() + kl(m, a).mean()), 1),
    "weight of the KL: drawn, 64": (Tiny, grey(), partial(drawn_kl, beta=64), 1),
    "β on the wrong term: squared error": (Tiny, grey(), loss_of(lambda p, x: 4 * half(p, x)), 4),
    "sign of the reconstruction: minus the error": (Tiny, grey(), loss_of(lambda p, x: -half(p, x)), 1),
    "sign of the log-likelihood: Gaussian": (likelihood(lambda s, x, z: half(s.decode(z), x), out=same), standard(), elbo_of, 1),
    "no reconstruction: detached": (Tiny, grey(), loss_of(lambda p, x: bce(p.detach(), x)), 1),
    "shapes: a tuple": (Tiny, grey(), of_all(lambda p, m, a, x: (bce(p, x).mean(), kl(m, a).mean())), 1),
    "shapes: a dict": (Tiny, grey(), of_all(lambda p, m, a, x: {"loss": bce(p, x).mean(), "kl": kl(m, a).mean()}), 1),
    "shapes: one number a row": (Tiny, grey(), of_all(lambda p, m, a, x: bce(p, x) + kl(m, a)), 1),
    "loss without gradient: item": (Tiny, grey(), of_all(lambda p, m, a, x: (bce(p, x) + kl(m, a)).mean().item()), 1),
    "random at evaluation: dropout in encode": (
        type("Thin", (Tiny,), {"encode": lambda self, x: Tiny.encode(self, F.dropout(x, 0.2))}), grey(), loss_of(bce), 1,
    ),
}  # fmt: skip
BROKEN_AND_TRAINED = [
    "arguments exchanged: logits", "arguments exchanged: logits, binary", "sigmoid twice: in the loss",
    "half of the decoder's range unused: grey", "half of the decoder's range unused: binary",
    "half of the decoder's range unused: a likelihood", "decoder cannot reach the data: tanh for logits",
    "no sigmoid: linear", "decoder cannot reach the data: ReLU", "decoder cannot reach the data: tanh",
    "activation on the heads: tanh on both", "activation on the heads: hardtanh",
    "reconstruction summed over rows: cross-entropy", "weight of the KL: 0.00025",
    "mean against sum: squared error", "weight of the KL: drawn, 64", "width of the noise: variance",
]  # fmt: skip
# what a fault brings with it
ALSO = {
    "encoder without nonlinearity": {"decoder without nonlinearity"},
    "decoder without nonlinearity": {"encoder without nonlinearity"},
    "logarithm of a negative head": {"KL reads logvar otherwise"},
    "not finite": {"KL not in closed form"},
    "width of the noise": {"the code is ignored"},
}


@pytest.mark.parametrize("name", [*BROKEN, *(f"{name}, trained" for name in BROKEN_AND_TRAINED)])
def test_a_broken_variant_is_named(name):
    fault = name.split(":")[0]
    model, x, loss, beta = prepared(name, BROKEN)
    named = {finding.name for finding in diagnose(model, x, loss=loss, beta=beta)}
    assert fault in named
    later = (
        {"worse than the mean image", "the code is ignored"} if name.endswith("trained") else set()
    )
    assert named <= {fault} | ALSO.get(fault, set()) | later


# The effective β -----------------------------------------------------------------------------
ERRORS = {
    "cross-entropy": lambda p, x: F.binary_cross_entropy(p, x, reduction="none"),
    "squared error": lambda p, x: (p - x) ** 2,
    "absolute error": lambda p, x: (p - x).abs(),
}
REDUCE = {"sum": torch.sum, "mean": torch.mean}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("n", [6, 10])
def test_the_effective_beta_that_is_printed_is_that_of_the_reductions(error, n):
    """All 16 ways to reduce by sum and mean over rows, pixels, rows again, and code numbers."""
    d, k = 12, 4
    torch.manual_seed(0)
    model, x, meant = Tiny(d, k), grey(n, d), 0.37
    for pixels in REDUCE:
        for rows in REDUCE:
            for code in REDUCE:
                for kl_rows in REDUCE:

                    def loss(model, x, generator=None, how=(pixels, rows, code, kl_rows)):
                        p, mu, a = model(x)
                        one, two, three, four = (REDUCE[name] for name in how)
                        terms = 0.5 * (mu**2 + a.exp() - 1 - a)
                        return two(one(ERRORS[error](p, x), 1), 0) + four(three(terms, 1), 0)

                    kl_weight = (1 / k if code == "mean" else 1) * (n if kl_rows == "sum" else 1)
                    weight = (1 / d if pixels == "mean" else 1) * (n if rows == "sum" else 1)
                    expected = kl_weight / weight
                    (finding,) = diagnose(model, x, loss=loss, beta=meant)
                    printed = float(finding.evidence.split("effective β ")[1].split()[0])
                    assert printed == pytest.approx(expected, rel=1e-3)
                    if error == "squared error":
                        tail = finding.evidence.split("at variance ")
                        at_one = float(tail[0].split("β = ")[1].split()[0])
                        variance = float(tail[2].split(";")[0])
                        assert at_one == pytest.approx(expected / 2, rel=1e-3)
                        assert variance == pytest.approx(expected / (2 * meant), rel=1e-3)


# The table -----------------------------------------------------------------------------------
def test_every_fault_of_the_table_has_its_variant_or_its_patient():
    here = {name.split(":")[0] for name in BROKEN}
    elsewhere = {  # tests/test_diagnosis.py
        "data not finite", "exception", "the code is ignored", "worse than the mean image",
        "the same noise at every call", "mean against mean", "KL averaged over code numbers",
        "KL divided by the number of pixels", "scale of the log-likelihood",
        "log_likelihood and decode disagree", "mean of the code", "code not finite",
        "gradient of the sample",
    }  # fmt: skip
    assert here | elsewhere == set(FAULTS)


def test_the_counts():
    """At least 60 healthy and 60 broken ones, the trained ones counted as variants of their own."""
    print(f"{len(HEALTHY) + len(TRAINED)} healthy, {len(BROKEN) + len(BROKEN_AND_TRAINED)} broken")
    assert len(HEALTHY) >= 60 and len(BROKEN) >= 60
