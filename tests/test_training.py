"""Training: what it yields, how it stops and carries on, and the files it writes."""

import itertools
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from helpers import CASES, assert_mean, case_id, images, points, vae, weights_equal
from torch.distributions import Distribution

from vae_edu import likelihoods, priors, training
from vae_edu.bounds import Elbo, elbo
from vae_edu.likelihoods import FAMILIES
from vae_edu.models import VAE
from vae_edu.training import Progress, TrainingDiverged, train

BERNOULLI = ("bernoulli", {})
PRIORS = {
    "normal": priors.standard_normal(2),
    "box": priors.uniform(2, -1.0, 2.0),
    "mixture": priors.mixture(2, means=torch.randn(3, 2), weights=[0.2, 0.3, 0.7], scale=0.3),
}


def fresh(case=BERNOULLI, data=None, **options) -> VAE:
    """Always the same untrained model."""
    torch.manual_seed(0)
    return vae(case, images() if data is None else data, **options)


def run(model, epochs=3, data=None, **options) -> list[Progress]:
    options = {"batch_size": 16, "bar": False} | options
    return list(train(model, images() if data is None else data, epochs, **options))


def trained(epochs=3, case=BERNOULLI, **options) -> VAE:
    model = fresh(case)
    run(model, epochs, **options)
    return model


def interrupting(after: int):
    """A loss that is Ctrl-C at its n-th batch; 3 batches make an epoch of the tiny images."""
    calls = itertools.count(1)

    def loss(terms: Elbo):
        if next(calls) > after:
            raise KeyboardInterrupt
        return -terms.total

    return loss


# The iterator


def test_nothing_runs_before_it_is_asked_for():
    model = fresh()
    steps = train(model, images(), 2, bar=False)
    assert weights_equal(model, fresh())
    next(steps)
    assert not weights_equal(model, fresh())


def test_progress():
    history = run(fresh(), 4)
    assert [step.epoch for step in history] == [1, 2, 3, 4]
    assert {step.epochs for step in history} == {4}
    for step in history:
        assert all(isinstance(value, int | float) for value in step)
        assert step.elbo == pytest.approx(step.reconstruction - step.kl, abs=1e-4)
        assert step.kl > 0
    seconds = [step.seconds for step in history]
    assert seconds == sorted(seconds)


def test_progress_is_the_average_over_all_images():
    # 40 images in batches of 16, 16 and 8: a mean of the batches' means would be off.
    seen = []

    def loss(terms):
        seen.append(terms)
        return -terms.total

    [step] = run(fresh(), 1, loss=loss)
    for name in ("elbo", "reconstruction", "kl"):
        values = torch.cat([getattr(t, "total" if name == "elbo" else name) for t in seen])
        assert len(values) == 40
        assert getattr(step, name) == pytest.approx(values.mean().item(), rel=1e-5)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_training_raises_the_elbo(case):
    model, data = fresh(case), images()
    x = model.likelihood.prepare(data.train_x)
    before = elbo(model, x, samples=50).total.mean()
    run(model, 15, learning_rate=1e-2)
    assert elbo(model, x, samples=50).total.mean() > before + 0.3


@pytest.mark.parametrize("prior", PRIORS)
def test_training_with_every_prior(prior):
    history = run(fresh(prior=PRIORS[prior]), 15, learning_rate=1e-2)
    assert history[-1].elbo > history[0].elbo


def test_the_bar_shows_the_elbo(capsys):
    history = run(fresh(), 2, bar=True)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert f"ELBO {history[-1].elbo:.2f} nats" in shown
    run(fresh(), 2, bar=False)
    assert capsys.readouterr().err == ""


def test_points_can_be_trained_on():
    data = points(torch.randn(50, 3))
    model = VAE(priors.standard_normal(1), likelihoods.make("gaussian", data), 1, (4,))
    history = run(model, 5, data=data, learning_rate=1e-2)
    assert history[-1].elbo > history[0].elbo


# Random numbers


