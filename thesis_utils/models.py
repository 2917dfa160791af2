"""ResNet-34 for 32x32 images, with ReLU, softmax or log-softmax after every skip connection; any network, hooked.

    model = resnet34(num_classes=10, width=64, activation="log_softmax")
    logits = model(images)                      # (N, K)
    logits, layers = model.forward_layers(images)
    layers["layer1.1"]                          # (N, C, H, W), for log_softmax a map of log-probabilities
    model = Hooked(torchvision.models.resnet18())  # read like our own, without a change to it

The network is He et al.'s (2016) in its usual CIFAR form: a 3x3 stride-1 stem without max-pooling,
3 + 4 + 6 + 3 basic blocks of widths w, 2w, 4w, 8w, a spatial mean and a linear classifier. The thesis
replaces the ReLU after each of the 16 skip connections (slides 4, 5 and 14); the ReLU inside a block stays.
"""

import difflib
import hashlib
import math
import threading
from collections import Counter
from contextlib import ExitStack
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from thesis_utils.errors import InputError

BLOCKS = (3, 4, 6, 3)
LAYERS = tuple(f"layer{stage}.{block}" for stage, count in enumerate(BLOCKS, 1) for block in range(1, count + 1))
SOFTMAX_SCALE = 0.3  # at which the branch of a softmax network's block starts
PADDINGS = ("zero", "mean")


def over_channels(function, x):
    """A softmax function over the channels of (N, C, H, W).

    It runs over the last axis of the NHWC view and in float32 at least: with channels_last memory on a CPU the one is
    about twice as fast as `dim=1`, the other eight times as fast as bfloat16 at 16 channels. The result has x's
    precision.
    """
    exact = torch.promote_types(x.dtype, torch.float32)
    return function(x.permute(0, 2, 3, 1), dim=-1, dtype=exact).to(x.dtype).permute(0, 3, 1, 2)


def precise(x):
    """In float32 at least: half a precision is too little to sum in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


channel_softmax, channel_log_softmax = (partial(over_channels, function) for function in (F.softmax, F.log_softmax))
ACTIVATIONS = {"relu": F.relu, "softmax": channel_softmax, "log_softmax": channel_log_softmax}


class Centre(nn.Module):
    """A map (N, C, H, W) minus each channel's mean: of the batch in training, else a running mean of those.

    A convolution's zero padding then pads with the mean. Inside the map nothing changes, since the BatchNorm after the
    convolution removes any constant; what goes is the edge between log-probabilities, around -log C, and zeros.
    """

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, x):
        if self.training:
            mean = x.mean((0, 2, 3))
            self.running_mean.lerp_(mean.detach().float(), 0.1)  # BatchNorm's momentum
        else:
            mean = self.running_mean.to(x.dtype)
        return x - mean[:, None, None]


class Block(nn.Module):
    """Two 3x3 convolutions and a skip connection, closed by the network's activation."""

    def __init__(self, channels_in, channels, stride, activation, padding="zero"):
        super().__init__()
        self.centre = Centre(channels_in) if padding == "mean" else nn.Identity()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        if activation == "softmax":  # at 1 gradients grow backwards, by nearly half in each block: the book's recipe
            nn.init.constant_(self.bn2.weight, SOFTMAX_SCALE)
        self.activation = ACTIVATIONS[activation]
        self.precise = False  # whether the output is float32 under autocast too

    def forward(self, x):
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(self.centre(x))))))
        x = residual + self.shortcut(x)
        return self.activation(precise(x) if self.precise else x)


class Layered(nn.Module):
    """A classifier whose layers are read: what its kinds have in common.

    A kind has `layers`, the names of the maps that are read, `stages`, the outputs that the Mahalanobis ensemble
    weighs, `activation`, `fc`, the linear classifier, and `outputs`, which yields (name, output) of the stem and of
    each layer, each computed when it is asked for.
    """

    def forward(self, images):
        """Logits (N, K) of normalised images (N, 3, H, W)."""
        return self.forward_layers(images)[0]

    def forward_layers(self, images):
        """One forward pass: logits (N, K) and the outputs, {"stem", "layer1.1", "layer1.2", ...: (N, C, H, W)}."""
        layers = dict(self.outputs(images))
        with torch.autocast(images.device.type, enabled=False):  # near -log C, bfloat16 has steps of 1/32
            pooled = self.adjust(layers[self.layers[-1]].mean((2, 3)))
            return self.fc(pooled.to(self.fc.weight.dtype)), layers

    def adjust(self, pooled):
        """Brings the pooled features (N, C) to a scale on which a classifier trains: the same family of functions.

        Log-probabilities over C channels share an offset of about -log C. Along the direction in which all weights of a
        class move together the loss is then far more curved than along any other, and training diverges. Adding
        log C removes most of the offset (the bias could absorb it). Probabilities are 1/C on average, too faint to
        learn from: they are multiplied by C (as the weights could be). The book's recipe shows what both are worth.
        """
        channels = pooled.shape[1]
        if self.activation == "log_softmax":
            return pooled + math.log(channels)
        return pooled * channels if self.activation == "softmax" else pooled

    def log_probs(self, layers):
        """The layers' maps of log-probabilities, {name: (N, C, H, W)}, from `forward_layers`' outputs.

        A log-softmax layer's output is its map already; other outputs are read post hoc: log-softmax over channels.
        """
        read = (lambda x: x) if self.activation == "log_softmax" else channel_log_softmax
        return {name: read(layers[name]) for name in self.layers}


