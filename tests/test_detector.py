"""The detector: its definitions by hand, its guarantee by simulation, other packages, files, bad input."""

import copy
import gc
import math
import pickle
import sys
import warnings
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from thesis_utils import Detector, checks, data, detector
from thesis_utils.errors import InputError
from thesis_utils.models import Hooked, fingerprint, resnet34

# --- small networks and their images ------------------------------------------------------------------


def tiny(width=6, classes=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
    ).eval()  # fmt: skip


def images(count, seed=0, size=8):
    """Images of one distribution: noise of a random contrast and brightness."""
    generator = torch.Generator().manual_seed(seed)
    contrast, brightness = (torch.randn(count, 1, 1, 1, generator=generator) for _ in range(2))
    return contrast.exp() * torch.randn(count, 3, size, size, generator=generator) + brightness


def odd(count):
    return 90 * images(count, 7) + 900


def pixels(count, seed=0, size=32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def scaled(x):
    return x.float() / 255 - 0.5


@pytest.fixture(scope="module")
def fitted():
    return Detector(tiny()).fit(images(300, 1), images(101, 2))


@pytest.fixture(scope="module")
def digits():
    """(training images, test images, normalisation, network): BatchNorm has seen the training images."""
    train, test = (data.load("digits_0_4", split) for split in ("train", "test"))
    normalise = data.Normalisation.of(train)
    torch.manual_seed(0)
    network = resnet34(5, 8)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for batch in train.pixels[:200].split(100):
            network(normalise(batch))
    return train, test, normalise, network.eval()


def by_hand(one, **values):
    one = copy.copy(one)
    for name, value in values.items():
        setattr(one, name, torch.as_tensor(value, dtype=torch.float64))
    return one


# --- definitions --------------------------------------------------------------------------------------


def test_conformal_p_values_by_hand_ties_count():
    calibration, new = torch.tensor([1.0, 2.0, 2.0, 5.0]), torch.tensor([0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 6.0])
    assert detector.shares(calibration, new).tolist() == [1 / 5, 2 / 5, 2 / 5, 4 / 5, 4 / 5, 1.0, 1.0]


def test_log_p_by_hand():
    values = torch.arange(20.0)[:, None]
    one = by_hand(Detector(tiny()), reference=values * torch.tensor([1.0, 2.0, 1.0, 1.0]) + torch.tensor([0, 0, 10, 0]))
    # the tail starts at the third of 20, 2; below it are 0 and 1, on average 1.5 away
    s = torch.tensor([19.0, 18.5, 10.0, 2.0, 1.7, 0.5, -4.0], dtype=torch.float64)
    ranks = [math.log(k / 21) for k in (21, 20, 12, 4)]
    tail = [math.log(3 / 21) - distance / 1.5 for distance in (0.3, 1.5, 6.0)]
    expected = torch.tensor(ranks + tail, dtype=torch.float64)
    found = one.log_p(torch.stack([s, 2 * s, s + 10, torch.full_like(s, 2.0)], 1))
    for column in range(3):
        torch.testing.assert_close(found[:, column], expected)
    torch.testing.assert_close(found[:, 3], torch.full_like(s, math.log(4 / 21)))


@settings(deadline=None)
@given(
    st.lists(st.integers(-1000, 1000), min_size=10, max_size=60, unique=True),
    st.lists(st.floats(-2000, 2000), min_size=2, max_size=20),
)
def test_log_p_is_monotone_never_positive_and_has_no_gap_at_its_edge(reference, confidences):
    one = by_hand(Detector(tiny()), reference=torch.tensor(sorted(reference))[:, None].repeat(1, 4))
    s = torch.tensor(sorted(confidences), dtype=torch.float64)
    found = one.log_p(s[:, None].repeat(1, 4))
    assert found.isfinite().all() and (found <= 0).all() and (found.diff(dim=0) >= 0).all()
    count, edge = len(reference) // 10, sorted(reference)[len(reference) // 10]
    around = one.log_p(torch.tensor([edge - 1e-7, edge], dtype=torch.float64)[:, None].repeat(1, 4))[:, 0]
    assert float(around[1] - around[0]) == pytest.approx(math.log((count + 2) / (count + 1)), abs=1e-5)


def test_early_and_features_are_two_sided_and_parts_are_their_sum_and_their_least(fitted):
    assert fitted.sizes == (2, 3, 1, 1, 1)
    median, deviation = torch.arange(8.0).double(), torch.tensor([1.0, 2, 4, 1, 2, 16, 4, 8]).double()
    one = by_hand(fitted, median=median, deviation=deviation)
    steps = torch.tensor([[3.0, -2, 5, -1, 0.5, 4, 7, -6], [-3, 2, -5, 1, -0.5, -4, -7, 6]]).double()
    readings = median + steps * deviation
    assert one.standardised(readings).tolist() == [[-3, -2, -5, -1, -0.5, 4, 7, -6], [-3, -2, -5, -1, -0.5, -4, -7, 6]]
    assert one.confidences(readings).tolist() == [[-5, -5, 4, 7, -6], [-5, -5, -4, -7, 6]]


def test_calibration_by_hand_a_random_half_is_the_reference(fitted):
    readings = torch.randn(41, 8, generator=torch.Generator().manual_seed(0)).double()
    one = copy.copy(fitted).calibrate(readings)
    order = torch.randperm(41, generator=torch.Generator().manual_seed(0))
    reference = readings[order[:21]].numpy()
    median = np.sort(reference, 0)[10]
    assert one.median.tolist() == median.tolist()
    assert one.deviation.tolist() == np.sort(np.abs(reference - median), 0)[10].tolist()
    assert len(one.reference) == 21 and len(one.calibration) == 20
    assert one.reference.tolist() == one.confidences(readings[order[:21]]).sort(0).values.tolist()
    assert sorted(one.log_p(one.confidences(readings[order[21:]])).sum(1).tolist()) == one.calibration.tolist()


def test_a_reading_that_never_changes_does_no_harm(fitted):
    readings = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)).double()
    readings[:, 3] = 5.0
    one = copy.copy(fitted).calibrate(readings)
    assert one.deviation[3] == 1 and one.calibration.isfinite().all()


