"""What holds a softmax network back? Short trainings with one thing changed each, recorded in results/softmax.csv.

    THESIS_DATA=... python -m experiments.softmax        # fifteen minutes on two CPU cores

Each row is one training of a width-16 ResNet-34 with softmax on CIFAR-10 by the recipe of the book's softmax networks:
300 steps of 128 images, one cycle of AdamW up to 0.01, one seed, the gradient clipped to 1. `skip` and `epsilon` are
measured on 512 images before the first step, `peak` after the last, each a mean over the 16 blocks:

skip       standard deviation of what the skip connection adds, over that of the block's own branch
epsilon    share of BatchNorm's denominator that is its epsilon and not the variance, at each block's first BatchNorm
peak       largest softmax probability of a pixel: 1/C if nothing is preferred, 1 if saturated
gradient   norm of the gradient of the first block's second convolution over that of the last block's
"""

import torch
from torch import nn
from torch.nn import functional as F

from experiments.recipe import WIDTH, steps_of, training_images
from experiments.recording import record, recorded
from thesis_utils.models import channel_softmax, resnet34
from thesis_utils.training import accuracy

STEPS, PEAK_RATE = 300, 1e-2


class Nothing(nn.Module):
    """A skip connection that is cut."""

    def forward(self, x):
        return x.new_zeros(1)


def small_epsilon(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-12


def scaled(factor):
    def change(model):
        for block in model.blocks:
            nn.init.constant_(block.bn2.weight, factor)

    return change


def louder_skips(model):
    """Each block puts out C times the softmax, 1 on average: the functions of a network with other weights."""
    for block in model.blocks:
        block.activation = lambda x: x.shape[1] * channel_softmax(x)
    model.adjust = lambda pooled: pooled


def without_skips(model):
    for block in model.blocks:
        block.shortcut = Nothing()


VARIANTS = {
    "branch starts at 1, as usual": scaled(1.0),
    "softmax times C, so that skips carry": louder_skips,
    "BatchNorm's epsilon 1e-12": small_epsilon,
    "skips cut": without_skips,
    "ReLU, for comparison": "relu",
    "branch starts at a scale of 3": scaled(3.0),
    "branch starts at a scale of 0.3": scaled(0.3),
    "branch starts at a scale of 0.1": scaled(0.1),
}


@torch.no_grad()
def watched(model, images):
    """(skip, epsilon, peak) of a batch of normalised images, means over the blocks."""
    seen = {"skip": [], "epsilon": [], "peak": []}
    x = model.stem(images)
    for block in model.blocks:
        inside = block.conv1(block.centre(x))
        variance = inside.var((0, 2, 3))
        seen["epsilon"].append((block.bn1.eps / (variance + block.bn1.eps)).mean())
        branch = block.bn2(block.conv2(F.relu(block.bn1(inside))))
        skip = block.shortcut(x)
        seen["skip"].append(skip.std(correction=0) / branch.std(correction=0))  # a cut one is a single 0
        x = block.activation(branch + skip)
        seen["peak"].append(channel_softmax(branch + skip).amax(1).mean())
    return {key: torch.stack(values).mean().item() for key, values in seen.items()}


def measure(variant):
    images, held_out, normalise = training_images()
    torch.manual_seed(0)
    change = VARIANTS[variant]
    model = resnet34(10, WIDTH, "relu" if change == "relu" else "softmax").to(memory_format=torch.channels_last)
    if change != "relu":
        scaled(1.0)(model)  # as usual; `Block` starts them where this experiment found it best
        change(model)
    before = watched(model.train(), normalise(images.pixels[:512]))  # BatchNorm by the batch, as in training
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE, weight_decay=0.05)
    losses, ratio = [], None
    for loss in steps_of(model, optimizer, PEAK_RATE, STEPS, variant):
        losses.append(loss)
        if ratio is None:
            first, last = (block.conv2.weight.grad.norm() for block in (model.blocks[0], model.blocks[-1]))
            ratio = (first / last).item()
    after = watched(model.train(), normalise(images.pixels[:512]))
    return {
        "variant": variant,
        "skip": before["skip"],
        "epsilon": before["epsilon"],
        "gradient": ratio,
        "peak": after["peak"],
        "last_loss": sum(losses[-20:]) / 20,
        "accuracy": accuracy(model, held_out, normalise),
    }


if __name__ == "__main__":
    for variant in VARIANTS:
        if not recorded("softmax", {"variant": variant}):
            record("softmax", ["variant"], [measure(variant)])
