import os
import warnings
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from thesis_utils import data
from thesis_utils.errors import InputError


@pytest.fixture
def archive_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("THESIS_DATA", str(tmp_path))
    return tmp_path


def pixels(count, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("name, split, count, classes", [
    ("digits_0_4", "train", 600, 5), ("digits_0_4", "test", 301, 5), ("digits_5_9", "test", 299, 5),
    ("photo_patches", "test", 600, 1), ("noise", "test", 2000, 1),
])  # fmt: skip
def test_embedded_sets(name, split, count, classes):
    images = data.load(name, split)
    assert images.pixels.shape == (count, 32, 32, 3) and images.pixels.dtype == torch.uint8
    assert len(images.classes) == classes and set(images.labels.tolist()) == set(range(classes))
    data.loaded.cache_clear()
    assert images.checksum == data.load(name, split).checksum


def test_train_and_test_digits_are_different_images():
    train, test = (data.load("digits_0_4", split).pixels.flatten(1) for split in ("train", "test"))
    assert not {x.numpy().tobytes() for x in train} & {x.numpy().tobytes() for x in test}


def test_an_archive_comes_before_the_built_in_set_of_that_name(archive_folder):
    np.savez(archive_folder / "noise.npz", test_images=pixels(3), test_labels=[0, 1, 1], classes=["a", "b"])
    images = data.load("noise")
    assert len(images) == 3 and images.classes == ("a", "b") and images.labels.tolist() == [0, 1, 1]
    assert data.present("noise") and "noise" in data.names()


@pytest.mark.parametrize("arrays, message", [
    (dict(images=pixels(2)), "must hold test_images.*it holds images"),
    (dict(test_images=pixels(2).astype(float)), "its test_images are float64"),
    (dict(test_images=pixels(0)), "uint8 .0, 32, 32, 3."),
    (dict(test_images=pixels(2), test_labels=[0, 7], classes=["a"]), "must be 2 numbers from 0 to 0"),
    (dict(test_images=pixels(2), test_labels=[0]), "test_labels must be 2 numbers"),
    (dict(test_images=pixels(2), test_labels=[]), r"test_labels must be 2 numbers, not \(0,\)"),
    (dict(test_images=pixels(2), test_labels=[0, np.inf]), "test_labels must be whole numbers"),
    (dict(test_images=pixels(2), classes=5), r"its classes are \(\)"),
    (dict(test_images=pixels(2)[:, :0]), "uint8 .2, 0, 32, 3."),
    (dict(test_images=pixels(2), test_labels=[0, 0.5]), "test_labels must be whole numbers, not float64"),
    (dict(test_images=pixels(2), test_labels=["cat", "dog"]), "test_labels must be whole numbers, not <U3"),
])  # fmt: skip
def test_an_archive_of_the_wrong_form_says_what_is_wrong(archive_folder, arrays, message):
    np.savez(archive_folder / "mine.npz", **arrays)
    with pytest.raises(InputError, match=message):
        data.load("mine")


def test_an_unreadable_archive(archive_folder):
    (archive_folder / "broken.npz").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match="broken.npz cannot be read as an .npz archive.*numpy.savez"):
        data.load("broken")


def test_an_archive_without_class_names_counts_its_labels(archive_folder):
    np.savez(archive_folder / "mine.npz", test_images=pixels(3), test_labels=[0, 2, 1])
    assert data.load("mine").classes == ("0", "1", "2")


