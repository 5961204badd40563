"""What people hand to fit and to evaluation: the same rows, or one sentence with the cure."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from course_utils import data, evaluation
from course_utils.autoencoders import Autoencoder, squared_error_loss
from course_utils.rows import as_rows
from course_utils.training import evaluate, fit
from course_utils.vae import VAE, ConditionalVAE, ConvVAE, Gaussian, Laplace, negative_elbo

X = np.random.default_rng(4).random((30, 6)).astype(np.float32)
Y = np.arange(30) % 3


def vae(**options):
    torch.manual_seed(3)
    return VAE(6, 5, 2, **options)


class Table:
    """A data frame, as far as anybody here needs it."""

    def __init__(self, values, kinds=None):
        self.values, self.columns = values, [f"c{i}" for i in range(values.shape[1])]
        self.dtypes = kinds or [values.dtype] * values.shape[1]
        self.shape = values.shape

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        raise KeyError(key)

    def to_numpy(self):
        return self.values


class Pictures(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]), i % 3


SAME = {
    "array": X,
    "float64": X.astype(np.float64),
    "tensor": torch.from_numpy(X),
    "table": Table(X),
    "list of arrays": list(X),
    "list of tensors": list(torch.from_numpy(X)),
    "list of lists": X.tolist(),
    "Dataset": Pictures(X),
    "TensorDataset": TensorDataset(torch.from_numpy(X)),
    "DataLoader": DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=7),
    "DataLoader with labels": DataLoader(Pictures(X), batch_size=7),
    "big-endian": X.astype(">f4"),
    "mirrored twice": X[:, ::-1].copy()[:, ::-1],
    "every other column": np.repeat(X, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("kind", SAME)
def test_every_container_gives_the_same_rows_training_and_bound(kind):
    np.testing.assert_allclose(as_rows("x", SAME[kind], vae()).numpy(), X, rtol=1e-6)
    losses = []
    for x in (X, SAME[kind]):
        model = vae()
        history = fit(model, negative_elbo, x, x, epochs=2, batch_size=8, progress=False)
        losses.append((*history.train, *history.val, evaluate(model, negative_elbo, x)))
        losses[-1] += (evaluation.elbo(model, x).value, evaluation.active_units(model, x).sum())
        losses[-1] += (evaluation.importance_weighted_bound(model, x, samples=3).mean(),)
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_pictures_keep_their_axes():
    assert as_rows("x", list(X.reshape(30, 2, 3)), vae()).shape == (30, 2, 3)


@pytest.mark.parametrize(
    "pair",
    [
        (X, Y),
        (torch.from_numpy(X), torch.from_numpy(Y)),
        Pictures(X),
        DataLoader(Pictures(X), batch_size=4),
    ],
)
def test_a_conditional_model_takes_images_with_labels(pair):
    model = ConditionalVAE(6, 5, 2, n_classes=3)
    rows = as_rows("x", pair, model)
    np.testing.assert_allclose(rows[:, :6].numpy(), X)
    np.testing.assert_array_equal(rows[:, 6:].numpy(), np.eye(3)[Y])
    history = fit(model, negative_elbo, pair, epochs=1, batch_size=8, progress=False)
    assert np.isfinite(history.train).all() and evaluation.elbo(model, pair).n == 30


@pytest.mark.parametrize(
    "x, message",
    [
        (data.digits(), "x must be an array, got FlatImages: pass its x_train"),
        (
            "a path",
            "x must be an array or a tensor of floats, got text|, got 'a path': no such folder",
        ),
        (None, "x must be an array or a tensor of floats, got NoneType"),
        ([], "x must be an array or a tensor of floats, got list"),
        (X.astype(str), "x must hold real numbers, got text|x must hold real numbers"),
        (X.astype(object), "x must hold real numbers, got object"),
        (X.astype(complex), "x must hold real numbers, got complex128"),
        ((255 * X).astype(np.uint8), "x must hold floats, got uint8.* x / 255"),
        (torch.zeros(3, 6, dtype=torch.uint8), "x must hold floats, got uint8.* x / 255"),
        ([X[0], X[0, :4]], r"x must hold images of one size, got \(6,\) and \(4,\)"),
        ([[0.1, 0.2], [0.3]], "x must hold numbers, rows of one length, got list"),
        ((X, Y), "x must be images alone for this model, got a pair"),
        (X[:0], "x must have shape"),
        (X[:, :0], "x must have shape"),
        (X[0], "x must have shape"),
        (np.where(X > 0.9, np.nan, X), "x must be finite"),
        (2 * X, r"x must lie in \[0, 1\] for this model"),
        (
            Table(np.array([["a", 1.0]], dtype=object), [np.dtype("O"), np.dtype("f8")]),
            "x must hold numbers in each column, got others in c0",
        ),
        (DataLoader(TensorDataset(torch.zeros(0, 6))), "x must have at least one row"),
    ],
)
def test_what_is_no_rows_is_named_with_the_cure(x, message):
    for use in (
        lambda: as_rows("x", x, vae(), unit_range=True),
        lambda: evaluate(vae(), negative_elbo, x),
        lambda: evaluation.elbo(vae(), x),
        lambda: evaluation.posteriors(vae(), x),
    ):
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            use()
        assert len(str(caught.value)) <= 300


def test_pictures_of_a_library_get_the_cure():
    class Raw(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return object(), 0

    with pytest.raises(TypeError, match="ToTensor"):
        as_rows("x", Raw(), vae())


@pytest.mark.parametrize(
    "model",
    [
        vae(likelihood=Gaussian(0.1)),
        vae(likelihood=Laplace(0.1)),
        ConvVAE(2, 4, latent_dim=2, channels=(3,), likelihood=Gaussian(0.1)),
    ],
)
def test_bytes_are_refused_by_every_model_whose_mean_is_a_sigmoid(model):
    d = model.sizes[0]
    raw = (255 * np.random.default_rng(0).random((9, d))).astype(np.int64)
    raw[0, 0] = 255
    for kind in (np.uint8, np.int32, np.int64):
        for use in (
            lambda x: fit(model, negative_elbo, x, epochs=1, progress=False),
            lambda x: evaluation.elbo(model, x),
        ):
            with pytest.raises((TypeError, ValueError), match="/ 255"):
                use(raw.astype(kind))
    standardised = np.random.default_rng(0).normal(size=(9, d)).astype(np.float32)
    assert np.isfinite(fit(model, negative_elbo, standardised, epochs=1, progress=False).train[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_data_take_the_type_of_the_model(dtype):
    model = vae().to(dtype)
    history = fit(model, negative_elbo, X, X, epochs=3, rate=0.01, progress=False)
    assert history.train[-1] < history.train[0]
    assert evaluation.posteriors(model, X)[0].dtype == dtype
    single = vae()
    fit(single, negative_elbo, X, X, epochs=3, rate=0.01, progress=False)
    bounds = [evaluation.elbo(m, X, samples=50).value for m in (model, single)]
    assert bounds[0] == pytest.approx(bounds[1], rel=0.02)


def test_a_last_batch_of_one_row_under_batch_normalisation_is_said_before_training():
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match="batch_size must leave no batch of one row .* take 30"):
        fit(model, squared_error_loss, X, epochs=1, batch_size=29, progress=False)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    fit(model, squared_error_loss, X, epochs=1, batch_size=28, progress=False)
    plain = Autoencoder((6, 2))
    fit(plain, squared_error_loss, X, epochs=1, batch_size=29, progress=False)


def test_a_file_opened_for_reading_gives_no_warning(tmp_path, recwarn):
    np.save(tmp_path / "rows.npy", X)
    rows = as_rows("x", np.load(tmp_path / "rows.npy", mmap_mode="r"), vae())
    assert torch.equal(rows, torch.from_numpy(X)) and not recwarn.list
