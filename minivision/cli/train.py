"""Train a network on a data set, watch it learn, and keep the result.

Writes model.safetensors (the checkpoint) and result.png (the loss, the filters it learned, what it gets wrong) into
the folder --out. Ctrl-C stops after the step under way and saves; --resume goes on as if nothing had happened.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_device, add_root, number, whole
from .output import percent, plural, progress, say
from .settings import MODEL_NAMES, OPTIMIZERS, SCHEDULES, Settings
from .sources import NAMES, Source

if TYPE_CHECKING:
    from ..training import Progress, Trainer

HELP = "train a network and keep the result"
EXAMPLE = """\
examples:
  minivision train                                        the digits that ship with minivision, in seconds
  minivision train --data mnist --model lenet5
  minivision train --data my-pictures --epochs 30         my-pictures/cat/1.jpg, my-pictures/dog/1.jpg, ...
  minivision train --resume runs/digits-smallcnn/model.safetensors"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # Settings have no default here: None means "not chosen", so that a recipe or a checkpoint can fill it in.
    what = parser.add_argument_group("what to train")
    what.add_argument("--data", metavar="NAME", help=f"{', '.join(NAMES)}, or a folder with one folder of pictures "
                      "per class (digits)")
    add_root(what)
    what.add_argument("--model", choices=MODEL_NAMES, help="(smallcnn)")
    what.add_argument("--image-size", type=whole(4), metavar="N", help="scale the pictures of a folder to N x N (32)")
    what.add_argument("--limit", type=whole(1), metavar="N", help="use only the first N training images")

    how = parser.add_argument_group("how to train (defaults that suit the data)")
    how.add_argument("--epochs", type=whole(1), metavar="N", help="(digits 15, mnist 5, fashion-mnist 10)")
    how.add_argument("--batch-size", type=whole(1), metavar="N", help="(digits 32, others 64)")
    how.add_argument("--lr", type=number(above=0), metavar="X", help="learning rate (0.05; 0.001 for adam)")
    how.add_argument("--momentum", type=number(least=0, below=1), metavar="X", help="of sgd, in Nesterov's form (0.9)")
    how.add_argument("--weight-decay", type=number(least=0), metavar="X", help="(0.0001)")
    how.add_argument("--optimizer", choices=OPTIMIZERS, help="(sgd)")
    how.add_argument("--schedule", choices=SCHEDULES, help="of the learning rate over the epochs (cosine)")
    how.add_argument("--seed", type=whole(0), metavar="N", help="the same seed gives the same weights, bit for bit (0)")

    run_ = parser.add_argument_group("the run")
    run_.add_argument("--out", metavar="DIR", help="folder for the results (runs/DATA-MODEL)")
    run_.add_argument("--resume", metavar="CHECKPOINT", help="go on with an interrupted run, with its settings; "
                      "a larger --epochs prolongs it")
    run_.add_argument("--threads", type=whole(1), metavar="N", help="threads for the kernels (all cores); the result "
                      "does not depend on it")
    run_.add_argument("--no-picture", action="store_true", help="do not draw result.png")
    add_device(run_)


def run(arguments: argparse.Namespace) -> int:
    if arguments.threads is not None:
        import minivision_kernels

        minivision_kernels.set_num_threads(arguments.threads)
    settings = _settings(arguments)
    source = _source(settings, arguments.root)
    trainer = _trainer(settings, source, arguments.device)
    if arguments.resume:
        trainer.resume(arguments.resume)
        if trainer.schedule is not None and not trainer.step:     # --epochs may have changed the curve's length
            trainer.optimizer.lr = trainer.schedule.lr_at(trainer.epoch)

    if arguments.out:
        out = Path(arguments.out)
    elif arguments.resume:
        out = Path(arguments.resume).parent
    else:
        out = Path("runs", f"{Path(source.name).name}-{settings.model}")
    checkpoint = out / "model.safetensors"
    with _writable(out):
        _announce(trainer, settings, source)
        interrupted = _train(trainer, settings, source, checkpoint)
    if interrupted:
        say(f"stopped in epoch {trainer.epoch + 1} of {settings.epochs}; the run so far is in {checkpoint}\n"
            f"go on with: minivision train --resume {shlex.quote(str(checkpoint))}")
        return 130
    _report(trainer, source, checkpoint, None if arguments.no_picture else out / "result.png")
    return 0


