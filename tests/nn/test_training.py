"""The training loop: it learns, it stops and goes on bit for bit, and threads do not change a result."""

import os
import subprocess
import sys

import numpy as np
import pytest

import minivision as mv
from minivision import nn, optim
from minivision.data import DataLoader
from minivision.training import Trainer, evaluate

rng = np.random.default_rng(0)
IMAGES = rng.random((40, 1, 8, 8)).astype("float32")
LABELS = (IMAGES.mean((1, 2, 3)) * 4 % 3).astype("int64")


def trainer(kind="sgd", schedule=True):
    mv.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3), nn.Flatten(),
                          nn.Linear(36, 3))
    if kind == "sgd":
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    else:
        optimizer = optim.Adam(model.parameters(), lr=0.01)
    step = optim.lr_scheduler.StepLR(optimizer, 1, 0.5) if schedule else None
    return Trainer(model, DataLoader((IMAGES, LABELS), 8, shuffle=True, seed=5), optimizer, step)


def bits(t):
    return {k: v.numpy().tobytes() for k, v in t.model.state_dict().items()}, t.losses, t.history


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("stop_after", [3, 5, 7, 10, 12])    # in the middle and at the ends of epochs of 5 steps
def test_resuming_gives_the_uninterrupted_run_bit_for_bit(tmp_path, kind, stop_after):
    whole = trainer(kind)
    whole.run(3)

    first = trainer(kind)

    def stop(progress):
        first.stopped = len(first.losses) == stop_after

    first.run(3, on_step=stop)
    assert len(first.losses) == stop_after
    first.save(tmp_path / "checkpoint")

    second = trainer(kind)
    mv.manual_seed(99)                                       # the state must bring its own random numbers
    second.resume(tmp_path / "checkpoint")
    second.run(3)
    assert bits(second) == bits(whole)


def test_same_seed_same_run_and_another_seed_another():
    a, b = trainer(), trainer()
    a.run(1)
    mv.manual_seed(1)
    b = trainer()
    b.run(1)
    assert bits(a) == bits(b)
    c = trainer()
    mv.manual_seed(2)
    c.run(1)
    assert bits(c) != bits(a)


def test_history_and_callbacks():
    t, steps, epochs = trainer(), [], []
    t.run(2, on_step=steps.append, on_epoch=epochs.append)
    assert [(p.epoch, p.step) for p in steps] == [(e, s) for e in range(2) for s in range(5)]
    assert epochs == t.history and [h["epoch"] for h in t.history] == [0, 1]
    assert t.history[0]["loss"] == pytest.approx(np.mean(t.losses[:5])) and [h["lr"] for h in t.history] == [0.1, 0.05]
    t.run(2)
    assert len(t.losses) == 10                               # two epochs in all are done


def test_it_learns():
    mv.manual_seed(0)
    model = mv.models.MLP(classes=3, image_size=8, hidden=16)
    t = Trainer(model, DataLoader((IMAGES, LABELS), 10, shuffle=True), optim.Adam(model.parameters(), lr=0.02))
    before = evaluate(model, DataLoader((IMAGES, LABELS), 16))
    t.run(60)
    after = evaluate(model, DataLoader((IMAGES, LABELS), 16))
    assert after.loss < before.loss / 2 and after.accuracy > 0.9


def test_evaluate_is_the_mean_over_images_and_restores_the_mode():
    t = trainer()
    whole, parts = (evaluate(t.model, DataLoader((IMAGES, LABELS), n)) for n in (40, 7))
    assert whole.loss == pytest.approx(parts.loss, rel=1e-5) and whole.accuracy == parts.accuracy
    assert t.model.training
    t.model.eval()
    evaluate(t.model, DataLoader((IMAGES, LABELS), 7))
    assert not t.model.training
    seen = []
    evaluate(t.model, DataLoader((IMAGES, LABELS), 16), seen.append)
    assert seen == [16, 16, 8]


