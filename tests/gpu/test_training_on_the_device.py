"""A whole training run on a device: the loss curve of the CPU, and checkpoints that go from one to the other."""

import numpy as np
import pytest

import minivision as mv
from minivision import data, models, nn, optim
from minivision import functional as F
from minivision.training import Trainer, evaluate


def tiny():
    """One of each kind of layer, in under a thousand weights."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), nn.LeakyReLU(0.1), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(6, 10))


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.05),
    "momentum": lambda p: optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adam": lambda p: optim.Adam(p, 0.01, weight_decay=1e-3),
}


def trainer(device, optimizer="momentum", model=tiny):
    mv.manual_seed(0)
    pictures = data.digits()
    net = model().to(device)
    rule = OPTIMIZERS[optimizer](net.parameters())
    return Trainer(net, data.DataLoader(pictures.subset(slice(40)), 16, shuffle=True, seed=1), rule,
                   optim.lr_scheduler.CosineAnnealingLR(rule, 3))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_loss_curve_is_that_of_the_cpu(device, optimizer):
    curves, scores, weights = [], [], []
    for place in ("cpu", device):
        run = trainer(place, optimizer)
        run.run(2)
        curves.append(run.losses)
        scores.append(evaluate(run.model, data.DataLoader(data.digits("test").subset(slice(20)), 16)))
        weights.append({name: value.numpy() for name, value in run.model.state_dict().items()})
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
    assert len(curves[0]) == 6 and curves[0][-1] < curves[0][0]
    assert scores[1].loss == pytest.approx(scores[0].loss, rel=1e-3)
    assert abs(scores[1].accuracy - scores[0].accuracy) <= 0.05
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_checkpoint_goes_from_one_to_the_other(device, optimizer, tmp_path):
    straight = trainer("cpu", optimizer)
    straight.run(3)
    for first, then in ((device, "cpu"), ("cpu", device)):
        begun = trainer(first, optimizer)
        begun.run(1)
        begun.save(tmp_path / "run.safetensors")
        resumed = trainer(then, optimizer)
        resumed.resume(tmp_path / "run.safetensors")
        assert next(resumed.model.parameters()).device == ("cpu" if then == "cpu" else "cuda:0")
        resumed.run(3)
        np.testing.assert_allclose(resumed.losses, straight.losses, rtol=1e-4)


def test_a_run_of_the_device_repeats_its_bits(device):
    curves = []
    for _ in range(2):
        run = trainer(device)
        run.run(1)
        curves.append(run.losses)
    assert curves[0] == curves[1]


@pytest.mark.parametrize("model, shape", [(models.LeNet5, (2, 1, 28, 28)), (models.SmallCNN, (2, 1, 8, 8))])
def test_one_step_of_a_known_model(device, model, shape):
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    losses = []
    for place in ("cpu", device):
        mv.manual_seed(0)
        net = model(classes=10, channels=1, image_size=shape[2]).to(place)
        loss = F.cross_entropy(net(mv.tensor(images, device=place)), mv.tensor([3, 7]))
        loss.backward()
        losses.append([loss.item(), *(float(abs(p.grad.numpy()).sum()) for p in net.parameters())])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_a_network_passes_the_checker_on_the_device(device):
    mv.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    net = net.to("float64").to(device)
    x = mv.tensor(np.random.default_rng(0).standard_normal((2, 1, 4, 4)), device=device, requires_grad=True)
    assert mv.gradcheck(lambda x, *_: F.cross_entropy(net(x), mv.tensor([2, 0])), [x])


def test_labels_are_checked_where_they_are(device):
    scores = mv.tensor(np.zeros((2, 3), np.float32), device=device)
    for at in ("cpu", device):
        with pytest.raises(IndexError, match=r"label 3, expected 0 \.\. 2"):
            F.cross_entropy(scores, mv.tensor([0, 3], device=at))
        assert F.cross_entropy(scores, mv.tensor([0, 2], device=at)).item() == pytest.approx(np.log(3))
        ignoring = F.cross_entropy(scores, mv.tensor([0, -100], device=at), reduction="none")
        assert ignoring.device == "cuda:0"
        np.testing.assert_allclose(ignoring.numpy(), [np.log(3), 0], rtol=1e-6)
        assert F.nll_loss(scores, mv.tensor([1, 2], device=at), ignore_index=2).item() == 0


def test_a_step_waits_for_the_device_only_at_its_end(monkeypatch):
    """Nothing reads from the device before the optimiser's last kernel is under way."""
    import stand_in

    stand_in.install(monkeypatch)
    run, seen = trainer("cuda"), []
    for name in ("__bool__", "__int__", "__float__", "item", "tolist"):
        read = getattr(stand_in.FakeArray, name)
        monkeypatch.setattr(stand_in.FakeArray, name, lambda self, read=read: (seen.append("read"), read(self))[1])
    launch = stand_in.Function.__call__
    monkeypatch.setattr(stand_in.Function, "__call__", lambda self, *args, **options: (
        seen.append(self.kernel), launch(self, *args, **options))[1])
    run.loader.batch_size = 40
    run.run(1)
    assert seen.count("sgd_several") == 1 and "sgd_update" not in seen
    assert "read" not in seen[:seen.index("sgd_several") + 1]
