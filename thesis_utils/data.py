"""Images by name, in memory as uint8; augmentation and normalisation on the device, in batches.

    images = load("cifar10", "train")          # Images: pixels (N, 32, 32, 3) uint8, labels (N,) int64
    fit, calibration = hold_out(images)        # 2,000 calibration images that no training sees

A name is looked up in this order: `NAME.npz` in the folder that the environment variable THESIS_DATA
names; the sets that ship with scikit-learn; the downloads of torchvision and of ODIN's authors, kept in
`data/`; a folder of images.
"""

import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from thesis_utils.errors import InputError
from thesis_utils.folders import opened, pictures, rgb, shown

SIZE = 32
CALIBRATION = 2000
PADDING = 4  # pixels of black on each side, out of which training images are cropped
DOWNLOADS = Path(__file__).resolve().parent.parent / "data"
LSUN_RESIZE = ("https://www.dropbox.com/s/moqh2wh8696c3yl/LSUN_resize.tar.gz?dl=1", "278b7b31c8cb7e804a1465a8ce03a2dc")


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one split: `pixels` uint8 (N, 32, 32, 3), RGB; `labels` int64 (N,); `classes` their names."""

    name: str
    pixels: torch.Tensor
    labels: torch.Tensor
    classes: tuple

    def __len__(self):
        return len(self.pixels)

    def subset(self, indices):
        return Images(self.name, self.pixels[indices], self.labels[indices], self.classes)

    @cached_property
    def checksum(self):
        """SHA-256 of pixels and labels, in order."""
        digest = hashlib.sha256(self.pixels.numpy().tobytes())
        digest.update(self.labels.numpy().tobytes())
        return digest.hexdigest()


def as_images(name, pixels, labels=None, classes=("unlabelled",)):
    """`Images` from arrays (N, H, W, 3) uint8 and (N,); bilinear, antialiased resizing of anything but 32x32."""
    pixels = torch.as_tensor(np.ascontiguousarray(pixels))
    if pixels.shape[1:3] != (SIZE, SIZE):
        resized = F.interpolate(pixels.permute(0, 3, 1, 2), (SIZE, SIZE), mode="bilinear", antialias=True)
        pixels = resized.permute(0, 2, 3, 1).contiguous()
    labels = torch.zeros(len(pixels)) if labels is None else torch.as_tensor(np.asarray(labels))
    return Images(name, pixels, labels.long(), tuple(str(c) for c in classes))


# --- where images come from -------------------------------------------------------------------------


def digits(name, split):
    """scikit-learn's 8x8 handwritten digits, enlarged to 32x32: 0 to 4 or 5 to 9; every third one is a test image."""
    from sklearn.datasets import load_digits

    first = {"digits_0_4": 0, "digits_5_9": 5}[name]
    bunch = load_digits()
    keep = (bunch.target >= first) & (bunch.target < first + 5)
    grey = (bunch.images[keep] * 15.9375).astype(np.uint8)
    labels = bunch.target[keep] - first
    chosen = (np.arange(len(labels)) % 3 == 0) == (split == "test")
    pixels = np.repeat(grey[chosen][..., None], 3, axis=-1)
    return as_images(name, pixels, labels[chosen], [str(first + k) for k in range(5)])


def photo_patches(name, split):
    """600 patches of 64x64 pixels of scikit-learn's two sample photographs, shrunk to 32x32."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0 if split == "test" else 1)
    photos = load_sample_images().images
    patches = []
    for k in range(600):
        photo = photos[k % len(photos)]
        top, left = (rng.integers(0, extent - 64) for extent in photo.shape[:2])
        patches.append(photo[top : top + 64, left : left + 64])
    return as_images(name, np.stack(patches))


def noise(name, split):
    """2,000 images whose pixels are independent and uniform."""
    rng = np.random.default_rng(0 if split == "test" else 1)
    return as_images(name, rng.integers(0, 256, (2000, SIZE, SIZE, 3), dtype=np.uint8))


def cifar(name, split, folder, download):
    """CIFAR-10 or CIFAR-100 through torchvision, whose import costs as much as torch's."""
    from torchvision import datasets

    source = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    data = source(folder, train=split == "train", download=download)
    return as_images(name, data.data, data.targets, data.classes)