@pytest.mark.parametrize("batches", [(1000,), (1,) * 1000, (17, 400, 3, 580), (90, 10, 900)])
def test_a_sample_keeps_the_largest_keys_and_gives_back_all_others_whatever_the_batches(batches):
    keys = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sample, rows, left = detector.Sample(100), torch.arange(1000), []
    for batch in rows.split(batches):
        left += sample.add({"key": keys[batch], "row": batch})["row"].tolist()
        assert sample.count == sum(len(table["row"]) for table in sample.tables) <= 200
    left += sample.cut(90)["row"].tolist()
    (kept,) = sample.tables
    order = keys.argsort(descending=True).tolist()
    assert kept["row"].tolist() == order[:90] and torch.equal(kept["key"], keys[kept["row"]])
    assert sorted(left) == sorted(order[90:])


@pytest.mark.parametrize("depth, count", [(1, 1), (2, 1), (7, 1), (8, 2), (12, 2), (13, 3), (16, 3), (18, 4)])
def test_a_fifth_of_the_layers_is_early(depth, count):
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(depth)))
    assert Detector(network).early == tuple(map(str, range(count)))


def test_every_reading_is_what_its_name_says():
    network, fit, new = tiny(), images(300, 1).double(), images(40, 3).double()
    network = network.double()
    one = Detector(network, layers=["0", "3", "5"]).fit(fit, images(101, 2).double())
    table = pd.DataFrame(one.readings(one.features(new)).numpy(), columns=one.names)
    assert list(table) == [
        "0 max of MSP", "0 min of MiSP", "0 Mahalanobis", "3 Mahalanobis", "5 Mahalanobis", "relative Mahalanobis",
        "neighbours", "energy",
    ]  # fmt: skip
    assert len(table.columns) == sum(one.sizes)
    with torch.inference_mode():
        maps = F.log_softmax(network[0](new), 1)
        assert table["0 max of MSP"].to_numpy() == pytest.approx(maps.flatten(1).amax(1).numpy(), abs=1e-6)
        assert table["0 min of MiSP"].to_numpy() == pytest.approx(maps.flatten(1).amin(1).numpy(), abs=1e-5)
        assert table["energy"].to_numpy() == pytest.approx(np.log(np.exp(network(new).numpy()).sum(1)))
        for name in ("0", "3", "5"):
            known, x = (network[: int(name) + 1](z).mean((2, 3)).numpy() for z in (fit, new))
            inverse = np.linalg.inv(np.cov(known, rowvar=False, bias=True))
            distances = [d @ inverse @ d for d in x - known.mean(0)]
            assert table[f"{name} Mahalanobis"].to_numpy() == pytest.approx(-np.array(distances), rel=1e-6)
        labels = network(fit).argmax(1).numpy()
    means = {k: known[labels == k].mean(0) for k in set(labels)}
    assert len(means) > 1
    within = np.linalg.inv(np.cov(known - np.stack([means[k] for k in labels]), rowvar=False, bias=True))
    nearest = np.min([[(z - mean) @ within @ (z - mean) for z in x] for mean in means.values()], 0)
    assert table["relative Mahalanobis"].to_numpy() == pytest.approx(np.array(distances) - nearest, rel=1e-5)
    centre = known.mean(0)
    known, x = ((z - centre) / np.linalg.norm(z - centre, axis=1)[:, None] for z in (known, x))
    tenth = np.sort(x @ known.astype(np.float16).T, 1)[:, -10]  # the neighbours are kept in half precision
    assert table["neighbours"].to_numpy() == pytest.approx(tenth, abs=1e-6)


def test_classes_are_told_at_the_layer_that_is_named_last():
    one = Detector(tiny(), layers=["5", "0", "3"]).fit(images(300, 1), images(101, 2))
    features = one.features(images(40, 3))
    relative = one.classes.score(features["mean/3"]) - one.gaussians["3"].score(features["mean/3"])
    assert one.readings(features)[:, one.names.index("relative Mahalanobis")].tolist() == relative.tolist()


@pytest.mark.parametrize("bias, count, enough", [(0, 300, True), (0, 16, False), (1e6, 300, False)])
def test_without_images_enough_or_classes_the_part_of_classes_says_nothing(bias, count, enough):
    network = tiny()
    network[-1].bias.data[0] += bias  # so large that there is one class only
    one = Detector(network).fit(images(count, 1), images(101, 2))
    table = one.explain(images(60, 3))
    if enough:
        assert table.classes.nunique() > 20
    else:
        others = table[["early", "features", "neighbours", "logits"]].prod(axis=1)
        assert table.classes.eq(1).all() and one.score(images(60, 3)) == pytest.approx(np.log(others).to_numpy())


def test_a_bank_of_fewer_images_than_neighbours_takes_the_farthest():
    one = Detector(tiny()).fit(images(4, 1), images(40, 2))
    features = one.features(images(5, 3))
    neighbours = one.readings(features)[:, -2]
    cosines = one.directions(features["mean/5"]) @ one.bank.float().T
    assert cosines.shape == (5, 4) and neighbours.tolist() == pytest.approx(cosines.amin(1).tolist())


# --- the guarantee ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool(fitted):
    """Readings of many images that nothing was fitted on."""
    return torch.cat([fitted.readings(fitted.features(batch)) for batch in images(3000, 5).split(250)])


