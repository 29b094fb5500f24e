"""The commands that look into a network, on the digits network, which is trained when it is first needed."""

import numpy as np
import pytest
from PIL import Image

from minivision.cli import main
from minivision.cli.networks import open_network
from minivision.explain import probabilities


@pytest.fixture(scope="module", autouse=True)
def own_places(tmp_path_factory):
    """A cache and a working folder of their own: nothing is there at first."""
    with pytest.MonkeyPatch.context() as patch:
        import platformdirs

        root = tmp_path_factory.mktemp("home")
        patch.delenv("MINIVISION_CACHE", raising=False)
        patch.setattr(platformdirs, "user_cache_dir", lambda *args, **options: str(root / "cache"))
        patch.chdir(root)
        yield root


@pytest.mark.parametrize("words, written", [
    (["explain", "--window", "2", "--stride", "1"], "runs/explain/sample-explain.png"),
    (["explain", "--method", "gradcam", "-o", "cam.png"], "cam.png"),
    (["explain", "--method", "integrated", "--target", "3", "-o", "ig.png"], "ig.png"),
    (["attack", "--eps", "0.3"], "runs/attack/sample-attack.png"),
    (["attack", "--method", "fool", "--target", "7", "-o", "fool.png"], "fool.png"),
    (["attack", "--method", "fgsm", "-o", "fgsm.png"], "fgsm.png"),
    (["dream", "--steps", "2", "--gif", "dream.gif"], "runs/dream/sample-dream.png"),
    (["features"], "runs/features/sample-features.png"),
    (["features", "--layers", "features.0", "classifier.1", "-o", "bars.png"], "bars.png"),
    (["features", "--patches", "features.2", "--channels", "3", "8", "-o", "patches.png"], "patches.png"),
])
def test_without_weights_the_digits_network_is_looked_into(own_places, capsys, words, written):
    assert main([*words, "--root", "nowhere"]) == 0
    out, err = capsys.readouterr()
    assert written in out and "minivision data fetch squeezenet" in err
    pixels = np.asarray(Image.open(own_places / written).convert("RGB"), float)
    assert pixels.shape[0] > 300 and pixels.std() > 10
    assert (own_places / "cache" / "networks" / "digits.safetensors").is_file()


def test_the_animation_has_a_frame_for_each_step(own_places, capsys):
    assert main(["dream", "--steps", "3", "--gif", "d.gif", "--root", "nowhere"]) == 0
    with Image.open(own_places / "d.gif") as gif:
        assert gif.n_frames == 4
    assert "4 frames" in capsys.readouterr().out


def test_patches_of_a_folder_of_pictures(own_places, capsys):
    from minivision.vision import imwrite

    (own_places / "few").mkdir()
    for i in range(3):
        imwrite(own_places / "few" / f"{i}.png", np.random.default_rng(i).integers(0, 256, (40, 40, 3)).astype(np.uint8))
    words = ["features", "--model", "digits", "--patches", "features.0", "--images"]
    assert main([*words, "few", "--root", "nowhere"]) == 0
    assert "runs/features/few-features.png" in capsys.readouterr().out.splitlines()[0]
    (own_places / "empty").mkdir()
    assert main([*words, "empty"]) == 2
    assert "empty holds no pictures (files ending in" in capsys.readouterr().err


