"""Any network, read in one forward pass through hooks: the layers found, their maps, what it refuses."""

import pytest
import torch
import torchvision
from torch import nn

from thesis_utils import baselines, data, evaluation, scorers
from thesis_utils.errors import InputError
from thesis_utils.models import LAYERS, Hooked, channel_log_softmax, resnet34

FOUND = {  # number of layers, the first and the last; the stages
    "resnet18": (8, "layer1.0", "layer4.1", "layer1.1 layer2.1 layer3.1 layer4.1"),
    "wide_resnet50_2": (16, "layer1.0", "layer4.2", "layer1.2 layer2.3 layer3.5 layer4.2"),
    "densenet121": (4, "features.denseblock1", "features.denseblock4",
                    " ".join(f"features.denseblock{k}" for k in (1, 2, 3, 4))),
    "mobilenet_v3_small": (11, "features.1", "features.11", "features.1 features.3 features.8 features.11"),
    "efficientnet_b0": (16, "features.1.0", "features.7.0",
                        "features.1.0 features.2.1 features.3.1 features.5.2 features.7.0"),
    "convnext_tiny": (18, "features.1.0", "features.7.2", "features.1.2 features.3.2 features.5.8 features.7.2"),
}  # fmt: skip
BLOCKS = tuple(f"blocks.{k}" for k in range(16))


def torchvision_network(name="resnet18"):
    torch.manual_seed(0)
    return getattr(torchvision.models, name)(weights=None, num_classes=10).eval()


