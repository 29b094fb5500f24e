"""Picture files: every kind is read as the table says, and what is no picture is one clear error."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from minivision import vision

RNG = np.random.default_rng(0)
GRAY, COLOR = RNG.integers(0, 256, (7, 9)).astype(np.uint8), RNG.integers(0, 256, (7, 9, 3)).astype(np.uint8)
ALPHA = RNG.integers(0, 256, (7, 9, 4)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".PNG"])
@pytest.mark.parametrize("image", [GRAY, COLOR], ids=["grey", "colour"])
def test_there_and_back(tmp_path, image, suffix):
    path = tmp_path / "deep" / f"x{suffix}"
    vision.imwrite(path, image)
    np.testing.assert_array_equal(vision.imread(path), image)
    vision.imwrite(str(path), image[::-1, ::2])                             # not contiguous, over the old one
    np.testing.assert_array_equal(vision.imread(str(path)), image[::-1, ::2])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_floats_and_16_bits_and_transparency(tmp_path):
    path = tmp_path / "x.png"
    vision.imwrite(path, COLOR / 255)
    np.testing.assert_array_equal(vision.imread(path), COLOR)
    deep = RNG.integers(0, 65536, (7, 9)).astype(np.uint16)
    for suffix in (".png", ".tif"):
        vision.imwrite(path.with_suffix(suffix), deep)
        np.testing.assert_array_equal(vision.imread(path.with_suffix(suffix)), deep)
        np.testing.assert_array_equal(vision.imread(path.with_suffix(suffix), "gray"), deep >> 8)
    vision.imwrite(path, ALPHA)
    np.testing.assert_array_equal(vision.imread(path, "rgba"), ALPHA)
    share = ALPHA[..., 3:] / 255
    on_white = share * ALPHA[..., :3] + (1 - share) * 255
    assert np.abs(vision.imread(path) - on_white).max() <= 1
    values = RNG.standard_normal((7, 9)).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "f.tif")
    np.testing.assert_array_equal(vision.imread(tmp_path / "f.tif"), values)
    with pytest.raises(vision.ImageError, match="read it without a mode"):
        vision.imread(tmp_path / "f.tif", "gray")


def test_jpeg(tmp_path):
    smooth = vision.resize(COLOR, (70, 90), "bicubic")
    vision.imwrite(tmp_path / "x.jpg", smooth)
    assert np.abs(vision.imread(tmp_path / "x.jpg").astype(int) - smooth).mean() < 3
    with Image.open(tmp_path / "x.jpg") as picture:
        assert picture.format == "JPEG"
    for image in (ALPHA, GRAY.astype(np.uint16)):
        with pytest.raises(vision.ImageError, match=r"cannot .*use \.png"):
            vision.imwrite(tmp_path / "y.jpg", image)
    assert not (tmp_path / "y.jpg").exists() and not list(tmp_path.glob(".*"))


def test_other_kinds(tmp_path):
    def stored(picture, name="x.png", **options):
        picture.save(tmp_path / name, **options)
        return vision.imread(tmp_path / name)

    black_and_white = Image.fromarray(GRAY).convert("1")
    np.testing.assert_array_equal(stored(black_and_white), np.asarray(black_and_white) * np.uint8(255))
    palette = Image.fromarray(COLOR).quantize(16)
    np.testing.assert_array_equal(stored(palette), np.asarray(palette.convert("RGB")))
    assert stored(palette, transparency=0).shape == (7, 9, 3)
    assert stored(Image.fromarray(COLOR).convert("CMYK"), "x.tif").shape == (7, 9, 3)
    assert stored(Image.fromarray(ALPHA).convert("LA")).shape == (7, 9, 3)
    series = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    np.testing.assert_array_equal(stored(series[0], "x.tif", save_all=True, append_images=series[1:]), GRAY)
    np.testing.assert_array_equal(vision.imread(tmp_path / "x.tif", "rgb"), np.repeat(GRAY[..., None], 3, 2))
    Image.fromarray(COLOR).save(tmp_path / "c.png")
    np.testing.assert_array_equal(vision.imread(tmp_path / "c.png", "gray"), vision.to_gray(COLOR))
    assert stored(Image.fromarray(COLOR).convert("LAB"), "lab.tif").shape == (7, 9, 3)
    assert vision.imread(tmp_path / "lab.tif", "gray").shape == (7, 9)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, orientation):
    """Eight orientations: 2 mirrored, 3 upside down, 4 both, 5 to 8 with rows and columns exchanged as well."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOR).save(tmp_path / "x.png", exif=exif)
    upright = {1: COLOR, 2: COLOR[:, ::-1], 3: COLOR[::-1, ::-1], 4: COLOR[::-1], 5: COLOR.transpose(1, 0, 2),
               6: np.rot90(COLOR, -1), 7: COLOR[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(COLOR)}[orientation]
    np.testing.assert_array_equal(vision.imread(tmp_path / "x.png"), upright)


def png(width, height):
    """A PNG whose header makes claims, with hardly anything behind it."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_absurd_sizes_are_refused(tmp_path):
    for width, height in ((100_000, 100_000), (2**31 - 1, 2**31 - 1), (20_000, 7_000), (2**27 + 1, 1)):
        (tmp_path / "bomb.png").write_bytes(png(width, height))
        with pytest.raises(vision.ImageError, match=r"bomb\.png says it has .*pixels"):
            vision.imread(tmp_path / "bomb.png")
    (tmp_path / "zero.png").write_bytes(png(0, 5))
    with pytest.raises(vision.ImageError):
        vision.imread(tmp_path / "zero.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".gif", ".webp"])
def test_files_that_are_cut_off_or_damaged(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    vision.imwrite(path, vision.resize(COLOR, 40))
    whole = path.read_bytes()
    for share in (0.0, 0.02, 0.3, 0.6, 0.9):
        path.write_bytes(whole[:int(len(whole) * share)])
        with pytest.raises(vision.ImageError, match=r"is not a picture|cut off or damaged"):
            vision.imread(path)
    rng = np.random.default_rng(0)
    for _ in range(150):                # damaged files may be readable, but no other error comes out
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 8)):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            assert vision.imread(path).ndim in (2, 3)
        except vision.ImageError as error:
            assert str(path) in str(error)


def test_what_is_no_picture(tmp_path):
    (tmp_path / "x.png").write_text("hello")
    with pytest.raises(vision.ImageError, match="is not a picture"):
        vision.imread(tmp_path / "x.png")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        vision.imread(tmp_path / "missing.png")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        vision.imread(tmp_path)
    with pytest.raises(ValueError, match="mode='L', expected one of 'gray', 'rgb', 'rgba'"):
        vision.imread(tmp_path / "x.png", "L")


def test_what_cannot_be_written(tmp_path):
    for name in ("x", "x.doc", "x.psd"):
        with pytest.raises(vision.ImageError, match="suffix"):
            vision.imwrite(tmp_path / name, GRAY)
    for suffix in (".bmp", ".gif", ".ppm"):
        with pytest.raises(vision.ImageError, match="cannot hold transparency"):
            vision.imwrite(tmp_path / f"x{suffix}", ALPHA)
    for suffix in (".sgi", ".gif", ".tga", ".pcx"):
        with pytest.raises(vision.ImageError, match=f"x{suffix} cannot be written as"):
            vision.imwrite(tmp_path / f"x{suffix}", np.zeros((1, 70_000), np.uint8))
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        vision.imwrite(tmp_path / "file" / "x.png", GRAY)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError):
        vision.imwrite(tmp_path / "folder.png", GRAY)