def svhn(name, split, folder, download):
    """SVHN's cropped digits through torchvision."""
    from torchvision import datasets

    data = datasets.SVHN(folder, split=split, download=download)
    return as_images(name, data.data.transpose(0, 2, 3, 1), data.labels, range(10))


def lsun(name, split, folder, download):
    """LSUN (resize), 10,000 test scenes, from the archive of ODIN's authors."""
    from torchvision.datasets.utils import download_and_extract_archive

    if download:
        url, md5 = LSUN_RESIZE
        download_and_extract_archive(url, folder, filename="LSUN_resize.tar.gz", md5=md5)
    return replace(from_folder(folder / "LSUN_resize"), name=name)


DOWNLOADED = {  # where a set comes from, and how many images it has when it is whole
    "cifar10": (cifar, {"train": 50_000, "test": 10_000}),
    "cifar100": (cifar, {"train": 50_000, "test": 10_000}),
    "svhn": (svhn, {"train": 73_257, "test": 26_032}),
    "lsun": (lsun, {"test": 10_000}),
}


def downloaded(name, split):
    """One split of a set of `DOWNLOADED`, downloaded first if need be.

    A download goes to a temporary folder, is counted and then renamed: an interrupted one never counts as there.
    """
    read, counts = DOWNLOADED[name]
    if split not in counts:
        raise InputError(f"{name} has {' and '.join(counts)} images only; train on another data set")
    folder = DOWNLOADS / f"{name}-{split}"
    if folder.exists():
        return read(name, split, folder, False)
    try:
        DOWNLOADS.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=DOWNLOADS, prefix=f".{folder.name}-", ignore_cleanup_errors=True) as partial:
            images = read(name, split, Path(partial), True)
            if len(images) != counts[split]:
                raise OSError(f"{len(images)} images came instead of {counts[split]}")
            os.replace(partial, folder)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name} could not be downloaded to {DOWNLOADS} ({error}); "
            f"put {name}.npz into a folder and name that folder in the environment variable THESIS_DATA"
        ) from None
    return images


SOURCES = {
    "digits_0_4": digits,
    "digits_5_9": digits,
    "photo_patches": photo_patches,
    "noise": noise,
    **dict.fromkeys(DOWNLOADED, downloaded),
}


def from_folder(folder, split="test"):
    """Every readable image below a folder, in the order of their paths, resized to 32x32: the same for both splits."""
    return as_images(str(folder), torch.stack([*readable(folder).values()]))


def readable(folder):
    """{path: pixels uint8 (32, 32, 3)} of every readable image below a folder, in the order of their paths.

    An unreadable file is left out, with a warning; a folder without one readable image is an InputError.
    """
    if not str(folder):
        raise InputError("the name of a folder of images is empty; give its path")
    pixels, broken = {}, []
    for path in pictures(folder):
        try:
            pixels[path] = as_images(path.name, opened(path)[None]).pixels[0]
        except Exception:  # a damaged image fails in any way, one of 200 megapixels by DecompressionBombError
            broken.append(shown(path.name))
    if not pixels:
        found = f"{len(broken)} that cannot be read" if broken else "none"
        raise InputError(f"folder {shown(folder)} needs at least one readable image (.png, .jpg, ...); it has {found}")
    if broken:
        said = f"left out {len(broken)} unreadable image(s), the first is {broken[0]}"
        warnings.warn(f"{shown(folder)}: {said}", stacklevel=2)
    return pixels