# ---------------------------------------------------------------------------------------------- what to train


def _settings(arguments: argparse.Namespace) -> Settings:
    """The settings, chosen or resumed."""
    if not arguments.resume:
        return Settings.chosen(arguments)
    from .trained import load_trained

    trained = load_trained(arguments.resume)
    settings = Settings.remembered(trained.settings)
    for name, value in settings.as_dict().items():
        if name != "epochs" and getattr(arguments, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} cannot be chosen with --resume: the run has {value}; leave "
                             "it out")
    if arguments.epochs is not None:
        settings = replace(settings, epochs=arguments.epochs)
    if settings.epochs < trained.epoch:
        raise ValueError(f"--epochs is {settings.epochs}, but {arguments.resume} has done {trained.epoch} already")
    return settings


def _source(settings: Settings, root: str | None) -> Source:
    from .sources import load

    if settings.image_size is not None and settings.data in NAMES:
        raise ValueError(f"--image-size is for folders of pictures; those of {settings.data} have their own size")
    source = load(settings.data, root, settings.image_size or 32)
    return source._replace(train=source.train.subset(slice(settings.limit)))


def _trainer(settings: Settings, source: Source, device: str) -> Trainer:
    from ..random import manual_seed
    from ..training import Trainer
    from .trained import build

    channels, image_size = source.train.images.shape[1:3]
    manual_seed(settings.seed)
    model = build(settings.model, len(source.train.classes), channels, image_size)
    model.to(device)
    optimizer = settings.optimizer_for(model)
    about = {"model": settings.model, "data": source.name, "class_names": list(source.train.classes),
             "channels": channels, "image_size": image_size, "settings": replace(settings, data=source.name).as_dict()}
    return Trainer(model, settings.loader_for(source.train), optimizer, settings.schedule_for(optimizer), about)


def _announce(trainer: Trainer, settings: Settings, source: Source) -> None:
    size = sum(p.size for p in trainer.model.parameters())
    channels, height, width = source.train.images.shape[1:]
    say(f"{settings.model} ({plural(size, 'parameter')}) on {Path(source.name).name}: "
        f"{plural(len(source.train), 'training image')} and {plural(len(source.test), 'test image')} of "
        f"{channels} x {height} x {width}, {len(source.train.classes)} classes")
    rule = f"{settings.optimizer}, " + (f"momentum {settings.momentum:g}, " if settings.optimizer == "sgd" else "")
    say(f"{plural(settings.epochs, 'epoch')}, batches of {settings.batch_size}, {rule}learning rate {settings.lr:g} "
        f"({settings.schedule}), weight decay {settings.weight_decay:g}, seed {settings.seed}")
    if trainer.epoch or trainer.step:
        done = trainer.epoch >= settings.epochs
        place = f"step {trainer.step + 1} of epoch {trainer.epoch + 1}"
        say("the run is complete already" if done else f"going on at {place}")


# ---------------------------------------------------------------------------------------------- training


