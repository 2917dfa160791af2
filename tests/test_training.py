"""The training loop: resumable to the letter, and honest about what it computes in and on."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import interrupted

from thesis_utils import data, graphs, models, runs, training
from thesis_utils.errors import Diverged, InputError
from thesis_utils.models import resnet34

TINY = dict(width=8, epochs=3, seed=5)
CAN_BFLOAT16 = training.precision_on("cpu", "bfloat16") == "bfloat16"
ABLE = pytest.mark.skipif(not CAN_BFLOAT16, reason="this processor does not compute in bfloat16")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Four blocks instead of sixteen, and a quarter of the training images: three steps an epoch."""
    monkeypatch.setattr(models, "BLOCKS", (1, 1, 1, 1))
    monkeypatch.setattr(models.ResNet34, "layers", ("layer1.1", "layer2.1", "layer3.1", "layer4.1"))
    load = data.load

    def fewer(name, split):
        images = load(name, split)
        return images.subset(slice(0, 600, 4)) if split == "train" and name != "noise" else images

    monkeypatch.setattr(data, "load", fewer)


@pytest.mark.parametrize(
    "overrides",
    [
        dict(entropy_factor=0.01),
        dict(optimizer="sgd", learning_rate=0.05, sizes="16-24-32"),
        pytest.param(dict(precision="bfloat16", sizes="16-32"), marks=ABLE),
        dict(optimizer="muon", padding="mean", learning_rate=0.02),
        pytest.param(dict(optimizer="muon", precision="bfloat16"), marks=ABLE),
        dict(fine_tuning="energy", tuning_epochs=3),
    ],
    ids=lambda overrides: "-".join(map(str, overrides.values())),
)
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path, monkeypatch, overrides):
    config = runs.configure("demo", **TINY, **overrides)
    trained = resnet34(5, config.width).state_dict() if config.fine_tuning != "none" else None
    whole = training.train(config, tmp_path / "whole", trained=trained)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted(patch, after=5)  # in the second of three epochs of 3 steps
        training.train(config, tmp_path / "parts", trained=trained)
    assert len(torch.load(tmp_path / "parts" / "training.pt")["history"]) == 1
    resumed = training.train(config, tmp_path / "parts", trained=trained)
    assert whole[2].equals(resumed[2]) and len(whole[2]) == 3
    for (name, one), other in zip(whole[0].state_dict().items(), resumed[0].state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize(
    "instructions, precision",
    [({"avx2"}, "float32"), ({"avx2", "avx512_bf16"}, "bfloat16"), ({"neon", "bf16"}, "bfloat16")],
)
def test_bfloat16_only_where_the_processor_computes_in_it(monkeypatch, instructions, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True) | {"avx512_f": False})
    assert training.precision_on("cpu", "bfloat16") == precision
    assert training.precision_on("cpu", "float32") == "float32"
    assert training.precision_on("cuda", "bfloat16") == "bfloat16"


