"""Every public function and method, given what it cannot use: a right value, or a named error.

``CALLS`` holds one good call of each. Each argument in turn becomes something else: nan, infinite,
bytes, whole numbers, empty, of another shape, of another type. Nothing may pass in silence with a
wrong value, and an error names the argument, what was expected and what came.
"""

import dataclasses
import importlib
import inspect
import math
import pkgutil
import re
import typing

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

import course_utils
from course_utils.diffusion import Denoiser
from course_utils.training import History

# Rooms whose public names take no data: they have tests of their own, or none of their own input.
ELSEWHERE = {
    "bars": "a progress bar",
    "console": "takes text that the course itself writes",
    "diagnosis": "reads broken models on purpose: tests/test_diagnosis.py",
    "doctor": "takes nothing",
    "exercises": "reads wrong answers on purpose: tests/test_grading.py, test_wrong_answers.py",
    "explore": "gives a page its numbers: tests/test_explore.py",
    "flat_images": "a record",
    "folder_images": "takes a folder: tests/test_folder_images.py",
    "folders": "takes nothing",
    "mirrors": "takes addresses: tests/test_mnist.py",
    "mnist": "names of data sets: tests/test_mnist.py",
    "progress": "reads its own file: tests/test_progress.py",
    "recipe": "trains for minutes: tests/test_recipe.py",
    "recipe_iwae": "trains for an hour: tests/test_chapter19.py",
    "rows": "takes everything on purpose: tests/test_rows.py",
    "torchrun": "starts processes: tests/test_chapter22.py",
    "streaming": "takes everything on purpose: tests/test_streaming.py",
    "checkpoints": "takes what fit keeps: tests/test_checkpoints.py",
    "parallel": "takes what fit takes, on several processes: tests/test_distributed.py",
    "processes": "takes the environment: tests/test_distributed.py",
    "shards": "takes a folder: tests/test_shards.py",
    "requirements": "reads the project's own file",
    "verify": "tests/test_verify.py",
    "arguments": "what the errors are made with: this file",
    "shapes": "what the errors are made with: tests/test_shapes.py",
}


def rng():
    return np.random.default_rng(3)


def noise():
    return torch.Generator().manual_seed(3)


def a(*shape):
    """Numbers in (0, 1), away from both ends."""
    return 0.1 + 0.8 * np.random.default_rng(len(shape) + sum(shape)).random(shape)


def denoiser():
    torch.manual_seed(3)
    return Denoiser(3, 4, blocks=1)


def falling():
    return torch.tensor([0.9, 0.6, 0.2])


def t(*shape):
    return torch.from_numpy(a(*shape)).float()


def layers(*sizes):
    return [(a(i, o) - 0.5, a(o) - 0.5) for i, o in zip(sizes[:-1], sizes[1:], strict=True)]


def spread(n, k):
    """Rows of distances: positive, ascending."""
    return np.cumsum(a(n, k), axis=1)


def positive_definite(k):
    return np.eye(k) + 0.1 * np.ones((k, k))


def seeded(make):
    torch.manual_seed(1)
    return make()


def small_vae():
    from course_utils.vae import VAE

    return seeded(lambda: VAE(6, 5, 2))


def quantiser():
    from course_utils.discrete import VectorQuantiser

    return seeded(lambda: VectorQuantiser(5, 2))


def small_vqvae():
    from course_utils.discrete import VQVAE, VectorQuantiser

    return seeded(lambda: VQVAE(6, 5, 3, VectorQuantiser(5, 2)))


def code_prior():
    from course_utils.discrete import CodePrior

    return seeded(lambda: CodePrior(3, 5, hidden=4))


def linear_gaussian():
    from course_utils.gaussians import LinearGaussian

    return LinearGaussian(a(2, 6), a(6), 0.3)


def plain():
    from course_utils.autoencoders import Autoencoder

    return seeded(lambda: Autoencoder((6, 4, 2), bernoulli=True))


def sparse():
    from course_utils.autoencoders.sparse import SparseAutoencoder

    return seeded(lambda: SparseAutoencoder(6, 8, k=3))


def mean_of_squares(model, x, generator=None):
    return ((model(x) - x) ** 2).sum(dim=1).mean()


def axes():
    return plt.figure().subplots()


def ring_of_one():
    from course_utils.cluster import ring

    return ring(a(4), 0, 1)


def one_step(params, gradients, state=None):
    from course_utils.numpy_nn import sgd_step

    return sgd_step(params, gradients, state, rate=0.1)


