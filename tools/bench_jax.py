"""The VAE of the bench in JAX: one jitted scan over the epoch, Adam from Optax.

A row of `make bench` where JAX and Optax are installed (pip install jax optax). The network, the
initial weights, the batches' size and the loss are those of the other rows. The last, smaller
batch is a step of its own, as a scan needs batches of one size.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import torch
from jax import numpy as jnp

from course_utils.vae import VAE

Params = dict[str, jax.Array]


def negative_elbo(params: Params, x: jax.Array, key: jax.Array) -> jax.Array:
    """The mean over images of −ln p(x|z) + KL, in nats, for x (n, 784) in [0, 1]."""

    def layer(name: str, h: jax.Array) -> jax.Array:
        return h @ params[f"{name}.weight"].T + params[f"{name}.bias"]

    h = jax.nn.relu(layer("encoder.hidden.0", x))
    mu, logvar = layer("encoder.fc_mu", h), layer("encoder.fc_logvar", h)
    z = mu + jnp.exp(logvar / 2) * jax.random.normal(key, mu.shape)
    logits = layer("decoder.fc_out", jax.nn.relu(layer("decoder.hidden.0", z)))
    cross_entropy = (jax.nn.softplus(logits) - x * logits).sum(axis=1)
    kl = 0.5 * (mu**2 + jnp.exp(logvar) - 1 - logvar).sum(axis=1)
    return (cross_entropy + kl).mean()


class JaxTraining:
    """The training of one network, an epoch a call, which returns its seconds."""

    def __init__(self, model: VAE, x: np.ndarray, *, batch_size: int, rate: float) -> None:
        """Start from a model's weights, on images x (n, 784)."""
        self.model, self.x, self.batch_size = model, jnp.asarray(x), batch_size
        # Copies: JAX may use the memory of a NumPy array, and PyTorch's weights would change.
        state = model.state_dict()
        self.params = {name: jnp.array(w.numpy(), copy=True) for name, w in state.items()}
        self.optimizer = optax.adam(rate)
        self.state = self.optimizer.init(self.params)
        self.key, self.rng = jax.random.key(0), np.random.default_rng(0)
        self.scan = jax.jit(partial(_scan, self.optimizer), donate_argnums=(0, 1))
        self._compile()

    def __call__(self) -> float:
        """Train for one epoch in a new order, write the weights into the model; the seconds."""
        start = time.perf_counter()
        order = self.rng.permutation(len(self.x)).astype(np.int32)
        whole = len(order) // self.batch_size * self.batch_size
        for rows in (order[:whole].reshape(-1, self.batch_size), order[None, whole:]):
            if rows.size:
                self.key, key = jax.random.split(self.key)
                carry = self.params, self.state
                self.params, self.state = self.scan(*carry, self.x, rows, key)
        jax.block_until_ready(self.params)
        seconds = time.perf_counter() - start
        weights = {name: torch.tensor(np.array(w)) for name, w in self.params.items()}
        self.model.load_state_dict(weights)
        return seconds

    def _compile(self) -> None:
        """Compile for both sizes of batch, so that no epoch is charged for it."""
        whole, rest = divmod(len(self.x), self.batch_size)
        for shape in ((whole, self.batch_size), (1, rest)):
            if all(shape):
                copies = jax.tree.map(jnp.copy, (self.params, self.state))
                self.scan(*copies, self.x, np.zeros(shape, np.int32), self.key)


def _scan(
    optimizer: Any, params: Params, state: Any, x: jax.Array, rows: jax.Array, key: jax.Array
) -> tuple[Params, Any]:
    """One step of Adam for each row of ``rows`` (steps, batch), indices of images."""

    def step(carry: tuple[Params, Any], each: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        params, state = carry
        batch, noise = each
        gradient = jax.grad(negative_elbo)(params, x[batch], noise)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(key, len(rows))
    return jax.lax.scan(step, (params, state), (rows, keys))[0]
