"""All networks in one forward pass; the other ones: of the papers' size, with the switch where the docstrings say."""

import math
from functools import partial

import pytest
import torch
from conftest import DEPTHS, images
from torch.nn import functional as F

from thesis_utils import evaluation
from thesis_utils.architectures import ARCHITECTURES
from thesis_utils.data import Normalisation, hold_out, load
from thesis_utils.models import ACTIVATIONS

SIZES = {"resnet34": [32, 32, 16, 8, 4], "wide_resnet28": [32, 32, 16, 8], "densenet22": [32, 32, 16, 8]}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_one_forward_pass_gives_logits_all_layers_and_their_distributions_over_channels(name, activation):
    model = ARCHITECTURES[name](7, 8, activation).eval()
    logits, layers = model.forward_layers(images())
    assert logits.shape == (2, 7) and torch.equal(model(images()), logits)
    assert tuple(layers) == ("stem", *model.layers) and len(model.layers) == DEPTHS[name]
    assert [layers[stage].shape[-1] for stage in model.stages] == SIZES[name]
    maps = model.log_probs(layers)
    assert tuple(maps) == model.layers
    for layer, z in maps.items():
        torch.testing.assert_close(z.exp().sum(1), torch.ones_like(z[:, 0]))
        expected = layers[layer] if activation == "log_softmax" else torch.log_softmax(layers[layer], 1)
        torch.testing.assert_close(z, expected)


def test_wide_resnet28_has_the_papers_size():
    """WRN-28-10 of the authors' code: 36,479,194 parameters."""
    assert sum(p.numel() for p in ARCHITECTURES["wide_resnet28"](10, 160, "relu").parameters()) == 36_479_194


def test_a_wide_resnets_map_is_the_activation_of_the_normalised_sum():
    model = ARCHITECTURES["wide_resnet28"](3, 16, "log_softmax").eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    layers, stem = model.forward_layers(images())[1], model.stem(images())
    first = stem + model.convolutions[0](stem)
    torch.testing.assert_close(layers["layer1.1"], F.log_softmax(model.switches[0].norm(first), 1))
    second = first + model.convolutions[1](layers["layer1.1"])  # the sum goes on as it is, not what was read
    torch.testing.assert_close(layers["layer1.2"], F.log_softmax(model.switches[1].norm(second), 1))


@pytest.mark.parametrize(
    "activation, function, offset",
    [("relu", F.relu, 0), ("log_softmax", partial(F.log_softmax, dim=1), math.log(18))],
)
def test_a_densenets_layer_appends_and_its_map_goes_on_without_its_common_offset(activation, function, offset):
    model = ARCHITECTURES["densenet22"](3, 8, activation).eval()
    layers, stem = model.forward_layers(images())[1], model.stem(images())
    first = torch.cat([stem, model.convolutions[0](stem)], 1)
    torch.testing.assert_close(layers["layer1.1"], function(model.switches[0].norm(first)))
    second = torch.cat([first, model.convolutions[1](layers["layer1.1"] + offset)], 1)
    torch.testing.assert_close(layers["layer1.2"], function(model.switches[1].norm(second)))
    assert [layers[name].shape[1] for name in ("stem", "layer1.1", "layer1.6", "layer3.6")] == [12, 18, 48, 120]


@pytest.mark.parametrize("name", ["wide_resnet28", "densenet22"])
def test_everything_that_scores_takes_them(name):
    train = load("digits_0_4", "train")
    model = ARCHITECTURES[name](5, 8, "log_softmax").eval()
    scorer = evaluation.Scorer(model, Normalisation.of(train)).fit(*hold_out(train.subset(slice(0, 600, 4))))
    table = next(scorer.stream(load("noise").subset(slice(4))))
    assert table.notna().all(axis=None) and len([c for c in table if c.endswith("/min_of_misp")]) == DEPTHS[name]