# One good call of each public function, class and method: its arguments by name, fresh at each use.
# A method is called on what ``self`` makes.
CALLS = {
    # ---- numpy_nn
    "numpy_nn.layers.dense": lambda: dict(x=a(4, 3), w=a(3, 2), b=a(2)),
    "numpy_nn.layers.dense_backward": lambda: dict(x=a(4, 3), w=a(3, 2), output_gradient=a(4, 2)),
    "numpy_nn.layers.relu": lambda: dict(a=a(4, 3)),
    "numpy_nn.layers.softplus": lambda: dict(a=a(4, 3)),
    "numpy_nn.layers.sigmoid": lambda: dict(a=a(4, 3)),
    "numpy_nn.layers.init_layers": lambda: dict(sizes=(3, 2), rng=rng()),
    "numpy_nn.layers.forward": lambda: dict(x=a(4, 3), layers=layers(3, 5, 2)),
    "numpy_nn.layers.forward_with": lambda: dict(
        x=a(4, 3), layers=layers(3, 5, 2), activation=activation()
    ),
    "numpy_nn.layers.backward": lambda: dict(
        layers=layers(3, 2), outputs=[a(4, 3), a(4, 2)], output_gradient=a(4, 2)
    ),
    "numpy_nn.layers.flatten_layers": lambda: dict(layers=layers(3, 2)),
    "numpy_nn.layers.unflatten_layers": lambda: dict(arrays=[a(3, 2), a(2)]),
    "numpy_nn.losses.squared_error": lambda: dict(x=a(4, 3), x_hat=a(4, 3) ** 2),
    "numpy_nn.losses.squared_error_and_gradient": lambda: dict(x=a(4, 3), x_hat=a(4, 3) ** 2),
    "numpy_nn.losses.cross_entropy": lambda: dict(x=a(4, 3), logits=a(4, 3) - 0.5),
    "numpy_nn.losses.cross_entropy_and_gradient": lambda: dict(x=a(4, 3), logits=a(4, 3) - 0.5),
    "numpy_nn.gradients.numerical_gradient": lambda: dict(
        loss=lambda w: float((w**2).sum()), w=a(3, 2), step=1e-5
    ),
    "numpy_nn.gradients.relative_error": lambda: dict(a=a(4, 3), b=a(4, 3) ** 2),
    "numpy_nn.optimisers.batches": lambda: dict(n=5, batch_size=2, rng=rng()),
    "numpy_nn.optimisers.expect_gradients": lambda: dict(params=[a(3)], gradients=[a(3)]),
    "numpy_nn.optimisers.sgd_step": lambda: dict(
        params=[a(3)], gradients=[a(3)], velocity=[a(3)], rate=0.1, momentum=0.5
    ),
    "numpy_nn.optimisers.adam_step": lambda: dict(
        params=[a(3)], gradients=[a(3)], rate=0.1, beta1=0.9, beta2=0.99, eps=1e-8
    ),
    "numpy_nn.autoencoders.linear_autoencoder_loss": lambda: dict(
        x=a(4, 3), enc_w=a(3, 2), dec_w=a(2, 3)
    ),
    "numpy_nn.autoencoders.linear_autoencoder_gradients": lambda: dict(
        x=a(4, 3), enc_w=a(3, 2), dec_w=a(2, 3)
    ),
    "numpy_nn.autoencoders.autoencode": lambda: dict(
        x=a(4, 3), encoder=layers(3, 2), decoder=layers(2, 3)
    ),
    "numpy_nn.autoencoders.autoencoder_gradients": lambda: dict(
        x=a(4, 3), encoder=layers(3, 2), decoder=layers(2, 3)
    ),
    "numpy_nn.autoencoders.train_autoencoder": lambda: dict(
        x=a(4, 3),
        x_test=a(2, 3),
        encoder=layers(3, 2),
        decoder=layers(2, 3),
        rng=rng(),
        n_epochs=2,
        batch_size=2,
        step=one_step,
    ),
    # ---- gaussians
    "gaussians.log_density": lambda: dict(x=a(4, 3), mu=a(4, 3) / 2, logvar=a(4, 3) - 0.5),
    "gaussians.kl_diagonal": lambda: dict(
        mu=a(4, 3), logvar=a(4, 3) / 3, mu_p=a(4, 3) / 2, logvar_p=a(4, 3) - 0.5
    ),
    "gaussians.kl_to_standard_normal": lambda: dict(mu=a(4, 3), logvar=a(4, 3) - 0.5),
    "gaussians.kl_full": lambda: dict(
        mu=a(3), cov=positive_definite(3), mu_p=a(3) / 2, cov_p=2 * positive_definite(3)
    ),
    "gaussians.log_marginal": lambda: dict(x=a(4, 6), model=linear_gaussian()),
    "gaussians.exact_posterior": lambda: dict(x=a(4, 6), model=linear_gaussian()),
    "gaussians.expected_error": lambda: dict(
        x=a(4, 6), mu=a(4, 2), logvar=a(4, 2) - 0.5, model=linear_gaussian()
    ),
    "gaussians.elbo_terms": lambda: dict(
        x=a(4, 6), mu=a(4, 2), logvar=a(4, 2) - 0.5, model=linear_gaussian()
    ),
    "gaussians.fit_linear_gaussian": lambda: dict(x=a(9, 4), k=2, c=0.1),
    # ---- manifold
    "manifold.principal_angles": lambda: dict(a=a(2, 4), b=a(2, 4) ** 2),
    "manifold.sphere": lambda: dict(n=5, dimension=2, rng=rng()),
    "manifold.swiss_roll": lambda: dict(n=5, rng=rng()),
    "manifold.nearest_neighbours": lambda: dict(x=a(9, 3), k=2),
    "manifold.expect_distances": lambda: dict(distances=spread(5, 3)),
    "manifold.local_pca_dimension": lambda: dict(
        x=a(9, 3), indices=np.arange(8).reshape(2, 4), threshold=0.1
    ),
    "manifold.levina_bickel": lambda: dict(distances=spread(5, 3)),
    "manifold.two_nn": lambda: dict(distances=spread(9, 3), discard=0.1),
    # ---- cluster
    "cluster.ring": lambda: dict(x=a(5), rank=1, p=2),
    "cluster.ring_all_reduce": lambda: dict(arrays=a(3, 4)),
    "cluster.finish": lambda: dict(process=ring_of_one(), piece=None),
    "cluster.expect_times": lambda: dict(compute=a(3), n_bytes=2.0, latency=a(3), bandwidth=a(3)),
    "cluster.step_seconds": lambda: dict(compute=a(3), n_bytes=2.0, latency=a(3), bandwidth=a(3)),
    # ---- disentanglement
    "disentanglement.into_bins": lambda: dict(values=a(9, 2), bins=3),
    "disentanglement.entropies": lambda: dict(values=a(9, 2), bins=3),
    "disentanglement.mutual_information": lambda: dict(z=a(9, 2), factors=a(9, 3), bins=3),
    "disentanglement.mutual_information_gap": lambda: dict(information=a(3, 2), entropy=a(2) + 1),
    "disentanglement.importances": lambda: dict(z=a(20, 2), factors=a(20, 2) ** 2, seed=1),
    "disentanglement.dci": lambda: dict(importance=a(3, 2)),
    "disentanglement.turning_cost": lambda: dict(logvar=a(4, 2), rotation=np.eye(2)[::-1].copy()),
    # ---- data
    "data.digits": dict,
    "data.binarise": lambda: dict(x=a(4, 3), seed=1),
    "stroke_digits.stroke_digits": lambda: dict(n=3, seed=1, labels=[1, 2, 3], free=("slant",)),
    "stroke_digits.middle": dict,
    "stroke_digits.pen_path": lambda: dict(label=3),
    "stroke_digits.draw": lambda: dict(labels=np.arange(3), factors=factors(3)),
    "stroke_digits.draw_jacobian": lambda: dict(labels=np.arange(2), factors=factors(2)),
    # ---- numpy_vae
    "numpy_vae.initialize_weights": lambda: dict(input_dim=4, latent_dim=2, rng=rng()),
    "numpy_vae.encoder": lambda: dict(x=a(4, 3), enc_w=a(3, 2), enc_b=a(2)),
    "numpy_vae.sampling": lambda: dict(mu=a(4, 2), sigma=a(4, 2), rng=rng()),
    "numpy_vae.decoder": lambda: dict(z=a(4, 2), dec_w=a(2, 3), dec_b=a(3)),
    "numpy_vae.loss_function": lambda: dict(x=a(4, 3), recon_x=a(4, 3), mu=a(4, 2), sigma=a(4, 2)),
    "numpy_vae.train_step": lambda: dict(
        x=a(4, 3), enc_w=a(3, 2), enc_b=a(2), dec_w=a(2, 3), dec_b=a(3), rng=rng()
    ),
    "numpy_vae.gaussian_encoder": lambda: dict(x=a(4, 3), enc_layers=layers(3, 4)),
    "numpy_vae.draw_code": lambda: dict(mu=a(4, 2), logvar=a(4, 2), eps=a(4, 2)),
    "numpy_vae.code_gradients": lambda: dict(
        mu=a(4, 2), logvar=a(4, 2), eps=a(4, 2), z_gradient=a(4, 2)
    ),
    "numpy_vae.vae_terms": lambda: dict(
        x=a(4, 3), enc_layers=layers(3, 4), dec_layers=layers(2, 3), eps=a(4, 2)
    ),
    "numpy_vae.vae_gradients": lambda: dict(
        x=a(4, 3), enc_layers=layers(3, 4), dec_layers=layers(2, 3), eps=a(4, 2)
    ),
    "numpy_vae.train_vae": lambda: dict(
        x=a(4, 3),
        x_test=a(2, 3),
        enc_layers=layers(3, 4),
        dec_layers=layers(2, 3),
        rng=rng(),
        n_epochs=2,
        batch_size=2,
    ),
    "numpy_vae.estimate_elbo": lambda: dict(
        x=a(4, 3), enc_layers=layers(3, 4), dec_layers=layers(2, 3), rng=rng(), n_draws=2
    ),
    # ---- evaluation and training
    "evaluation.elbo": lambda: dict(model=small_vae(), x=a(4, 6), samples=2, seed=1, batch_size=3),
    "evaluation.log_importance_weights": lambda: dict(
        model=small_vae(), x=t(4, 6), mu=t(4, 2), logvar=t(4, 2), eps=t(4, 3, 2)
    ),
    "evaluation.image_noise": lambda: dict(shape=(3, 2, 5), generator=noise()),
    "evaluation.importance_weighted_bound": lambda: dict(
        model=small_vae(), x=a(4, 6), samples=3, seed=1, rows=5
    ),
    "evaluation.active_units": lambda: dict(model=small_vae(), x=a(4, 6), threshold=0.1),
    "evaluation.posteriors": lambda: dict(model=small_vae(), x=a(4, 6), batch_size=3),
    "evaluation.evaluating": lambda: dict(model=small_vae()),
    "evaluation.expect_positive": lambda: dict(n=3),
    "training.fit": lambda: dict(
        model=plain(),
        loss=mean_of_squares,
        x_train=a(4, 6),
        x_val=a(3, 6),
        epochs=2,
        batch_size=2,
        rate=0.01,
        patience=2,
        seed=1,
        max_bytes=400,
        timeout=60.0,
        progress=False,
    ),
    "training.evaluate": lambda: dict(
        model=plain(), loss=mean_of_squares, x=a(4, 6), batch_size=3, seed=1, max_bytes=90
    ),
    "precision.products": lambda: dict(model=torch.nn.Linear(2, 2), precision="high"),
    "training.clear_denormals": lambda: dict(
        optimizer=torch.optim.Adam(plain().parameters(), lr=0.1)
    ),
    "runtime.seed": lambda: dict(value=3),
    "runtime.device": lambda: dict(name="cpu"),
    "runtime.fast_precision": dict,
    "runtime.deterministic": dict,
    "runtime.threads": lambda: dict(n=1),
    "runtime.torchvision": dict,
    # ---- plots
    "plots.use_style": dict,
    "plots.image_grid": lambda: dict(
        images=a(4, 6), ax=axes(), height=2, width=3, n_columns=2, row_labels=("a", "b")
    ),
    "plots.latent_scatter": lambda: dict(mu=a(4, 2), y=np.arange(4), ax=axes()),
    "plots.decoded_plane": lambda: dict(
        decode=lambda z: a(len(z), 6), ax=axes(), height=2, width=3, side=2
    ),
    "plots.named_lines": lambda: dict(
        x=a(4), series={"one": a(4)}, ax=axes(), colors=(3,), places=0.1 * a(1, 2)
    ),
    "plots.log_axes": lambda: dict(ax=axes(), x=(1.0, 10.0), y={0.5: "half"}),
    "plots.number_map": lambda: dict(values=a(3, 2), ax=axes(), most=2.0),
    # ---- PyTorch autoencoders
    "autoencoders.contractive.jacobian": lambda: dict(f=torch.sin, x=t(4, 3)),
    "autoencoders.contractive.jacobian_norm": lambda: dict(f=torch.sin, x=t(4, 3)),
    "autoencoders.contractive.contractive_penalty": lambda: dict(z=t(4, 2), w=t(3, 2)),
    "autoencoders.contractive.projected_jacobian_norm": lambda: dict(
        f=torch.sin, x=t(4, 3), generator=noise(), n_projections=2
    ),
    "autoencoders.contractive.contractive_loss": lambda: dict(weight=0.1),
    "autoencoders.contractive.TiedAutoencoder": lambda: dict(d=3, k=2, generator=noise()),
    "autoencoders.denoising.gaussian_noise": lambda: dict(x=t(4, 3), sigma=0.1, generator=noise()),
    "autoencoders.denoising.masking_noise": lambda: dict(x=t(4, 3), share=0.5, generator=noise()),
    "autoencoders.denoising.salt_and_pepper": lambda: dict(x=t(4, 3), share=0.5, generator=noise()),
    "autoencoders.denoising.denoising_loss": lambda: dict(corrupt=torch.sin),
    "autoencoders.denoising.psnr": lambda: dict(x=a(4, 3), x_hat=a(4, 3) ** 2),
    "autoencoders.sparse.k_largest": lambda: dict(a=t(4, 3), k=2),
    "autoencoders.sparse.SparseAutoencoder": lambda: dict(n_inputs=3, n_units=5, k=2),
    "autoencoders.sparse.start_from": lambda: dict(
        model=sparse(), directions=t(8, 6), x=t(4, 6), bias=0.1
    ),
    "autoencoders.sparse.unused_units": lambda: dict(model=sparse(), x=t(4, 6)),
    "autoencoders.sparse.bernoulli_kl": lambda: dict(target=0.1, average=t(3)),
    "autoencoders.sparse.absolute_gap": lambda: dict(target=0.1, average=t(3)),
    "autoencoders.sparse.squared_gap": lambda: dict(target=0.1, average=t(3)),
    "autoencoders.sparse.on_average": lambda: dict(gap=lambda p, z: z - p, target=0.1),
    "autoencoders.sparse.l1_penalty": lambda: dict(z=t(4, 3)),
    "autoencoders.sparse.l2_penalty": lambda: dict(z=t(4, 3)),
    "autoencoders.sparse.sparse_loss": lambda: dict(penalty=torch.sin, weight=0.1),
    "autoencoders.vanilla.Autoencoder": lambda: dict(sizes=(6, 3, 2)),
    "autoencoders.vanilla.mlp": lambda: dict(sizes=(6, 3, 2)),
    "autoencoders.vanilla.load_layers": lambda: dict(model=plain().encoder, layers=layers(6, 4, 2)),
    "autoencoders.vanilla.squared_error_loss": lambda: dict(model=plain(), x=t(4, 6)),
    "autoencoders.vanilla.cross_entropy_loss": lambda: dict(model=plain(), x=t(4, 6)),
    # ---- several draws
    "annealed.annealed_weights": lambda: dict(
        model=small_vae(), x=t(4, 6), mu=t(4, 2), logvar=t(4, 2), chains=2, steps=3, seed=1
    ),
    "iwae.negative_iwae": lambda: dict(model=small_vae(), x=t(4, 6), samples=3),
    "iwae.negative_dreg": lambda: dict(model=small_vae(), x=t(4, 6), samples=3),
    # ---- discrete codes
    "discrete.nearest_value": lambda: dict(z=t(4, 2), codebook=t(3, 2)),
    "discrete.straight_through": lambda: dict(z=t(4, 2), e=t(4, 2)),
    "discrete.perplexity": lambda: dict(codes=torch.arange(6) % 3, n_values=3),
    "discrete.squares": lambda: dict(difference=t(4, 3, 2)),
    "discrete.kmeans_step": lambda: dict(
        codebook=t(3, 2), counts=t(3), z=t(4, 2), codes=torch.arange(4) % 3, decay=0.9
    ),
    "discrete.VectorQuantiser": lambda: dict(n_values=5, width=2, commitment=0.3),
    "discrete.MovingQuantiser": lambda: dict(n_values=5, width=2, decay=0.9, restart=0.5),
    "discrete.FiniteScalar": lambda: dict(levels=(4, 3)),
    "discrete.VQVAE": lambda: dict(d=6, hidden=5, m=3, quantiser=quantiser()),
    "discrete.vq_loss": lambda: dict(model=small_vqvae(), x=t(4, 6)),
    "discrete.CodePrior": lambda: dict(m=3, n_values=5, hidden=4),
    "discrete.code_loss": lambda: dict(model=code_prior(), codes=torch.arange(6).view(2, 3) % 5),
    # ---- many levels
    "diffusion.schedule": lambda: dict(steps=4, first=3.0, last=-3.0),
    "diffusion.expect_falling": lambda: dict(alpha=falling()),
    "diffusion.expect_inside": lambda: dict(alpha=t(4, 1)),
    "diffusion.noised": lambda: dict(x=t(4, 3), alpha=t(4, 1), generator=noise()),
    "diffusion.guess": lambda: dict(predict=torch.add, z=t(4, 3), alpha=t(4, 1)),
    "diffusion.step_back": lambda: dict(
        x=t(4, 3), z=t(4, 3), before=0.5 + t(4, 1) / 2, alpha=t(4, 1) / 2
    ),
    "diffusion.level_terms": lambda: dict(
        predict=torch.add, x=t(4, 3), alpha=falling(), generator=noise()
    ),
    "diffusion.noise_loss": lambda: dict(
        predict=denoiser(), x=t(4, 3), generator=noise(), alpha=falling()
    ),
    "diffusion.sample": lambda: dict(
        predict=torch.add, z=t(4, 3), alpha=falling(), generator=noise(), eta=0.5
    ),
    "diffusion.Denoiser": lambda: dict(d=3, hidden=4, blocks=1),
    "sample_quality.frechet": lambda: dict(a=a(6, 3), b=a(7, 3)),
    "sample_quality.precision_recall": lambda: dict(real=a(6, 3), fake=a(7, 3), k=2),
    # ---- VAEs
    "vae.conditional.ConditionalVAE": lambda: dict(n_classes=3),
    "vae.conditional.with_labels": lambda: dict(x=a(3, 2), y=np.arange(3), n_classes=3),
    "vae.convolutional.ConvEncoder": lambda: dict(
        height=4, width=8, latent_dim=2, channels=(3, 2), image_channels=3
    ),
    "vae.convolutional.ConvDecoder": lambda: dict(
        height=4, width=8, latent_dim=2, channels=(3, 2), image_channels=3
    ),
    "vae.convolutional.ConvVAE": lambda: dict(
        height=4, width=8, latent_dim=2, channels=(3, 2), image_channels=3
    ),
    "vae.convolutional.feature_shape": lambda: dict(height=4, width=8, channels=(3, 2)),
    "vae.dense.VAE": dict,
    "vae.dense.Encoder": dict,
    "vae.dense.Decoder": dict,
    "vae.dense.hidden_layers": lambda: dict(sizes=(6, 5, 2), activation=nn.ReLU),
    "vae.elbo.reparameterize": lambda: dict(mu=t(4, 2), logvar=t(4, 2), generator=noise()),
    "vae.elbo.kl_divergence": lambda: dict(mu=t(4, 2), logvar=t(4, 2)),
    "vae.elbo.negative_elbo": lambda: dict(model=small_vae(), x=t(4, 6), beta=2.0),
    "vae.flows.Coupling": lambda: dict(k=3, hidden=4, n_context=2, flip=True),
    "vae.flows.Flow": lambda: dict(k=3, hidden=4, layers=2, n_context=2),
    "vae.likelihoods.Bernoulli": dict,
    "vae.likelihoods.Gaussian": lambda: dict(c=0.1),
    "vae.likelihoods.Laplace": lambda: dict(b=0.1),
    "vae.small.SmallVAE": lambda: dict(sizes=(6, 5, 2)),
    "vae.weights.load_weights": lambda: dict(model=small_vae(), state=small_vae().state_dict()),
}

