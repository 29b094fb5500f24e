"""The models' shapes, names and published weights."""

import numpy as np
import pytest

import minivision as mv
from minivision import models
from minivision.nn import ModelMismatchError


def test_parameters_are_as_many_as_published():
    def count(model):
        return sum(p.size for p in model.parameters())
    assert count(models.SqueezeNet("1.0")) == 1_248_424
    assert count(models.SqueezeNet("1.1", trained_by="torchvision")) == 1_235_496
    assert count(models.ResNet20()) == 269_722
    assert count(models.VGG(11, classes=10)) == 128_807_306


def test_names_are_torchvisions():
    names = list(models.SqueezeNet("1.1", trained_by="torchvision").state_dict())
    assert names[:4] == ["features.0.weight", "features.0.bias", "features.3.squeeze.weight", "features.3.squeeze.bias"]
    assert names[-1] == "classifier.1.bias" and "features.12.expand3x3.weight" in names and "features.6.squeeze.bias" in names
    names = list(models.SqueezeNet("1.0").state_dict())
    assert {"features.5.squeeze.weight", "features.12.squeeze.weight", "features.10.squeeze.bias"} < set(names)
    assert "layer2.0.conv1" in models.ResNet20().layers() and models.SqueezeNet("1.0").layers()[0] == "normalize"


@pytest.mark.parametrize("size", [(64, 64), (80, 67)])
def test_squeezenet_takes_other_sizes(size):
    model = models.SqueezeNet("1.1", trained_by="torchvision", classes=7).eval()
    with mv.no_grad():
        assert model(mv.rand(2, 3, *size)).shape == (2, 7)


def test_the_compressed_file_is_the_decoded_one(real_data):
    folder = real_data / "squeezenet-v1.0"
    model = models.SqueezeNet("1.0")
    model.load_weights(folder / "compressed_SqueezeNet.net")
    other = models.SqueezeNet("1.0")
    other.load_weights(folder / "derived" / "squeezenet_v1.0_dc.safetensors")
    for (name, ours), theirs in zip(model.state_dict().items(), other.state_dict().values()):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=name)


def test_resnet20_on_cifar10(real_data):
    model = models.ResNet20()
    model.load_weights(real_data / "resnet20-cifar10" / "derived" / "resnet20.safetensors")
    model.eval()
    raw = np.fromfile(real_data / "cifar10-subset" / "derived" / "cifar10_test_first1000.bin", np.uint8).reshape(1000, 3073)
    images, labels = raw[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255, raw[:, 0]
    scores = mv.explain.inside.scores(model, images, 100)
    with np.load(real_data / "resnet20-cifar10" / "derived" / "golden_first16_test.npz") as golden:
        np.testing.assert_allclose(scores[:16], golden["logits"], rtol=1e-3, atol=1e-3)
    assert (scores.argmax(1) == labels).sum() == 915


def test_what_a_model_refuses():
    with pytest.raises(ValueError, match="depth=12, expected one of 11, 13, 16, 19"):
        models.VGG(12)
    with pytest.raises(ValueError, match=r"version='2', expected \"1\.0\" or \"1\.1\""):
        models.SqueezeNet("2")
    with pytest.raises(ValueError, match="trained_by='keras'"):
        models.SqueezeNet(trained_by="keras")
    with pytest.raises(ValueError, match=r"images of shape \(1, 1, 32, 32\), expected \(N, 3, H, W\)"):
        models.ResNet20()(mv.zeros(1, 1, 32, 32))


def test_weights_for_another_model(tmp_path):
    mv.save(models.LeNet5().state_dict(), tmp_path / "lenet.safetensors")
    with pytest.raises(ModelMismatchError, match="another model than this ResNet20"):
        models.ResNet20().load_weights(tmp_path / "lenet.safetensors")
    caffe = {f"{name}.weight": np.zeros(1, np.float32) for name in ("conv1", "fire2/conv1x1_1")}
    mv.save(caffe, tmp_path / "caffe.safetensors")
    with pytest.raises(ModelMismatchError, match=r"Caffe's weights of version 1\.0"):
        models.SqueezeNet("1.1", trained_by="torchvision").load_weights(tmp_path / "caffe.safetensors")
    with pytest.raises(ModelMismatchError):
        models.SqueezeNet("1.0").load_weights(tmp_path / "caffe.safetensors")
