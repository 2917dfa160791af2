"""What trains a log-softmax network? Short trainings of the alternatives, recorded in results/recipe.csv.

    THESIS_DATA=... python -m experiments.recipe        # ten minutes on two CPU cores

Each row is one training of a width-16 ResNet-34 on CIFAR-10: 150 steps of 128 images, one cycle, one seed. It varies
the activation, the optimizer, whether the gradient norm is clipped to 1, and whether the classifier sees the pooled
features as they are or adjusted (`ResNet34.adjust`: log-probabilities plus log C, probabilities times C).
"""

import math
from functools import cache

import torch
from torch.nn import functional as F
from tqdm import tqdm

from experiments.recording import record, recorded
from thesis_utils import data
from thesis_utils.models import resnet34
from thesis_utils.training import accuracy, autocast

STEPS, BATCH, WIDTH = 150, 128, 16
SGD, ADAMW = "SGD", "AdamW"
VARIANTS = (  # activation, optimizer, peak learning rate, clipped, features adjusted
    ("relu", SGD, 0.1, False, False),
    ("relu", ADAMW, 2e-3, True, False),
    ("relu", ADAMW, 1e-2, True, False),
    ("softmax", SGD, 0.1, False, False),
    ("softmax", ADAMW, 2e-3, True, False),
    ("softmax", ADAMW, 1e-2, True, False),
    ("softmax", ADAMW, 2e-3, True, True),
    ("softmax", ADAMW, 1e-2, True, True),
    ("log_softmax", SGD, 0.1, False, False),
    ("log_softmax", SGD, 0.01, False, False),
    ("log_softmax", SGD, 0.1, False, True),
    ("log_softmax", SGD, 0.1, True, True),
    ("log_softmax", ADAMW, 2e-3, True, False),
    ("log_softmax", ADAMW, 2e-3, True, True),
    ("log_softmax", ADAMW, 1e-2, True, True),
    ("log_softmax", SGD, 0.1, True, False),
)
KEYS = ["activation", "optimizer", "learning_rate", "clipped", "adjusted"]


@cache
def training_images():
    images, held_out = data.hold_out(data.load("cifar10", "train"))
    return images, held_out, data.Normalisation.of(images)


def steps_of(model, optimizer, rate, count, what, clip=1.0):
    """Trains for so many steps, one cycle of the learning rate; yields each one's loss (nats), before its step."""
    images, _, normalise = training_images()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, count)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator)
    for batch in tqdm(order.split(BATCH)[:count], what, mininterval=5):
        inputs = normalise(data.shift(images.pixels[batch], data.draw(BATCH, generator)))
        with autocast(torch.device("cpu"), "bfloat16"):
            logits = model(inputs)
        loss = F.cross_entropy(logits.float(), images.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        yield loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        schedule.step()


def short_training(activation, optimizer, learning_rate, clipped, adjusted):
    """Largest cross-entropy of all steps, mean of the last 20 (nats), and the accuracy on the calibration images."""
    _, held_out, normalise = training_images()
    torch.manual_seed(0)
    model = resnet34(10, WIDTH, activation).to(memory_format=torch.channels_last)
    for block in model.blocks:  # as usual; `Block` starts a softmax network's at what experiments/softmax.py found best
        torch.nn.init.ones_(block.bn2.weight)
    if not adjusted:
        model.adjust = lambda pooled: pooled
    if optimizer == SGD:
        steps = torch.optim.SGD(model.parameters(), learning_rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    else:
        steps = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=0.05)
    what, clip = f"{activation} {optimizer} {learning_rate}", 1.0 if clipped else math.inf
    losses = [*steps_of(model, steps, learning_rate, STEPS, what, clip)]
    last = sum(losses[-20:]) / 20
    return {"largest_loss": max(losses), "last_loss": last, "accuracy": accuracy(model, held_out, normalise)}


if __name__ == "__main__":
    for variant in VARIANTS:
        key = dict(zip(KEYS, variant))
        if not recorded("recipe", key):
            record("recipe", KEYS, [key | short_training(**key)])