@pytest.mark.parametrize("count", [38, 41, 100, 398])
def test_false_alarms_are_as_frequent_as_promised(fitted, pool, count):
    """On average over 300 random calibrations, each tried on 100 other images."""
    alphas, rates, generator, one = (0.05, 0.1, 0.2, 0.5), [], torch.Generator().manual_seed(0), copy.copy(fitted)
    one.probed = lambda: one.probe  # the network's, whatever the calibration
    for _ in range(300):
        order = torch.randperm(len(pool), generator=generator)
        calibration, new = pool[order[:count]], pool[order[count : count + 100]]
        one.calibrate(calibration)
        p = detector.shares(one.calibration, one.log_p(one.confidences(new)).sum(1))
        rates.append([(p <= alpha + 1e-12).double().mean() for alpha in alphas])
    rest = count // 2
    for alpha, rate in zip(alphas, np.transpose(rates)):
        exact = math.floor(alpha * (rest + 1) + 1e-9) / (rest + 1)
        error = rate.std() / 300**0.5
        assert exact <= alpha and abs(rate.mean() - exact) < 4 * error, alpha


# --- other packages -----------------------------------------------------------------------------------


def test_p_values_are_those_of_nonconform(fitted):
    nonconform = pytest.importorskip("nonconform")
    for digits in (15, 1, 0):  # of the statistics: with few there are ties
        generator = np.random.default_rng(digits)
        known, new = (generator.normal(size=n).round(digits) for n in (57, 400))
        theirs = nonconform.Empirical().compute_p_values(-new, -known)  # its scores are anomalies
        ours = detector.shares(torch.from_numpy(np.sort(known)), torch.from_numpy(new))
        assert ours.numpy() == pytest.approx(theirs, abs=1e-12)
    x = torch.cat([images(200, 3), odd(5)])
    theirs = nonconform.Empirical().compute_p_values(-fitted.score(x), -fitted.calibration.numpy())
    assert fitted.p_values(x) == pytest.approx(theirs, abs=1e-12)


# --- outliers -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed():
    return torch.cat([images(60, 3), odd(20), images(60, 4)])


@pytest.mark.parametrize("alpha", [None, 0.02, 0.05, 0.1, 0.5, 0.98])  # None: a twentieth
def test_outliers_are_images_whose_p_value_is_at_most_alpha(fitted, mixed, alpha):
    ranks = [round(p * 51) for p in fitted.p_values(mixed)]
    found = fitted.outliers(mixed, alpha=alpha)
    assert len(fitted.calibration) == 50 and found.dtype == bool
    assert found.tolist() == [Fraction(rank, 51) <= Fraction(str(alpha or 0.05)) for rank in ranks]
    assert found[60:80].all()


@pytest.mark.parametrize("fdr", [0.05, 0.1, 0.2, 0.5])
def test_false_discoveries_are_bounded_as_by_benjamini_and_hochberg(fitted, mixed, fdr):
    ranks = [round(p * 51) for p in fitted.p_values(mixed)]
    found, most = fitted.outliers(mixed, fdr=fdr), 0
    for k, rank in enumerate(sorted(ranks), 1):
        if Fraction(rank, 51) <= Fraction(k, len(ranks)) * Fraction(str(fdr)):
            most = rank
    assert found.tolist() == [rank <= most for rank in ranks]
    assert found[60:80].all() == (fdr >= 0.2)  # 20 of 140 p-values of 1 / 51 are found from 0.137 on


def test_a_bound_on_false_discoveries_that_nothing_can_meet_is_refused(fitted):
    with pytest.raises(InputError, match="an fdr of 0.019 needs 104 calibration images.* allow 0.0196 and above"):
        fitted.outliers(images(30, 3), fdr=0.019)
    assert fitted.outliers(odd(30), fdr=1 / 51).all()


@pytest.fixture(scope="module")
def least():
    """Calibrated on as few images as possible."""
    return Detector(tiny()).fit(images(60, 1), images(20, 2))


@settings(deadline=None, max_examples=40)
@given(st.floats(0.004, 0.09))
def test_an_alpha_that_is_too_small_names_the_images_it_needs(least, pool, alpha):
    one, new = copy.copy(least), images(3, 3)
    with pytest.raises(InputError, match=r"here has 10; they allow 0.0909 and above") as caught:
        one.outliers(new, alpha)
    needed = int(str(caught.value).split(" needs ")[1].split(" calibration images")[0])
    assert one.calibrate(pool[:needed]).outliers(new, alpha).shape == (3,)
    if needed - 2 >= detector.FEWEST:
        with pytest.raises(InputError, match=f"needs {needed} calibration images"):
            one.calibrate(pool[: needed - 2]).outliers(new, alpha)


@pytest.mark.parametrize("alpha, needed", [(0.05, 38), (0.04, 48), (0.01, 198), (0.03, 66), (0.001, 1998)])
def test_the_number_of_calibration_images_by_hand(least, alpha, needed):
    with pytest.raises(InputError, match=f"an alpha of {alpha} needs {needed} calibration images, half of them"):
        least.outliers(images(3), alpha)


@pytest.mark.parametrize(
    "levels, message",
    [
        ({"alpha": 0.1, "fdr": 0.1}, "give alpha or fdr, not both"),
        *(({name: v}, f"{name} must lie between 0 and 1, not {v}") for name in ("alpha", "fdr") for v in (0, 1, -1, 5)),
        ({"alpha": math.nan}, "alpha must lie between 0 and 1, not nan"),
    ],
)
def test_a_level_that_is_none_is_refused(fitted, levels, message):
    with pytest.raises(InputError, match=message):
        fitted.outliers(images(3), **levels)


# --- images and fitting -------------------------------------------------------------------------------


