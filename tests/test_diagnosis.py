"""diagnose: silent on every healthy VAE, right on every fault it can see, and without a trace."""

import copy
import random
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
import relatives  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from course_utils import data, runtime  # noqa: E402
from course_utils.diagnosis import Finding, diagnose, effective_beta  # noqa: E402
from course_utils.diagnosis import patients as ward  # noqa: E402
from course_utils.diagnosis.patients import PATIENTS, vae_loss  # noqa: E402
from course_utils.training import fit  # noqa: E402
from course_utils.vae import (  # noqa: E402
    VAE,
    Gaussian,
    Laplace,
    SmallVAE,
    kl_divergence,
    negative_elbo,
    reparameterize,
)

SIZES = (64, 32, 6)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with runtime.threads(1):
        yield


@pytest.fixture(scope="module")
def grey():
    return torch.from_numpy(data.digits().x_train)


@pytest.fixture(scope="module")
def binary(grey):
    return (grey > 0.5).float()


def seeded(build, seed=0):
    torch.manual_seed(seed)
    return build()


def broken(name):
    return getattr(ward if hasattr(ward, name) else relatives, name)


def names(*args, **options):
    return [finding.name for finding in diagnose(*args, **options)]


# Healthy models ------------------------------------------------------------------------------
HEALTHY = {
    "shallow": lambda: VAE(64, 64, 8),
    "wide code": lambda: VAE(64, 32, 20),
    "one code number": lambda: VAE(64, 32, 1),
    "deep": lambda: VAE(64, 48, 32, 4),
    "tanh": lambda: VAE(64, 32, 8, activation=nn.Tanh),
    "softplus": lambda: VAE(64, 32, 8, activation=nn.Softplus),
    "Gaussian": lambda: VAE(64, 64, 8, likelihood=Gaussian(0.05)),
    "Gaussian, learned": lambda: VAE(64, 64, 8, likelihood=Gaussian(learned=True)),
    "Laplace": lambda: VAE(64, 64, 8, likelihood=Laplace(0.2)),
    "SmallVAE": lambda: SmallVAE((64, 32, 2)),
    "SmallVAE, exp": lambda: SmallVAE((64, 32, 16, 2), positive=torch.exp),
}


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("seed", range(3))
def test_a_fresh_healthy_model_has_no_finding(name, seed, grey, binary):
    model = seeded(HEALTHY[name], seed)
    batches = grey[:100], binary[200:260], grey[:2]
    for batch in batches:
        assert diagnose(model, batch, loss=negative_elbo, seed=seed) == []
    assert diagnose(model, batches[seed], seed=seed) == []  # each batch without a loss, too


@pytest.mark.parametrize("name", HEALTHY)
def test_a_trained_healthy_model_has_no_finding(name, binary):
    model = seeded(HEALTHY[name])
    fit(model, negative_elbo, binary, epochs=20, rate=3e-3, progress=False, device="cpu")
    assert diagnose(model, binary[:128], loss=negative_elbo) == []
    assert diagnose(model, binary[:128], loss=negative_elbo, seed=1) == []


@pytest.mark.parametrize("seed", range(3))
def test_images_of_mnist_size_and_pure_noise_are_no_fault(seed):
    noise = torch.rand(40, 784, generator=torch.Generator().manual_seed(seed))
    assert diagnose(seeded(VAE, seed), noise, loss=negative_elbo) == []
    assert diagnose(seeded(lambda: SmallVAE((784, 16, 2)), seed), noise, loss=negative_elbo) == []


def test_ten_seeds_of_the_experiments_find_nothing_in_one_model(grey):
    model = seeded(HEALTHY["shallow"])
    assert [diagnose(model, grey[:64], loss=vae_loss, seed=s) for s in range(10)] == [[]] * 10


def squared_error_loss(model, x, generator, *, weight=1.0):
    recon_x, mu, logvar = model(x, generator)
    return (weight * (x - recon_x) ** 2).sum() / len(x) + kl_divergence(mu, logvar).mean()


