"""The stored run of chapter 14: made by this code, and what it is said to be."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from course_utils import data, evaluation, iwae, recipe, recipe_iwae, vae  # noqa: E402
from course_utils.recipe import FreshAndWarmedUp, Recipe, TightenedLater  # noqa: E402

SMALL = Recipe(epochs=3, draws=2, sizes=(784, 16, 16, 4), batch_size=32)


def test_the_stored_numbers_come_from_this_code_these_plans_and_this_seed():
    stored, again = recipe.stored(), "run python -m course_utils.recipe again"
    assert stored["seed"] == recipe.SEED
    for name, plan in recipe.RECIPES.items():
        assert stored[name]["plan"] == json.loads(json.dumps(plan)), again
    assert recipe.fingerprint() == pytest.approx(stored["fingerprint"], rel=1e-4), again


def _never_warm(steps, first, draws):
    return TightenedLater(1, first, draws)


def _never_tight(steps, first, draws):
    return FreshAndWarmedUp(steps)


def _of_one_draw_more(steps, first, draws):
    return TightenedLater(steps, first, draws + 1)


def _steady(optimizer, steps, *, rate):
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1, total_iters=1)


@pytest.mark.parametrize(
    ("place", "name", "other"),
    [
        (recipe, "TightenedLater", _never_warm),
        (recipe, "TightenedLater", _never_tight),
        (recipe, "TightenedLater", _of_one_draw_more),
        (iwae, "negative_dreg", iwae.negative_iwae),
        (recipe, "one_cycle", _steady),
        (vae, "negative_elbo", lambda *args, beta: vae.elbo.negative_elbo(*args)),
        (evaluation, "log_importance_weights", lambda *args: torch.zeros(len(args[1]), 1)),
    ],
)
def test_a_change_of_what_a_run_does_changes_its_fingerprint(monkeypatch, place, name, other):
    monkeypatch.setattr(place, name, other)
    assert recipe.fingerprint() != pytest.approx(recipe.stored()["fingerprint"], rel=1e-4)


@pytest.mark.parametrize("name", ["long", "short"])
@pytest.mark.parametrize(("field", "other"), [("warm_up", 0.45), ("elbo", 0.8), ("draws", 4)])
def test_what_a_plan_says_reaches_the_fingerprint_of_each_run(monkeypatch, name, field, other):
    plans = recipe.RECIPES | {name: recipe.RECIPES[name]._replace(**{field: other})}
    monkeypatch.setattr(recipe, "RECIPES", plans)
    stored = recipe.stored()["fingerprint"]
    changed = {
        k for k, v in recipe.fingerprint().items() if v != pytest.approx(stored[k], rel=1e-4)
    }
    assert changed and all(what.startswith(name) for what in changed)


def test_the_threshold_of_active_units_reaches_the_fingerprint(monkeypatch):
    active = evaluation.active_units
    monkeypatch.setattr(evaluation, "active_units", lambda *args: active(*args, threshold=0.3))
    assert recipe.fingerprint()["long, active_units"] != 50


def test_the_precision_that_is_asked_for_is_that_of_the_training():
    x = recipe.made_up(40)
    for precision in ("highest", "bfloat16"):
        assert recipe.train(SMALL, x, precision=precision, progress=False)[1].precision == precision


class Seen(Exception):
    """What a run was about to train on or measure, and no more."""


@pytest.mark.parametrize(("made_by", "seed"), [(recipe, 14), (recipe_iwae, 19)])
def test_a_run_trains_on_grey_images_and_measures_test_images_of_zeros_and_ones(
    monkeypatch, tmp_path, made_by, seed
):
    draw = np.random.default_rng(0).random
    mnist = SimpleNamespace(
        x_train=draw((50, 784), np.float32), x_test=draw((200, 784), np.float32)
    )
    drawn = torch.from_numpy(data.binarise(mnist.x_test, seed))
    assert set(drawn.unique().tolist()) == {0, 1}
    seen = {}

    def train(plan, x, look=None, **options):
        seen["trained on"], seen["looked at"] = x, look
        history = SimpleNamespace(seconds=1.0, precision="highest", train=[1.0])
        return vae.VAE(784, 4, 2), history if made_by is recipe else [{"seconds": 1}]

    def measure(model, x, **options):
        seen["measured"] = x
        raise Seen

    monkeypatch.setattr(data, "mnist", lambda: mnist)
    monkeypatch.setattr(made_by, "train", train)
    monkeypatch.setattr(recipe, "measure", measure)
    monkeypatch.setattr(made_by, "fingerprint", dict)
    monkeypatch.setattr(recipe, "_fingerprint_alone", dict)
    if made_by is recipe_iwae:
        monkeypatch.setattr(made_by, "N_ANNEALED", 10)
        monkeypatch.setattr(made_by, "data_folder", lambda: tmp_path)
    with pytest.raises(Seen):
        made_by.main(*([["short"]] if made_by is recipe else []))
    assert torch.equal(seen["trained on"], torch.from_numpy(mnist.x_train))
    assert torch.equal(seen["measured"], drawn)
    assert seen["looked at"] is None or torch.equal(seen["looked at"], drawn[::10])


@pytest.mark.parametrize(("name", "seconds", "nats"), [("short", 180, 86.1), ("long", 600, 84.8)])
def test_a_stored_run_keeps_its_promise(name, seconds, nats):
    run, plan = recipe.stored()[name], recipe.RECIPES[name]
    assert run["epochs"] == plan.epochs and run["seconds"] <= seconds and run["threads"] <= 2
    assert -run["bound"] <= nats and run["samples"] == recipe.SAMPLES and run["n_test"] == 10_000
    assert run["bound"] > run["elbo"] and 0.15 < run["standard_error"] < 0.7
    assert abs(run["elbo"] + run["rate"] + run["distortion"]) < 0.01
    model = vae.VAE(*plan.sizes)
    assert run["parameters"] == sum(p.numel() for p in model.parameters())
    assert [*plan.sizes[1:]] == [*run["hidden"], run["latent_dim"]]


def test_the_long_run_is_better_than_the_short_one():
    stored = recipe.stored()
    assert stored["long"]["bound"] > stored["short"]["bound"]


def test_a_small_run_trains_and_is_the_same_twice():
    x = torch.rand(100, 784, generator=torch.Generator().manual_seed(0)) ** 3
    models = [recipe.train(SMALL, x, progress=False)[0] for _ in range(2)]
    test_images = (x > 0.5).float()
    measured = [recipe.measure(model, test_images, samples=20) for model in models]
    assert measured[0] == measured[1] and measured[0]["bound"] >= measured[0]["elbo"] - 0.5
    json.dumps(measured)


def test_the_weight_of_the_kl_rises_from_zero_to_one_and_the_pixels_are_drawn():
    torch.manual_seed(0)
    model, x = vae.VAE(784, 8, 4), (torch.rand(20, 784) > 0.5).float()  # zeros and ones stay
    loss = FreshAndWarmedUp(2)
    with torch.no_grad():
        for beta in (0.0, 0.5, 1.0, 1.0):
            generator = torch.Generator().manual_seed(7)
            torch.rand(x.shape, generator=generator)  # what the pixels take
            expected = vae.negative_elbo(model, x, generator, beta=beta)
            value = loss(model, x, torch.Generator().manual_seed(7))
            torch.testing.assert_close(value, expected)
        generator = torch.Generator().manual_seed(1)
        grey = [loss(model, 0 * x + 0.5, generator).item() for _ in range(2)]
    assert grey[0] != grey[1]


def test_from_its_first_tight_call_on_the_loss_is_the_bound_of_several_draws():
    torch.manual_seed(0)
    model, x = vae.VAE(784, 8, 4), (torch.rand(20, 784) > 0.5).float()  # zeros and ones stay
    loss, before = TightenedLater(1, 2, 3), FreshAndWarmedUp(1)
    with torch.no_grad():
        for call in range(4):
            generator = torch.Generator().manual_seed(call)
            if call < 2:
                expected = before(model, x, generator)
            else:
                torch.rand(x.shape, generator=generator)  # what the pixels take
                expected = iwae.negative_dreg(model, x, generator, samples=3)
            value = loss(model, x, torch.Generator().manual_seed(call))
            torch.testing.assert_close(value, expected)
    assert loss.state_dict() == {"steps": 1, "calls": 4, "first": 2, "draws": 3}


def test_a_loss_takes_no_state_of_another_plan():
    state = TightenedLater(10, 8, 3).state_dict() | {"calls": 5}
    same = TightenedLater(10, 8, 3)
    same.load_state_dict(state)
    assert same.calls == 5
    for name, other in (("first", (10, 7, 3)), ("draws", (10, 8, 5)), ("steps", (9, 8, 3))):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            TightenedLater(*other).load_state_dict(state)
