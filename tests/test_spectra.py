"""Power spectra by hand, and that what is done to images does what it says."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from experiments import aliasing
from thesis_utils.book import spectra


def cosine(cycles, amplitude=10.0):
    """One image of brightness 100 with so many cycles along its columns."""
    wave = amplitude * np.cos(2 * np.pi * cycles * np.arange(32) / 32)
    return np.tile(100 + wave, (1, 32, 1))


def test_a_cosine_has_its_power_at_its_frequency():
    """By hand: amplitude a at (0, f) and (0, -f), a / 2 each; the window's F is 16 at 0 and -8 at +-1.

    So |F|^2 / 32^2 = (10 / 2 * 16 * 16)^2 / 1024 = 1600 at the peak, a quarter of it at each of its four neighbours.
    """
    power = spectra.power(cosine(8))[0]
    assert power[0, 8] == pytest.approx(1600) and power[0, -8] == pytest.approx(1600)
    assert power[[0, 0, 1, -1], [7, 9, 8, 8]] == pytest.approx(400)
    assert power.sum() == pytest.approx(2 * 1600 * 1.5**2)
    assert spectra.radial(cosine(8))[0].argmax() + 1 == 8


def test_energy_is_on_the_side_of_the_cosine():
    coarse, fine = cosine(4), cosine(12)
    assert spectra.energy(fine).item() == pytest.approx(math.log10(2 * 1600 * 1.5**2), abs=1e-3)
    assert spectra.energy(coarse).item() < 0 < spectra.energy(coarse, 0, 8).item()
    assert spectra.energy(2 * fine).item() == pytest.approx(spectra.energy(fine).item() + math.log10(4), abs=1e-3)


def test_brightness_weighs_the_colours():
    assert spectra.grey(np.array([[[[255, 0, 0], [10, 10, 10]]]], np.uint8))[0, 0] == pytest.approx([76.245, 10])


def test_without_antialiasing_four_pixels_are_looked_at():
    """As torch interpolates; with antialiasing a chequerboard of single pixels is grey."""
    photo = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    expected = F.interpolate(torch.from_numpy(photo).permute(2, 0, 1)[None].float(), (32, 32), mode="bilinear")[0]
    found = torch.from_numpy(spectra.shrunk(photo, antialiasing=False).copy()).permute(2, 0, 1)
    assert (found - expected).abs().max() <= 1
    board = np.indices((96, 96)).sum(0)[..., None].repeat(3, 2) % 2 * 255
    grey = spectra.shrunk(board.astype(np.uint8))
    assert np.abs(grey.astype(int) - 127).max() <= 6
    assert set(np.unique(spectra.shrunk(board.astype(np.uint8), antialiasing=False))) == {0, 255}


def test_sharpening_adds_fine_detail_and_blurring_takes_it_away():
    photos = spectra.photographs()
    assert {name: pixels.shape for name, pixels in photos.items()} == dict.fromkeys(["china", "flower"], (427, 427, 3))
    small = spectra.shrunk(photos["china"])
    energies = [spectra.energy(spectra.grey(spectra.sharpened(small, amount)[None]))[0] for amount in (-1, 0, 1)]
    assert energies[0] + 0.5 < energies[1] < energies[2] - 0.2
    assert (spectra.sharpened(small, 0) == small).all()


def test_a_sum_of_squares_tells_what_the_first_layer_tells():
    """The recorded numbers, each in its better direction."""
    table, rows = spectra.no_network()
    assert [*table] == ["first", "energy", "fc"] and table.notna().all(axis=None) and rows.run.nunique() == 1
    assert table.ge(50).all(axis=None) and table.loc["svhn", "energy"] == pytest.approx(99.376, abs=0.01)


def test_an_image_takes_the_spectrum_of_another():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(100, 156, (4, 32, 32, 3), generator=generator, dtype=torch.uint8)
    smooth = aliasing.resized(noise, 8, "area")
    smooth = aliasing.resized(smooth, 32, "bilinear")
    made = aliasing.with_spectrum(noise, smooth)
    own, wanted, found = (spectra.radial(spectra.grey(images)) for images in (noise, smooth, made))
    assert (own[:, 8:].mean() / wanted[:, 8:].mean()) > 10
    assert np.abs(np.log10(found[:, :6].mean(0) / wanted[:, :6].mean(0))).max() < 0.3


def test_only_pairs_of_one_group_are_compared():
    """By hand: in group 0 the pair is (1 above 2): MiSP's direction counts it as a hit; in group 1 two pairs miss."""
    groups = np.array([0, 1]), np.array([0, 1, 1])
    value, share = aliasing.stratified(np.array([1.0, 5.0]), np.array([2.0, 3.0, 4.0]), groups)
    assert value == pytest.approx(1 / 3) and share == pytest.approx(3 / 6)