class ResNet34(Layered):
    """See the module's docstring; build it with `resnet34`."""

    layers, stages = LAYERS, ("stem", "layer1.3", "layer2.4", "layer3.6", "layer4.3")

    def __init__(self, num_classes, width, activation, padding="zero"):
        super().__init__()
        self.activation = activation
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.ModuleList()
        channels_in = width
        for stage, count in enumerate(BLOCKS):
            channels = width * 2**stage
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                self.blocks.append(Block(channels_in, channels, stride, activation, padding))
                channels_in = channels
        self.blocks[-1].precise = True
        self.fc = nn.Linear(channels_in, num_classes)

    def outputs(self, images):
        x = self.stem(images)
        yield "stem", x
        for name, block in zip(self.layers, self.blocks):
            x = block(x)
            yield name, x


def resnet34(num_classes, width=64, activation="log_softmax", padding="zero"):
    """A CIFAR ResNet-34 with `activation` ("relu", "softmax" or "log_softmax") after each skip connection.

    `padding` ("zero" or "mean", see `Centre`) is what each block's first convolution finds beside its map. Raises
    InputError for an unknown activation or padding, a width below 1 or fewer than two classes.
    """
    return built(ResNet34, num_classes, width, activation, padding)


def built(kind, num_classes, width, activation, padding="zero"):
    """A network of this class; its convolutions start as for a ReLU network, by He et al. (2015)."""
    for name, value, known in (("activation", activation, ACTIVATIONS), ("padding", padding, PADDINGS)):
        if value not in known:
            raise InputError(f"unknown {name} {value!r}; choose from {', '.join(known)}")
    for name, value, least in (("width", width, 1), ("num_classes", num_classes, 2)):
        if not (isinstance(value, int) and value >= least):
            raise InputError(f"{name} must be a whole number, at least {least}, not {value!r}")
    model = kind(num_classes, width, activation, padding)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def block_names(model):
    """Names of the network's residual blocks, transformer blocks or stages, in the order in which it holds them.

    They are the outermost modules with a forward pass of their own (a Sequential only chains its parts) that hold a
    convolution or two linear layers and of whose class there are several. A network without such modules is read at
    its convolutions.
    """
    modules, names = list(model.named_modules()), []
    kinds = Counter(type(module) for _, module in modules)
    for name, module in modules:
        if not name or kinds[type(module)] == 1 or (names and name.startswith(f"{names[-1]}.")):
            continue
        own = type(module).forward not in (nn.Module.forward, nn.Sequential.forward)
        held = Counter(type(other) for other in list(module.modules())[1:])
        if own and (held[nn.Conv2d] or held[nn.Linear] > 1):
            names.append(name)
    return names or [name for name, module in modules if isinstance(module, nn.Conv2d)]


def refuse(output, what, wanted):
    got = f"a tensor {tuple(output.shape)}" if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
    raise InputError(f"{what} gives {got}, not {wanted}")


def as_map(name, module, output, count):
    """The output of a module for `count` images as a map (N, C, H, W); tokens (N, T, C) become (N, C, T, 1).

    Transformers have their channels last. Which axis that is say the module's LayerNorms and, where they do not, its
    linear layers: where neither knows the last axis and it alone, the output is refused.
    """
    what, wanted = f"layer {name!r}", "a map (N, C, H, W); name a module that gives one"
    if not (isinstance(output, torch.Tensor) and output.ndim in (3, 4) and output.shape[0] == count):
        refuse(output, what, wanted)
    norms = {part.normalized_shape[-1] for part in module.modules() if isinstance(part, (nn.LayerNorm, nn.RMSNorm))}
    linear = {part.out_features for part in module.modules() if norms and isinstance(part, nn.Linear)}
    channels_last = any(output.shape[-1] in known and output.shape[1] not in known for known in (norms, norms | linear))
    if output.ndim == 3:
        if not channels_last:
            refuse(output, what, wanted)
        return output.transpose(1, 2)[..., None]
    if channels_last:
        return output.permute(0, 3, 1, 2)
    if output.shape[1] == output.shape[2] != output.shape[3]:
        raise InputError(f"{what} gives (N, H, W, C), channels last; name one that gives (N, C, H, W)")
    return output


