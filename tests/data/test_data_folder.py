"""ImageFolder: labels from folders, shapes, and errors that name the picture."""

import numpy as np
import pytest
from PIL import Image

from minivision.data import DataError, DataLoader, Dataset, ImageFolder


def save(path, color=(10, 20, 30), size=(4, 6), mode="RGB"):
    """A picture of one colour; ``size`` is (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], color).save(path)
    return path


@pytest.fixture
def pets(tmp_path):
    save(tmp_path / "dog" / "b.png", (0, 0, 255))
    save(tmp_path / "dog" / "a" / "c.PNG", (0, 255, 0))
    save(tmp_path / "cat" / "1.jpg", (0, 0, 0))
    (tmp_path / "cat" / "notes.txt").write_text("not a picture")
    save(tmp_path / "cat" / ".hidden.png")
    save(tmp_path / ".cache" / "x.png")
    (tmp_path / "README").write_text("not a class")
    return tmp_path


def test_folders_are_the_classes(pets):
    folder = ImageFolder(pets)
    assert isinstance(folder, Dataset)
    assert folder.classes == ("cat", "dog") and folder.labels.tolist() == [0, 1, 1] and folder.labels.dtype == np.int64
    assert [path.name for path in folder.paths] == ["1.jpg", "c.PNG", "b.png"]
    image, label = folder[1]
    assert image.shape == (3, 4, 6) and image.dtype == np.uint8 and label == 1 and type(label) is int
    assert image[:, 0, 0].tolist() == [0, 255, 0] and image.flags.c_contiguous
    assert len(folder) == 3 and len(list(folder)) == 3
    assert "3 RGB images of shape (3, 4, 6), 2 classes" in repr(folder)


def test_grey_and_size(pets):
    image, _ = ImageFolder(pets, mode="L", size=(2, 5))[1]
    assert image.shape == (1, 2, 5) and image[0, 0, 0] == 150                    # 255 x 0.587
    assert ImageFolder(pets, size=8)[0][0].shape == (3, 8, 8)
    assert ImageFolder(pets, size=np.int64(8))[0][0].shape == (3, 8, 8)
    assert ImageFolder(pets, size=(np.int64(3), 4))[0][0].shape == (3, 3, 4)
    for wrong in (2.5, "8", 10**6, (1, 2, 3), 0):
        with pytest.raises(DataError, match=r"expected \(H, W\) or one whole number"):
            ImageFolder(pets, size=wrong)


def test_a_loader_takes_it(pets):
    (images, labels), = DataLoader(ImageFolder(pets), 8)
    assert images.shape == (3, 3, 4, 6) and labels.numpy().tolist() == [0, 1, 1]
    assert images.numpy()[2, :, 0, 0].tolist() == [0, 0, 1]


def test_every_mode_becomes_eight_bits_of_rgb(tmp_path):
    colors = {"1": 1, "L": 255, "LA": (255, 9), "P": 0, "RGBA": (255, 255, 255, 9), "CMYK": (0, 0, 0, 0)}
    for mode, color in colors.items():
        save(tmp_path / "a" / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}", color, mode=mode)
    for image, _ in ImageFolder(tmp_path):
        assert image.shape == (3, 4, 6)


def test_a_photograph_is_turned_upright(tmp_path):
    picture = Image.new("L", (6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6                                                             # orientation: turn right by 90 degrees
    (tmp_path / "a").mkdir()
    picture.save(tmp_path / "a" / "1.jpg", exif=exif)
    assert ImageFolder(tmp_path)[0][0].shape == (3, 6, 4)


def test_pictures_of_different_shapes(pets):
    odd = save(pets / "dog" / "z.png", size=(9, 9))
    folder = ImageFolder(pets)
    with pytest.raises(DataError, match=r"size=\(4, 6\)") as caught:
        folder[3]
    assert str(odd) in str(caught.value) and "(3, 9, 9)" in str(caught.value)
    assert ImageFolder(pets, size=(4, 6))[3][0].shape == (3, 4, 6)


@pytest.mark.parametrize(("content", "says"), [
    (b"", "not a picture"), (b"rubbish", "not a picture"), (b"\x89PNG\r\n\x1a\n", "not a picture|cannot be decoded"),
])
def test_a_broken_picture_is_named(pets, content, says):
    broken = pets / "dog" / "z.png"
    broken.write_bytes(content)
    folder = ImageFolder(pets)
    with pytest.raises(DataError, match=says) as caught:
        folder[3]
    assert str(broken) in str(caught.value)


def test_a_picture_that_ends_early_is_named(pets):
    rng = np.random.default_rng(0)
    broken = pets / "dog" / "z.png"
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"z\.png cannot be decoded"):
        ImageFolder(pets, size=4)[3]


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "a" / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png has pixels of more than 8 bits"):
        ImageFolder(tmp_path)


def test_folders_that_are_no_image_folders(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        ImageFolder(tmp_path / "missing")
    save(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"has no folder inside; expected one folder per class, .*cat/1\.png"):
        ImageFolder(tmp_path)
    save(tmp_path / "cat" / "1.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="dog holds no picture"):
        ImageFolder(tmp_path)


@pytest.mark.parametrize("bad", [{"mode": "BGR"}, {"size": 0}, {"size": (1, 2, 3)}, {"size": (4.0, 4)}, {"size": True}])
def test_arguments(pets, bad):
    with pytest.raises(DataError, match=next(iter(bad))):
        ImageFolder(pets, **bad)
