"""Record what captum and torchattacks say of a small network, for tests that must do without them.

    pip install torch==2.13.0 safetensors && pip install --no-deps captum torchattacks && python tests/golden/record_explain.py

Recorded with captum 0.9.0 and torchattacks 3.5.1, in float64.
"""

from pathlib import Path

import numpy as np
import torch
import torchattacks
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, Occlusion, Saliency
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(),
                      nn.Linear(6 * 4 * 3, 5)).eval()
x = torch.rand(4, 3, 12, 10)
y = torch.tensor([0, 3, 1, 4])
one, target = x[:1], 2

found = {f"model.{name}": value.numpy() for name, value in model.state_dict().items()}
found |= {"x": x.numpy(), "y": y.numpy()}
found["occlusion"] = Occlusion(model).attribute(one, (3, 5, 4), strides=(3, 3, 3), baselines=0.25, target=target)
found["saliency"] = Saliency(model).attribute(one, target=target)
found["gradient_times_input"] = InputXGradient(model).attribute(one, target=target)
found["integrated_gradients"] = IntegratedGradients(model).attribute(one, baselines=0.1, target=target, n_steps=20)
found["grad_cam"] = LayerGradCam(model, model[3]).attribute(one, target, relu_attributions=True)
found["fgsm"] = torchattacks.FGSM(model, eps=0.03)(x, y)
found["pgd"] = torchattacks.PGD(model, eps=0.05, alpha=0.02, steps=7, random_start=False)(x, y)
found["pgd_l2"] = torchattacks.PGDL2(model, eps=0.4, alpha=0.15, steps=7, random_start=False)(x, y)

arrays = {name: value.detach().numpy() if isinstance(value, torch.Tensor) else value for name, value in found.items()}
np.savez_compressed(Path(__file__).parent / "explain.npz", **arrays)