def test_images_are_taken_in_every_form_and_give_the_same_scores():
    fit, calibration, new = (pixels(n, seed, 8) for n, seed in ((300, 1), (60, 2), (260, 3)))
    forms = {
        "tensor": lambda x: x,
        "array": lambda x: x.numpy(),
        "view with negative strides": lambda x: x.numpy()[..., ::-1].copy()[..., ::-1],
        "images": lambda x: data.Images("x", x, torch.zeros(len(x)).long(), ("a",)),
        "dataset": lambda x: TensorDataset(x, torch.arange(len(x))),
        "loader": lambda x: DataLoader(TensorDataset(x, torch.arange(len(x))), 250),
        "batches": lambda x: list(x.split(250)),
        "dicts": lambda x: [{"label": torch.zeros(len(batch)), "image": batch} for batch in x.split(250)],
        "generator": lambda x: (batch.numpy() for batch in x.split(250)),
    }
    scores = {
        name: Detector(tiny(), scaled, key="image").fit(form(fit), form(calibration)).score(form(new))
        for name, form in forms.items()
    }
    assert len(np.unique(scores["tensor"])) > 50 and scores["tensor"].shape == (260,)
    for name, found in scores.items():
        assert np.array_equal(found, scores["tensor"]), name
    with pytest.raises(InputError, match=r"dict with label, image; name the one with the images: Detector\(model, key"):
        Detector(tiny(), scaled).fit(forms["dicts"](fit))


def test_photographs_are_taken_as_pillow_opens_them():
    fit, calibration, new = (pixels(n, seed, 8) for n, seed in ((300, 1), (60, 2), (20, 3)))
    expected = Detector(tiny(), scaled).fit(fit, calibration).score(new)
    as_pil = [[Image.fromarray(image.permute(1, 2, 0).numpy()) for image in x] for x in (fit, calibration, new)]
    one = Detector(tiny(), lambda x: scaled(x.permute(0, 3, 1, 2))).fit(as_pil[0], as_pil[1])
    assert one.score(as_pil[2]) == pytest.approx(expected, rel=1e-4) == one.score([as_pil[2]])
    with pytest.raises(InputError, match="must have one size"):
        one.score([as_pil[2][0], as_pil[2][1].resize((9, 9))])


@pytest.mark.parametrize("size", [1, 7, 250])
def test_without_calibration_a_fifth_of_the_images_is_set_aside_whatever_the_batches(size):
    x, new = images(604, 1), images(50, 3)
    one, two = Detector(tiny()).fit(x), Detector(tiny()).fit(x.split(size))
    for each in (one, two):
        assert len(each.reference) == len(each.calibration) == 60 and len(each.bank) == each.images == 484
    assert one.score(new) == pytest.approx(two.score(new), abs=1e-3)
    aside = detector.Sample(2000)
    fitted_on = torch.cat([features["hash"] for features in Detector(tiny()).parted(x.split(size), aside)])
    both = torch.cat([fitted_on, aside.tables[0]["hash"]])
    assert len(fitted_on) == 484 and torch.equal(both.sort().values, checks.hashes(x).sort().values)


@pytest.mark.parametrize("period", [1, 2, 5, 10])
def test_the_order_of_the_images_voids_no_promise(period):
    """Of every `period` images one is of another kind; at a period of 1 all of that kind come first."""
    share = 1 / period if period > 1 else 0.3

    def mixture(count, seed):
        x, place = images(count, seed), torch.arange(count)
        other = place % period == 0 if period > 1 else place < share * count
        x[other] = 0.1 * x[other] + 8
        return x

    new = mixture(2000, 3)
    for one in (Detector(tiny()).fit(mixture(4000, 1)), Detector(tiny()).fit(images(300, 4), mixture(4000, 2))):
        k, n = int(0.1 * (len(one.calibration) + 1)), len(one.calibration)
        deviation = (k * (n + 1 - k) / (n + 1) ** 2 / (n + 2) + 0.1 * 0.9 / len(new)) ** 0.5
        assert abs(one.outliers(new, 0.1).mean() - k / (n + 1)) < 4 * deviation


@pytest.mark.parametrize("calibration, held_out", [(None, 35), (images(40, 2), 20)], ids=["set aside", "given"])
def test_samples_have_a_limit_and_then_memory_grows_by_eight_bytes_an_image(monkeypatch, calibration, held_out):
    monkeypatch.setattr(detector, "SET_ASIDE", 70)
    monkeypatch.setattr(detector, "BANK", 90)
    held = []

    def batches():
        for seed in range(36):
            yield images(50, seed)
            alive = (x for x in gc.get_objects() if type(x) is torch.Tensor)
            held.append(sum({x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in alive}.values()))

    network = tiny()
    gc.freeze()  # what is there already is not looked through
    one = Detector(network).fit(batches(), calibration)
    gc.unfreeze()
    samples = np.subtract(held, 8 * 50 * np.arange(36))
    assert samples[20:].max() <= samples[:20].max() < 1.5 * samples[20:].mean()
    assert len(one.reference) == len(one.calibration) == held_out and one.bank.shape == (90, 8)


def test_fitting_anew_is_as_fitting_at_first():
    one = Detector(tiny()).fit(odd(100), odd(40))
    assert np.array_equal(
        one.fit(images(300, 1), images(101, 2)).score(images(50, 3)),
        Detector(tiny()).fit(images(300, 1), images(101, 2)).score(images(50, 3)),
    )


def test_a_detector_whose_fit_failed_is_not_fitted():
    one = Detector(tiny()).fit(images(100, 1), images(40, 2))
    with pytest.raises(InputError, match="too few"):
        one.fit(odd(100), odd(5))
    with pytest.raises(InputError, match="not fitted yet"):
        one.p_values(images(5, 3))


def test_the_network_is_left_as_it_was():
    network = tiny()
    before = fingerprint(network)
    Detector(network).fit(images(100, 1)).p_values(odd(5))
    assert fingerprint(network) == before and all(p.requires_grad and p.grad is None for p in network.parameters())
    assert not [hook for module in network.modules() for hook in module._forward_hooks]


def test_layers_may_be_called_like_parts():
    modules = dict(early=nn.Conv2d(3, 4, 3), logits=nn.Conv2d(4, 5, 1), mean=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten())
    one = Detector(nn.Sequential(OrderedDict(modules)).eval()).fit(images(100, 1), images(40, 2))
    assert one.names[2:4] == ["early Mahalanobis", "logits Mahalanobis"]
    assert one.readings(one.features(images(3))).shape == (3, sum(one.sizes))


