"""Are scenes far from CIFAR-10, or merely aliased? results/aliasing*.csv.

    THESIS_DATA=... python -m experiments.aliasing        # ten minutes on two CPU cores

- aliasing_spectra.csv: the radially averaged power spectrum of each set, the mean of its first 2,000 test images.
- aliasing_within.csv: within CIFAR-10's test images, Spearman's rank correlation of min of MiSP at each layer (MiSP at
  `fc`) with a property of the image that needs no network, in every recorded run.
- aliasing_matched.csv: AUROC of the recorded scores, of all pairs of a CIFAR-10 image and another, and only of those
  that have about the same high-frequency energy (both are in the same of `STRATA` groups by it).
- aliasing.csv: AUROC at each layer of two networks against images made for this question.

Expected, if fine detail is what the first layers see: within CIFAR-10 the score falls with high-frequency energy;
CIFAR-10 images with the spectra of scenes are told apart like scenes, and scenes with the spectra of CIFAR-10 no
longer; nor are images of equal high-frequency energy. Each could have come out otherwise. Near-Nyquist energy was
added when the last had. AUROCs are in per cent and `fixed_direction`: above 50 where the other set's score is higher.
"""

from functools import cache

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch.nn import functional as F

from experiments.misp import misp_everywhere
from experiments.recording import record
from thesis_utils import data, metrics, runs, scorers
from thesis_utils.book.aliasing import RADII, energy, grey, radial, radii
from thesis_utils.evaluation import BATCH
from thesis_utils.models import LAYERS
from thesis_utils.runs import run as store
from thesis_utils.runs.config import GRID

COUNT, STRATA = 2000, 50
FINE, FINEST = "high-frequency energy", "near-Nyquist energy"
KNOWN, SCENES = "cifar10", ("places9_resize", "places9_fix")
OTHERS = ("cifar100", "svhn", *SCENES)
SCORES = [*(f"{layer}/min_of_misp" for layer in LAYERS), "fc/misp"]
PLACES = (*LAYERS, "fc")


# --- images -------------------------------------------------------------------------------------------


@cache
def first(name):
    return data.load(name).pixels[:COUNT]


def other():
    """CIFAR-10's second 2,000 test images: the first are the in-distribution."""
    return data.load(KNOWN).pixels[COUNT : 2 * COUNT]


