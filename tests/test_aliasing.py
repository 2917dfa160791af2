"""Power spectra by hand, and that an exchange of spectra does what it says."""

import math

import pytest
import torch

from experiments import aliasing as experiment
from thesis_utils.book import aliasing


def cosine(cycles, amplitude=10.0):
    """One image of brightness 100 with so many cycles along its columns."""
    wave = amplitude * torch.cos(2 * math.pi * cycles * torch.arange(32) / 32)
    return (100 + wave).expand(1, 32, 32)


def test_a_cosine_has_its_power_at_its_frequency():
    """By hand: amplitude a at (0, f) and (0, -f), a / 2 each; the window's F is 16 at 0 and -8 at +-1.

    So |F|^2 / 32^2 = (10 / 2 * 16 * 16)^2 / 1024 = 1600 at the peak, a quarter of it at each of its four neighbours.
    """
    power = aliasing.power(cosine(8))[0]
    assert power[0, 8] == pytest.approx(1600, rel=1e-4) and power[0, -8] == pytest.approx(1600, rel=1e-4)
    assert power[[0, 0, 1, -1], [7, 9, 8, 8]].tolist() == pytest.approx([400] * 4, rel=1e-4)
    assert power.sum() == pytest.approx(2 * 1600 * 1.5**2, rel=1e-4)
    assert aliasing.radial(cosine(8))[0].argmax() + 1 == 8


def test_energy_is_on_the_side_of_the_cosine():
    coarse, fine = cosine(4), cosine(12)
    assert aliasing.energy(fine).item() == pytest.approx(math.log10(2 * 1600 * 1.5**2), abs=1e-3)
    assert aliasing.energy(coarse).item() < 0 < aliasing.energy(coarse, 0, 8).item()
    assert aliasing.energy(2 * fine).item() == pytest.approx(aliasing.energy(fine).item() + math.log10(4), abs=1e-3)


def test_an_image_takes_the_spectrum_of_another():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(100, 156, (4, 32, 32, 3), generator=generator, dtype=torch.uint8)
    smooth = experiment.resized(noise, 8, "area")
    smooth = experiment.resized(smooth, 32, "bilinear")
    made = experiment.with_spectrum(noise, smooth)
    own, wanted = aliasing.radial(aliasing.grey(noise)), aliasing.radial(aliasing.grey(smooth))
    found = aliasing.radial(aliasing.grey(made))
    assert (own[:, 8:].mean() / wanted[:, 8:].mean()) > 10
    assert (found[:, :6].mean(0) / wanted[:, :6].mean(0)).log10().abs().max() < 0.3


def test_only_pairs_of_one_group_are_compared():
    """By hand: in group 0 the pair is (1 above 2): MiSP's direction counts it as a hit; in group 1 two pairs miss."""
    known, unknown = torch.tensor([1.0, 5.0]).numpy(), torch.tensor([2.0, 3.0, 4.0]).numpy()
    groups = torch.tensor([0, 1]).numpy(), torch.tensor([0, 1, 1]).numpy()
    value, share = experiment.stratified(known, unknown, groups)
    assert value == pytest.approx(100 / 3) and share == pytest.approx(3 / 6)
