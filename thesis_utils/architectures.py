"""Other networks for 32x32 images with the same switch: does what a ResNet-34 shows survive its architecture?

    model = ARCHITECTURES["wide_resnet28"](num_classes=10, width=16, activation="log_softmax")

Both put BatchNorm and activation before a convolution, so that what a layer adds to, or appends to, is never cut off.
The activation that is exchanged is the first after the addition or concatenation, as in the thesis' ResNet-34; its
output is the layer's map. All other ReLUs stay.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from thesis_utils.models import ACTIVATIONS, Centre, Layered, built, resnet34


def names(stages, layers):
    return tuple(f"layer{stage}.{layer}" for stage in range(1, stages + 1) for layer in range(1, layers + 1))


class Switch(nn.Module):
    """BatchNorm and the exchanged activation: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels, activation, precise=False):
        super().__init__()
        self.norm, self.activation, self.precise = nn.BatchNorm2d(channels), ACTIVATIONS[activation], precise

    def forward(self, x):
        x = self.norm(x)
        return self.activation(x.float() if self.precise else x)


class WideResNet28(Layered):
    """Zagoruyko and Komodakis (2016), no dropout: 3 stages of 4 blocks, of widths w, 2w, 4w; w = 16k is WRN-28-k."""

    layers, stages = names(3, 4), ("stem", "layer1.4", "layer2.4", "layer3.4")

    def __init__(self, num_classes, width, activation, padding="zero"):
        super().__init__()
        self.activation = activation
        before = 16
        self.stem = nn.Sequential(nn.Conv2d(3, before, 3, padding=1, bias=False), nn.BatchNorm2d(before), nn.ReLU())
        self.convolutions, self.shortcuts, self.switches = (nn.ModuleList() for _ in range(3))
        for name in self.layers:
            channels, first = width * 2 ** (int(name[5]) - 1), name.endswith(".1")
            stride = 2 if first and channels > width else 1
            centre = [Centre(before)] if padding == "mean" else []
            self.convolutions.append(nn.Sequential(
                *centre,
                nn.Conv2d(before, channels, 3, stride, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            ))  # fmt: skip
            changed = channels != before
            self.shortcuts.append(nn.Conv2d(before, channels, 1, stride, bias=False) if changed else nn.Identity())
            self.switches.append(Switch(channels, activation, precise=name == self.layers[-1]))
            before = channels
        self.fc = nn.Linear(before, num_classes)

    def outputs(self, images):
        x = read = self.stem(images)
        yield "stem", x
        for name, residual, shortcut, switch in zip(self.layers, self.convolutions, self.shortcuts, self.switches):
            x = residual(read) + (x if isinstance(shortcut, nn.Identity) else shortcut(read))
            read = switch(x)
            yield name, read


class DenseNet22(Layered):
    """Huang et al. (2017): 3 dense blocks of 6 layers, each appends 3w/4 channels; between them a mean over 2 x 2.

    A convolution sees a map without the common offset of log-probabilities (`adjust`), which would grow with depth.
    """

    layers, stages = names(3, 6), ("stem", "layer1.6", "layer2.6", "layer3.6")

    def __init__(self, num_classes, width, activation, padding="zero"):
        super().__init__()
        self.activation, growth = activation, max(3 * width // 4, 1)
        channels = 2 * growth
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        self.convolutions, self.switches = nn.ModuleList(), nn.ModuleList()
        for name in self.layers:
            convolution = nn.Conv2d(channels, growth, 3, padding=1, bias=False)
            centred = nn.Sequential(Centre(channels), convolution) if padding == "mean" else convolution
            self.convolutions.append(centred)
            channels += growth
            self.switches.append(Switch(channels, activation, precise=name == self.layers[-1]))
        self.fc = nn.Linear(channels, num_classes)

    def outputs(self, images):
        x = read = self.stem(images)
        yield "stem", x
        for name, convolution, switch in zip(self.layers, self.convolutions, self.switches):
            x = torch.cat([x, convolution(read)], 1)
            z = switch(x)
            yield name, z
            read = self.adjust(z)
            if name.endswith(".6"):
                x, read = F.avg_pool2d(x, 2), F.avg_pool2d(read, 2)


ARCHITECTURES = {
    "resnet34": resnet34,
    "wide_resnet28": partial(built, WideResNet28),
    "densenet22": partial(built, DenseNet22),
}