def from_npz(path, split):
    """One split of a `NAME.npz` with the keys train_images, train_labels, test_images, test_labels, classes."""
    wanted = f"{path} must hold {split}_images, uint8 (N, H, W, 3), and may hold {split}_labels (N,) and classes (K,)"
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = archive.files
            keys = (f"{split}_images", f"{split}_labels", "classes")
            pixels, labels, classes = (archive[key] if key in held else None for key in keys)
    except Exception as error:
        raise InputError(f"{path} cannot be read as an .npz archive ({error}); write it with numpy.savez") from None
    if pixels is None:
        raise InputError(f"{wanted}; it holds {', '.join(held)}")
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or not pixels.size:
        raise InputError(f"{wanted}; its {split}_images are {pixels.dtype} {pixels.shape}")
    if labels is not None and (labels.dtype.kind not in "iubf" or not (labels % 1 == 0).all()):
        raise InputError(f"{wanted}; its {split}_labels must be whole numbers, not {labels.dtype}")
    if labels is not None and labels.shape != (len(pixels),):
        raise InputError(f"{wanted}; its {split}_labels must be {len(pixels)} numbers, not {labels.shape}")
    if classes is None:
        classes = range(1 if labels is None else int(labels.max()) + 1)
    if np.ndim(classes) != 1:
        raise InputError(f"{wanted}; its classes are {classes.shape}")
    if labels is not None and (labels.min() < 0 or labels.max() >= len(classes)):
        raise InputError(f"{wanted}; its {split}_labels must be {len(pixels)} numbers from 0 to {len(classes) - 1}")
    return as_images(path.stem, pixels, labels, classes)


def archives():
    """The archives of THESIS_DATA by data set name."""
    folder = os.environ.get("THESIS_DATA")
    if not folder:
        return {}
    folder = DOWNLOADS.parent / folder  # a relative path counts from the repository
    if not folder.is_dir():
        raise InputError(
            f"THESIS_DATA names {folder}, which is not a folder; name one that holds NAME.npz files, or unset it"
        )
    return {path.stem: path for path in sorted(folder.glob("*.npz"))}


def names():
    """All data sets that can be asked for by name."""
    return sorted({*SOURCES, *archives()})


def present(name, split="test"):
    """Whether a data set can be loaded without a download."""
    here = name not in DOWNLOADED or (DOWNLOADS / f"{name}-{split}").exists()
    return name in archives() or name in SOURCES and here


def load(name, split="test"):
    """The images of a data set, by name or by folder; read again where the files have changed.

    `split` is "train" or "test". Raises InputError, saying what would work, for a name that does not
    exist, a set without that split, an unreadable archive, or a download that fails.
    """
    if split not in ("train", "test"):
        raise InputError(f"unknown split {split!r}; choose from train, test")
    path = archives().get(name)
    if path:
        return loaded(from_npz, path, split, stamps([path]))
    if name in SOURCES:
        return loaded(SOURCES[name], name, split, DOWNLOADS)
    if name and os.path.isdir(name):  # a Path cannot ask of a name too long
        return loaded(from_folder, name, split, stamps(pictures(name)))
    raise InputError(
        f"unknown data set {name!r}; there are {', '.join(names())}, or give the path of a folder of images"
    )


def stamps(paths):
    """What changes when one of the files does."""
    known = [(path, os.lstat(path)) for path in paths]
    return tuple((path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in known)


@lru_cache(maxsize=8)
def loaded(read, source, split, version):
    return read(source, split)


def hold_out(images):
    """(fit, calibration): 2,000 images drawn class by class with a fixed seed, at most a fifth of them all.

    Calibration images are never trained on: what is fitted on scores is fitted on them.
    """
    count = min(CALIBRATION, len(images) // 5)
    labels = images.labels.numpy()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))
    rank_in_class = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank_in_class[members] = (np.arange(len(members)) + 0.5) / len(members)
    held = np.zeros(len(labels), dtype=bool)
    held[np.argsort(rank_in_class, kind="stable")[:count]] = True
    return images.subset(torch.from_numpy(~held)), images.subset(torch.from_numpy(held))


# --- from uint8 to what a network sees --------------------------------------------------------------