# What a class makes, for its methods: small, the same each time.
MAKE = {
    "autoencoders.contractive.TiedAutoencoder": lambda make: make(6, 2, noise()),
    "autoencoders.sparse.SparseAutoencoder": lambda make: make(6, 8, k=3),
    "autoencoders.vanilla.Autoencoder": lambda make: make((6, 4, 2)),
    "discrete.VectorQuantiser": lambda make: make(5, 2),
    "discrete.MovingQuantiser": lambda make: make(5, 2),
    "discrete.FiniteScalar": lambda make: make((4, 3)),
    "discrete.VQVAE": lambda make: make(6, 5, 3, quantiser()),
    "discrete.CodePrior": lambda make: make(3, 5, hidden=4),
    "diffusion.Denoiser": lambda make: make(3, 4, blocks=1),
    "training.History": lambda make: make([3.0, 2.0], [3.5, 2.5], best_epoch=2),
    "vae.conditional.ConditionalVAE": lambda make: make(6, 5, 2, n_classes=3),
    "vae.convolutional.ConvEncoder": lambda make: make(4, 8, 2, (3, 2)),
    "vae.convolutional.ConvDecoder": lambda make: make(4, 8, 2, (3, 2)),
    "vae.convolutional.ConvVAE": lambda make: make(4, 8, latent_dim=2, channels=(3, 2)),
    "vae.dense.VAE": lambda make: make(6, 5, 2),
    "vae.dense.Encoder": lambda make: make(6, 5, 2),
    "vae.dense.Decoder": lambda make: make(2, 5, 6),
    "vae.flows.Coupling": lambda make: make(3, 4),
    "vae.flows.Flow": lambda make: make(3, 4),
    "vae.likelihoods.Bernoulli": lambda make: make(),
    "vae.likelihoods.Gaussian": lambda make: make(0.1),
    "vae.likelihoods.Laplace": lambda make: make(0.1),
    "vae.small.SmallVAE": lambda make: make((6, 5, 2)),
}