SMALL = {  # torchvision's classes at their smallest
    "resnet": lambda: torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=10),
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(num_classes=10),
    "densenet": lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=10),
}


@pytest.mark.parametrize("name", SMALL)
def test_any_network_of_torchvision(name):
    torch.manual_seed(0)
    network = SMALL[name]().eval()
    coarse = [F.interpolate(pixels(n, seed, 8), 64) for n, seed in ((30, 1), (40, 2), (30, 3))]
    one = Detector(network, scaled).fit(*coarse[:2])
    assert isinstance(one.model, Hooked) and len(one.names) == sum(one.sizes)
    p = one.p_values(coarse[2])
    assert p == pytest.approx((p * 21).round() / 21) and len(np.unique(p)) > 5
    flagged = one.outliers(pixels(10, 4, 64), alpha=0.05)
    assert flagged.all() and one.outliers(coarse[2], alpha=0.05).mean() < 0.3
    again = Detector(Hooked(network), scaled).fit(*coarse[:2])
    assert np.array_equal(again.score(coarse[2]), one.score(coarse[2]))


def test_explain_agrees_with_p_values_and_names_the_reading(fitted, mixed):
    table = fitted.explain(mixed)
    assert list(table) == [*detector.PARTS, "p_value", "given_away_by"]
    assert table.p_value.tolist() == fitted.p_values(mixed).tolist()
    parts = table[list(detector.PARTS)]
    assert parts.prod(axis=1).to_numpy() == pytest.approx(np.exp(fitted.score(mixed)), rel=1e-9, abs=1e-300)
    belongs = dict(zip(fitted.names, np.repeat(detector.PARTS, fitted.sizes)))
    smallest = parts[:60].idxmin(axis=1)
    assert table.given_away_by[:60].map(belongs).tolist() == smallest.tolist() and smallest.nunique() == 5
    z = pd.DataFrame(fitted.parts(mixed)[0].numpy(), columns=fitted.names)
    for row, name in table.given_away_by.items():
        rivals = [other for other in fitted.names if belongs[other] == belongs[name]]
        assert z.loc[row, name] == z.loc[row, rivals].min()


# --- any network, any use -----------------------------------------------------------------------------