def test_a_loader_without_batches():
    t = trainer()
    t.loader = DataLoader((IMAGES, LABELS), 64, drop_last=True)
    for call in (lambda: t.run(1), lambda: evaluate(t.model, t.loader)):
        with pytest.raises(ValueError, match="smaller batch_size"):
            call()


def test_resuming_from_what_is_no_training_checkpoint(tmp_path):
    path = tmp_path / "x"
    t = trainer()
    mv.save(t.model.state_dict(), path)
    with pytest.raises(mv.CheckpointError, match=r"no training checkpoint.*load_weights"):
        t.resume(path)
    trainer(schedule=False).save(path)
    with pytest.raises(mv.CheckpointError, match="without a learning-rate schedule"):
        t.resume(path)
    trainer("adam").save(path)
    with pytest.raises(ValueError, match="for Adam, expected SGD"):
        t.resume(path)


def test_resuming_another_model(tmp_path):
    trainer().save(tmp_path / "x")
    model = mv.models.MLP(classes=3, image_size=8)
    other = Trainer(model, DataLoader((IMAGES, LABELS), 8), optim.SGD(model.parameters(), lr=0.1),
                    optim.lr_scheduler.StepLR(optim.SGD(model.parameters(), lr=0.1), 1))
    before = {k: v.tolist() for k, v in model.state_dict().items()}
    with pytest.raises(nn.ModelMismatchError, match=r"another model than this MLP.*missing: fc\.1\.weight"):
        other.resume(tmp_path / "x")
    assert {k: v.tolist() for k, v in model.state_dict().items()} == before


THREADS = """
import hashlib, numpy as np, minivision as mv
from minivision import functional as F, nn, optim
mv.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1, groups=2),
                      nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 64),
                      nn.ReLU(), nn.Linear(64, 10))
sgd = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
images, labels = mv.randn(32, 3, 20, 20), mv.tensor(np.arange(32) % 10)
for _ in range(4):
    loss = F.cross_entropy(model(images), labels)
    sgd.zero_grad()
    loss.backward()
    sgd.step()
print(hashlib.sha256(b"".join(p.numpy().tobytes() for p in model.parameters())).hexdigest(), loss.item())
"""


def test_same_bits_for_one_thread_and_two():
    found = []
    for n in ("1", "2"):
        env = {**os.environ, "NUMBA_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n}
        run = subprocess.run([sys.executable, "-c", THREADS], env=env, capture_output=True, text=True, check=True)
        found.append(run.stdout)
    assert found[0] == found[1] and "nan" not in found[0]


def damage(state, path, value):
    *way, last = path
    for key in way:
        state = state[key]
    state[last] = value


@pytest.mark.parametrize("path, value", [
    (["schedule"], 7), (["schedule", "base_lr"], "a"), (["optimizer", "0.velocity"], 3), (["optimizer", "momentum"], "a"),
    (["optimizer", "lr"], -1.0), (["epoch"], "x"), (["epoch"], -3), (["step"], 10**9), (["seen"], None), (["losses"], "abc"),
    (["history"], [1]), (["random"], "{}"), (["loader", "seed"], -1), (["loader"], 3), (["model"], {}), (["optimizer"], None),
])
def test_a_damaged_checkpoint_changes_nothing(tmp_path, path, value):
    whole = trainer()
    whole.run(1)
    state = whole.state_dict()
    damage(state, path, value)
    mv.save(state, tmp_path / "damaged.safetensors")
    other = trainer()
    other.run(2)
    before, place = bits(other), (other.epoch, other.step, other.optimizer.lr, mv.random.get_state())
    with pytest.raises((mv.CheckpointError, nn.ModelMismatchError)):
        other.resume(tmp_path / "damaged.safetensors")
    assert bits(other) == before
    assert (other.epoch, other.step, other.optimizer.lr, mv.random.get_state()) == place


def test_evaluation_gives_every_module_its_mode_back():
    t = trainer()
    t.model.train()
    t.model[1].eval()                                       # a batch norm that is kept as it is
    evaluate(t.model, t.loader)
    assert [m.training for m in t.model] == [True, False, True, True, True, True, True]