def images(count=2, height=64, width=64):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def pixels(name, count):
    generator = torch.Generator().manual_seed(count)
    values = torch.randint(256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return data.Images(name, values, torch.arange(count) % 3, ("a", "b", "c"))


def fitted(model):
    return evaluation.Scorer(model, data.Normalisation.of(pixels("fit", 40))).fit(pixels("fit", 40), pixels("cal", 20))


def hooks(model):
    return [hook for module in model.modules() for hook in module._forward_hooks.values()]


@pytest.mark.parametrize("name", FOUND)
def test_torchvision_networks_are_read_in_one_forward_pass(name):
    network = torchvision_network(name)
    hooked = Hooked(network)
    count, first, last, stages = FOUND[name]
    assert (len(hooked.layers), hooked.layers[0], hooked.layers[-1]) == (count, first, last)

    expected, passes = {}, []
    handles = [
        network.get_submodule(layer).register_forward_hook(
            lambda module, args, output, layer=layer: expected.update({layer: output.clone()})
        )
        for layer in hooked.layers
    ]
    with torch.inference_mode():
        plain = network(images())
        for handle in handles:
            handle.remove()
        network.register_forward_pre_hook(lambda *_: passes.append(None))
        logits, layers = hooked.forward_layers(images())
        assert len(passes) == 1 and not hooks(network)
        assert torch.equal(logits, plain) and tuple(layers) == hooked.layers
        assert hooked.stages == tuple(stages.split())
        for layer, z in hooked.log_probs(layers).items():
            assert layers[layer].ndim == 4 and torch.equal(layers[layer], expected[layer])
            torch.testing.assert_close(z.exp().sum(1), torch.ones_like(z[:, 0]))
            scores = scorers.aggregate(z)
            assert scores.shape == (2, 9) and scores.isfinite().all()
        layers = hooked.forward_layers(images(3, 48, 64))[1]
    assert len(layers[first]) == 3 and layers[first].shape[2] / layers[first].shape[3] == 48 / 64
    assert hooked.stages == tuple(stages.split())


def test_a_relu_in_place_does_not_change_what_was_read():
    network = torchvision_network()
    with torch.inference_mode():
        read = Hooked(network, "bn1").forward_layers(images())[1]["bn1"]
        assert read.min() < 0
        torch.testing.assert_close(read, network.bn1(network.conv1(images())))


def test_the_first_forward_pass_settles_the_stages():
    network = torchvision_network()
    late, early = Hooked(network), Hooked(network)
    early(images())
    for hooked in (late, early):
        hooked(images(2, 8, 8))  # the last three stages all end at one pixel
    assert late.stages == ("layer1.1", "layer4.1")
    assert early.stages == ("layer1.1", "layer2.1", "layer3.1", "layer4.1")


@pytest.mark.parametrize("activation", ["relu", "log_softmax"])
def test_our_own_network_hooked_is_our_own_network(activation):
    torch.manual_seed(0)
    own = resnet34(3, 2, activation).eval()
    hooked = Hooked(own, BLOCKS)
    assert Hooked(own).layers == BLOCKS
    with torch.inference_mode():
        (ours, layers), (logits, theirs) = own.forward_layers(images()), hooked.forward_layers(images())
        maps = hooked.log_probs(theirs)
        assert torch.equal(ours, logits) and torch.equal(ours, hooked(images()))
        for block, layer in zip(BLOCKS, LAYERS):
            assert torch.equal(theirs[block], layers[layer])
            torch.testing.assert_close(maps[block], own.log_probs(layers)[layer])
    assert hooked.stages == ("blocks.2", "blocks.6", "blocks.12", "blocks.15")


def test_scores_gradients_and_tuned_methods_are_those_of_our_own_network():
    torch.manual_seed(0)
    own = resnet34(3, 2, "relu").eval()
    ours, theirs = fitted(own), fitted(Hooked(own, BLOCKS))
    table, other = (next(scorer.stream(pixels("test", 7))) for scorer in (ours, theirs))
    names = dict(zip(BLOCKS, LAYERS))
    for column in other.drop(columns=evaluation.ENSEMBLE):  # it weighs the stem of ours too
        layer, score = column.split("/")
        same = table[f"{names.get(layer, layer)}/{score}"].to_numpy()
        assert other[column].to_numpy() == pytest.approx(same, rel=1e-4, abs=1e-4), column
    inputs = images(3, 32, 32)
    for method, kept in ((baselines.odin, slice(None)), (baselines.blocks, (..., slice(1, None)))):
        torch.testing.assert_close(method(theirs, inputs, (0.0, 0.01)), method(ours, inputs, (0.0, 0.01))[kept])


def test_a_scorer_fits_on_a_torchvision_network():
    hooked = Hooked(torchvision_network("mobilenet_v3_small"))
    scorer = fitted(hooked)
    table = next(scorer.stream(pixels("test", 7), labelled=True))
    assert list(table) == [
        *(f"{layer}/{score}" for layer in hooked.layers for score in scorers.AGGREGATIONS),
        *evaluation.FINAL,
        *(f"{layer}/mahalanobis" for layer in hooked.layers),
        *(evaluation.ENSEMBLE, evaluation.CORRECT),
    ]
    assert len(table) == 7 and torch.tensor(table.to_numpy()).isfinite().all()
    inputs, epsilons = images(2, 32, 32), (0.0, 0.01)
    distances = baselines.blocks(scorer, inputs, epsilons)
    assert baselines.odin(scorer, inputs, epsilons).shape == (2, 2)
    assert distances.shape == (2, 2, len(hooked.stages)) and not distances[:, 0].equal(distances[:, 1])


def test_the_wrapped_network_stays_as_it_was():
    network = torchvision_network().train()
    network.bn1.eval()
    before = {name: module.training for name, module in network.named_modules()}
    hooked = Hooked(network, ["layer4", "layer1", "layer4"])
    assert hooked.layers == ("layer4", "layer1")
    assert hooked.training and not Hooked(torchvision_network()).training
    assert before == {name: module.training for name, module in network.named_modules()}
    assert list(hooked.parameters())[0] is network.conv1.weight and not hooked.eval().model.training
    assert hooked.double()(images().double()).dtype == torch.float64
    assert tuple(hooked.forward_layers(images().double())[1]) == ("layer1", "layer4")


def test_autocast_and_channels_last_memory():
    hooked = Hooked(torchvision_network()).to(memory_format=torch.channels_last)
    channels_last = images().contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        layers = hooked.forward_layers(channels_last)[1]
        maps = hooked.log_probs(layers)
    for name, x in layers.items():
        assert x.dtype == torch.bfloat16 and x.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(maps[name], channel_log_softmax(x))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.idle, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(self.conv(self.conv(x)).mean((2, 3)))


class Permuted(nn.Module):
    """A transformer's habit: (N, H, W, C)."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1)


class Tokens(nn.Module):
    """(N, 12 or 16, 16)."""

    def __init__(self, tokens):
        super().__init__()
        self.body, self.norm = nn.Conv1d(3, tokens, 1), nn.LayerNorm(16)

    def forward(self, x):
        return self.norm(self.body(x[:, :, 0, :16])).mean(2)


class Auxiliary(nn.Module):
    """A head that only training calls, as in GoogLeNet."""

    def __init__(self):
        super().__init__()
        self.body, self.aux, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


def test_layers_that_were_found_but_are_not_called_are_left_out():
    hooked = Hooked(Auxiliary())
    assert hooked.layers == ("body", "aux")
    assert tuple(hooked.forward_layers(images())[1]) == hooked.layers == ("body",)


def test_tokens_of_a_transformer_are_read_as_maps():
    network, seen = torchvision.models.VisionTransformer(16, 4, 2, 2, 32, 48).eval(), {}
    hooked = Hooked(network)
    assert hooked.layers == ("encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1")
    network.encoder.layers[1].register_forward_hook(lambda module, args, output: seen.update(tokens=output))
    layers = hooked.forward_layers(images(3, 16, 16))[1]
    assert layers[hooked.layers[1]].shape == (3, 32, 17, 1)
    assert torch.equal(layers[hooked.layers[1]].squeeze(3), seen["tokens"].transpose(1, 2))


def test_maps_that_have_their_channels_last_are_turned():
    network, seen = torchvision.models.SwinTransformer([2, 2], 24, [1, 1], [2, 2], [4, 4]).eval(), {}
    hooked = Hooked(network)
    assert hooked.layers == ("features.1.0", "features.3.0")
    network.features[3][0].register_forward_hook(lambda module, args, output: seen.update(map=output))
    layers = hooked.forward_layers(images(2, 32, 64))[1]
    assert [tuple(x.shape) for x in layers.values()] == [(2, 24, 16, 32), (2, 48, 8, 16)]
    assert torch.equal(layers["features.3.0"], seen["map"].permute(0, 3, 1, 2))


def plain():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.Conv2d(4, 5, 3, 2), nn.Flatten(), nn.LazyLinear(2))


def test_a_network_without_blocks_is_read_at_its_convolutions():
    network = plain()
    network(images())
    hooked = Hooked(network)
    assert hooked.layers == ("0", "2")
    layers = hooked.forward_layers(images())[1]
    torch.testing.assert_close(layers["0"], network[0](images()))
    assert [x.shape[1] for x in layers.values()] == [4, 5] and hooked.stages == ("0", "2")


@pytest.mark.parametrize(
    "build, layers, message",
    [
        (torchvision_network, ["layer1", "fc"], r"layer 'fc' gives a tensor \(2, 10\), not a map \(N, C, H, W\)"),
        (Twice, ["conv"], "layer 'conv' is called twice in one forward pass; name one that is"),
        (Twice, ["idle"], "layer 'idle' is not called in the forward pass"),
        (lambda: nn.Sequential(Permuted()), ["0"], r"layer '0' gives \(N, H, W, C\), channels last"),
        (lambda: Tokens(16), ["norm"], r"layer 'norm' gives a tensor \(2, 16, 16\), not a map"),  # which is which?
        (lambda: Tokens(12), ["body"], r"layer 'body' gives a tensor \(2, 12, 16\), not a map"),
        (lambda: plain()[:3], ["0"], r"the network gives a tensor \(2, 5, 30, 30\), not logits \(N, K\)"),
        (torchvision_network, ["layer1.0", "layer1.9"], "no module 'layer1.9'; it has, .* layer1.1, layer1.0"),
        (torchvision_network, ["layer1.0", "qqq"], "no module 'qqq'; it has, .* layer1.0, layer1.1, layer2.0"),
        (lambda: nn.Linear(3, 2), None, r"no convolution to find layers by; name modules that give \(N, C, H, W\)"),
    ],
)
def test_a_layer_that_cannot_be_read_is_named_and_leaves_no_hook(build, layers, message):
    network = build()
    with pytest.raises(InputError, match=message):
        Hooked(network, layers)(images())
    assert not hooks(network)


def test_what_cannot_be_known_yet_is_said():
    with pytest.raises(InputError, match="the stages are known after a first forward pass"):
        Hooked(torchvision_network()).stages
