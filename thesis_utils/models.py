"""ResNet-34 for 32x32 images, with ReLU, softmax or log-softmax after every skip connection.

    model = resnet34(num_classes=10, width=64, activation="log_softmax")
    logits = model(images)                      # (N, K)
    logits, layers = model.forward_layers(images)
    layers["layer1.1"]                          # (N, C, H, W), for log_softmax a map of log-probabilities

The network is He et al.'s (2016) in its usual CIFAR form: a 3x3 stride-1 stem without max-pooling,
3 + 4 + 6 + 3 basic blocks of widths w, 2w, 4w, 8w, a spatial mean and a linear classifier. The thesis
replaces the ReLU after each of the 16 skip connections (slides 4, 5 and 14); the ReLU inside a block stays.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from thesis_utils.errors import InputError

BLOCKS = (3, 4, 6, 3)
LAYERS = tuple(f"layer{stage}.{block}" for stage, count in enumerate(BLOCKS, 1) for block in range(1, count + 1))
ACTIVATIONS = ("relu", "softmax", "log_softmax")


def channel_log_softmax(x):
    """Log-softmax over the channels of (N, C, H, W).

    It runs over the last axis of the NHWC view and in float32: with channels_last memory on a CPU the one is about
    twice as fast as `dim=1`, the other eight times as fast as bfloat16 at 16 channels. The result has x's precision.
    """
    return F.log_softmax(x.permute(0, 2, 3, 1), dim=-1, dtype=torch.float32).to(x.dtype).permute(0, 3, 1, 2)


def channel_softmax(x):
    """Softmax over the channels of (N, C, H, W), computed like `channel_log_softmax`."""
    return F.softmax(x.permute(0, 2, 3, 1), dim=-1, dtype=torch.float32).to(x.dtype).permute(0, 3, 1, 2)


FUNCTIONS = {"relu": F.relu, "softmax": channel_softmax, "log_softmax": channel_log_softmax}


class Block(nn.Module):
    """Two 3x3 convolutions and a skip connection, closed by the network's activation."""

    def __init__(self, channels_in, channels, stride, activation):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.activation = FUNCTIONS[activation]
        self.precise = False  # whether the output is float32 under autocast too

    def forward(self, x):
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = residual + self.shortcut(x)
        return self.activation(x.float() if self.precise else x)


class ResNet34(nn.Module):
    """See the module's docstring; build it with `resnet34`.

    `layers` names the maps that are read, `stages` the outputs that the Mahalanobis ensemble weighs.
    """

    layers, stages = LAYERS, ("stem", "layer1.3", "layer2.4", "layer3.6", "layer4.3")

    def __init__(self, num_classes, width, activation):
        super().__init__()
        self.activation = activation
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.ModuleList()
        channels_in = width
        for stage, count in enumerate(BLOCKS):
            channels = width * 2**stage
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                self.blocks.append(Block(channels_in, channels, stride, activation))
                channels_in = channels
        self.blocks[-1].precise = True
        self.fc = nn.Linear(channels_in, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images):
        """Logits (N, K) of normalised images (N, 3, H, W)."""
        return self.forward_layers(images)[0]

    def forward_layers(self, images):
        """One forward pass: logits (N, K) and the outputs of the stem and of the 16 residual layers.

        Returns `(logits, layers)`; `layers` maps "stem", "layer1.1", ..., "layer4.3" to (N, C, H, W).
        """
        layers = dict(self.outputs(images))
        with torch.autocast(images.device.type, enabled=False):  # near -log C, bfloat16 has steps of 1/32
            return self.fc(self.adjust(layers[self.layers[-1]].mean((2, 3)))), layers

    def outputs(self, images):
        """Yields (name, output) of the stem and of the 16 residual layers, each computed when it is asked for."""
        x = self.stem(images)
        yield "stem", x
        for name, block in zip(self.layers, self.blocks):
            x = block(x)
            yield name, x

    def adjust(self, pooled):
        """Brings the pooled features (N, C) to a scale on which a classifier trains: the same family of functions.

        Log-probabilities over C channels share an offset of about -log C. Along the direction in which all weights of a
        class move together the loss is then far more curved than along any other, and training diverges. Adding
        log C removes most of the offset (the bias could absorb it). Probabilities are 1/C on average, too faint to
        learn from: they are multiplied by C (as the weights could be). The book's page on the recipe shows what both
        are worth.
        """
        channels = pooled.shape[1]
        if self.activation == "log_softmax":
            return pooled + math.log(channels)
        return pooled * channels if self.activation == "softmax" else pooled

    def log_probs(self, layers):
        """The 16 maps of log-probabilities, {name: (N, C, H, W)}, from `forward_layers`' outputs.

        A log-softmax layer's output is its map already; the outputs of other activations are read
        post hoc, as the log-softmax over channels of what the layer puts out.
        """
        read = (lambda x: x) if self.activation == "log_softmax" else channel_log_softmax
        return {name: read(layers[name]) for name in self.layers}


def resnet34(num_classes, width=64, activation="log_softmax"):
    """A CIFAR ResNet-34 with `activation` ("relu", "softmax" or "log_softmax") after each skip connection.

    Raises InputError for an unknown activation, a width or a number of classes below 1.
    """
    if activation not in ACTIVATIONS:
        raise InputError(f"unknown activation {activation!r}; choose from {', '.join(ACTIVATIONS)}")
    if not (isinstance(width, int) and width >= 1):
        raise InputError(f"width must be a whole number of channels, at least 1 (64 in the thesis), not {width!r}")
    if not (isinstance(num_classes, int) and num_classes >= 2):
        raise InputError(f"num_classes must be a whole number, at least 2, not {num_classes!r}")
    return ResNet34(num_classes, width, activation)


ARCHITECTURES = {"resnet34": resnet34}
