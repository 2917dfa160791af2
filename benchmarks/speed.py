"""How fast? Ratios measured in one process, on the same network and the same images.

    make bench                  # three minutes on two CPU cores

1. Our single pass (nine scores at 16 layers, final-layer scores, Mahalanobis at 17 layers and the ensemble) against a
   plain forward pass, and against pytorch-ood's detectors gathering one score after the other.
2. Our training step (images in memory as uint8, augmentation in batches, channels_last, and bfloat16 where the
   processor computes in it) against the plain loop of a tutorial: a DataLoader with PIL transforms, float32.

Contenders take turns, so that a slow minute of the machine hits all of them; a ratio is that of the medians.
"""

import statistics
import time

import numpy as np
import torch
from PIL import Image
from pytorch_ood import detector
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from thesis_utils import data, evaluation
from thesis_utils.models import LAYERS, resnet34
from thesis_utils.training import precision_on

WIDTH, BATCH, ROUNDS = 16, 250, 7
STEPS, TRAIN_BATCH = 8, 128


def take_turns(contenders, rounds):
    """Median seconds of each contender {name: function}, after one round to warm up."""
    seconds = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, function in contenders.items():
            started = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(title, seconds, unit):
    print(f"\n{title}")
    base = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"  {name:<58} {1000 * value / unit:8.2f} ms an image   {value / base:6.2f}x")


def random_images(count):
    rng = np.random.default_rng(0)
    return data.as_images(
        "random", rng.integers(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % 10, range(10)
    )


def scoring():
    torch.manual_seed(0)
    images = random_images(1000)
    model = resnet34(10, WIDTH).to(memory_format=torch.channels_last).eval()
    scorer = evaluation.Scorer(model, data.Normalisation.of(images)).fit(images, images.subset(torch.arange(100)))
    pixels = images.pixels[:BATCH]
    inputs = scorer.normalise(pixels)

    def encoder(name):
        return lambda x: model.forward_layers(x)[1][name].mean((2, 3))

    detectors = [detector.MaxSoftmax(model), detector.MaxLogit(model), detector.EnergyBased(model)]
    for name in ("stem", *LAYERS):
        mahalanobis = detector.Mahalanobis(encoder(name))
        with torch.inference_mode():
            features = encoder(name)(scorer.normalise(images.pixels[:500]))
        detectors.append(mahalanobis.fit_features(features, images.labels[:500]))

    def plain():
        with torch.inference_mode():
            model(inputs)

    def theirs():
        with torch.inference_mode():
            for one in detectors:
                one.predict(inputs)

    names = (
        "plain forward pass",
        "our single pass: 165 scores",
        f"pytorch-ood, {len(detectors)} detectors one after the other",
    )
    report("Scoring", take_turns(dict(zip(names, (plain, lambda: scorer(pixels), theirs))), ROUNDS), BATCH)


class Pictures(Dataset):
    """What a tutorial does: PIL images, transformed one at a time."""

    def __init__(self, images, normalise):
        self.images = images
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(normalise.mean, normalise.std),
            ]
        )

    def __len__(self):
        return len(self.images)

    def __getitem__(self, k):
        return self.transform(Image.fromarray(self.images.pixels[k].numpy())), int(self.images.labels[k])


def training():
    images = random_images(STEPS * TRAIN_BATCH)
    normalise = data.Normalisation.of(images)

    def step(model, optimizer, inputs, labels, bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = model(inputs)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def learner(fused, memory_format):
        torch.manual_seed(0)
        model = resnet34(10, WIDTH).to(memory_format=memory_format)
        return model, torch.optim.AdamW(model.parameters(), 1e-3, fused=fused)

    def ours(bfloat16):
        model, optimizer = learner(True, torch.channels_last)
        generator = torch.Generator().manual_seed(0)

        def epoch():
            for batch in torch.randperm(len(images), generator=generator).split(TRAIN_BATCH):
                inputs = normalise(data.augment(images.pixels[batch], generator))
                step(model, optimizer, inputs, images.labels[batch], bfloat16)

        return epoch

    def plain():
        model, optimizer = learner(False, torch.contiguous_format)
        loader = DataLoader(
            Pictures(images, normalise), TRAIN_BATCH, shuffle=True, num_workers=2, persistent_workers=True
        )

        def epoch():
            for inputs, labels in loader:
                step(model, optimizer, inputs, labels, False)

        return epoch

    contenders = {
        "DataLoader with PIL, two workers, float32": plain(),
        "our step, float32": ours(False),
    }
    if precision_on("cpu", "bfloat16") == "bfloat16":
        contenders["our step, bfloat16"] = ours(True)
    report("Training, log-softmax", take_turns(contenders, 3), len(images))


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, ResNet-34 of width {WIDTH}")
    scoring()
    training()