def monte_carlo_loss(model, x, generator):
    mu, logvar = model.encode(x)
    z = reparameterize(mu, logvar, generator)
    log_q = -0.5 * (logvar + (z - mu) ** 2 / logvar.exp()).sum(dim=1)
    return (log_q + 0.5 * (z**2).sum(dim=1) - model.log_likelihood(x, z)).mean()


def summed_over_everything(model, x, generator):
    return len(x) * negative_elbo(model, x, generator)


@pytest.mark.parametrize(
    "loss",
    [
        squared_error_loss,
        partial(squared_error_loss, weight=0.5),
        partial(squared_error_loss, weight=1 / (2 * 0.03)),
        monte_carlo_loss,
        summed_over_everything,
    ],
)
def test_other_ways_to_write_a_right_loss_are_no_fault(loss, grey):
    assert diagnose(seeded(HEALTHY["shallow"]), grey[:64], loss=loss) == []


def test_a_beta_that_is_meant_is_no_fault_and_one_that_is_not_is_named(grey):
    model, loss = seeded(HEALTHY["shallow"]), partial(negative_elbo, beta=4.0)
    assert diagnose(model, grey[:64], loss=loss, beta=4.0) == []
    (finding,) = diagnose(model, grey[:64], loss=loss)
    assert finding.name == "weight of the KL" and "effective β 4 where 1 is meant" in str(finding)


def test_standardised_data_are_no_fault_for_a_decoder_that_can_reach_them(grey):
    class Unbounded(VAE):
        needs_unit_range = False

        def decode(self, z):
            return self.decoder.logits(z)

        def log_likelihood(self, x, z):
            return -(x - self.decode(z)).square().sum(dim=1) / 2

    batch = (grey[:100] - grey.mean()) / grey.std()
    assert diagnose(seeded(lambda: Unbounded(*SIZES)), batch, loss=negative_elbo) == []


class Convolutional(nn.Module):
    """The protocol for images, with batch normalisation and dropout."""

    needs_unit_range = True

    def __init__(self, k=4):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()
        )
        self.drop = nn.Dropout(0.1)
        self.fc_mu, self.fc_logvar = nn.Linear(128, k), nn.Linear(128, k)
        self.back = nn.Sequential(
            nn.Linear(k, 128), nn.ReLU(), nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
        )  # fmt: skip

    def encode(self, x):
        h = self.drop(self.features(x))
        return self.fc_mu(h), self.fc_logvar(h)

    def decode(self, z):
        return torch.sigmoid(self.back(z))

    def log_likelihood(self, x, z):
        errors = F.binary_cross_entropy_with_logits(self.back(z), x, reduction="none")
        return -errors.flatten(1).sum(dim=1)

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(reparameterize(mu, logvar)), mu, logvar


def test_a_convolutional_model_on_images_has_no_finding_and_its_statistics_stay(grey):
    model, images = seeded(Convolutional), grey[:64].reshape(-1, 1, 8, 8)
    before = copy.deepcopy(model.state_dict())
    assert diagnose(model, images, loss=negative_elbo) == []
    fit(model, negative_elbo, images, epochs=3, progress=False, device="cpu")
    assert diagnose(model, images, loss=negative_elbo) == []
    assert any((before[name] != value).any() for name, value in model.state_dict().items())


class ForOneClass(nn.Module):
    """A conditional model with its label fixed: then it follows the protocol."""

    needs_unit_range = True

    def __init__(self, model, label):
        super().__init__()
        self.model, self.label = model, label

    def rows(self, x):
        y = torch.full((len(x),), self.label)
        return torch.cat([x, F.one_hot(y, self.model.n_classes).to(x)], dim=1)

    def encode(self, x):
        return self.model.encode(self.rows(x))

    def decode(self, z):
        return self.model.generate(torch.full((len(z),), self.label), z)

    def log_likelihood(self, x, z):
        return self.model.log_likelihood(self.rows(x), z)

    def forward(self, x, generator=None):
        mu, logvar = self.encode(x)
        return self.decode(self.model.reparameterize(mu, logvar, generator)), mu, logvar