def test_a_data_folder_that_does_not_exist(monkeypatch, tmp_path):
    monkeypatch.setenv("THESIS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="THESIS_DATA names .*nowhere, which is not a folder"):
        data.load("noise", "train")


def test_a_misspelt_name_lists_the_sets_that_exist():
    with pytest.raises(
        InputError, match="unknown data set 'svnh'; there are cifar10, .*svhn.* or give the path of a folder"
    ):
        data.load("svnh")
    with pytest.raises(InputError, match="unknown data set"):
        data.load(300 * "x")
    with pytest.raises(InputError, match="choose from train, test"):
        data.load("noise", "validation")
    with pytest.raises(InputError, match="lsun has test images only"):
        data.load("lsun", "train")


def test_a_failed_download_says_how_to_supply_the_set(tmp_path, monkeypatch):
    refuse = Mock(side_effect=OSError("no route to host"))
    monkeypatch.setattr(data, "DOWNLOADS", tmp_path)
    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", refuse)
    monkeypatch.delenv("THESIS_DATA", raising=False)
    assert not data.present("lsun")
    with pytest.raises(
        InputError, match="lsun could not be downloaded .*no route to host.* put lsun.npz into a folder .*THESIS_DATA"
    ):
        data.load("lsun")


def test_a_download_counts_only_when_it_is_whole(tmp_path, monkeypatch):
    """The first is interrupted, the second is short, the third is whole; a fourth is not needed."""
    monkeypatch.setattr(data, "DOWNLOADS", tmp_path)
    monkeypatch.delenv("THESIS_DATA", raising=False)
    came = iter([KeyboardInterrupt, 2, 3])

    def read(name, split, folder, download):
        if download:
            (folder / "file").write_text("downloaded")
            if (count := next(came)) is KeyboardInterrupt:
                raise count
        return data.as_images(name, pixels(count if download else 3))

    monkeypatch.setitem(data.DOWNLOADED, "lsun", (read, {"test": 3}))
    with pytest.raises(KeyboardInterrupt):
        data.load("lsun")
    with pytest.raises(InputError, match="2 images came instead of 3"):
        data.load("lsun")
    assert not data.present("lsun") and not list(tmp_path.iterdir())
    for _ in range(2):
        assert len(data.load("lsun")) == 3 and data.present("lsun")
        data.loaded.cache_clear()
    assert [path.name for path in tmp_path.iterdir()] == ["lsun-test"]


def test_a_folder_of_images_of_any_size_and_mode(tmp_path):
    (tmp_path / "deeper").mkdir()
    Image.fromarray(pixels(1, size=50)[0]).save(tmp_path / "a.png")
    Image.fromarray(pixels(1)[0, ..., 0]).save(tmp_path / "deeper" / "grey.JPG")
    images = data.load(str(tmp_path))
    assert images.pixels.shape == (2, 32, 32, 3)


def test_a_folder_without_a_readable_image(tmp_path):
    with pytest.raises(InputError, match="needs at least one readable image .*it has none"):
        data.load(str(tmp_path))
    (tmp_path / "bad.png").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="it has 1 that cannot be read"):
        data.from_folder(tmp_path)


# --- folders as people have them ----------------------------------------------------------------------