def labelled():
    return torch.cat([t(4, 6), torch.eye(3)[torch.arange(4) % 3]], dim=1)


METHODS = {
    "autoencoders.contractive.TiedAutoencoder.encode": lambda: dict(x=t(4, 6)),
    "autoencoders.contractive.TiedAutoencoder.decode": lambda: dict(z=t(4, 2)),
    "autoencoders.contractive.TiedAutoencoder.forward": lambda: dict(x=t(4, 6)),
    "autoencoders.sparse.SparseAutoencoder.encode": lambda: dict(x=t(4, 6)),
    "autoencoders.sparse.SparseAutoencoder.decode": lambda: dict(z=t(4, 8)),
    "autoencoders.sparse.SparseAutoencoder.forward": lambda: dict(x=t(4, 6)),
    "autoencoders.sparse.SparseAutoencoder.rows": dict,
    "autoencoders.vanilla.Autoencoder.encode": lambda: dict(x=t(4, 6)),
    "autoencoders.vanilla.Autoencoder.logits": lambda: dict(z=t(4, 2)),
    "autoencoders.vanilla.Autoencoder.decode": lambda: dict(z=t(4, 2)),
    "autoencoders.vanilla.Autoencoder.forward": lambda: dict(x=t(4, 6)),
    "discrete.VectorQuantiser.forward": lambda: dict(z=t(4, 3, 2), generator=noise()),
    "discrete.VectorQuantiser.lookup": lambda: dict(codes=torch.arange(6).view(2, 3) % 5),
    "discrete.VectorQuantiser.place": lambda: dict(rows=t(5, 2)),
    "discrete.MovingQuantiser.forward": lambda: dict(z=t(4, 3, 2), generator=noise()),
    "discrete.MovingQuantiser.lookup": lambda: dict(codes=torch.arange(6).view(2, 3) % 5),
    "discrete.MovingQuantiser.place": lambda: dict(rows=t(5, 2)),
    "discrete.FiniteScalar.forward": lambda: dict(z=t(4, 3, 2), generator=noise()),
    "discrete.FiniteScalar.lookup": lambda: dict(codes=torch.arange(6).view(2, 3) % 5),
    "discrete.VQVAE.encode": lambda: dict(x=t(4, 6)),
    "discrete.VQVAE.decode": lambda: dict(e=t(4, 3, 2)),
    "discrete.VQVAE.codes": lambda: dict(x=t(4, 6)),
    "discrete.CodePrior.forward": lambda: dict(codes=torch.arange(6).view(2, 3) % 5),
    "discrete.CodePrior.sample": lambda: dict(n=4, generator=noise()),
    "diffusion.Denoiser.forward": lambda: dict(z=t(4, 3), alpha=t(4, 1)),
    "training.History.plot": lambda: dict(ax=axes(), label="loss"),
    "vae.conditional.ConditionalVAE.encode": lambda: dict(rows=labelled()),
    "vae.conditional.ConditionalVAE.reparameterize": lambda: dict(
        mu=t(4, 2), logvar=t(4, 2), generator=noise()
    ),
    "vae.conditional.ConditionalVAE.decode": lambda: dict(z=t(4, 5)),
    "vae.conditional.ConditionalVAE.log_likelihood": lambda: dict(rows=labelled(), z=t(4, 2)),
    "vae.conditional.ConditionalVAE.generate": lambda: dict(y=torch.arange(4) % 3, z=t(4, 2)),
    "vae.conditional.ConditionalVAE.forward": lambda: dict(rows=labelled(), generator=noise()),
    "vae.convolutional.ConvEncoder.forward": lambda: dict(x=t(4, 32)),
    "vae.convolutional.ConvDecoder.logits": lambda: dict(z=t(4, 2)),
    "vae.convolutional.ConvDecoder.forward": lambda: dict(z=t(4, 2)),
    "vae.convolutional.ConvVAE.encode": lambda: dict(x=t(4, 32)),
    "vae.convolutional.ConvVAE.reparameterize": lambda: dict(
        mu=t(4, 2), logvar=t(4, 2), generator=noise()
    ),
    "vae.convolutional.ConvVAE.decode": lambda: dict(z=t(4, 2)),
    "vae.convolutional.ConvVAE.log_likelihood": lambda: dict(x=t(4, 32), z=t(4, 2)),
    "vae.convolutional.ConvVAE.forward": lambda: dict(x=t(4, 32), generator=noise()),
    "vae.dense.Encoder.forward": lambda: dict(x=t(4, 6)),
    "vae.dense.Decoder.logits": lambda: dict(z=t(4, 2)),
    "vae.dense.Decoder.forward": lambda: dict(z=t(4, 2)),
    "vae.dense.VAE.encode": lambda: dict(x=t(4, 6)),
    "vae.dense.VAE.reparameterize": lambda: dict(mu=t(4, 2), logvar=t(4, 2), generator=noise()),
    "vae.dense.VAE.decode": lambda: dict(z=t(4, 2)),
    "vae.dense.VAE.log_likelihood": lambda: dict(x=t(4, 6), z=t(4, 2)),
    "vae.dense.VAE.forward": lambda: dict(x=t(4, 6), generator=noise()),
    "vae.flows.Coupling.forward": lambda: dict(z=t(4, 3)),
    "vae.flows.Coupling.inverse": lambda: dict(z=t(4, 3)),
    "vae.flows.Flow.forward": lambda: dict(z=t(4, 3)),
    "vae.likelihoods.Bernoulli.log_prob": lambda: dict(x=t(4, 6), logits=t(4, 6) - 0.5),
    "vae.likelihoods.Gaussian.log_prob": lambda: dict(x=t(4, 6), logits=t(4, 6) - 0.5),
    "vae.likelihoods.Laplace.log_prob": lambda: dict(x=t(4, 6), logits=t(4, 6) - 0.5),
    "vae.small.SmallVAE.encode": lambda: dict(x=t(4, 6)),
    "vae.small.SmallVAE.logits": lambda: dict(z=t(4, 2)),
    "vae.small.SmallVAE.decode": lambda: dict(z=t(4, 2)),
    "vae.small.SmallVAE.log_likelihood": lambda: dict(x=t(4, 6), z=t(4, 2)),
    "vae.small.SmallVAE.forward": lambda: dict(x=t(4, 6), generator=noise()),
}
CALLS |= METHODS