@pytest.mark.parametrize("seed", range(2))
def test_the_models_of_chapter_17_have_no_finding(seed):
    convolutional = pytest.importorskip("course_utils.vae.convolutional")
    conditional = pytest.importorskip("course_utils.vae.conditional")
    images = torch.rand(40, 784, generator=torch.Generator().manual_seed(seed))
    assert diagnose(seeded(convolutional.ConvVAE, seed), images, loss=negative_elbo) == []
    model = seeded(lambda: ForOneClass(conditional.ConditionalVAE(784, 64, 5), 3), seed)
    assert diagnose(model, images, loss=negative_elbo) == []


# The twelve ----------------------------------------------------------------------------------
NAMES = {
    "variance as width": ["width of the noise"],
    "log2 in the KL": ["log2 in the KL"],
    "ReLU on the mean": ["mean never negative"],
    "sign of the KL": ["sign of the KL"],
    "mean against sum": ["mean against sum"],
    "KL over the wrong axis": ["KL summed over the wrong axis"],
    "no nonlinearity": ["encoder without nonlinearity", "decoder without nonlinearity"],
    "no sigmoid": ["no sigmoid"],
    "drawn at evaluation": ["random at evaluation"],
    "zero_grad forgotten": [],  # not to be seen from the outside
    "pixels 0 to 16": ["input range"],
    "decoder too strong": [],  # before training it ignores nothing
}


@pytest.mark.parametrize("patient", PATIENTS, ids=lambda p: p.name)
@pytest.mark.parametrize("seed", range(3))
def test_a_fresh_patient_has_its_finding_and_no_other(patient, seed, binary):
    model = seeded(lambda: patient.build(*SIZES), seed)
    batch = patient.scale * binary[:100]
    assert names(model, batch, loss=patient.loss, seed=seed) == NAMES[patient.name]


def trained(patient, x, seed, epochs=20):
    model = seeded(lambda: patient.build(64, 64, 8), seed)
    optimizer = patient.optimizer(model.parameters(), lr=3e-3)
    options = {"progress": False, "device": "cpu", "optimizer": optimizer}
    for epoch in range(epochs):
        history = fit(model, patient.loss, patient.scale * x, epochs=1, seed=epoch, **options)
        if abs(history.train[-1]) > 1e6:
            break
    return model


@pytest.mark.parametrize("patient", PATIENTS, ids=lambda p: p.name)
def test_a_trained_patient_keeps_its_finding(patient, binary):
    model = trained(patient, binary, seed=1)
    found = names(model, patient.scale * binary[:128], loss=patient.loss)
    ignored = ["the code is ignored"]
    collapsed = {"mean against sum", "KL over the wrong axis", "decoder too strong"}
    assert found == NAMES[patient.name] + ignored * (patient.name in collapsed)


# Their relatives -----------------------------------------------------------------------------
MODELS = {
    "DetachedCode": "detached sample",
    "LibraryNormal": "detached sample",
    "DetachedWidth": "detached width",
    "OneNoisePerRow": "noise shared by code numbers",
    "OneNoiseForAll": "noise shared by rows",
    "SameNoise": "the same noise at every call",
    "UniformNoise": "noise not standard normal",
    "LogvarAsWidth": "width of the noise",
    "NoWidth": "width of the noise",
    "NoNoise": "no noise",
    "MeanAtEvaluation": "no noise",
    "ReluOnLogvar": "logvar never negative",
    "ReluOnSigma": "sigma is zero",
    "SoftplusOnMean": "mean never negative",
    "SigmoidTwice": "sigmoid twice",
    "AveragedLikelihood": "scale of the log-likelihood",
    "LinearDecoder": "decoder without nonlinearity",
    "DropoutForEver": "random at evaluation",
}
KLS = {
    "kl_of_log_sigma": "KL reads logvar otherwise",
    "kl_without_half": "KL without its ½",
    "kl_averaged": "KL averaged over code numbers",
    "kl_without_one": "KL without its -1",
    "kl_with_plus_logvar": "form of the KL",
    "kl_over_everything": "KL summed over rows",
}
LOSSES = {
    "mean_against_mean": "mean against mean",
    "loss_of_the_mean_code": "no noise",
}