def test_directions_of_rounding_noise_are_left_out():
    """The network's 32 features lie in far fewer directions; the others are rounding, other for every batch size."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 32, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3),
    ).eval()  # fmt: skip
    fit, calibration, new = (
        F.interpolate(torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(n)), size=16, mode="bilinear")
        for n in (1000, 600, 500)
    )
    one = Detector(network).fit(fit, calibration)
    assert one.gaussians["0"].whitening.shape[1] < 20  # of 32
    first, threads = one.p_values(new), torch.get_num_threads()
    others = [one.p_values(new.split(size)) for size in (1, 7, 500)]
    with torch.backends.mkldnn.flags(enabled=False):
        others.append(one.p_values(new))
    torch.set_num_threads(1)
    others.append(one.p_values(new))
    torch.set_num_threads(threads)
    for other in others:
        ranks = np.abs(first - other) * (len(one.calibration) + 1)
        assert ranks.max() < 2.5 and ranks.mean() < 0.05
    assert 0.02 < (first <= 0.05).mean() < 0.09


class Careless(nn.Sequential):
    def forward(self, x):
        return super().forward(x.mul_(2))


@pytest.mark.parametrize(
    "network, transform", [(tiny(), lambda x: x.sub_(0.1).mul_(2)), (Careless(*tiny()).eval(), None)]
)
def test_what_the_caller_gave_is_never_changed(network, transform):
    given = images(300, 1), images(101, 2), images(20, 3)
    kept = [x.clone() for x in given]
    one = Detector(network, transform).fit(*given[:2])
    assert np.array_equal(one.p_values(given[2]), one.p_values(given[2].numpy()))
    assert all(torch.equal(x, was) for x, was in zip(given, kept))


class Fickle(nn.Sequential):
    """Drops channels in evaluation mode too."""

    def forward(self, x):
        return super().forward(F.dropout(x, 0.01, training=True))


def of_the_batch():
    network = tiny()
    network[1] = nn.BatchNorm2d(6, track_running_stats=False).eval()
    return network


@pytest.mark.parametrize(
    "network, transform, message",
    [
        (Fickle(*tiny()).eval(), None, "same image twice gives other readings"),
        (tiny(), lambda x: x.flip(-1) if torch.rand(()) < 0.5 else x, "same image twice gives other readings"),
        (tiny(), lambda x: x * np.random.choice([0.5, 1]), "same image twice gives other readings"),
        (of_the_batch(), None, "depend on the other images of its batch"),
        (tiny(), lambda x: x - x.mean(0), "depend on the other images of its batch"),
    ],
)
def test_an_answer_left_to_chance_or_to_other_images_is_refused(network, transform, message):
    with pytest.raises(InputError, match=message):
        Detector(network, transform).fit(images(300, 1), images(101, 2))


def test_random_numbers_that_change_nothing_are_no_harm():
    Detector(tiny(), lambda x: x + 0 * torch.rand(())).fit(images(100, 1), images(40, 2))


def test_wrappers_are_seen_through(fitted, file):
    compiled = torch.compile(tiny(), backend="eager")
    for wrapped in (nn.DataParallel(tiny()).eval(), compiled, torch.compile(nn.DataParallel(tiny()).eval())):
        for one in (Detector.load(file, wrapped), Detector(wrapped).fit(images(300, 1), images(101, 2))):
            assert one.names == fitted.names and np.array_equal(one.score(images(20, 3)), fitted.score(images(20, 3)))


def test_a_default_dtype_of_float64_changes_nothing(fitted, file):
    network, given = tiny(), (images(300, 1), images(101, 2))
    new, expected = images(20, 3), fitted.score(images(20, 3))
    torch.set_default_dtype(torch.float64)
    try:
        for one in (Detector.load(file, network), Detector(network).fit(*given), fitted):
            assert np.array_equal(one.score(new), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("change", [
    lambda network: network[3].weight.data.mul_(1.01), lambda network: network[1].running_mean.add_(0.1),
    lambda network: network.load_state_dict({k: 2 * v for k, v in network.state_dict().items()}),
    lambda network: network[9].bias.data.__setitem__(2, 7.0),
    lambda network: network[0].weight.data.copy_(network[0].weight.flip(1)),  # the same numbers in other places
    lambda network: network[9].weight.data.copy_(network[9].weight.roll(1, 0)),
    lambda network: network[9].bias.data.copy_(network[9].bias.flip(0)),
])  # fmt: skip
def test_weights_that_changed_since_the_fit_are_noticed(tmp_path, change):
    network = tiny()
    one = Detector(network).fit(images(100, 1), images(40, 2))
    one.p_values(images(3))
    with torch.no_grad():
        change(network)
    for use in (one.p_values, one.outliers, one.explain, one.score):
        with pytest.raises(InputError, match="weights have changed since the detector was fitted; fit it anew"):
            use(images(3))
    with pytest.raises(InputError, match="weights have changed"):
        one.save(tmp_path / "detector")
    assert len(one.fit(images(100, 1), images(40, 2)).p_values(images(3))) == 3


def test_threads_share_a_detector(fitted):
    new = [images(60, seed) for seed in range(8)]
    expected = [fitted.p_values(x) for x in new]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            assert all(map(np.array_equal, threads.map(fitted.p_values, new), expected))


def test_a_detector_can_be_pickled_and_copied(fitted):
    for one in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert np.array_equal(one.score(images(20, 3)), fitted.score(images(20, 3)))


def test_calibration_images_that_repeat_or_were_fitted_on_are_counted():
    fit, calibration = images(100, 1), images(40, 2)
    with pytest.warns(UserWarning, match="of 45 calibration images 5 repeat others and 0 are among those fitted on"):
        Detector(tiny()).fit(fit, torch.cat([calibration, calibration[:5]]))
    with pytest.warns(UserWarning, match="of 40 calibration images 0 repeat others and 7 are among those fitted on"):
        Detector(tiny()).fit(fit.split(9), torch.cat([calibration[:33], fit[50:57]]))
    with pytest.warns(UserWarning, match="of 40 calibration images 2 repeat others and 36 are among those fitted on"):
        Detector(tiny()).fit(images(100, 1).repeat_interleave(2, 0))  # twins are parted, but for two
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Detector(tiny()).fit(fit, calibration)


class Full(nn.Sequential):
    """Runs out of memory with more than 30 images."""

    def forward(self, x):
        if len(x) > 30:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more lines")
        return super().forward(x)


def test_out_of_memory_says_so_and_a_smaller_batch_size_helps(fitted):
    network = Full(*tiny()).eval()
    with pytest.raises(
        InputError, match="out of memory with 250 images at a time; give the Detector a smaller batch_s"
    ):
        Detector(network).fit(images(300, 1))
    one = Detector(network, batch_size=30).fit(images(300, 1), images(101, 2))
    assert one.score(images(50, 3)) == pytest.approx(fitted.score(images(50, 3)), abs=0.1)


def test_half_precision_that_overflows_says_so():
    network = tiny()
    network[3].weight.data *= 1e6
    with pytest.raises(
        InputError, match=r"image 0 makes .* 60 of the 60 .*; half precision overflows.*model.float\(\)"
    ):
        Detector(network.half()).fit(images(60).half())


def test_a_quantised_network_is_told_from_another(tmp_path):
    network = tiny()
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}).eval()
    Detector(quantised).fit(images(100, 1), images(40, 2)).save(tmp_path / "detector")
    Detector.load(tmp_path / "detector", quantised)
    with pytest.raises(InputError, match="another network"):
        network[9].weight.data += 1
        Detector.load(tmp_path / "detector", torch.ao.quantization.quantize_dynamic(network, {nn.Linear}).eval())


def test_a_report_says_what_a_detector_is_and_promises(fitted):
    facts = fitted.report().value
    assert facts["network"] == "Sequential" and facts["size of an image"] == "3 x 8 x 8, float32"
    assert facts["images fitted on"] == 300 and facts["calibration images, for the parts"] == 51
    assert facts["calibration images, for their combination"] == 50 and facts["least alpha"] == 1 / 51
    assert "false alarms at alpha = 0.01, expected" not in facts  # out of reach
    assert facts["false alarms at alpha = 0.05, expected"] == 2 / 51
    # the share of new images below the second of 50 others, by simulation
    draws = np.sort(np.random.default_rng(0).random((20_000, 50)), 1)[:, 1]
    bounds = [facts[f"false alarms at alpha = 0.05, {end}"] for end in ("low", "high")]
    assert bounds == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.005)


# --- bad input ----------------------------------------------------------------------------------------


def spoilt(x, place):
    x = x.clone()
    x[place, 0, 0, 0] = math.nan
    return x


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda one: Detector(tiny()).p_values(images(3)), "not fitted yet; call fit"),
        (lambda one: Detector(tiny()).outliers(images(3)), "not fitted yet; call fit"),
        (lambda one: Detector(tiny()).save("nowhere"), "not fitted yet; call fit"),
        (lambda one: Detector(tiny()).export("nowhere"), "not fitted yet; call fit"),
        (lambda one: one.p_values([]), "no image to read; give at least one"),
        (lambda one: one.p_values(images(0)), "no image to read; give at least one"),
        (lambda one: Detector(tiny()).fit(images(0)), "no image to read; give at least one"),
        (lambda one: Detector(tiny()).fit(images(60), images(0)), "no image to read; give at least one"),
        (lambda one: one.p_values(images(1)[0]), r"batches of four axes, such as \(N, C, H, W\), not \(3, 8, 8\)"),
        (lambda one: one.p_values(images(3, size=9)), r"fitted on images float32 \(3, 8, 8\), not float32 \(3, 9, 9\)"),
        (lambda one: one.p_values(images(3).double()), r"images float32 \(3, 8, 8\), not float64 \(3, 8, 8\)"),
        (lambda one: one.p_values(pixels(3, size=8)), r"images float32 \(3, 8, 8\), not uint8 \(3, 8, 8\)"),
        (lambda one: Detector(tiny()).fit(images(60), images(40, size=9)), r"fitted on images .* \(3, 9, 9\)"),
        (lambda one: one.p_values(spoilt(images(400), 300)), "image 300 has a pixel that is no finite number"),
        (lambda one: one.p_values(images(4) / torch.tensor([1, 1, 0, 1.0])[:, None, None, None]), "image 2 has a pix"),
        (lambda one: Detector(tiny()).fit(images(60), spoilt(images(40), 7)), "image 7 has a pixel"),
        (lambda one: one.p_values(images(3) * 1e37), "image . makes the network's outputs .* leave it out"),
        (lambda one: Detector(tiny()).fit(images(60)[:, :2]), r"does not take images of shape \(2, 8, 8\): Given gr"),
        (lambda one: Detector(tiny(), None).fit("photographs"), r"cannot be read .*; give a tensor or array"),
        (lambda one: one.p_values(None), "cannot be read .*; give a tensor or array"),
        (lambda one: one.p_values(np.array([{}, None])), "cannot be read .*; give a tensor or array"),
        (lambda one: one.p_values(Image.new("RGB", (8, 8))), "cannot be read .*; give a tensor or array"),
        (lambda one: Detector(tiny(), torchvision.transforms.Normalize(0, 1)).fit(pixels(60)),
         r"does not take images of shape \(3, 32, 32\): Input tensor should be a float"),
        (lambda one: Detector(tiny()).fit(images(60), images(19)), r"19 calibration image\(s\) are too few.* 20"),
        (lambda one: Detector(tiny()).fit(images(100)) and Detector(tiny()).fit(images(99)), r"19 calibration image"),
        (lambda one: Detector(tiny()).fit(images(1)), r"calibration image\(s\) are too few"),
        (lambda one: Detector(torch.jit.trace(tiny(), images(1))), "cannot be read inside; give the Python module"),
        (lambda one: one.save("nowhere/detector"), "there is no folder nowhere; make it first"),
    ],
)  # fmt: skip
def test_bad_input_is_named(fitted, call, message):
    with pytest.raises(InputError, match=message) as caught:
        call(copy.copy(fitted))
    assert "\n" not in str(caught.value)


def test_a_bad_image_leaves_the_detector_as_it_was(fitted):
    before = fitted.score(images(20, 3))
    for bad in (images(3, size=9), spoilt(images(3), 1), images(1)[0], images(0)):
        with pytest.raises(InputError):
            fitted.score(bad)
    assert np.array_equal(fitted.score(images(20, 3)), before)


def test_a_network_in_training_mode_is_refused_and_left_as_it_was_until_eval(file):
    network = tiny().train()
    one, before = Detector(network), fingerprint(network)
    for use in (lambda: one.fit(images(300, 1), images(101, 2)), lambda: Detector.load(file, network)):
        with pytest.raises(InputError, match="training mode.*call model.eval"):
            use()
    assert fingerprint(network) == before
    network.eval()
    one.fit(images(300, 1), images(101, 2))
    network[1].train()  # one layer is enough
    with pytest.raises(InputError, match="training mode"):
        one.p_values(images(3))


# --- files --------------------------------------------------------------------------------------------


@pytest.fixture
def file(fitted, tmp_path):
    fitted.save(tmp_path / "detector")
    return tmp_path / "detector"


def test_a_detector_comes_back_from_its_file(fitted, file, mixed):
    for other in (Detector.load(file, tiny()), Detector.load(str(file), Hooked(tiny()))):
        assert np.array_equal(other.score(mixed), fitted.score(mixed))
        assert other.explain(mixed).equals(fitted.explain(mixed)) and other.names == fitted.names
        with pytest.raises(InputError, match="fitted on images"):
            other.score(images(3, size=9))
    assert [path.name for path in file.parent.iterdir()] == ["detector"]
    again = file.with_name("again")
    other.save(again)
    assert np.array_equal(Detector.load(again, tiny()).score(mixed), fitted.score(mixed))


def test_our_own_network_comes_back_from_its_file(digits, tmp_path):
    train, test, normalise, network = digits
    one = Detector(network, normalise).fit(train.subset(slice(0, 100)), train.subset(slice(100, 160)))
    one.save(tmp_path / "digits")
    other = Detector.load(tmp_path / "digits", network, normalise)
    assert np.array_equal(other.score(test.pixels[:40]), one.score(test.pixels[:40])) and other.kind == "uint8"
    assert other.names[0] == "layer1.1 max of MSP" and other.names[6] == "stem Mahalanobis"


def test_chosen_layers_come_back_from_the_file(tmp_path):
    one = Detector(tiny(), layers=["3", "0"]).fit(images(100, 1), images(40, 2))
    one.save(tmp_path / "detector")
    other = Detector.load(tmp_path / "detector", tiny())
    assert other.names == one.names and other.model.layers == ("3", "0")
    assert np.array_equal(other.score(images(9, 3)), one.score(images(9, 3)))


def test_a_file_holds_tensors_and_no_pickled_objects(file):
    state = torch.load(file, weights_only=True)
    assert state["network"] == fingerprint(tiny()) and state["calibration"].shape == (50,) and state["images"] == 300
    assert file.stat().st_size < 40_000  # and no larger tensor than what is needed


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_a_save_that_is_interrupted_leaves_the_old_file(fitted, file, monkeypatch, stop):
    before = file.read_bytes()

    def half(state, unfinished):
        unfinished.write_bytes(b"half a file")
        raise stop

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(stop):
        fitted.save(file)
    assert file.read_bytes() == before and [path.name for path in file.parent.iterdir()] == ["detector"]


def rewritten(file, **changes):
    torch.save(torch.load(file, weights_only=True) | changes, file)


def test_another_network_layers_or_format_are_refused(file):
    other = tiny()
    other[0].weight.data[0, 0, 0, 0] += 1e-3
    for network in (other, tiny(7), Hooked(other)):
        with pytest.raises(InputError, match="belongs to another network: its weights differ"):
            Detector.load(file, network)
    with pytest.raises(InputError, match="another transform or other layers; give the same"):
        Detector.load(file, Hooked(tiny(), ["0", "3"]))
    rewritten(file)
    Detector.load(file, tiny())
    rewritten(file, format=1)
    with pytest.raises(InputError, match="has format 1, this version reads 3; fit and save it anew"):
        Detector.load(file, tiny())


TRANSFORMS = {
    "none": None,
    "another scale": lambda x: x.float() / 255,
    "channels the other way round": lambda x: scaled(x.flip(1)),
    "other means": lambda x: scaled(x) - torch.tensor([0.05, 0.0, -0.05])[:, None, None],
    "another contrast": lambda x: scaled(x) * 1.1,
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_another_transform_is_refused(tmp_path, name):
    Detector(tiny(), scaled).fit(pixels(100, 1, 8), pixels(40, 2, 8)).save(tmp_path / "detector")
    with pytest.raises(InputError, match="another transform or other layers; give the same"):
        Detector.load(tmp_path / "detector", tiny(), TRANSFORMS[name])
    Detector.load(tmp_path / "detector", tiny(), lambda x: (x.float() - 127.5) / 255)


OTHERWISE = {  # the same weights in another forward pass
    "activation": lambda network: network.__setitem__(4, nn.LeakyReLU()),
    "another, closer": lambda network: network.__setitem__(6, nn.GELU()),
    "no activation": lambda network: network.__setitem__(6, nn.Identity()),
    "padding": lambda network: setattr(network[3], "padding_mode", "reflect"),
    "stride": lambda network: setattr(network[5], "stride", (1, 1)),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_another_forward_pass_of_the_same_weights_is_refused(file, name):
    network = tiny()
    OTHERWISE[name](network)
    network.eval()
    with pytest.raises(InputError, match="a network that computes the same from these weights"):
        Detector.load(file, network)


def written(write):
    def to(path):
        with open(path, "wb") as opened:
            write(opened)

    return to


def flipped(content):
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


BROKEN = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "no archive": lambda path: path.write_text("no archive"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:3000]),
    "truncated by a byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a flipped byte": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "one array": written(lambda file: np.save(file, np.zeros(3))),
    "one tensor": written(lambda file: torch.save(torch.zeros(3), file)),
    "a pickle": written(lambda file: torch.save({"format": 2, "bank": Fraction(1, 2)}, file)),
    "another archive": written(lambda file: np.savez(file, scores=np.zeros(3))),
    "an archive of images": written(lambda file: np.savez(file, test_images=np.zeros(3), classes=np.array(["a"]))),
    "a checkpoint": written(lambda file: torch.save({"model": tiny().state_dict()}, file)),
    "nothing": written(lambda file: torch.save({}, file)),
    "a list": written(lambda file: torch.save([1, 2], file)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_none_is_named(file, name):
    BROKEN[name](file)
    with pytest.raises(InputError, match=f"{file} is not a detector's file .*; write one with detector.save"):
        Detector.load(file, tiny())


# --- ONNX ---------------------------------------------------------------------------------------------


def exported(one, path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    one.export(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["logits", "p_values"], {"images": x.numpy()})


def agrees(run, one, x, network, most):
    """Logits are close, and p-values equal but for ranks: rounding may carry an image past calibration images."""
    logits, p = run(x)
    with torch.inference_mode():
        expected = torch.cat([network(one.transform(batch)) for batch in x.split(100)]).numpy()
    assert logits == pytest.approx(expected, rel=1e-3, abs=1e-3 * float(np.abs(expected).max()))
    ranks = (p - one.p_values(x)) * (len(one.calibration) + 1)
    assert p.shape == (len(x),) and np.abs(ranks).max() <= most + 1e-6 and (np.abs(ranks) > 1e-6).mean() < 0.1
    return p


def test_our_own_network_in_onnx(digits, tmp_path):
    """One block of each stage: an export takes seconds a block."""
    train, test, normalise, whole = digits
    network = copy.deepcopy(whole)
    network.blocks = nn.ModuleList(network.blocks[k] for k in (0, 3, 7, 13)).eval()
    network.layers = network.stages = ("layer1.1", "layer2.1", "layer3.1", "layer4.1")
    one = Detector(network, normalise).fit(train.pixels[:200], train.pixels[200:400])
    run = exported(one, tmp_path / "digits.onnx")
    x = torch.cat([test.pixels[:300], train.pixels[400:], data.load("noise").pixels[:5]])[-500:]
    assert len(x) == 500
    p = agrees(run, one, x, network, 2)
    assert len(np.unique(p)) > 50 and (p[-5:] == 1 / 101).all()
    for count in (1, 7):
        assert run(x[:count])[1].shape == (count,)


def test_a_network_of_torchvision_in_onnx(tmp_path):
    torch.manual_seed(0)
    network = SMALL["resnet"]().eval()
    one = Detector(network, scaled).fit(pixels(60, 1), pixels(80, 2))
    agrees(exported(one, tmp_path / "resnet.onnx"), one, pixels(500, 3), network, 2)


def test_an_exported_file_that_answers_otherwise_is_refused(fitted, tmp_path):
    one = copy.copy(fitted)
    one.p_values = lambda images: fitted.p_values(images) + 2 / 51
    for package in ("onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    with pytest.raises(InputError, match="p-values differ by 2 ranks .*nothing was written"):
        one.export(tmp_path / "x.onnx")
    assert not [*tmp_path.iterdir()]


def test_without_its_packages_an_export_says_which(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match="pip install onnx onnxscript"):
        fitted.export(tmp_path / "x.onnx")
    assert not [*tmp_path.iterdir()]
