"""Why a GPU cannot be used: one sentence for each reason, from `.to("cuda")`, the command line and `doctor` alike."""

import sys

import pytest
import stand_in

import minivision as mv
from minivision import cli, device, doctor
from minivision_kernels.cuda import nvrtc


class CudaError(RuntimeError):
    pass


def fails(words):
    def call(*_):
        raise CudaError(words)
    return call


def runtime(**changes):
    """CuPy's interface of CUDA with some functions replaced."""
    return lambda cupy: cupy.cuda.runtime.__dict__.update(changes)


def old(number):
    return {"name": b"old", "totalGlobalMem": 1 << 30, "major": 6, "minor": 1, "multiProcessorCount": 2,
            "sharedMemPerBlockOptin": 48 << 10}


REASONS = {
    "no driver": (
        runtime(getDeviceCount=fails("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime"),
                driverGetVersion=lambda: 0),
        "CuPy is installed, but there is no NVIDIA driver; install one, or use device 'cpu'"),
    "an old driver": (
        runtime(getDeviceCount=fails("cudaErrorInsufficientDriver"), driverGetVersion=lambda: 12040,
                runtimeGetVersion=lambda: 13020),
        "the NVIDIA driver is for CUDA 12.4, and CuPy for 13.2; install a newer driver, or 'minivision[cuda12]' instead"),
    "a broken driver": (
        runtime(getDeviceCount=fails("cudaErrorUnknown: unknown error")),
        "the NVIDIA driver does not work: cudaErrorUnknown: unknown error"),
    "no device": (
        runtime(getDeviceCount=lambda: 0), "there is no CUDA device in this machine, or CUDA_VISIBLE_DEVICES hides it"),
    "no device, as an error": (
        runtime(getDeviceCount=fails("cudaErrorNoDevice: no CUDA-capable device is detected")),
        "there is no CUDA device in this machine, or CUDA_VISIBLE_DEVICES hides it"),
    "a device too old": (
        runtime(getDeviceProperties=old),
        "the GPU has compute capability 6.1; minivision's kernels need 7.5 or newer"),
}


def everybody_says(reason, capsys):
    assert device.why_no_gpu() == reason
    with pytest.raises(mv.DeviceError, match="device 'cuda' cannot be used: ") as problem:
        mv.ones(2).to("cuda")
    assert str(problem.value).endswith(reason)
    assert dict(doctor.gpu())["none"] == reason
    for job in (["train"], ["evaluate", "x"], ["predict", "x"]):
        assert cli.main([*job, "--device", "cuda"]) == 2
        words = capsys.readouterr().err.strip()
        assert "\n" not in words and f"'cuda' cannot be used: {reason}" in words


@pytest.mark.parametrize("name", REASONS)
def test_one_sentence_for_each_reason(monkeypatch, capsys, name):
    change, reason = REASONS[name]
    change(stand_in.install(monkeypatch))
    everybody_says(reason, capsys)


def test_no_cupy(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)         # import cupy: ModuleNotFoundError
    everybody_says("CuPy is not installed; pip install 'minivision[cuda13]' (or [cuda12] for an older driver)", capsys)


def test_cupy_that_does_not_start(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert device.why_no_gpu() == ("CuPy is installed but does not start: libcudart.so.13: cannot open shared object file")


def test_no_nvrtc(monkeypatch, capsys):
    stand_in.install(monkeypatch)

    def missing():
        raise nvrtc.NoCompiler("NVRTC, NVIDIA's run-time compiler, cannot be loaded; pip install 'minivision[cuda13]'")

    monkeypatch.setattr(nvrtc, "architectures", missing)
    monkeypatch.setattr(nvrtc, "version", missing)
    everybody_says("NVRTC, NVIDIA's run-time compiler, cannot be loaded; pip install 'minivision[cuda13]'", capsys)
    assert dict(doctor.gpu())["NVRTC"] == "not found; it comes with 'minivision[cuda13]' or [cuda12]"


def test_doctor_shows_what_there_is(monkeypatch):
    stand_in.install(monkeypatch)
    monkeypatch.setattr(nvrtc, "version", lambda: (13, 2))
    rows = dict(doctor.gpu())
    assert rows["cuda:0"] == "stand-in, 8 GiB, compute capability 8.0"
    assert rows["driver"] == "for CUDA 13.0"
    assert rows["NVRTC"] == "13.2, for compute capability 7.5 and newer"
    assert rows["machine code"].endswith("cuda")


def test_a_device_that_is_not_there(monkeypatch, capsys):
    stand_in.install(monkeypatch)
    with pytest.raises(mv.DeviceError, match=r"cuda:1 does not exist; this machine has 1 CUDA device"):
        mv.ones(2).to("cuda:1")
    assert cli.main(["train", "--device", "cuda:1"]) == 2
    assert "'cuda:1' cannot be used: this machine has 1 CUDA device(s), counted from 0" in capsys.readouterr().err
    assert cli.main(["train", "--device", "cuda:x"]) == 2
    assert "'cuda:x' cannot be used: expected cpu, cuda or cuda:<number>" in capsys.readouterr().err