@pytest.mark.parametrize("name", [*MODELS, *KLS, *LOSSES])
@pytest.mark.parametrize("seed", range(3))
def test_a_relative_has_its_finding_and_no_other(name, seed, binary):
    build, loss = broken(name) if name in MODELS else VAE, vae_loss
    if name in KLS:
        loss = partial(vae_loss, kl=broken(name))
    elif name in LOSSES:
        loss = broken(name)
    expected = {**MODELS, **KLS, **LOSSES}[name]
    model = seeded(lambda: build(*SIZES), seed)
    assert names(model, binary[:100], loss=loss, seed=seed) == [expected]


def test_beta_on_the_wrong_term_is_named(binary):
    loss = partial(ward.beta_on_the_wrong_term, beta=4.0)
    assert names(VAE(*SIZES), binary[:50], loss=loss, beta=4.0) == ["β on the wrong term"]


@pytest.mark.parametrize("k", [1, 2, 12])
def test_sampler_faults_are_found_for_any_number_of_code_numbers(k, binary):
    for name in ("VarianceAsWidth", "DetachedCode", "OneNoiseForAll", "UniformNoise", "NoNoise"):
        model = seeded(lambda name=name: broken(name)(64, 16, k))
        expected = {"VarianceAsWidth": "width of the noise", **MODELS}[name]
        assert names(model, binary[:50]) == [expected], name


def test_the_width_is_named_with_its_numbers(binary):
    (finding,) = diagnose(seeded(lambda: ward.VarianceAsWidth(*SIZES)), binary[:50])
    assert str(finding).startswith("width of the noise: it is exp(logvar), not exp(logvar / 2)")
    assert "0.14 and 3.49 are right" in finding.evidence and "root" in finding.mend


def test_the_effective_beta_is_measured(binary):
    (finding,) = diagnose(VAE(*SIZES), binary[:50], loss=relatives.mean_against_mean)
    expected = effective_beta(64, 6, reconstruction="mean", kl="mean")
    assert f"effective β {expected:.4g}" in finding.evidence
    wrong_axis = partial(vae_loss, kl=ward.kl_down_the_rows)
    (finding,) = diagnose(VAE(*SIZES), binary[:60], loss=wrong_axis)
    assert "effective β 10 where" in finding.evidence  # 60 / 6


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (lambda x: 255 * x, "0 to 255"),
        (lambda x: (255 * x).byte(), "uint8"),
        (lambda x: (x - 0.3) / 0.4, "-0.75"),
        (lambda x: x / 255, "twice"),
    ],
)
def test_data_out_of_range_are_named(batch, says, binary):
    for build in (VAE, partial(VAE, likelihood=Gaussian(0.1))):
        findings = diagnose(seeded(lambda build=build: build(*SIZES)), batch(binary[:50]))
        assert [f.name for f in findings] == ["input range"]
        assert says in findings[0].evidence


# Two at once ---------------------------------------------------------------------------------
class DetachedVariance(ward.VarianceAsWidth):
    def reparameterize(self, mu, logvar, generator=None):
        return super().reparameterize(mu, logvar, generator).detach()


class LinearWithoutSigmoid(ward.NoSigmoid):
    def __init__(self, *sizes):
        super().__init__(*sizes, activation=nn.Identity)


