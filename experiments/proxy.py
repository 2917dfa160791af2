"""What do the offset of log-probabilities and the optimizer cost? A network fits 3,008 images; results/proxy.csv.

    THESIS_DATA=... OMP_NUM_THREADS=1 python -m experiments.proxy        # ten minutes a row on one core

CIFAR-10 at 16 pixels, width 16, 920 steps of 128 images (40 epochs), crop and flip, one cycle, gradient clipped to 1,
one seed, float32. Training loss (nats) and accuracy are means of the last 20 steps; held out are the 2,000 calibration
images. That the network cannot fit so few images is a fault of the training; that it does not know the others is not.

The recorded rows are those of a first version of this script: SGD's momentum stayed at 0.9, the cycle rose in a
straight line for a quarter of the steps, and with padding "mean" the first block, which follows the stem's ReLU, kept
its zeros.
"""

import torch
from torch.nn import functional as F
from tqdm import tqdm

from experiments.recording import record, recorded
from thesis_utils import data, runs
from thesis_utils.models import resnet34
from thesis_utils.training import accuracy, one_cycle, optimizers_of, resized

STEPS, BATCH, SIZE, IMAGES = 920, 128, 16, 3008
KEYS = ["activation", "padding", "optimizer", "learning_rate", "weight_decay"]
VARIANTS = [
    ("relu", "zero", "sgd", 0.2, 5e-4), ("log_softmax", "zero", "sgd", 0.2, 5e-4),
    ("log_softmax", "zero", "sgd", 0.2, 5e-5), ("log_softmax", "mean", "sgd", 0.2, 5e-4),
    ("relu", "zero", "muon", 0.05, 5e-4), ("log_softmax", "zero", "muon", 0.05, 5e-4),
    ("log_softmax", "mean", "muon", 0.05, 5e-4), ("relu", "zero", "muon", 0.02, 5e-4),
    ("log_softmax", "zero", "muon", 0.02, 5e-4), ("log_softmax", "mean", "muon", 0.02, 5e-4),
    ("log_softmax", "mean", "muon", 0.01, 5e-4), ("softmax", "zero", "muon", 0.02, 5e-4),
]  # fmt: skip


def measure(activation, padding, optimizer, learning_rate, weight_decay):
    """Training loss, training accuracy and accuracy held out (shares) of one variant."""
    everything, held_out = data.hold_out(data.load("cifar10", "train"))
    images = everything.subset(torch.arange(0, len(everything), 16)[:IMAGES])
    normalise = data.Normalisation.of(everything)
    config = runs.configure("compact", optimizer=optimizer, weight_decay=weight_decay, rest_rate=0.1 / learning_rate)
    torch.manual_seed(0)
    model = resnet34(10, 16, activation, padding).to(memory_format=torch.channels_last)
    optimizers = optimizers_of(config, model, learning_rate)
    schedules = [one_cycle(config, one, STEPS) for one in optimizers]
    generator = torch.Generator().manual_seed(5)

    def seen(pixels):
        return resized(normalise(pixels), SIZE)

    losses, hits, order = [], [], []
    for _ in tqdm(range(STEPS), f"{activation} {padding} {optimizer} {learning_rate}", mininterval=5):
        if len(order) < BATCH:
            order = torch.randperm(len(images), generator=generator)
        batch, order = order[:BATCH], order[BATCH:]
        logits = model(seen(data.shift(images.pixels[batch], data.draw(BATCH, generator))))
        loss = F.cross_entropy(logits, images.labels[batch])
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for one in (*optimizers, *schedules):
            one.step()
        losses.append(loss.item())
        hits.append((logits.argmax(1) == images.labels[batch]).float().mean().item())
    return sum(losses[-20:]) / 20, sum(hits[-20:]) / 20, accuracy(model, held_out, seen)


if __name__ == "__main__":
    for variant in VARIANTS:
        key = dict(zip(KEYS, variant))
        if not recorded("proxy", key):
            found = dict(zip(("training_loss", "training_accuracy", "held_out"), measure(*variant)))
            record("proxy", KEYS, [key | found])