def test_a_resume_in_another_precision_or_on_other_images_is_refused(tmp_path, monkeypatch):
    config = runs.configure("demo", **TINY | {"epochs": 1})
    training.train(config, tmp_path)
    before = (tmp_path / "training.pt").read_bytes()
    longer = dataclasses.replace(config, epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(training, "precision_on", lambda *_: "bfloat16")
        with pytest.raises(InputError, match="begun in float32 and would go on in bfloat16 here; let it go on on a"):
            training.train(longer, tmp_path)
    images = data.load("digits_0_4", "train")
    others = dataclasses.replace(images, pixels=images.pixels.flip(1))
    with monkeypatch.context() as patch:
        patch.setattr(data, "load", lambda *_: others)
        with pytest.raises(InputError, match="begun on other images of the same name; put those back"):
            training.train(longer, tmp_path)
    assert (tmp_path / "training.pt").read_bytes() == before


def test_other_outliers_are_other_images(tmp_path):
    config = runs.configure("demo", **TINY, fine_tuning="energy", tuning_epochs=1)
    trained = resnet34(5, config.width).state_dict()
    training.train(config, tmp_path, trained=trained)
    others = dataclasses.replace(config, outliers="noise", tuning_epochs=2)
    with pytest.raises(InputError, match="begun on other images of the same name"):
        training.train(others, tmp_path, trained=trained)


def test_nan_stops_the_training_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    config, steps, resized = runs.configure("demo", **TINY), [], training.resized

    def poisoned(images, size):
        steps.append(size)
        return resized(images, size) * (torch.nan if len(steps) == 6 else 1)

    monkeypatch.setattr(training, "resized", poisoned)
    with pytest.raises(
        Diverged, match="not finite at step 3 of epoch 2; the checkpoint of epoch 1 is kept in .*training.pt"
    ):
        training.train(config, tmp_path)
    state = torch.load(tmp_path / "training.pt", weights_only=True)
    assert len(state["history"]) == 1 and all(value.isfinite().all() for value in state["model"].values())


def test_seeds_make_the_training(tmp_path):
    first, second, other = (
        training.train(runs.configure("demo", **{**TINY, "epochs": 1, "seed": seed}), tmp_path / str(k))[2]
        for k, seed in enumerate((5, 5, 6))
    )
    assert first.equals(second) and not first.equals(other)


def test_alternating_flips_mirror_each_image_in_every_other_epoch():
    """(N,) of each epoch: whether an image is mirrored; all else is moved as without."""
    found, plain = {}, {}
    for alternating, mirrored in ((True, found), (False, plain)):
        config = runs.configure("demo", batch_size=50, seed=3, flip=True, alternating_flip=alternating)
        for epoch in (1, 2, 3):
            order, drawn = training.planned(config, 400, 0, torch.Generator().manual_seed(epoch), epoch)
            moved = drawn.permute(1, 0, 2).reshape(3, -1)[:, order.flatten().argsort()]
            mirrored[epoch], mirrored[epoch, "crop"] = moved[2], moved[:2]
    assert 150 < found[1].sum() < 250
    assert found[1].add(found[2]).eq(1).all() and found[3].equal(found[1])
    assert not plain[1].add(plain[2]).eq(1).all()
    assert all(found[epoch, "crop"].equal(plain[epoch, "crop"]) for epoch in (1, 2, 3))


def test_images_grow_in_equal_shares_of_the_steps():
    sizes = [training.size_at((16, 24, 32), step / 9) for step in range(9)]
    assert sizes == [16] * 3 + [24] * 3 + [32] * 3
    torch.testing.assert_close(training.resized(torch.ones(1, 3, 32, 32), 16), torch.ones(1, 3, 16, 16))


@pytest.mark.parametrize("optimizer, kind", [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_weight_decay_can_spare_batchnorm(optimizer, kind):
    model = resnet34(3, 8, "relu")
    for decays in (True, False):
        config = runs.configure("demo", optimizer=optimizer, weight_decay=0.25, decay_norms=decays)
        (found,) = training.optimizers_of(config, model, 0.1)
        assert type(found) is kind and found.defaults["lr"] == 0.1
        decay = {id(p): group["weight_decay"] for group in found.param_groups for p in group["params"]}
        assert len(decay) == len(list(model.parameters()))
        assert decay[id(model.fc.weight)] == decay[id(model.blocks[0].conv1.weight)] == 0.25
        assert decay[id(model.blocks[0].bn1.weight)] == decay[id(model.stem[1].bias)] == (0.25 if decays else 0)


def test_muon_steps_the_convolutions_and_sgd_the_rest():
    model = resnet34(3, 8, "relu")
    config = runs.configure("demo", optimizer="muon", weight_decay=0.25, rest_rate=4)
    kernels, rest = training.optimizers_of(config, model, 0.1)
    stepped = [[p for group in one.param_groups for p in group["params"]] for one in (kernels, rest)]
    assert {p.ndim for p in stepped[0]} == {4} and {p.ndim for p in stepped[1]} == {1, 2}
    assert len({*map(id, stepped[0] + stepped[1])}) == len(list(model.parameters())) == sum(map(len, stepped))
    assert kernels.defaults["lr"] == 0.1 and rest.defaults["lr"] == 0.4
    for one, momentum in ((kernels, 0.95), (rest, 0.9)):
        schedule = training.one_cycle(config, one, 10)
        rates = []
        for _ in range(10):
            rates.append(one.param_groups[0]["lr"])
            one.step()
            schedule.step()
        assert max(rates) == one.defaults["lr"] and one.param_groups[0]["momentum"] == momentum


def test_pooling_and_classifier_compute_in_float32_under_autocast():
    """At C = 512, bfloat16's steps near -log C are 1/32: there the spread of the pooled features would be lost."""
    torch.manual_seed(0)
    model = resnet34(10, 64, "log_softmax").eval()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, layers = model.forward_layers(images)
    assert logits.dtype == layers["layer4.1"].dtype == torch.float32
    assert layers["layer3.1"].dtype == torch.bfloat16
    with torch.no_grad():
        expected = model.fc(layers["layer4.1"].mean((2, 3)) + torch.tensor(512.0).log())
    assert torch.equal(logits, expected)


def test_four_images_are_too_few_to_train_on(tmp_path, monkeypatch):
    monkeypatch.setenv("THESIS_DATA", str(tmp_path))
    labels = np.arange(16) // 4 % 2  # a quarter of them: four
    np.savez(tmp_path / "few", train_images=np.zeros((16, 32, 32, 3), dtype=np.uint8), train_labels=labels)
    with pytest.raises(InputError, match="few has 4 training images; a fifth is held out, so it needs five"):
        training.train(runs.configure("demo", dataset="few", batch_size=2), tmp_path)


def test_one_class_cannot_be_trained_on(tmp_path):
    with pytest.raises(InputError, match="noise has images of one class only"):
        training.train(runs.configure("demo", dataset="noise"), tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_replayed_steps_train_as_steps_do(tmp_path, monkeypatch):
    config = runs.configure("demo", **TINY, optimizer="muon", padding="mean", learning_rate=0.02, sizes="16-32")
    replayed = training.train(config, tmp_path / "replayed")[2]
    monkeypatch.setattr(graphs, "WARM_UP", 1000)
    stepped = training.train(config, tmp_path)[2]
    torch.testing.assert_close(torch.tensor(replayed.values), torch.tensor(stepped.values), rtol=1e-2, atol=1e-2)