# Positional only: the arguments of ``VAE(784, 400, 20)``.
POSITIONAL = {
    "vae.dense.VAE": (6, 5, 2),
    "vae.dense.Encoder": (6, 5, 2),
    "vae.dense.Decoder": (2, 5, 6),
    "vae.conditional.ConditionalVAE": (6, 5, 2),
}

# Entry by entry: any shape is right, and a finite value of an infinite argument is its limit.
ANY_SHAPE = {
    "numpy_nn.layers.relu", "numpy_nn.layers.softplus", "numpy_nn.layers.sigmoid",
    "numpy_nn.gradients.numerical_gradient", "numpy_nn.optimisers.expect_gradients",
    "numpy_nn.optimisers.sgd_step", "numpy_nn.optimisers.adam_step",
    "numpy_nn.layers.flatten_layers", "numpy_nn.layers.unflatten_layers",
    "autoencoders.denoising.gaussian_noise", "autoencoders.denoising.masking_noise",
    "autoencoders.denoising.salt_and_pepper", "autoencoders.sparse.bernoulli_kl",
    "autoencoders.sparse.l1_penalty", "autoencoders.sparse.l2_penalty",
    "autoencoders.sparse.absolute_gap", "autoencoders.sparse.squared_gap",
}  # fmt: skip


