"""The defaults of the package's mathematics, which chapters and docstrings rely on."""

import importlib
import inspect

import pytest

DEFAULTS = {
    "diagnosis.balance": {"effective_beta": {"reconstruction": "sum", "kl": "sum", "beta": 1.0}},
    "diagnosis.clinic": {"diagnose": {"beta": 1.0, "max_rows": 4096, "seed": 0}},
    "vae.elbo": {"negative_elbo": {"beta": 1.0}},
    "vae.likelihoods": {
        "Gaussian": {"c": 1.0, "learned": False},
        "Laplace": {"b": 1.0, "learned": False},
    },
    "vae.flows": {
        "Coupling": {"n_context": 0, "flip": False},
        "Flow": {"layers": 4, "n_context": 0},
    },
    "discrete": {
        "VectorQuantiser": {"commitment": 0.25},
        "MovingQuantiser": {"decay": 0.99, "restart": 0.0},
        "CodePrior": {"hidden": 32},
    },
    "diffusion": {
        "schedule": {"first": 9.0, "last": -7.0},
        "sample": {"eta": 1.0},
        "Denoiser": {"blocks": 2},
    },
    "sample_quality": {"precision_recall": {"k": 3}},
    "annealed": {"annealed_weights": {"leapfrog": 5, "seed": 0}},
    "vae.conditional": {"ConditionalVAE": {"n_classes": 10}, "with_labels": {"n_classes": 10}},
    "vae.convolutional": {
        "ConvEncoder": {"image_channels": 1},
        "ConvDecoder": {"image_channels": 1},
        "ConvVAE": {"height": 28, "width": 28, "latent_dim": 20, "image_channels": 1},
    },
    "evaluation": {
        "elbo": {"samples": 1, "seed": 0, "batch_size": 1000},
        "importance_weighted_bound": {"seed": 0, "rows": 2000},
        "active_units": {"threshold": 0.01, "batch_size": 1000},
        "posteriors": {"batch_size": 1000},
    },
    "numpy_nn.optimisers": {
        "sgd_step": {"momentum": 0.0},
        "adam_step": {"rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    },
    "numpy_nn.gradients": {"numerical_gradient": {"step": 1e-5}},
    "numpy_nn.autoencoders": {"train_autoencoder": {"batch_size": 64}},
    "numpy_vae": {"train_vae": {"batch_size": 64}, "estimate_elbo": {"n_draws": 100}},
    "autoencoders.vanilla": {"Autoencoder": {"bernoulli": False}},
    "autoencoders.contractive": {
        "projected_jacobian_norm": {"n_projections": 1},
        "contractive_loss": {"whole": False},
    },
    "autoencoders.sparse": {"SparseAutoencoder": {"row_length": 1.0}, "start_from": {"bias": 0.0}},
    "plots": {
        "image_grid": {"channels": 1, "signed": False},
        "latent_scatter": {"as_share": False},
        "decoded_plane": {"side": 12},
        "named_lines": {"style": "-"},
        "number_map": {"decimals": 2, "size": 11.0, "cmap": "Blues"},
    },
    "manifold": {"local_pca_dimension": {"threshold": 0.1}, "two_nn": {"discard": 0.1}},
    "disentanglement": {
        "entropies": {"bins": 10},
        "mutual_information": {"bins": 10},
        "importances": {"seed": 0},
    },
    "training": {
        "History": {"best_epoch": 0, "restored": False, "seconds": 0.0, "precision": "highest"},
        "History.plot": {"label": "loss"},
        "fit": {
            "epochs": 10,
            "batch_size": 128,
            "rate": 1e-3,
            "seed": 0,
            "precision": "highest",
            "timeout": 300.0,
            "progress": True,
        },
        "evaluate": {"batch_size": 1000, "seed": 0},
    },
    "exercises.grading": {
        "Exercise": {"rtol": 1e-6, "same_again": ""},
        "Grade": {"n_cases": 0, "failed_case": 0},
    },
}


# No defaults that are numbers, texts or truth values.
NONE = ("gaussians", "vae.dense", "vae.small", "vae.weights", "numpy_nn.layers", "numpy_nn.losses")
NONE += ("autoencoders.denoising", "iwae", "precision")
IN_NUMPY = ("numpy_", "gaussians", "manifold", "disentanglement", "exercises", "plots")
IN_NUMPY += ("sample_quality",)


def public(module):
    """Functions, classes and methods that a module defines for its readers, under their names."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            yield name, value
        if inspect.isclass(value):
            methods = inspect.getmembers(value, inspect.isfunction)
            own = vars(value).keys()
            yield from ((f"{name}.{n}", m) for n, m in methods if n in own and n[0] != "_")


@pytest.mark.parametrize("module", [*DEFAULTS, *NONE])
def test_defaults_are_those_that_the_course_states(module):
    if not module.startswith(IN_NUMPY):
        pytest.importorskip("torch")
    found = {}
    for name, value in public(importlib.import_module(f"course_utils.{module}")):
        parameters = inspect.signature(value).parameters.items()
        plain = {n: p.default for n, p in parameters if type(p.default) in (bool, int, float, str)}
        found |= {name: plain} if plain else {}
    assert found == DEFAULTS.get(module, {})
