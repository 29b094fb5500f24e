"""Looking into a trained network: which pixels count, how it can be fooled, and what it has learned to see.

    inside.py           what all of these need: checked images, a model's probabilities, a layer's activation
    occlusion.py        a patch moved over the image, and what the network thinks of it
    gradients.py        the pixels' gradient and what was made of it: saliency, integrated gradients, Grad-CAM, ...
    faithful.py         which of these maps is right: pixels taken away in their order
    attacks.py          small changes that change the answer: FGSM, PGD, one change for all images
    hardening.py        adversarial training: a network that withstands attacks
    fooling.py          images of nothing that the network is sure of; images that show what a class looks like to it
    dream.py            DeepDream
    features.py         activations, filters, and the patches that excite a channel most

A model here maps images (N, C, H, W) with values in [0, 1] to class scores (N, classes), and is in evaluation mode.
Images are NumPy arrays or Tensors of floats; what comes back are NumPy arrays.
"""

from .attacks import Attack, fgsm, pgd, robustness, universal
from .dream import deepdream, dream_step
from .faithful import Curve, deletion, insertion
from .features import Patch, exciting_patches, exciting_patches_of, feature_maps, first_filters, outer_layers
from .fooling import class_image, fooling_image
from .gradients import (
    evidence,
    grad_cam,
    gradient_times_input,
    integrated_gradients,
    saliency,
    smooth_grad,
    to_map,
)
from .hardening import AdversarialTrainer
from .inside import activation, find_layer, probabilities
from .occlusion import Occluded, occlude, occlusion, occlusion_map