# What a result or a message shows otherwise than the rule says, and why that is right.
EXCEPT = {
    "flatten_layers": "moves arrays and computes nothing",
    "expect_gradients": "looks at shapes and computes nothing",
    "backward layers text": "five letters are no layers for two outputs: it names the outputs",
    "mutual_information_gap entropy inf": "a share of something infinite is 0",
    "train_vae dec_layers another shape": "names the noise, whose size the decoder sets",
    "estimate_elbo dec_layers another shape": "names the noise, whose size the decoder sets",
    "evaluation.evaluating model": "used inside evaluation, whose functions name the model",
    "fit x_train an axis more": "a model may take such rows; this one's error names its x",
    "fit x_val an axis more": "a model may take such rows; this one's error names its x",
    "latent_scatter y texts": "text names classes",
    "named_lines colors 0 in it": "the first colour has the number 0",
    "_penalty z empty": "the mean over no rows is nan",
    "masking_noise x nan": "the entry may be one of those that are erased",
    "salt_and_pepper x nan": "the entry may be one of those that are replaced",
    "denoising_loss corrupt": "makes a loss; what it was given shows when fit calls it",
    "on_average": "makes a penalty; what it was given shows when fit calls it",
    "sparse_loss": "makes a loss; what it was given shows when fit calls it",
    "TiedAutoencoder.encode x inf": "the limit of a sigmoid",
    "TiedAutoencoder.forward x inf": "the limit of a sigmoid",
    "log_prob logits inf": "the limit of a sigmoid; infinite where that is impossible",
    "History.plot label a number": "an axis may have a number for its name",
    "cluster.ring ": "a generator; what it was given shows when its first piece is taken",
    "cluster.finish": "takes such a generator",
    "VectorQuantiser.forward generator": "for the quantiser that restarts",
    "FiniteScalar.forward generator": "for the quantiser that restarts",
    "FiniteScalar.forward z inf": "the limit of a tanh",
    "perplexity codes an axis more": "codes may have any shape",
    "perplexity codes an axis less": "codes may have any shape",
    "contractive_loss weight inf": "makes a loss; fit stops at its first value",
}