COMBINATIONS = {
    "variance, detached": (DetachedVariance, vae_loss, {"width of the noise", "detached sample"}),
    "shared noise, log2": (
        ward.OneNoisePerRow,
        partial(vae_loss, kl=ward.kl_in_two_units),
        {"noise shared by code numbers", "log2 in the KL"},
    ),
    "variance, mean against sum": (
        ward.VarianceAsWidth,
        ward.mean_against_sum,
        {"width of the noise", "mean against sum"},
    ),
    "ReLU on the mean, wrong axis": (
        ward.ReluOnMean,
        partial(vae_loss, kl=ward.kl_down_the_rows),
        {"mean never negative", "KL summed over the wrong axis"},
    ),
    "linear, no sigmoid": (
        LinearWithoutSigmoid,
        vae_loss,
        {"encoder without nonlinearity", "decoder without nonlinearity", "no sigmoid"},
    ),
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_two_faults_at_once_are_both_named(name, binary):
    build, loss, expected = COMBINATIONS[name]
    assert set(names(seeded(lambda: build(*SIZES)), binary[:100], loss=loss)) == expected


def reconstruction_summed(model, x, generator):
    recon_x, mu, logvar = model(x, generator)
    errors = F.binary_cross_entropy(recon_x, x, reduction="sum")
    return errors + kl_divergence(mu, logvar).mean()


# Manners -------------------------------------------------------------------------------------
def test_the_model_and_all_random_numbers_are_as_before(binary):
    model = seeded(lambda: ward.SeesThePixels(*SIZES))
    model.decoder.eval()  # a mixed mode
    vae_loss(model, binary[:10]).backward()
    weights = copy.deepcopy(model.state_dict())
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    modes = [part.training for part in model.modules()]
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    batch = binary[:50].clone()
    with torch.no_grad():
        diagnose(model, batch, loss=vae_loss)
        assert not torch.is_grad_enabled()
    assert torch.equal(batch, binary[:50])
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]) and value.dtype == weights[name].dtype
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    assert [part.training for part in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all() and random.getstate() == states[2]
    assert "encode" not in vars(model) and "decode" not in vars(model)


def test_the_same_seed_gives_the_same_findings(binary):
    model = seeded(lambda: ward.OneNoisePerRow(*SIZES))
    first = diagnose(model, binary[:50], seed=3)
    torch.rand(7)
    assert diagnose(model, binary[:50], seed=3) == first and first


class CountsRows(VAE):
    """Notes how many rows it is given at once."""

    seen: list[int] = []  # of the class, so that copies of a model share it

    def encode(self, x):
        self.seen.append(len(x))
        return super().encode(x)

    def decode(self, z):
        self.seen.append(len(z))
        return super().decode(z)

    def log_likelihood(self, x, z):
        self.seen.append(len(x))
        return super().log_likelihood(x, z)

    def forward(self, x, generator=None):
        self.seen.append(len(x))
        return super().forward(x, generator)


class CountsRowsWithoutSigmoid(CountsRows, ward.NoSigmoid):
    pass


@pytest.mark.parametrize(
    ("build", "loss"),
    [(CountsRows, vae_loss), (CountsRows, reconstruction_summed), (CountsRowsWithoutSigmoid, None)],
)
def test_no_more_rows_at_a_time_than_allowed_and_the_same_faults(build, loss, grey):
    model = seeded(lambda: build(*SIZES))
    CountsRows.seen.clear()
    whole = names(model, grey[:300], loss=loss)
    assert max(CountsRows.seen) > 64
    CountsRows.seen.clear()
    assert names(model, grey[:300], loss=loss, max_rows=64) == whole
    assert max(CountsRows.seen) == 64


def test_of_a_batch_that_is_cut_the_whole_number_of_rows_counts(grey):
    model = seeded(lambda: VAE(*SIZES))
    (whole,) = diagnose(model, grey[:300], loss=reconstruction_summed)
    cut = diagnose(model, grey[:300], loss=reconstruction_summed, max_rows=64)
    assert cut == [whole] and "n = 300" in whole.evidence
    assert "the rows after the first 64" in str(cut)


@pytest.mark.parametrize("max_rows", [63, 0, -1, 100.0])
def test_fewer_rows_at_a_time_than_the_experiments_need_are_refused(max_rows, grey):
    with pytest.raises((ValueError, TypeError), match="max_rows"):
        diagnose(VAE(*SIZES), grey[:80], max_rows=max_rows)


class KeepsItsCode(VAE):
    def reparameterize(self, mu, logvar, generator=None):
        self.z = super().reparameterize(mu, logvar, generator)
        return self.z


def test_a_model_that_keeps_tensors_with_a_graph_can_be_examined(binary):
    model = seeded(lambda: KeepsItsCode(*SIZES))
    negative_elbo(model, binary[:10])
    model(binary[:10])
    assert diagnose(model, binary[:50], loss=vae_loss) == []
    assert model.z.grad_fn is not None


class Raises(VAE):
    where = "encode"

    def encode(self, x):
        if self.where == "encode":
            raise RuntimeError("no electricity")
        return super().encode(x)

    def decode(self, z):
        if self.where == "decode":
            raise KeyError("no ink")
        return super().decode(z)


def nan_loss(model, x, generator):
    return vae_loss(model, x, generator) * float("nan")


def per_row_loss(model, x, generator):
    mu, logvar = model.encode(x)
    return kl_divergence(mu, logvar) - model.log_likelihood(x, mu)


class PerPixel(VAE):
    def log_likelihood(self, x, z):
        return -F.binary_cross_entropy(self.decode(z), x, reduction="none")


class Diverged(VAE):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        nn.init.constant_(self.encoder.fc_mu.bias, float("nan"))


class Uncopyable(VAE):
    def __deepcopy__(self, memo):
        raise TypeError("one of a kind")


@pytest.mark.parametrize(
    ("build", "loss", "expected"),
    [
        (Raises, vae_loss, "exception"),
        (type("RaisesLater", (Raises,), {"where": "decode"}), None, "exception"),
        (VAE, per_row_loss, "shapes"),
        (PerPixel, None, "shapes"),
        (Diverged, vae_loss, "not finite"),
        (Uncopyable, vae_loss, "exception"),
        (type("OneOutput", (VAE,), {"encode": lambda self, x: x}), None, "shapes"),
        (
            type("TwoOutputs", (VAE,), {"forward": lambda self, x: self.encode(x)}),
            None,
            "shapes",
        ),
    ],
)
def test_a_model_that_fails_is_a_finding_and_not_an_error(build, loss, expected, binary):
    assert expected in names(seeded(lambda: build(*SIZES)), binary[:20], loss=loss)


def test_a_loss_that_is_nan_is_a_finding(binary):
    assert names(VAE(*SIZES), binary[:20], loss=nan_loss) == ["not finite"]


class NanLikelihood(VAE):
    def log_likelihood(self, x, z):
        return super().log_likelihood(x, z) * float("nan")


def test_a_log_likelihood_that_is_nan_makes_no_library_complain(binary, capfd):
    assert names(VAE(*SIZES), binary[:20]) == []
    report = diagnose(NanLikelihood(*SIZES), binary[:20])
    assert report == [] and "INTERNAL" not in str(report)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("batch", [np.ones((3, 64)), torch.ones(64), torch.ones(1, 64)])
def test_a_batch_that_is_none_is_refused(batch):
    with pytest.raises(ValueError, match="batch must be a tensor"):
        diagnose(VAE(*SIZES), batch)


def test_nan_in_the_data_is_named(binary):
    batch = binary[:20].clone()
    batch[3, 4] = float("nan")
    assert names(VAE(*SIZES), batch) == ["data not finite"]


def test_a_finding_prints_as_one_line():
    assert str(Finding("no noise", "z - mu is 0", "draw")) == "no noise: z - mu is 0"


# The effective β -----------------------------------------------------------------------------
@given(
    st.integers(2, 900),
    st.integers(1, 40),
    st.sampled_from(["sum", "mean"]),
    st.sampled_from(["sum", "mean"]),
    st.floats(0.01, 10),
)
def test_the_effective_beta_is_the_ratio_of_the_gradients(d, k, reconstruction, kl, beta):
    """Move one pixel's error and one code number's KL: their pulls, relative to those of sums."""
    error, mu = (torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in (d, k))
    reduce = {"sum": torch.sum, "mean": torch.mean}
    loss = reduce[reconstruction](error) + beta * reduce[kl](mu)
    loss.backward()
    measured = float(mu.grad[0] / error.grad[0])
    assert effective_beta(d, k, reconstruction=reconstruction, kl=kl, beta=beta) == pytest.approx(
        measured
    )


def test_the_numbers_of_the_chapter():
    both = effective_beta(784, 5, reconstruction="mean", kl="mean", beta=0.1)
    assert both == pytest.approx(15.68)
    assert both / 2 == pytest.approx(7.84)  # against ½ ‖x − x̂‖²
    assert effective_beta(784, 5) == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"d": 0},
        {"k": 0},
        {"beta": -1.0},
        {"beta": float("nan")},
        {"reconstruction": "none"},
        {"kl": "batchmean"},
    ],
)
def test_arguments_out_of_range_are_refused(wrong):
    arguments = {"d": 784, "k": 5, **wrong}
    d, k = arguments.pop("d"), arguments.pop("k")
    with pytest.raises(ValueError, match="must be"):
        effective_beta(d, k, **arguments)