def test_a_seed_gives_the_same_weights():
    assert weights_equal(trained(seed=4), trained(seed=4))
    assert not weights_equal(trained(seed=4), trained(seed=5))


def test_the_global_random_numbers_neither_matter_nor_change():
    torch.manual_seed(123)
    model = fresh()
    state = torch.manual_seed(456).get_state()
    for _ in train(model, images(), 3, batch_size=16, bar=False):
        assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)  # between the epochs too a reader may draw
    assert weights_equal(model, trained())


def test_drawing_between_epochs_does_not_matter():
    model = fresh()
    for _ in train(model, images(), 3, batch_size=16, bar=False):
        model.sample(5)
    assert weights_equal(model, trained())


def test_validation_of_distributions_is_as_it_was():
    before = torch.distributions.Distribution._validate_args
    trained()
    with pytest.raises(KeyboardInterrupt):
        run(fresh(), loss=interrupting(1))
    assert torch.distributions.Distribution._validate_args is before


# The loss


def test_beta_weighs_the_kl():
    weak = run(fresh(), 30, learning_rate=1e-2, loss=lambda e: 0.1 * e.kl - e.reconstruction)
    strong = run(fresh(), 30, learning_rate=1e-2, loss=lambda e: 10 * e.kl - e.reconstruction)
    assert strong[-1].kl < 0.1 * weak[-1].kl
    assert weak[-1].reconstruction > strong[-1].reconstruction
    # What is told is the ELBO, whatever is minimized.
    assert strong[-1].elbo == pytest.approx(strong[-1].reconstruction - strong[-1].kl, abs=1e-4)


def test_the_default_loss_is_the_negative_elbo():
    terms = Elbo(torch.tensor([-3.0]), torch.tensor([-1.0]), torch.tensor([2.0]))
    assert training.negative_elbo(terms).tolist() == [3.0]
    assert weights_equal(trained(loss=lambda e: e.kl - e.reconstruction), trained())


def test_the_loss_is_averaged_over_the_batch():
    # Adam hardly tells a sum from a mean; what the batch size must not change is the gradient.
    model, expected, seen = fresh(), [], []
    bias = model.decoder[-1].bias
    bias.register_hook(lambda gradient: seen.append(gradient.clone()))

    def loss(terms):
        mean = -terms.total.sum() / len(terms.total)
        expected.append(torch.autograd.grad(mean, bias, retain_graph=True)[0])
        seen.clear()
        return -terms.total

    run(model, 1, batch_size=40, loss=loss)
    torch.testing.assert_close(seen, expected)


@pytest.mark.parametrize("case", [BERNOULLI, ("gaussian", {})], ids=case_id)
def test_noise_prepares_the_data_anew_each_epoch(case, monkeypatch):
    model, data = fresh(case), images()
    prepared, original = [], type(model.likelihood).prepare

    def prepare(self, levels, generator=None):
        x = original(self, levels, generator)
        if generator is not None:
            prepared.append(x)
        return x

    monkeypatch.setattr(type(model.likelihood), "prepare", prepare)
    run(model, 30, noise=True)
    assert len(prepared) == 30
    brightness = original(model.likelihood, torch.arange(5).unsqueeze(-1).expand(5, 6))[:, 0]
    if case == BERNOULLI:
        brightness = torch.arange(5) / 4
    for level, expected in enumerate(brightness.tolist()):
        averages = [x[data.train_x == level].mean() for x in prepared]
        assert_mean(averages, expected, slack=1e-6)
    assert not torch.equal(prepared[0], prepared[1])


def test_noise_is_reproducible():
    assert weights_equal(trained(noise=True), trained(noise=True))
    assert not weights_equal(trained(noise=True), trained(noise=False))


# Stopping and carrying on


def test_leaving_the_loop_keeps_the_last_complete_epoch():
    model = fresh()
    for progress in train(model, images(), 10, batch_size=16, bar=False):
        if progress.epoch == 2:
            break
    assert weights_equal(model, trained(2))


