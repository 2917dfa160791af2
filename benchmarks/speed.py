"""How fast? Ratios measured in one process, on the same network and the same images.

    make bench                                          # three minutes on two CPU cores: width 16
    python -m benchmarks.speed --width 16 32 64

1. Our single pass (nine scores at 16 layers, final-layer scores, Mahalanobis at 17 layers and the ensemble) and the
   p-values of a fitted `Detector` against a plain forward pass, and pytorch-ood's detectors gathering one score after
   the other.
2. `training.train` (images in memory as uint8, augmentation in batches, channels_last, and bfloat16 where the
   processor computes in it) against the plain loop of a tutorial: a DataLoader with PIL transforms, float32. Each call
   is one epoch at full size by the same recipe, from a new network to a written checkpoint; both also measure the
   accuracy on held-out images, a quarter as many as are trained on (CIFAR-10: a twenty-fourth). Ours also pays for
   dividing and normalising the data set; the DataLoader's workers run already. Per image trained on. A matrix product
   in bfloat16 of as many operations says how near that is to what the processor can do: the last column is its time
   over that of `train`.

On two cores with AVX-512 bfloat16, torch 2.14.1, in one run a width:

| width | single pass / forward pass | 20 detectors in turn | `train` / tutorial, bfloat16 | float32 | of its product |
| --- | --- | --- | --- | --- | --- |
| 16 | 1.3 | 20.5 | 0.58 | 0.89 | |
| 32 | 1.13 | 20.2 | 0.59 | 0.94 | 0.74 |
| 64 | 1.07 | 20.1 | 0.54 | 0.95 | 0.83 |

Contenders take turns, so that a slow minute of the machine hits all of them; a ratio is that of the medians.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch_ood import detector as others
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.throughput import forward_operations, random_images
from thesis_utils import Detector, data, evaluation, runs
from thesis_utils.models import LAYERS, resnet34
from thesis_utils.training import precision_on, train

# images to score and steps to train at width 16; a wider network gets fewer
IMAGES, ROUNDS = 250, 7
STEPS, TRAINING_ROUNDS, TRAIN_BATCH = 16, 3, 128
SIDE = 2048  # of the square matrices
RECIPE = dict(learning_rate=2e-3, weight_decay=0.05)


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


def scoring(width):
    torch.manual_seed(0)
    images = random_images(1000)
    model = resnet34(10, width).to(memory_format=torch.channels_last).eval()
    scorer = evaluation.Scorer(model, data.Normalisation.of(images)).fit(images, images.subset(torch.arange(100)))
    pixels = images.pixels[: IMAGES * 16 // width]
    inputs = scorer.normalise(pixels)

    def encoder(name):
        return lambda x: model.forward_layers(x)[1][name].mean((2, 3))

    fitted = Detector(model, scorer.normalise).fit(images.pixels[:-100], images.pixels[-100:])
    detectors = [others.MaxSoftmax(model), others.MaxLogit(model), others.EnergyBased(model)]
    for name in ("stem", *LAYERS):
        mahalanobis = others.Mahalanobis(encoder(name))
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

    contenders = {
        "plain forward pass": plain,
        "our single pass: 167 scores": lambda: scorer(pixels),
        "Detector.p_values": lambda: fitted.p_values(pixels),
        f"pytorch-ood, {len(detectors)} detectors one after the other": theirs,
    }
    report(f"Scoring, width {width}", take_turns(contenders, ROUNDS), len(pixels))


class Pictures(Dataset):
    """What a tutorial does: PIL images, transformed one at a time."""

    def __init__(self, images, *transformed):
        self.images, self.transform = images, transforms.Compose(transformed)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, k):
        return self.transform(Image.fromarray(self.images.pixels[k].numpy())), int(self.images.labels[k])


def tutorial(images, width, folder):
    """The epoch of a tutorial, as a function; it does what `train` does, with the usual means."""
    fit, held_out = data.hold_out(images)
    normalise = data.Normalisation.of(fit)
    tensors = transforms.ToTensor(), transforms.Normalize(normalise.mean, normalise.std)
    augmented = Pictures(fit, transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *tensors)
    workers = dict(num_workers=2, persistent_workers=True)
    loader = DataLoader(augmented, TRAIN_BATCH, shuffle=True, drop_last=True, **workers)
    held_out_loader = DataLoader(Pictures(held_out, *tensors), TRAIN_BATCH, **workers)

    def epoch():
        model = resnet34(10, width)
        optimizer = torch.optim.AdamW(model.parameters(), RECIPE["learning_rate"], weight_decay=RECIPE["weight_decay"])
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RECIPE["learning_rate"], len(loader))
        model.train()
        for inputs, labels in loader:
            loss = F.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(inputs).argmax(1) == labels).sum().item() for inputs, labels in held_out_loader)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "hits": hits}
        torch.save(state, folder / "tutorial.pt")

    return epoch


def ours(width, precision, folder):
    """One epoch of `train`, as a function; every call begins anew."""
    config = runs.configure(
        "compact", dataset="random", width=width, epochs=1, batch_size=TRAIN_BATCH, sizes="32", optimizer="adamw",
        padding="zero", clip_norm=1.0, flip=True, precision=precision, **RECIPE,
    )  # fmt: skip

    def epoch():
        with tempfile.TemporaryDirectory(dir=folder) as new, contextlib.redirect_stderr(io.StringIO()):  # no bars
            train(config, Path(new), "cpu")

    return epoch


def product(width, steps, forward_only):
    """A bfloat16 matrix product of as many operations as training on, and looking at, so many images; as a function."""
    operations = forward_operations(width) * (3 * steps + forward_only)  # backward: twice forward
    factor = torch.randn(SIDE, SIDE, dtype=torch.bfloat16)

    def multiply():
        for _ in range(round(operations / (2 * SIDE**3))):
            factor @ factor

    return multiply


def training(width):
    images = random_images(STEPS * 16 // width * TRAIN_BATCH * 5 // 4)  # a fifth is held out
    fit = len(data.hold_out(images)[0])
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        arrays = {"train_images": images.pixels, "train_labels": images.labels, "classes": images.classes}
        np.savez(folder / "random.npz", **{key: np.asarray(values) for key, values in arrays.items()})
        os.environ["THESIS_DATA"] = str(folder)
        data.loaded.cache_clear()  # another width's data set had this name too
        contenders = {
            "a tutorial's DataLoader with PIL, two workers, float32": tutorial(images, width, folder),
            "training.train, float32": ours(width, "float32", folder),
        }
        if precision_on("cpu", "bfloat16") == "bfloat16":
            contenders["training.train, bfloat16"] = ours(width, "bfloat16", folder)
            contenders["a bfloat16 matrix product of as many operations"] = product(width, fit, len(images) - fit)
        report(f"Training, log-softmax, width {width}", take_turns(contenders, TRAINING_ROUNDS), fit)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--width", nargs="+", type=int, default=[16], help="of the ResNet-34; default: 16")
    widths = options.parse_args().width
    print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")
    for width in widths:
        scoring(width)
        training(width)