def photo():
    """80 x 60 pixels: no side is like another."""
    rows, columns = np.mgrid[0:60, 0:80]
    values = np.stack([columns * 255 // 80, rows * 255 // 60, np.full((60, 80), 90)], -1).astype(np.uint8)
    values[:20, :40] = (230, 40, 30)
    return Image.fromarray(values)


def read(folder):
    """{name: pixels} without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {path.name: image for path, image in data.readable(folder).items()}


def alike(images, most=0):
    first, *others = images.values()
    return all((image.int() - first.int()).abs().max() <= most for image in others)


def test_a_photograph_stored_turned_is_read_upright(tmp_path):
    photo().save(tmp_path / "a.png")
    tag = Image.Exif()
    tag[0x0112] = 6
    photo().rotate(90, expand=True).save(tmp_path / "b.png", exif=tag)
    assert alike(read(tmp_path))


def test_all_depths_are_scaled_to_eight_bits(tmp_path):
    grey = np.array(photo().convert("L"))
    wide = grey.astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(wide).save(tmp_path / "16.png")
    Image.fromarray(wide).save(tmp_path / "16.tif")
    Image.fromarray(grey.astype(np.int32) * 257).save(tmp_path / "32.tif")
    Image.fromarray((grey.astype(np.int64) * (2**31 - 1) // 255).astype(np.int32)).save(tmp_path / "31.tif")
    Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "float.tif")
    found = read(tmp_path)
    assert len(found) == 6 and alike(found) and found["8.png"].float().std() > 20


def test_what_is_transparent_is_white_whatever_lies_under_it(tmp_path):
    rgba = np.array(photo().convert("RGBA"))
    rgba[:, 40:, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    for under in (0, 255):
        rgba[:, 40:, :3] = under
        Image.fromarray(rgba).save(tmp_path / f"{under}.png")
    found = read(tmp_path)
    assert len(found) == 3 and alike(found) and (found["0.png"][:, 17:] == 255).all()


def test_links_are_followed_and_loops_are_not(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    photo().save(tmp_path / "here" / "a.png")
    photo().save(tmp_path / "there" / "b.png")
    photo().save(tmp_path / "there" / "c.png")
    for name, target in {"more": "../there", "again": "../there", "loop": "..", "self": "."}.items():
        os.symlink(target, tmp_path / "here" / name)
    os.symlink("a.png", tmp_path / "here" / "d.png")
    assert sorted(read(tmp_path / "here")) == ["a.png", "b.png", "c.png", "d.png"]


def test_what_programs_leave_behind_is_no_image(tmp_path):
    for name in ("a.png", ".b.png", ".ipynb_checkpoints/c.png", "__MACOSX/d.png", "Thumbs.db", ".thumbnails/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (photo() if name.endswith("png") else Image.new("L", (3, 3))).save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("not an image")
    assert list(read(tmp_path)) == ["a.png"]


def test_every_suffix_that_pillow_reads(tmp_path):
    for suffix, kind in {"jfif": "JPEG", "jpe": "JPEG", "pgm": "PPM", "jp2": "JPEG2000", "webp": "WEBP"}.items():
        photo().save(tmp_path / f"x.{suffix}", kind)
    found = read(tmp_path)
    assert len(found) == 5 and alike(found, 40)
    (tmp_path / "x.heic").write_bytes(b"which Pillow does not read")
    with pytest.warns(UserWarning, match=r"left out 1 unreadable image\(s\), the first is x.heic"):
        assert len(data.readable(tmp_path)) == 5


def test_what_is_cut_off_too_large_a_pipe_or_a_dead_link_is_left_out_with_one_warning(tmp_path):
    photo().save(tmp_path / "ok.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "ok.png").read_bytes()[:100])
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.symlink("nowhere", tmp_path / "link.png")
    with pytest.warns(UserWarning, match=r"left out 4 unreadable image\(s\), the first is cut.png") as caught:
        assert [path.name for path in data.readable(tmp_path)] == ["ok.png"]
    assert len(caught) == 1


def test_names_of_any_kind(tmp_path):
    photo().save(tmp_path / "was_$10_now_$8.png")
    photo().save(tmp_path / "x.png")
    os.rename(tmp_path / "x.png", os.fsencode(tmp_path) + b"/\xe4.png")
    assert [data.shown(path).rpartition("/")[2] for path in data.readable(tmp_path)] == [
        "was_$10_now_$8.png", "\\xe4.png"
    ]  # fmt: skip


def test_a_folder_or_an_archive_that_changed_is_read_again(archive_folder):
    folder = archive_folder / "photos"
    folder.mkdir()
    photo().save(folder / "a.png")
    first = data.load(str(folder))
    assert len(first) == 1 and data.load(str(folder)) is first
    photo().rotate(180).save(folder / "b.png")
    assert len(data.load(str(folder))) == 2
    photo().rotate(180).save(folder / "a.png")
    assert torch.equal(*data.load(str(folder)).pixels)
    for count in (2, 3):
        np.savez(archive_folder / "mine.npz", test_images=pixels(count))
        assert len(data.load("mine")) == count
    file, before = archive_folder / "mine.npz", (archive_folder / "mine.npz").stat().st_mtime_ns
    np.savez(file, test_images=255 - pixels(count))  # as large, and within the same second
    os.utime(file, ns=(before, before + 1))
    assert torch.equal(data.load("mine").pixels, 255 - torch.as_tensor(pixels(count)))


@pytest.mark.parametrize("read", [data.load, data.readable, data.from_folder])
def test_an_empty_name_is_no_folder(read):
    with pytest.raises(InputError, match="unknown data set ''|name of a folder of images is empty"):
        read("")


def test_a_normalisation_takes_bytes_only():
    with pytest.raises(InputError, match="takes uint8 images, 0 to 255, not float32"):
        data.Normalisation((0.5,) * 3, (0.2,) * 3)(torch.rand(2, 8, 8, 3))


def test_calibration_images_are_held_out_class_by_class():
    labels = np.repeat(np.arange(10), 5000)
    images = data.as_images("many", np.zeros((50000, 32, 32, 3), np.uint8), labels, range(10))
    fit, held = data.hold_out(images)
    assert (len(fit), len(held)) == (48000, 2000)
    assert torch.bincount(held.labels).tolist() == [200] * 10
    digits = data.load("digits_0_4", "train")
    fit, held = data.hold_out(digits)
    assert len(held) == 120 and len(fit) == 480  # a small set gives a fifth
    assert torch.bincount(held.labels).min() >= 22 and held.checksum == data.hold_out(digits)[1].checksum


def test_normalisation_gives_mean_zero_and_deviation_one():
    images = data.as_images("some", pixels(20))
    inputs = data.Normalisation.of(images)(images.pixels)
    assert inputs.shape == (20, 3, 32, 32) and inputs.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_augmented_images_are_shifted_crops_and_mirror_images():
    source = torch.from_numpy(pixels(1)).expand(200, -1, -1, -1)
    crops = data.shift(source, data.draw(200, torch.Generator().manual_seed(0)))
    padded = torch.zeros(40, 40, 3, dtype=torch.uint8)
    padded[4:36, 4:36] = source[0]
    windows = {}
    for mirrored in (False, True):
        for top in range(9):
            for left in range(9):
                window = padded[top : top + 32, left : left + 32]
                windows[(window.flip(1) if mirrored else window).numpy().tobytes()] = mirrored, top, left
    found = [windows[crop.numpy().tobytes()] for crop in crops]  # a KeyError: not such a crop
    assert {mirrored for mirrored, _, _ in found} == {False, True}
    assert {top for _, top, _ in found} == {left for _, _, left in found} == set(range(9))
    plain = data.shift(source, data.draw(200, torch.Generator().manual_seed(0), flip=False))
    assert not any(windows[crop.numpy().tobytes()][0] for crop in plain)