IN_PLACE = {"autoencoders.vanilla.load_layers": "model", "autoencoders.sparse.start_from": "model"}


def activation():
    from course_utils.numpy_nn.layers import TANH

    return TANH


def factors(n):
    from course_utils.stroke_digits import middle

    return np.tile(middle(), (n, 1))


def definitions():
    """Yield every public function and class of the package, with its room."""
    for each in pkgutil.walk_packages(course_utils.__path__, "course_utils."):
        room = each.name.removeprefix("course_utils.")
        if room.split(".")[0] in ELSEWHERE or room == "__main__":
            continue
        for name, value in vars(importlib.import_module(each.name)).items():
            own = getattr(value, "__module__", None) == each.name and not name.startswith("_")
            if own and (inspect.isfunction(value) or inspect.isclass(value)):
                yield f"{room}.{name}", value


def public():
    """Yield the names of functions and of classes that are made of data or sizes."""
    for name, value in definitions():
        if not (inspect.isclass(value) and not issubclass(value, nn.Module)):
            yield name


def public_methods():
    """Yield the names of methods of public classes, their own or inherited inside the package."""
    for name, value in definitions():
        for key in dir(value) if inspect.isclass(value) else ():
            method = getattr(value, key)
            ours = str(getattr(method, "__module__", None)).startswith("course_utils")
            if ours and inspect.isfunction(method) and not key.startswith("_"):
                yield f"{name}.{key}"


def test_no_public_function_is_forgotten():
    assert sorted(public()) == sorted(set(CALLS) - set(METHODS))


def test_no_public_method_is_forgotten():
    assert sorted(public_methods()) == sorted(METHODS)


def found(name):
    """The function, the class, or the method of a small instance, of this name."""
    owner, _, last = name.rpartition(".")
    if owner in MAKE:
        return getattr(seeded(lambda: MAKE[owner](found(owner))), last)
    return getattr(importlib.import_module(f"course_utils.{owner}"), last)


def call(name, arguments, positional=None):
    """Call by name; of a model that comes out, the numbers are what it makes of the same rows."""
    value = found(name)
    torch.manual_seed(2)
    try:
        given = POSITIONAL.get(name, ()) if positional is None else positional
        with np.errstate(all="ignore"):
            result = value(*given, **arguments)
        if hasattr(result, "__enter__"):
            with result:
                pass
            return None
        if isinstance(result, plt.Axes):
            result.figure.canvas.draw()
        return arguments[IN_PLACE[name]] if name in IN_PLACE else result
    finally:
        plt.close("all")


def leaves(value):
    """The arrays in a result, whatever holds them."""
    if isinstance(value, nn.Module):
        value = list(value.state_dict().values())
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.astype(np.float64)
    if isinstance(value, History):
        value = (value.train, value.val)  # not the seconds
    if dataclasses.is_dataclass(value):
        value = list(vars(value).values())
    if isinstance(value, (list, tuple)):
        return [leaf for each in value for leaf in leaves(each)]
    if isinstance(value, (np.ndarray, int, float, bool, np.generic)):
        array = np.asarray(value)
        return [array.astype(np.float64)] if array.dtype.kind in "biuf" else []
    return []


def finite(value):
    return all(np.isfinite(leaf).all() for leaf in leaves(value))


def equal(one, two):
    pairs = list(zip(leaves(one), leaves(two), strict=False))
    return len(leaves(one)) == len(leaves(two)) and all(
        p.shape == q.shape and np.allclose(p, q, rtol=2e-3, atol=1e-6, equal_nan=True)
        for p, q in pairs
    )


class Frame:
    """As much of a table of pandas as matters: it has a shape and no dtype."""

    shape, columns = (4, 3), ("a", "b", "c")

    def __init__(self, rows=None):
        self.rows = rows

    def to_numpy(self):
        return self.rows

    def __array__(self, dtype=None, copy=None):
        raise TypeError("a table")

    def __len__(self):
        return 4


def is_array(value):
    return isinstance(value, (np.ndarray, torch.Tensor))


def as_type(value, kind):
    """Whole numbers 0, 1, 2, 3 in a type of NumPy or PyTorch, and the same as floats."""
    whole = np.floor(np.asarray(value, dtype=np.float64) * 4)
    if isinstance(value, torch.Tensor):
        return torch.from_numpy(whole).to(getattr(torch, kind)), torch.from_numpy(whole).float()
    return whole.astype(kind), whole


def poisoned(value, poison):
    bad = value.clone() if isinstance(value, torch.Tensor) else value.copy()
    bad[(0,) * bad.ndim] = poison
    return bad


# Each returns the bad values of one argument: (what it is, the value, what the result must be).
# "error": an error and nothing else. "not finite": an error, or a result that shows it.
# A value: an error, or the result that this value in its place gives.


