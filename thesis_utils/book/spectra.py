"""Power spectra of images: how much fine detail there is, measured without any network.

Images are uint8 arrays (N, H, W, 3), brightness (N, H, H); frequencies are in cycles an image, of which an image of 32
pixels shows at most 16 along a side, its Nyquist frequency.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from thesis_utils.book import numbers, plots, tables

SIZE = 32  # pixels
RADII = range(1, SIZE // 2 + 1)
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
FINE, FINEST = "high-frequency energy", "near-Nyquist energy"
ABOVE = {FINE: SIZE / 4, FINEST: 3 * SIZE / 8}  # cycles an image
WITH_OTHER = "places9_resize, spectra of cifar10"  # in results/aliasing.csv


def grey(pixels):
    """Brightness of images (N, H, W, 3), 0 to 255: (N, H, W)."""
    return np.asarray(pixels, dtype=float) @ GREY


def radii(size=SIZE):
    """The frequency of each place of a two-dimensional FFT: (size, size)."""
    frequencies = size * np.fft.fftfreq(size)
    return np.hypot(frequencies[:, None], frequencies)


def power(brightness):
    """Power |F|^2 / (H W) of square images (N, H, H) less their mean, times a Hann window: (N, H, H).

    The window takes away the step between opposite edges, which would look like fine detail.
    """
    size = brightness.shape[-1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    centred = brightness - brightness.mean((1, 2), keepdims=True)
    return np.abs(np.fft.fft2(centred * window[:, None] * window)) ** 2 / size**2


def radial(brightness):
    """The radially averaged power spectrum: images (N, 32, 32) -> (N, 16), of 1 to 16 cycles an image."""
    spectrum, rings = power(brightness), radii().round()
    return np.stack([spectrum[:, rings == radius].mean(1) for radius in RADII], 1)


def energy(brightness, above=ABOVE[FINE], up_to=SIZE):
    """log10 of the power between two frequencies: (N, 32, 32) -> (N,)."""
    frequencies = radii()
    inside = (frequencies > above) & (frequencies <= up_to)
    return np.log10(power(brightness)[:, inside].sum(1).clip(1e-6))


def photographs():
    """The middle squares of scikit-learn's two sample photographs: {name: uint8 (H, H, 3)}."""
    from sklearn.datasets import load_sample_images  # takes a second

    found = load_sample_images()
    squares = {}
    for path, pixels in zip(found.filenames, found.images):
        side, left = pixels.shape[0], (pixels.shape[1] - pixels.shape[0]) // 2
        squares[Path(path).stem] = pixels[:, left : left + side]
    return squares


def shrunk(photo, antialiasing=True):
    """A square photograph at 32 x 32 pixels: Lanczos, or bilinear from four neighbouring pixels and no others."""
    image, size = Image.fromarray(photo), (SIZE, SIZE)
    if antialiasing:
        return np.asarray(image.resize(size, Image.Resampling.LANCZOS))
    scale = len(photo) / SIZE
    return np.asarray(image.transform(size, Image.Transform.AFFINE, (scale, 0, 0, 0, scale, 0), resample=2))


def sharpened(pixels, amount):
    """An image (H, W, 3) plus `amount` times what a Gaussian of one pixel blurs away; a negative amount blurs."""
    pixels = pixels.astype(float)
    smooth = gaussian_filter(pixels, (1, 1, 0), mode="nearest")
    return (pixels + amount * (pixels - smooth)).clip(0, 255).round().astype(np.uint8)


def no_network(layer="layer1.1"):
    """What a sum of squares tells of whole data sets, beside a network: (AUROCs in percent, the network's rows).

    A row a set; columns `first` (min of MiSP at `layer`), `energy` (near-Nyquist, of the same 2,000 images) and `fc`
    (MiSP), each in its better direction; of the widest log-softmax network in results/aliasing.csv. Empty where it has
    none.
    """
    table, images = numbers.experiment("aliasing"), numbers.experiment("aliasing_images")
    table = table[table.activation.eq("log_softmax")] if len(table) else table
    if table.empty or images.empty:
        return pd.DataFrame(), table
    ranked = table.sort_values(["width", "factor", "seed"], ascending=[False, True, True])
    rows = table[table.run.eq(ranked.run.iloc[0])]
    areas = rows.pivot(index="set", columns="layer", values="value")[[layer, "fc"]]
    alone = images[images.metric.eq("auroc") & images.variant.eq(FINEST)].set_index("set").value
    found = areas.set_axis(["first", "fc"], axis=1).assign(energy=alone)[["first", "energy", "fc"]]
    better = 100 * np.maximum(found, 1 - found)
    return better.reindex(["svhn", "places9_resize", "places9_fix", "cifar100", WITH_OTHER]), rows


def no_network_figure(layer="layer1.1"):
    """`no_network` as a dot plot, ready to be shown."""
    table, rows = no_network(layer)
    if table.empty:
        return tables.says("The first layer beside a sum of squares without any network:", None)
    names = {"first": f"first layer: min of MiSP at {layer}", "energy": "no network: energy near the Nyquist frequency",
             "fc": "final layer: MiSP"}  # fmt: skip
    figure, axes = plots.panels(height=3.2)
    shown = table.rename(index={WITH_OTHER: "scenes with CIFAR-\n10's spectrum"})
    plots.dots(axes[0, 0], shown, names, [plots.BLUE, "black", plots.ORANGE])
    axes[0, 0].set(xlim=(45, 101), xlabel="AUROC against CIFAR-10 in the better direction, %")
    axes[0, 0].set_title(f"{rows.network.iloc[0]}, width {rows.width.iloc[0]}", fontsize="medium")
    plots.legend(figure, axes[0, 0], columns=1)
    alt = ("Dot plot, a row a data set. On SVHN, the scenes and CIFAR-100 the sum of squares without a network stands "
           "beside the first layer or right of it; on scenes with CIFAR-10's spectrum both are near 50 %, and the "
           "final layer is as far right as on other scenes.")  # fmt: skip
    return plots.draw(figure, alt, table.round(2), rows.run.unique())