# What else is in the table -------------------------------------------------------------------
class Squeezed(VAE):
    def reparameterize(self, mu, logvar, generator=None):
        return 0.5 * super().reparameterize(mu, logvar, generator)


class RootOfLogvar(VAE):
    def reparameterize(self, mu, logvar, generator=None):
        return mu + torch.sqrt(logvar) * torch.randn(mu.shape, generator=generator)


class WrongBackward(VAE):
    def reparameterize(self, mu, logvar, generator=None):
        z = super().reparameterize(mu, logvar, generator)
        return z + (mu - mu.detach())


class TwoDecoders(VAE):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.other = copy.deepcopy(self.decoder)
        nn.init.normal_(self.other.fc_out.bias, std=3)

    def log_likelihood(self, x, z):
        return self.likelihood.log_prob(x, self.other.logits(z))


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (Squeezed, "mean of the code"),
        (RootOfLogvar, "code not finite"),
        (WrongBackward, "gradient of the sample"),
        (TwoDecoders, "log_likelihood and decode disagree"),
    ],
)
def test_other_faults_of_the_table_are_named(build, name, binary):
    assert name in names(seeded(lambda: build(*SIZES)), binary[:60], loss=vae_loss)


def test_a_kl_divided_by_the_pixels_is_named(binary):
    loss = partial(vae_loss, kl=lambda mu, logvar: kl_divergence(mu, logvar) / 64)
    assert names(VAE(*SIZES), binary[:50], loss=loss) == ["KL divided by the number of pixels"]


def exchanged(model, x, generator):
    recon_x, mu, logvar = model(x, generator)
    return (F.binary_cross_entropy_with_logits(x, recon_x, reduction="none").sum(dim=1)).mean() + (
        kl_divergence(mu, logvar).mean()
    )


def test_a_trained_model_that_is_worse_than_the_mean_image_is_named_for_that_too(grey):
    model = seeded(lambda: VAE(*SIZES))
    assert names(model, grey[:100], loss=exchanged) == ["arguments exchanged"]
    fit(model, exchanged, grey, epochs=30, rate=3e-3, progress=False, device="cpu")
    found = names(model, grey[:100], loss=exchanged)
    assert found[:2] == ["arguments exchanged", "worse than the mean image"]


def test_what_could_not_be_tested_is_in_the_last_line(grey):
    def round_decode(model, x, generator):
        mu, logvar = model.encode(x)
        z = model.reparameterize(mu, logvar, generator)
        return kl_divergence(mu, logvar).mean() + (x - model.decoder(z)).square().sum(dim=1).mean()

    report = diagnose(VAE(*SIZES), grey[:30], loss=round_decode)
    assert report == []
    assert "asks neither decode nor log_likelihood" in str(report).splitlines()[-1]
    assert "healthy" not in str(report)