@pytest.mark.parametrize("batches", [0, 1, 5, 6, 8])
def test_an_interruption_keeps_the_last_complete_epoch(batches):
    model = fresh()
    with pytest.raises(KeyboardInterrupt):
        run(model, loss=interrupting(batches))
    assert weights_equal(model, trained(batches // 3) if batches >= 3 else fresh())


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("stop", ["break", "interrupt", "end"])
def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path, stop, noise):
    path = tmp_path / "run.safetensors"
    options = {"checkpoint": path, "noise": noise}
    model = fresh()
    if stop == "break":
        for progress in train(model, images(), 6, batch_size=16, bar=False, **options):
            if progress.epoch == 2:
                break
    elif stop == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            run(model, 6, loss=interrupting(8), **options)
    else:
        run(model, 2, **options)
    assert weights_equal(model, trained(2, noise=noise))

    resumed = vae(BERNOULLI, images())  # other weights: the checkpoint's replace them
    history = run(resumed, 6, **options)
    assert [step.epoch for step in history] == [3, 4, 5, 6]
    unbroken = fresh()
    whole = run(unbroken, 6, noise=noise)
    assert weights_equal(resumed, unbroken)
    assert [step.elbo for step in history] == [step.elbo for step in whole[2:]]
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_run_is_not_repeated(tmp_path):
    path = tmp_path / "run.safetensors"
    done = trained(3, checkpoint=path)
    model = fresh()
    assert run(model, 3, checkpoint=path) == []
    assert weights_equal(model, done)


SCRIPT = """
import sys
import torch
from vae_edu import data, training

torch.set_num_threads(1)
start, checkpoint, stopped = sys.argv[1:]
digits = data.load("digits")
model = training.load(start, digits)
steps = training.train(model, digits, 10**6, batch_size=500, checkpoint=checkpoint, bar=False)
try:
    for progress in steps:
        print(progress.epoch, flush=True)
except KeyboardInterrupt:
    training.save(model, stopped)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_ctrl_c_leaves_a_good_model_and_checkpoint(tmp_path, digits):
    paths = start, checkpoint, stopped = [tmp_path / name for name in ("0", "1", "2")]
    training.save(fresh(data=digits), start)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, paths)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(training.__file__).parents[1])},
    )
    try:
        epochs = [int(process.stdout.readline()) for _ in range(5)]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    epochs += map(int, rest.split())
    assert epochs == list(range(1, len(epochs) + 1))
    kept = training.load(checkpoint, digits)
    assert weights_equal(training.load(stopped, digits), kept)

    resumed, unbroken = training.load(start, digits), training.load(start, digits)
    end, options = len(epochs) + 3, {"data": digits, "batch_size": 500}
    history = run(resumed, end, checkpoint=checkpoint, **options)
    # The signal may have come after the last epoch was kept and before it was told.
    assert history[0].epoch in (len(epochs) + 1, len(epochs) + 2)
    run(unbroken, end, **options)
    assert weights_equal(resumed, unbroken)


# Bad settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": -1}, "epochs is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": -1e-3}, "learning_rate is -0.001"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"learning_rate": math.inf}, "learning_rate is inf"),
        ({"data": replace(images(), train_x=images().train_x[:0])}, "no training examples"),
        ({"data": images(levels=9)}, "is outside 0 … 4"),
        ({"data": images(dim=7)}, "D = 6"),
    ],
)
def test_bad_settings_are_told_at_the_call(options, message):
    model = fresh()
    with pytest.raises(ValueError, match=message):
        train(model, **{"data": images(), "epochs": 2, "bar": False} | options)
    assert weights_equal(model, fresh())


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (BERNOULLI, {"batch_size": 8}, r"batch_size 16 \(here 8\)"),
        (BERNOULLI, {"learning_rate": 1e-2}, r"learning_rate 0.002 \(here 0.01\)"),
        (BERNOULLI, {"noise": True}, r"noise False \(here True\)"),
        (BERNOULLI, {"seed": 1}, r"seed 0 \(here 1\)"),
        (("categorical", {}), {}, r"family 'bernoulli' \(here 'categorical'\)"),
        (BERNOULLI, {"data": replace(images(), name="other")}, r"data 'tiny' \(here 'other'\)"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, model, options, message):
    path = tmp_path / "run.safetensors"
    trained(checkpoint=path)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        run(fresh(model, options.get("data")), 5, checkpoint=path, **options)
    assert path.read_bytes() == content


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    trained(checkpoint=path)
    with pytest.raises(ValueError, match=r"hidden \[8\] \(here \[5\]\)"):
        run(fresh(hidden=(5,)), checkpoint=path)
    with pytest.raises(ValueError, match=r"prior .*standard_normal.*here .*uniform"):
        run(fresh(prior=priors.uniform(2)), checkpoint=path)


def test_weights_alone_are_no_checkpoint(tmp_path):
    path = tmp_path / "model.safetensors"
    training.save(fresh(), path)
    with pytest.raises(ValueError, match="weights only, not a checkpoint"):
        run(fresh(), checkpoint=path)


def test_a_checkpoint_can_be_loaded_as_a_model(tmp_path):
    path = tmp_path / "run.safetensors"
    model = trained(checkpoint=path)
    assert weights_equal(training.load(path, images()), model)


# Divergence


@pytest.mark.parametrize(
    ("case", "rate"),
    [(("gaussian", {"scale": "from_z"}), 1e3), (("gaussian", {}), 1e30), (BERNOULLI, 1e38)],
    ids=case_id,
)
def test_divergence_is_told_and_the_last_good_weights_kept(tmp_path, case, rate):
    path = tmp_path / "run.safetensors"
    model, done = fresh(case), 0
    with pytest.raises(TrainingDiverged) as told:
        for _ in train(
            model, images(), 50, batch_size=16, learning_rate=rate, checkpoint=path, bar=False
        ):
            done += 1
    message = str(told.value)
    assert f"in epoch {done + 1}:" in message
    assert f"lower learning_rate ({rate:g}), for example to {rate / 10:g}" in message
    assert all(torch.isfinite(p).all() for p in model.parameters())
    if done:
        assert weights_equal(training.load(path, images()), model)
    else:
        assert weights_equal(model, fresh(case))
        assert not path.exists()


def test_divergence_in_a_later_epoch_keeps_the_one_before():
    calls = itertools.count(1)
    model = fresh()
    with pytest.raises(TrainingDiverged, match=r"loss is nan in epoch 3:.*end of epoch 2"):
        run(model, 5, loss=lambda e: -e.total * (math.nan if next(calls) == 8 else 1))
    assert weights_equal(model, trained(2))


def test_a_gradient_that_is_not_finite_is_told_too():
    # A finite loss with an infinite slope: only the weights show it.
    def loss(terms):
        return -terms.total + torch.sqrt(terms.total - terms.total.detach())

    model = fresh()
    with pytest.raises(TrainingDiverged, match="in epoch 1"):
        run(model, loss=loss)
    assert weights_equal(model, fresh())


# Files


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_saved_and_loaded(tmp_path, case, prior):
    data, path = images(), tmp_path / "model.safetensors"
    model = fresh(case, prior=PRIORS[prior], hidden=(7, 4))
    training.save(model, path)
    again = training.load(path, data)
    assert weights_equal(again, model)
    assert again.likelihood.options == model.likelihood.options
    x, z = model.likelihood.prepare(data.train_x), model.prior.sample((5, 1))
    with torch.no_grad():
        assert torch.equal(again.posterior(x).rsample().isnan(), torch.zeros(40, 2).bool())
        torch.testing.assert_close(again.decode(z).log_prob(x), model.decode(z).log_prob(x))
        torch.testing.assert_close(again.prior.log_prob(z), model.prior.log_prob(z))
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_of_points_can_be_saved(tmp_path):
    data, path = points(torch.randn(20, 3)), tmp_path / "model.safetensors"
    model = VAE(priors.standard_normal(1), likelihoods.make("gaussian", data), 1, ())
    training.save(model, path)
    assert weights_equal(training.load(path, data), model)


def saved(path: Path) -> bytes:
    training.save(fresh(), path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(saved(path)[:-10]), "damaged or no safetensors"),
        (lambda path: path.write_bytes(saved(path)[:50]), "damaged or no safetensors"),
        (lambda path: path.write_bytes(b""), "damaged or no safetensors"),
        (lambda path: path.write_text("weights\n" * 100), "damaged or no safetensors"),
        (lambda path: path.mkdir(), "damaged or no safetensors"),
        (
            lambda path: safetensors.torch.save_file({"w": torch.ones(3)}, path),
            r"not written by vae_edu\.training\.save",
        ),
        (
            lambda path: safetensors.torch.save_file(
                {"w": torch.ones(3)}, path, {"vae_edu": '{"format": "vae_edu 99"}'}
            ),
            r"not written by vae_edu\.training\.save",
        ),
    ],
    ids=["cut short", "header cut", "empty", "text", "folder", "foreign", "other version"],
)
def test_a_damaged_or_foreign_file(tmp_path, damage, message):
    path = tmp_path / "model.safetensors"
    damage(path)
    with pytest.raises(ValueError, match=message):
        training.load(path, images())


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing"):
        training.load(tmp_path / "nothing", images())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite(tmp_path, value):
    model, path = fresh(), tmp_path / "model.safetensors"
    with torch.no_grad():
        next(model.parameters())[0, 0] = value
    training.save(model, path)
    with pytest.raises(ValueError, match="NaN or infinite: train again"):
        training.load(path, images())


def test_tensors_that_do_not_fit_the_description(tmp_path):
    path = tmp_path / "model.safetensors"
    training.save(fresh(), path)
    with safetensors.safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    name = next(iter(tensors))
    for changed in (
        {k: v for k, v in tensors.items() if k != name},
        tensors | {name: torch.ones(3, 3)},
        tensors | {"model.more": torch.ones(3)},
    ):
        safetensors.torch.save_file(changed, path, about)
        with pytest.raises(ValueError, match="does not fit the model it describes"):
            training.load(path, images())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (images(levels=9), r"levels 5 \(here 9\)"),
        (images(dim=8), r"dim 6 \(here 8\)"),
        (replace(images(), name="other"), r"data 'tiny' \(here 'other'\)"),
        (points(torch.randn(20, 6)), r"data 'tiny' \(here 'rows'\)"),
    ],
)
def test_a_model_of_other_data(tmp_path, data, message):
    path = tmp_path / "model.safetensors"
    training.save(fresh(), path)
    with pytest.raises(ValueError, match=message):
        training.load(path, data)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("write", ["save", "checkpoint"])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, error, write):
    path = tmp_path / "file.safetensors"
    trained(2, checkpoint=path)
    before = path.read_bytes()

    def fail(tensors, filename, metadata):
        Path(filename).write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(type(error)):
        if write == "save":
            training.save(fresh(), path)
        else:
            run(fresh(), 5, checkpoint=path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_every_family_name_it(tmp_path):
    for name in FAMILIES:
        path = tmp_path / name
        training.save(fresh((name, {})), path)
        assert training.load(path, images()).likelihood.name == name


def test_threads_and_validation_are_as_before():
    data = images()
    torch.set_num_threads(2)
    try:
        seen = []
        model = vae(("bernoulli", {}), data)

        def loss(terms):
            seen.append((torch.get_num_threads(), Distribution._validate_args))
            return -terms.total

        list(train(model, data, 1, loss=loss, bar=False))
        assert set(seen) == {(1, False)}
        assert (torch.get_num_threads(), Distribution._validate_args) == (2, __debug__)
        with pytest.raises(ValueError, match="threads is 0"):
            train(model, data, 1, threads=0)
    finally:
        torch.set_num_threads(1)
