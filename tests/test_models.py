import math
import sys

import pytest
import torch
from conftest import images

from thesis_utils.errors import InputError
from thesis_utils.models import LAYERS, Block, Centre, channel_log_softmax, channel_softmax, resnet34


def test_the_thesis_sixteen_layers_in_four_stages():
    layers = resnet34(7, width=4).eval().forward_layers(images())[1]
    assert tuple(layers) == ("stem", *LAYERS)
    assert LAYERS[0] == "layer1.1" and LAYERS[-1] == "layer4.3" and len(LAYERS) == 16
    shapes = [tuple(layers[name].shape[1:]) for name in ("stem", "layer1.3", "layer2.4", "layer3.6", "layer4.3")]
    assert shapes == [(4, 32, 32), (4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4)]


def test_a_block_ends_in_the_activation_of_the_sum():
    model = resnet34(3, width=4, activation="log_softmax").eval()
    layers = model.forward_layers(images())[1]
    block, x = model.blocks[0], layers["stem"]
    inside = torch.relu(block.bn1(block.conv1(x)))
    torch.testing.assert_close(layers["layer1.1"], torch.log_softmax(block.bn2(block.conv2(inside)) + x, dim=1))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_channel_softmaxes_equal_the_plain_ones(memory_format):
    x = torch.randn(2, 5, 3, 4).contiguous(memory_format=memory_format)
    torch.testing.assert_close(channel_log_softmax(x), torch.log_softmax(x, 1))
    torch.testing.assert_close(channel_softmax(x), torch.softmax(x, 1))


def test_the_classifier_sees_log_probabilities_without_their_offset():
    pooled = torch.full((1, 8), -math.log(8))
    torch.testing.assert_close(resnet34(2, 1, "log_softmax").adjust(pooled), torch.zeros(1, 8))
    torch.testing.assert_close(resnet34(2, 1, "softmax").adjust(pooled.exp()), torch.ones(1, 8))
    torch.testing.assert_close(resnet34(2, 1, "relu").adjust(pooled), pooled)


def test_mean_padding_changes_the_border_only():
    """A constant is removed by BatchNorm: with each channel's mean as padding the same numbers come out inside."""
    torch.manual_seed(0)
    x = torch.randn(3, 4, 6, 6) - 5
    zero, mean = Block(4, 4, 1, "log_softmax"), Block(4, 4, 1, "log_softmax", padding="mean")
    mean.load_state_dict(zero.state_dict(), strict=False)
    inside = [block.conv1(block.centre(x))[:, :, 1:-1, 1:-1] for block in (zero, mean)]
    shift = zero.conv1.weight.sum((2, 3)) @ x.mean((0, 2, 3))  # of each channel, wherever the kernel meets no padding
    torch.testing.assert_close(inside[0], inside[1] + shift[:, None, None])
    torch.testing.assert_close(mean.centre(x).mean((0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)


def test_a_centre_keeps_a_running_mean_for_evaluation():
    centre = Centre(2)
    x = torch.tensor([1.0, -5.0])[None, :, None, None].expand(3, 2, 4, 4)
    for _ in range(3):
        centre(x)
    assert torch.allclose(centre.running_mean, torch.tensor([1.0, -5.0]) * (1 - 0.9**3))
    found = centre.eval()(x[:1] + 1)
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([2.0, -4.0]) - centre.running_mean)


def test_the_thesis_network_has_the_size_of_a_resnet34():
    count = sum(p.numel() for p in resnet34(10).parameters())
    assert 21.2e6 < count < 21.4e6


@pytest.mark.parametrize("activation", ["relu", "softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_network_runs_in_other_precisions(dtype, activation):
    torch.manual_seed(0)
    model, images = resnet34(5, 8, activation, "mean"), torch.rand(8, 3, 16, 16)
    for _ in range(50):  # BatchNorm's running statistics
        model(images)
    expected = model.eval()(images)
    logits, layers = model.to(dtype).forward_layers(images.to(dtype))
    assert logits.dtype == dtype and layers["layer1.1"].dtype == dtype
    assert (logits.float() - expected).abs().mean() < 10 * max(torch.finfo(dtype).eps, 1e-6) * expected.abs().max()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(num_classes=10, activation="logsoftmax"), "choose from relu, softmax, log_softmax"),
        (dict(num_classes=10, padding="reflect"), "unknown padding 'reflect'; choose from zero, mean"),
        (dict(num_classes=10, width=0), "width must be a whole number"),
        (dict(num_classes=10, width=1.5), "width must be a whole number"),
        (dict(num_classes=1), "num_classes must be"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        resnet34(**arguments)


# --- what an import costs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module, without",
    [
        ("thesis_utils", "torch"),
        ("thesis_utils.metrics", "torch scipy sklearn"),
        ("thesis_utils.models", "torchvision torch._dynamo scipy sklearn pandas"),
        ("thesis_utils.data", "torchvision scipy sklearn pandas"),
        ("thesis_utils.training, thesis_utils.detector, thesis_utils.baselines", "torchvision scipy sklearn"),
    ],
)
def test_an_import_brings_only_what_it_needs(shell, module, without):
    script = f"import sys, {module}; print(*(name for name in {without.split()} if name in sys.modules))"
    assert shell([sys.executable, "-c", script]).stdout.split() == []


def test_the_detector_is_there_when_it_is_asked_for():
    import thesis_utils
    from thesis_utils.detector import Detector

    assert thesis_utils.Detector is Detector
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = thesis_utils.Nothing