def bad_values(name, key, value):
    if is_array(value):
        whole = "int" in str(value.dtype)
        if not whole:
            limits = "limit" if name in ANY_SHAPE else "not finite"
            yield "nan", poisoned(value, math.nan), "not finite"
            yield "inf", poisoned(value, math.inf), limits
            for kind in ("uint8", "int64", "bool"):
                bad, right = as_type(value, kind)
                yield kind, bad, ("same as", right if kind != "bool" else right > 0)
        yield "empty", value[:0], "empty"
        yield "an axis more", value[..., None], "shape"
        yield "an axis less", value.reshape(-1), "shape" if value.ndim > 1 else "fine"
        yield "text", "three", "error"
        yield "None", None, "error"
        yield "a table", Frame(), "error"
        yield "a list", value.tolist(), ("same as", value)
        if isinstance(value, np.ndarray):
            yield "texts", value.astype(str), "error"
            yield "objects", value.astype(object), ("same as", value)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        for bad in (math.nan, math.inf, 2.5, "three", None, [1, 2], np.ones(3)):
            yield repr(bad)[:12], bad, "error"
    elif isinstance(value, float):
        yield "nan", math.nan, "not finite"
        yield "inf", math.inf, "limit" if name in ANY_SHAPE else "not finite"
        for bad in ("three", None, [1.0, 2.0]):
            yield repr(bad), bad, "error"
    elif isinstance(value, str):
        yield "a number", 3, "error"
    elif isinstance(value, (list, tuple)):
        if key != "labels":  # one for all is right
            yield "a number", 3, "error"
        yield "text", "three", "error"
        yield "None", None, "error"
        if not isinstance(value[0], str):
            yield "texts", ["a"] * len(value), "error"
        if is_array(value[0]):
            yield "nan in one", [poisoned(value[0], math.nan), *value[1:]], "not finite"
            yield "text in one", [value[0].astype(str), *value[1:]], "error"
            yield "empty in one", [value[0][:0], *value[1:]], "empty"
        elif isinstance(value[0], tuple):
            w, b = value[0]
            yield "nan in one", [(poisoned(w, math.nan), b), *value[1:]], "not finite"
            yield "text in one", [(w.astype(str), b), *value[1:]], "error"
            yield "another shape", [(w.T, b), *value[1:]], "shape"
            yield "no pairs", [w for w, _ in value], "error"
        elif isinstance(value[0], int):
            for bad in (math.nan, -1, 2.5, "three", *([0] if key != "labels" else [])):
                yield f"{bad} in it", (*value[:-1], bad), "error"
    else:  # a model, a function, a generator, axes, a record
        yield "a number", 3, "error"
        yield "text", "three", "error"
        if not isinstance(value, torch.Generator):  # None is PyTorch's own
            yield "None", None, "error"


def optional(name, key):
    value = found(name)
    parameter = inspect.signature(value).parameters.get(key)
    hints = typing.get_type_hints(value.__init__ if inspect.isclass(value) else value)
    hint = hints.get(key)
    may_be_none = hint is not None and type(None) in typing.get_args(hint)
    return may_be_none or (parameter is not None and parameter.default is None)


def cases():
    """Yield each argument of each function, with the names of its bad values."""
    for name, make in CALLS.items():
        for key, value in make().items():
            bad = [
                what
                for what, _, _ in bad_values(name, key, value)
                if not (what == "None" and optional(name, key))
                and not any(part in f"{name} {key} {what}" for part in EXCEPT)
            ]
            if bad:
                yield pytest.param(name, key, bad, id=f"{name} {key}")


def judge(name, key, wanted, arguments, result):
    """Why a result that came without an error is wrong, or "" where it is right."""
    if wanted == "not finite":
        return "" if leaves(result) and not finite(result) else "nothing shows it"
    if wanted == "empty":
        nothing = all(leaf.size == 0 or np.isfinite(leaf).all() for leaf in leaves(result))
        some = not leaves(result) or any(leaf.size == 0 for leaf in leaves(result))
        return "" if nothing and some else "a value of nothing"
    if wanted in ("shape", "fine", "limit"):
        return "" if wanted != "shape" or name in ANY_SHAPE else "another shape passes"
    if isinstance(wanted, tuple):
        right = wanted[1]
        good = {**CALLS[name](), key: right}
        return "" if equal(result, call(name, good)) else "another value"
    return "it passes"


def problem_of(name, key, what):
    """What is wrong with the answer to one bad value, or "" where it is right or a good error."""
    arguments = CALLS[name]()
    _, bad, wanted = next(b for b in bad_values(name, key, arguments[key]) if b[0] == what)
    arguments[key] = bad
    try:
        result = call(name, arguments)
    except Exception as error:
        message = str(error)
        if isinstance(error, FloatingPointError) and wanted == "not finite":
            return ""
        # of two shapes that do not fit, either may be the wrong one
        names = "|".join(arguments if wanted in ("shape", "empty") else [key])
        named = re.search(rf"\b({names})\b", message) and len(message) <= 300
        said = re.search(r"\bmust\b", message) and re.search(r"\bgot\b", message)
        return "" if isinstance(error, (TypeError, ValueError)) and named and said else repr(error)
    return judge(name, key, wanted, arguments, result)


# One test an argument, not one a value: of 4800 small tests, half of the time is pytest's own.
@pytest.mark.parametrize(("name", "key", "bad"), list(cases()))
def test_wrong_input_gives_a_right_value_or_an_error_that_names_it(name, key, bad):
    problems = {what: problem_of(name, key, what) for what in bad}
    assert not {what: problem for what, problem in problems.items() if problem}


def test_an_inner_name_is_replaced_as_a_word_and_not_as_a_letter():
    from course_utils.numpy_nn.autoencoders import train_autoencoder

    arguments = CALLS["numpy_nn.autoencoders.train_autoencoder"]()
    arguments["x_test"] = np.ones((2, 3), dtype=np.uint8)
    with pytest.raises(TypeError) as caught:
        train_autoencoder(**arguments)
    assert str(caught.value) == (
        "x_test must hold floats, got uint8, whose sums and squares overflow;"
        " for bytes: x_test / 255"
    )
    arguments["x_test"] = "a text"
    with pytest.raises(TypeError, match=r"^x_test must be an array, got text: 'a text'$"):
        train_autoencoder(**arguments)
