"""What would void a detector's promise, or stop it: each refused in a sentence, or warned of."""

import random
import warnings

import numpy as np
import torch

from thesis_utils.errors import InputError
from thesis_utils.models import unhooked

TRIES = 20  # looks at one image where something draws random numbers


def first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


def refuse_infinite(rows, count, what, cure="leave it out"):
    """Refuses NaN and infinity among rows (N, ...), the first of which belongs to image `count`."""
    bad = ~rows.flatten(1).isfinite().all(1)
    if bad.any():
        first = f"image {count + int(bad.int().argmax())} {what} that is no finite number"
        raise InputError(f"{first}, {int(bad.sum())} of the {len(bad)} images of its batch do; {cure}")


def refuse_training(model):
    if any(module.training for module in unhooked(model).modules()):
        raise InputError("the network is in training mode: BatchNorm would change it; call model.eval() first")


def random_state(device):
    """The state of whatever random numbers a network or a transform may draw."""
    legacy, of_torch = np.random.get_state(), torch.get_rng_state()
    if device.type == "cuda":
        of_torch = torch.cat([of_torch, torch.cuda.get_rng_state(device)])
    return random.getstate(), legacy[1].tolist(), legacy[2], of_torch.tolist()


def hashes(batch):
    """A number for each image of a batch, equal for equal images: (N,) int64."""
    return torch.tensor([hash(image.contiguous().view(torch.uint8).numpy().tobytes()) for image in batch.cpu()])


def warn_of_repeats(calibration, fitted):
    """Warns where the images of these hashes are no fresh, different ones: the promise holds for such only."""
    repeated, known = len(calibration) - len(np.unique(calibration)), int(np.isin(calibration, fitted).sum())
    if repeated or known:
        warnings.warn(
            f"of {len(calibration)} calibration images {repeated} repeat others and {known} are among those fitted on; "
            "the share of false alarms is promised for different images that nothing else was fitted on",
            stacklevel=3,
        )


def refuse_fickle(features, image, device, tolerance):
    """Refuses `features` of an image (1, ...), {name: (1, D)}, that are left to chance or to other images.

    `tolerance` is the share of a feature by which rounding may change it.
    """

    def differs(other):
        for name, x in first.items():
            if not torch.allclose(x[0], other[name][0], tolerance, tolerance * float(x.abs().max())):
                return True
        return False

    before = random_state(device)
    first = features(image)
    looks = TRIES if random_state(device) != before else 1
    if any(differs(features(image)) for _ in range(looks)):
        raise InputError("the same image twice gives other readings: network or transform draw random numbers")
    if differs(features(torch.cat([image, torch.zeros_like(image)]))):
        raise InputError(
            "an image's readings depend on the other images of its batch (through a BatchNorm without running "
            "statistics, say); a p-value of one image needs a network that looks at one at a time"
        )


def refused(error, batch):
    """The InputError for what a network raised at a batch."""
    reason = first_line(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in reason:
        said = f"out of memory with {len(batch)} images at a time; give the Detector a smaller batch_size, or smaller"
        return InputError(f"{said} batches ({reason})")
    return InputError(f"the network does not take images of shape {tuple(batch.shape[1:])}: {reason}")
