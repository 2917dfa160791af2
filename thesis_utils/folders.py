"""Folders of images as people have them: which files are images, and each as 8 bits, upright, on white."""

import mimetypes
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

LITTER = ("__MACOSX", "Thumbs.db")  # beside what begins with a dot: what programs leave in folders


def shown(path):
    """A path as text that can be written anywhere, also where its name is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def pictures(folder):
    """Paths of all files below a folder that are images by their suffix, sorted; what programs leave behind is not.

    Links are followed, each folder once; a link to a folder that it stands in leads nowhere.
    """
    Image.init()
    found, seen = [], set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = Path(here).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        wanted = (f for f in folders if not f.startswith(".") and f not in LITTER)
        folders[:] = sorted(f for f in wanted if not real.is_relative_to(Path(here, f).resolve()))
        for file in files:
            suffix, kind = Path(file).suffix.lower(), mimetypes.guess_type(file, strict=False)[0] or ""
            known = Image.EXTENSION.get(suffix) in Image.OPEN or kind.startswith("image/")
            if known and suffix not in (".eps", ".ps") and not file.startswith(".") and file not in LITTER:
                found.append(Path(here, file))
    return sorted(found)


def rgb(picture):
    """A PIL image as uint8 (H, W, 3): upright, in 8 bits, on white where it is transparent.

    More bits are scaled from the least of 8, 16 and 31 bits that holds all values, floats from 1 where none is above.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it has a pixel that is no number")
        tops = {"I": (255, 65535), "F": (1, 255, 65535)}.get(picture.mode, (65535,))
        top = next((top for top in tops if values.max() <= top), max(values.max(), 2**31 - 1))
        return np.repeat((values.clip(0) * (255 / top)).round().astype(np.uint8)[..., None], 3, -1)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def opened(path):
    """The image in a file as uint8 (H, W, 3); a damaged one raises whatever its decoder raises."""
    if not path.is_file():
        raise OSError("not a file")  # but a pipe, say, at which one would wait for ever
    with Image.open(path) as picture:
        return rgb(picture)