@dataclass(frozen=True)
class Normalisation:
    """Channel means and standard deviations of the training pixels, on the scale [0, 1]."""

    mean: tuple
    std: tuple

    @classmethod
    def of(cls, images):
        pixels = images.pixels.reshape(-1, 3)
        counts = torch.stack([torch.bincount(pixels[:, c], minlength=256) for c in range(3)]).double()
        values = torch.arange(256, dtype=torch.float64) / 255
        shares = counts / counts.sum(1, keepdim=True)
        mean = shares @ values
        std = (shares @ values**2 - mean**2).clamp_min(1e-12).sqrt()
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def __call__(self, pixels):
        """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in channels_last memory; other types are an InputError."""
        if pixels.dtype != torch.uint8:
            kind = str(pixels.dtype).removeprefix("torch.")
            raise InputError(f"a Normalisation takes uint8 images, 0 to 255, not {kind}; give those")
        mean, std = (on(pixels.device, values) for values in (self.mean, self.std))
        return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def on(device, values):
    """Numbers as a float32 tensor on a device; kept, since to copy them waits for a GPU."""
    return torch.tensor(values, dtype=torch.float32, device=device)


def draw(count, generator, flip=True):
    """What `shift` does to `count` images: rows and columns each is moved by, whether mirrored: int64 (3, count)."""
    rows = torch.randint(2 * PADDING + 1, (count,), generator=generator)
    mirrored = torch.randint(2, (count,), generator=generator) if flip else torch.zeros_like(rows)
    columns = torch.randint(2 * PADDING + 1, (count,), generator=generator)
    return torch.stack([rows, columns, mirrored])


def shift(pixels, drawn):
    """Crops out of the zero-padded images and mirror images, as `draw` says: uint8 (N, H, W, 3) on drawn's device."""
    count, height, width, _ = pixels.shape
    device = pixels.device
    rows, columns, mirrored = drawn[..., None]
    padded = F.pad(pixels, (0, 0, PADDING, PADDING, PADDING, PADDING))
    rows = rows + torch.arange(height, device=device)
    along = torch.arange(width, device=device).expand(count, width)
    columns = columns + torch.where(mirrored == 1, along.flip(1), along)
    return padded[torch.arange(count, device=device)[:, None, None], rows[:, :, None], columns[:, None, :]]


def batches(images, size, device="cpu"):
    """(pixels, labels) in order, `size` images at a time, moved to the device: for everything but training."""
    for pixels, labels in zip(images.pixels.split(size), images.labels.split(size)):
        yield pixels.to(device), labels.to(device)


def loose_batches(images, size, key=None):
    """A tensor or array (N, ...), `Images`, a Dataset, PIL images or an iterable of batches, as tensors (n, ...)."""
    images = getattr(images, "pixels", images)
    if isinstance(images, np.ndarray):
        images = next(batches_of([images]))
    if isinstance(images, torch.Tensor):
        return images.split(size)
    if isinstance(images, Dataset):
        images = DataLoader(images, size)
    elif isinstance(images, (list, tuple)) and isinstance(next(iter(images), None), Image.Image):
        images = [images[k : k + size] for k in range(0, len(images), size)]
    return batches_of(images, key)


def batches_of(images, key=None):
    try:
        for batch in images:
            yield as_batch(batch, key)
    except InputError:
        raise
    except Exception as error:  # what is not ours fails in any way
        raise InputError(
            f"the images cannot be read ({error}); give a tensor or array (N, ...), a Dataset of tensors, a list of "
            "PIL images, or an iterable of batches"
        ) from error


def as_batch(batch, key=None):
    """The images of a batch as a tensor (n, ...): of a dict the entry `key`, of a tuple the first, of PIL `rgb`."""
    if isinstance(batch, Mapping):
        if key not in batch:
            held = ", ".join(map(str, batch))
            raise InputError(f"a batch is a dict with {held}; name the one with the images: Detector(model, key=...)")
        batch = batch[key]
    elif isinstance(batch, (tuple, list)) and len(batch) and not isinstance(batch[0], Image.Image):
        batch = batch[0]
    if isinstance(batch, (tuple, list)):
        batch = [rgb(picture) for picture in batch]
        if len({picture.shape for picture in batch}) > 1:
            raise InputError("the images of a batch must have one size; resize them first")
        batch = np.stack(batch)
    return torch.as_tensor(np.ascontiguousarray(batch) if isinstance(batch, np.ndarray) else batch)