def _train(trainer: Trainer, settings: Settings, source: Source, checkpoint: Path) -> bool:
    """Train to the end or to the first Ctrl-C, saving after each epoch; whether it was interrupted."""
    import math

    import numpy as np

    from ..data import DataLoader
    from ..training import evaluate

    count = len(source.train)
    done = trainer.epoch * count + trainer.seen
    bar = progress(settings.epochs * count, "", "image", initial=done)
    clock = time.perf_counter()
    since = trainer.seen                    # images of this epoch that an earlier run has done

    def on_step(now: Progress) -> None:
        if not math.isfinite(now.loss):
            raise ValueError(f"the loss became {now.loss} in epoch {now.epoch + 1}, step {now.step + 1}: the steps are "
                             f"too large. Choose a smaller --lr than {settings.lr:g}")
        bar.set_description_str(f"epoch {now.epoch + 1}/{settings.epochs}", refresh=False)
        bar.set_postfix_str(f"loss {now.loss:.3f}, accuracy {percent(now.accuracy)}", refresh=False)
        bar.update(now.images)

    def on_epoch(summary: dict[str, float]) -> None:
        nonlocal clock, since
        seconds = time.perf_counter() - clock
        score = evaluate(trainer.model, DataLoader(source.test, 256))
        summary.update(test_loss=score.loss, test_accuracy=score.accuracy, seconds=seconds)
        number = f"{summary['epoch'] + 1:>{len(str(settings.epochs))}}/{settings.epochs}"
        say(f"epoch {number}   loss {summary['loss']:.4f}   training {percent(summary['accuracy']):>7}   "
            f"test {percent(score.accuracy):>7}   {seconds:6.1f} s   {(count - since) / seconds:7,.0f} images/s")
        trainer.save(checkpoint)
        clock, since = time.perf_counter(), 0

    # An overflow shows in the loss, where on_step stops the run; NumPy's own warnings would only come before.
    with bar, _compiling_is_said(), _stoppable(trainer), np.errstate(over="ignore", invalid="ignore"):
        trainer.run(settings.epochs, on_step, on_epoch)
    if trainer.epoch < settings.epochs:
        trainer.save(checkpoint)
        return True
    if not checkpoint.exists():             # a complete run, resumed into another folder
        trainer.save(checkpoint)
    return False


@contextlib.contextmanager
def _stoppable(trainer: Trainer) -> Iterator[None]:
    """The first Ctrl-C ends the run after the step under way; the second ends the program."""

    def on_interrupt(*_: object) -> None:
        if trainer.stopped:
            raise KeyboardInterrupt
        trainer.stopped = True
        os.write(2, b"\nstopping after this step (Ctrl-C again: at once, without saving)\n")    # print is not reentrant

    if threading.current_thread() is not threading.main_thread():     # Python delivers signals to the main thread only
        yield
        return
    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _compiling_is_said() -> Iterator[None]:
    """Say so when a kernel has to be compiled: it takes seconds in which nothing else happens."""
    try:
        from numba.core import event
    except ImportError:
        yield
        return
    from minivision_kernels import cache_info

    class Saying(event.Listener):
        said = False

        def on_start(self, event: Any) -> None:
            if not self.said:
                self.said = True
                cache = cache_info()
                say("compiling kernels (once) ..." if cache.writable else
                    f"compiling kernels (in every run, since {cache.folder} cannot be written) ...")

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", Saying()):
        yield


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Make the folder and try to write into it, before an hour of training; on an error leave no empty folder."""
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as problem:
        _remove_empty(made)
        raise OSError(f"{folder} cannot be written ({problem.strerror or problem}); choose another folder with "
                      "--out") from problem
    try:
        yield
    except BaseException:
        _remove_empty(made)
        raise


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):                # one that is not empty stays, and those above it
        for folder in folders:
            folder.rmdir()


# ---------------------------------------------------------------------------------------------- the result


def _report(trainer: Trainer, source: Source, checkpoint: Path, picture: Path | None) -> None:
    from .trained import probabilities

    answers = probabilities(trainer.model, source.test)
    right = int((answers.argmax(1) == source.test.labels).sum())
    say(f"test accuracy {percent(right / len(source.test))} ({right:,} of {len(source.test):,})")
    say(f"checkpoint {checkpoint}")
    if picture is None:
        return
    try:
        from .. import pictures

        pictures.training_result(
            picture, title=f"{trainer.about['model']} on {Path(source.name).name}", losses=trainer.losses,
            history=trainer.history, weights=next(trainer.model.parameters()).numpy(), images=source.test.images,
            labels=source.test.labels, probabilities=answers, class_names=source.test.classes)
    except pictures.NoMatplotlib as problem:
        say(f"no picture: {problem}")
    else:
        say(f"picture    {picture}")