def test_predict_falls_back_to_it_too(own_places, capsys):
    page = np.full((60, 60), 255, np.uint8)
    page[10:50, 28:33] = 0                              # a one
    Image.fromarray(page).save(own_places / "one.png")
    assert main(["predict", "one.png", "--root", "nowhere"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[0] == "1" and "minivision data fetch squeezenet" in err


def test_it_need_not_be_kept(own_places, capsys, monkeypatch):
    (own_places / "file").write_text("no folder")
    monkeypatch.setenv("MINIVISION_CACHE", str(own_places / "file"))
    assert main(["layers", "digits"]) == 0
    out, err = capsys.readouterr()
    assert "features.0" in out and "will be trained anew each time; MINIVISION_CACHE names another folder" in err


def test_the_sample_is_a_digit_that_the_network_knows(own_places):
    network = open_network("digits", "nowhere")
    image = network.prepare(None)
    assert image.shape == (1, 8, 8) and image.min() == 0 and image.max() > 0.9
    assert probabilities(network.model, image[None])[0].max() > 0.9


def test_layers(capsys):
    assert main(["layers", "digits"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["features.0", "Conv2d", "16", "x", "8", "x", "8", "160", "weights"]


@pytest.mark.parametrize("words, message", [
    (["dream", "--layer", "features.9"], "no layer 'features.9'; did you mean"),
    (["explain", "--target", "cat"], "there is no class 'cat'; did you mean"),
    (["explain", "--target", "12"], "there is no class 12; the digits network has 0 to 9"),
    (["explain", "--window", "9"], "larger than the image"), (["attack", "--eps", "-1"], "expected a number >= 0"),
    (["explain", "--model", "squeezenet"], "minivision data fetch squeezenet"),
    (["features", "--channels", "1"], "--channels goes only with --patches LAYER"),
    (["features", "a.png", "--patches", "features.2"], "PHOTO goes without --patches; name a folder with --images"),
    (["features", "--patches", "features.2", "--channels", "40"], "a channel 40 among them"),
    (["features", "--patches", "features.2", "--images", "nowhere"], "nowhere is not a folder"),
    (["explain", "--model", "resnet20"], "minivision data fetch resnet20"),
    (["data", "fetch", "resnet20"], "save its state_dict with safetensors, names as there without 'module.'"),
    (["attack", "--target", "2"], "takes it for 2 as it is; name another class with --target"),
    (["dream", "--channel", "99"], "channels 0 to"), (["explain", "nothing.png"], "nothing.png"),
    (["explain", "--method", "gradcam", "--window", "3"], "--window and --stride are of occlusion's patch"),
    (["attack", "--method", "fool", "--eps", "0.1"], "--eps is of fgsm and pgd"),
    (["attack", "--method", "fgsm", "--steps", "3"], "--steps are of pgd"), (["explain", "--target", ""], "no class ''"),
    (["attack", "-o", "a.jpg"], "let it end in .png"), (["dream", "--gif", "a.png"], "let it end in .gif"),
    (["features", "-o", "."], "is a folder; name a file in it that ends in .png"),
    (["explain", "-o", "/proc/nothing/a.png"], "/proc"), (["explain", "thin.png"], "thin.png"),
])
def test_mistakes_are_told_in_one_line(capsys, words, message):
    assert main([*words, "--root", "nowhere"]) == 2
    err = capsys.readouterr().err
    assert message in err.splitlines()[-1] and "Traceback" not in err


@pytest.mark.parametrize("text, message", [
    (None, "`minivision data fetch squeezenet` brings"), ('["a"]', "is not a list of 1000 names; delete it"),
    ("[", "is not a list of 1000 names (Expecting value"),
])
def test_names_of_classes_that_are_not_there(tmp_path, capsys, text, message):
    folder = tmp_path / "squeezenet-v1.0"
    folder.mkdir()
    (folder / "compressed_SqueezeNet.net").write_bytes(b"")
    if text is not None:
        (folder / "imagenet-simple-labels.json").write_text(text)
    assert main(["explain", "--model", "squeezenet", "--root", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_picture_that_would_grow_too_large(real_data, tmp_path, capsys):
    Image.new("RGB", (3000, 6)).save(tmp_path / "thin.png")
    assert main(["explain", str(tmp_path / "thin.png"), "--model", "squeezenet", "--root", str(real_data)]) == 2
    assert "thin.png is 6 x 3000; one side may be 8 times the other at most" in capsys.readouterr().err


def test_classes_by_name(real_data):
    network = open_network("squeezenet", str(real_data))
    assert network.find_class("Espresso") == network.find_class("967") == 967
    with pytest.raises(ValueError, match="several classes 'terrier'; did you mean"):
        network.find_class("terrier")
    assert network.prepare(None).shape == (3, 227, 227)