class Hooked(Layered):
    """Any classifier, read in its one forward pass through forward hooks; scorers take it like a `ResNet34`.

    `layers` are names of modules that give (N, C, H, W) or what `as_map` makes of it, as in `model.named_modules()`;
    without them, `block_names`. `stages`, which the Mahalanobis ensemble weighs, is the last read layer at each spatial
    resolution. The first forward pass settles it for good, so that images of another size meet the same ensemble. The
    wrapped model stays as it is: hooks are there only during a forward pass, and only for the thread that runs it.

    Raises InputError for a name that is no module, and in the forward pass for a layer that gives no map, is not called
    or is called twice, and for an output that is not logits (N, K).
    """

    activation = None  # whatever it is: all maps are read post hoc

    def __init__(self, model, layers=None):
        super().__init__()
        model = unwrapped(model)
        self.model, self.training, self.ends, self.found = model, model.training, None, layers is None
        self.layers = tuple(dict.fromkeys([layers] if isinstance(layers, str) else layers or block_names(model)))
        names = dict(model.named_modules(remove_duplicate=False))
        if not self.layers:
            raise InputError("the network has no convolution to find layers by; name modules that give (N, C, H, W)")
        for name in self.layers:
            if name not in names:
                near = difflib.get_close_matches(name, names, 3) or block_names(model)[:3] or [*names][1:4]
                raise InputError(f"the network has no module {name!r}; it has, for example, {', '.join(near)}")

    @property
    def stages(self):
        if self.ends is None:
            raise InputError("the stages are known after a first forward pass; run the network on a batch of images")
        return self.ends

    def forward_layers(self, images):
        """One forward pass: logits (N, K) and {name: (N, C, H, W)}, in the order in which the layers are called."""
        layers, thread = {}, threading.get_ident()

        def keep(name, module, args, output):
            if threading.get_ident() != thread:
                return
            if name in layers:
                raise InputError(f"layer {name!r} is called twice in one forward pass; name one that is called once")
            # the next module may work in place, as torchvision's ReLUs do
            layers[name] = as_map(name, module, output, images.shape[0]).clone()

        with ExitStack() as hooks:
            for name in self.layers:
                hooks.enter_context(self.model.get_submodule(name).register_forward_hook(partial(keep, name)))
            logits = self.model(images)
        if not (isinstance(logits, torch.Tensor) and logits.ndim == 2 and logits.shape[0] == images.shape[0]):
            refuse(logits, "the network", "logits (N, K); wrap it in a module that returns them")
        if self.found:  # some networks hold auxiliary heads that they do not call
            self.layers = tuple(name for name in self.layers if name in layers)
        for name in self.layers:
            if name not in layers:
                raise InputError(f"layer {name!r} is not called in the forward pass; name one that is")
        if self.ends is None:
            self.ends = tuple({x.shape[2:]: name for name, x in layers.items()}.values())
        return logits, layers

    def outputs(self, images):
        """(name, output) of each layer, as by `ResNet34.outputs`, but after the whole forward pass."""
        return iter(self.forward_layers(images)[1].items())


def unwrapped(model):
    """The network inside DataParallel, DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):  # as torch.compile names it
            model = model._orig_mod
        else:
            return model


def unhooked(model):
    """The network itself, without the `Hooked` around it."""
    return model.model if isinstance(model, Hooked) else unwrapped(model)


def tensors(value):
    """The tensors in an entry of a state dict: quantised layers keep tuples of them beside types."""
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in tensors(part)]
    return [value.dequantize() if value.is_quantized else value] if isinstance(value, torch.Tensor) else []


def fingerprint(model):
    """SHA-256 of a network's weights and buffers and their names."""
    digest = hashlib.sha256()
    for name, entry in unhooked(model).state_dict().items():
        for value in tensors(entry):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checksum(model):
    """Numbers that tell before each use, quickly, whether weights or buffers changed: sums of their bits by place."""
    sums = []
    for x in (*model.parameters(), *model.buffers()):
        if x.element_size() in INTEGERS and x.numel():
            bits = x.detach().view(INTEGERS[x.element_size()]).reshape(len(x) if x.ndim else 1, -1)
            for line in (bits.sum(0, dtype=torch.int64), bits.sum(1, dtype=torch.int64)):
                sums.append((line * torch.arange(1, len(line) + 1, device=x.device)).sum())
    return torch.stack(sums).tolist() if sums else []
