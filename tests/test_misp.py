"""Why MiSP works: what the chapter's experiment measures, worked out by hand."""

import math

import pytest
import torch

from experiments import misp
from thesis_utils import scorers
from thesis_utils.data import Normalisation
from thesis_utils.models import resnet34


def test_contrast_is_a_standard_deviation_around_a_pixel():
    pixels = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    assert misp.contrast(pixels, 32).abs().max() == 0
    pixels[0, 16, 16] = 100  # one of 25 pixels: deviation 100 sqrt(1/25 - 1/625)
    found = misp.contrast(pixels, 32).reshape(32, 32)
    assert found[14:19, 14:19].flatten().tolist() == pytest.approx([100 * math.sqrt(24) / 25] * 25, rel=1e-4)
    assert found[13].abs().max() == 0
    assert misp.contrast(pixels, 8).reshape(8, 8)[4, 4].item() == pytest.approx(
        9 / 16 * 100 * math.sqrt(24) / 25, rel=1e-3
    )


@pytest.mark.parametrize("activation", ["relu", "log_softmax"])
def test_the_minimum_is_where_it_says(activation):
    torch.manual_seed(0)
    model, normalise = resnet34(3, 4, activation).eval(), Normalisation((0.5,) * 3, (0.25,) * 3)
    pixels = torch.randint(256, (3, 32, 32, 3), dtype=torch.uint8)
    found = misp.minima(model, normalise, pixels, "")["layer2.1"]
    z = model.log_probs(model.forward_layers(normalise(pixels))[1])["layer2.1"]
    for k, one in enumerate(z):
        channel, row, column = (int(i) for i in torch.unravel_index(one.argmin(), one.shape))
        assert found["misp"][k] == one.min() and found["channel"][k] == channel
        assert bool(found["border"][k]) == (row in (0, 15) or column in (0, 15))
        assert found["inner"][k] == one[:, 2:14, 2:14].min() >= found["misp"][k]
        assert 0 < found["contrast"][k] < 1
    if activation == "relu":
        assert found["zero"].all()
        torch.testing.assert_close(found["misp"], found["energy"])


def test_scores_are_confidences():
    sure, unsure = torch.tensor([[9.0, 0.0, -9.0]]), torch.tensor([[0.1, 0.0, -0.1]])
    for name, score in misp.SCORES.items():
        assert score(sure) > score(unsure), name
    assert misp.SCORES["range"](sure).item() == 18
    assert misp.SCORES["MiSP"](sure).item() == pytest.approx(-scorers.misp(sure).item())