def resized(pixels, size, mode):
    """Images (N, H, W, 3) in another size; only "lanczos" and "area" have antialiasing."""
    if mode == "lanczos":
        images = (Image.fromarray(one).resize((size, size), Image.Resampling.LANCZOS) for one in pixels.numpy())
        return torch.from_numpy(np.stack([np.asarray(one) for one in images]))
    found = F.interpolate(pixels.permute(0, 3, 1, 2).float(), (size, size), mode=mode)
    return found.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def there_and_back(mode):
    return resized(resized(other(), data.SIZE // 2, mode), data.SIZE, "bilinear")


def cut_out(mode):
    """The middle 16 x 16 pixels, enlarged."""
    return resized(other()[:, 8:24, 8:24], data.SIZE, mode)


def mosaics(mode):
    """500 mosaics of 4 x 4 CIFAR-10 images each, 128 x 128 like the scenes, shrunk to 32 x 32 like them."""
    tiles = data.load(KNOWN).pixels[COUNT:].view(500, 4, 4, 32, 32, 3)
    return resized(tiles.transpose(2, 3).reshape(500, 128, 128, 3), data.SIZE, mode)


def with_spectrum(pixels, givers):
    """Images (N, 32, 32, 3), each with the radial power spectrum of the brightness of one of as many `givers`.

    All frequencies of about one radius have their amplitudes times one factor; phases and means stay, so does what is
    to be seen. Images are mirrored at their edges, and cut off at 0 and 255 afterwards.
    """
    own, wanted = (radial(grey(one)).clamp_min(1e-6) for one in (pixels, givers))
    gain = (wanted / own).sqrt()
    at = radii(2 * data.SIZE).div(2).clamp(1, max(RADII)) - 1  # of the mirrored images, as a place in `gain`
    low, share = at.long(), at.frac()
    factors = torch.lerp(gain[:, low], gain[:, (low + 1).clamp(max=len(RADII) - 1)], share)[:, None]
    factors[..., 0, 0] = 1
    x = pixels.float().permute(0, 3, 1, 2)
    x = torch.cat([x, x.flip(2)], 2)
    x = torch.cat([x, x.flip(3)], 3)
    x = torch.fft.ifft2(torch.fft.fft2(x) * factors).real[..., : data.SIZE, : data.SIZE]
    return x.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def exchanged(own, giver):
    """Images of one set, each with the spectrum of some image of another; CIFAR-10's are none of the known ones."""
    givers = data.load(KNOWN).pixels[2 * COUNT : 3 * COUNT] if giver == KNOWN else first(giver)
    return with_spectrum(other() if own == KNOWN else first(own), givers)


MADE = {
    "cifar10, unchanged": other,
    **{name: lambda name=name: first(name) for name in (*OTHERS, "noise")},
    "cifar10, every second pixel, enlarged again": lambda: there_and_back("nearest"),
    "cifar10, means of 2 x 2 pixels, enlarged again": lambda: there_and_back("area"),
    "cifar10, middle enlarged bilinearly": lambda: cut_out("bilinear"),
    "cifar10, middle enlarged by repeating pixels": lambda: cut_out("nearest"),
    "cifar10 mosaic, shrunk like places9_resize": lambda: mosaics("bilinear"),
    "cifar10 mosaic, shrunk like places9_fix": lambda: mosaics("lanczos"),
    **{
        f"{own}, spectra of {giver}": lambda own=own, giver=giver: exchanged(own, giver)
        for own, giver in [
            *((KNOWN, name) for name in (KNOWN, "svhn", *SCENES)),
            *((name, KNOWN) for name in ("svhn", *SCENES)), SCENES,
        ]
    },
}  # fmt: skip


# --- what is measured ---------------------------------------------------------------------------------


def recorded():
    """Every recorded run on CIFAR-10 of the thesis' three networks."""
    return [
        run
        for activation, factor in GRID
        for run in runs.seeds(runs.configure("compact", activation=activation, entropy_factor=factor))
    ]


def steepest(brightness):
    """The largest difference of two neighbouring pixels: (N, H, W) -> (N,)."""
    return torch.maximum(brightness.diff(dim=1).abs().amax((1, 2)), brightness.diff(dim=2).abs().amax((1, 2)))


PROPERTIES = {
    "brightness": lambda x: x.mean((1, 2)),
    "contrast": lambda x: x.std((1, 2)),
    "low-frequency energy": lambda x: energy(x, 0, 8),
    FINE: energy,
    FINEST: lambda x: energy(x, 12),
    "steepest edge": steepest,
}


@cache
def measured(name, which):
    """A property of all of a set's test images."""
    return torch.cat([PROPERTIES[which](grey(pixels)) for pixels in data.load(name).pixels.split(1000)]).numpy()


def within(name, which):
    run = next(run for run in recorded() if run.config.name == name)
    scores = run.scores(KNOWN)
    return [spearmanr(scores[score], measured(KNOWN, which)).statistic for score in SCORES]


def area(known, unknown, score="layer1.1/min_of_misp"):
    return 100 * metrics.fixed_direction(known, unknown, scorers.sign(score))


def stratified(known, unknown, groups):
    """The AUROC over those pairs (known, unknown) only that are in the same group, and their share of all pairs."""
    found = []
    for group in np.unique(groups[0]):
        inside, outside = known[groups[0] == group], unknown[groups[1] == group]
        if len(outside):
            found.append((len(inside) * len(outside), area(inside, outside)))
    weights, areas = np.array(found).T
    return np.average(areas, weights=weights), weights.sum() / (len(known) * len(unknown))


def groups_of(ood, which):
    """Of each CIFAR-10 image and each image of `ood` the group of about equal values of a property."""
    values = measured(KNOWN, which), measured(ood, which)
    everything = np.concatenate(values)
    weights = np.concatenate([np.full(len(one), 1 / len(one)) for one in values])  # both sets count equally
    order = everything.argsort()
    group = np.empty(len(order))
    group[order] = np.ceil(weights[order].cumsum() / 2 * STRATA - 1e-9)
    return np.split(group, [len(values[0])])


def matched(name, ood, which):
    """AUROCs at the layers and `fc`, that of the property alone as a score of all images, the share of pairs taken."""
    run = next(run for run in recorded() if run.config.name == name)
    known, unknown = run.scores(KNOWN), run.scores(ood)
    if which == "nothing":
        groups, alone = [np.zeros(len(one)) for one in (known, unknown)], np.nan
    else:
        groups, alone = groups_of(ood, which), 100 * metrics.auroc(measured(KNOWN, which), measured(ood, which))
    found = [stratified(known[score].to_numpy(), unknown[score].to_numpy(), groups) for score in SCORES]
    return *(value for value, _ in found), alone, found[0][1]


@cache
def scores_of(activation, which):
    """Min of MiSP at each layer, MiSP at `fc`: (N, 17)."""
    model, normalise = runs.find(runs.configure("compact", activation=activation)).network
    pixels = first(KNOWN) if which == KNOWN else MADE[which]()
    found = [misp_everywhere(model, normalise(batch)) for batch in pixels.split(BATCH)]
    return torch.cat([torch.stack([*scores.values()], 1) for scores in found]).numpy()


def against_made(activation, which):
    known, unknown = scores_of(activation, KNOWN), scores_of(activation, which)
    fine = energy(grey(MADE[which]())).median().item()
    return len(unknown), fine, *(area(known[:, k], unknown[:, k]) for k in range(len(PLACES)))


def in_order(file):
    """The names of the recorded runs, those first that the file has already: `record` appends."""
    path = store.RECORDED / file
    known = pd.read_csv(path).run.unique() if path.exists() else []
    return [*known, *(run.config.name for run in recorded() if run.config.name not in known)]


def mean_spectrum(name):
    return radial(grey(first(name))).mean(0)


if __name__ == "__main__":
    sets = [(name,) for name in (KNOWN, *OTHERS, "noise")]
    record("aliasing_spectra.csv", ("set", *RADII), sets, mean_spectrum)
    pairs = [(name, which) for name in in_order("aliasing_within.csv") for which in PROPERTIES]
    record("aliasing_within.csv", ("run", "property", *PLACES), pairs, within)
    names = in_order("aliasing_matched.csv")
    triples = [(name, ood, which) for name in names for ood in OTHERS for which in ("nothing", FINE, FINEST)]
    record("aliasing_matched.csv", ("run", "ood", "matched", *PLACES, "alone", "pairs"), triples, matched)
    made = [(activation, which) for activation in ("relu", "log_softmax") for which in MADE]
    record("aliasing.csv", ("activation", "images", "n", "energy", *PLACES), made, against_made)
