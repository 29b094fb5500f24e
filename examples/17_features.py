"""Features and filters: what the layers have learned to answer to.

A channel of a convolution answers everywhere with the same filter. What the first filters look for can be seen by looking at
them: edges, spots, colours. Deeper ones are seen by what they do. The first picture shows what the channels of each layer make
of one photo: early layers trace it, late ones say in a few bright spots that something is there, and no longer what it looks
like. The second asks the other way round: of many pictures, which parts excite a channel most? As much of each is shown as the
answer depends on (Zeiler and Fergus 2014, figure 2).

    python examples/17_features.py                                  a cat, if SqueezeNet's weights are here, else a digit
    python examples/17_features.py --photo cat.jpg --layer features.10
"""

import argparse
from pathlib import Path

from minivision import explain, pictures
from minivision.cli.networks import NAMES, open_network
from minivision.explain.pictures import features_page, patches_page

CHANNELS = 12
ENOUGH = 36                     # pictures of which one place each is enough; of fewer, several


def main() -> None:
    parser = argparse.ArgumentParser(description="Show what the layers of a network answer to.")
    parser.add_argument("--photo", type=Path, help="any picture file (a sample picture)")
    parser.add_argument("--layer", help="the layer whose channels are shown (one in the middle)")
    parser.add_argument("--model", choices=NAMES, help="which network (squeezenet if its weights are here, else digits)")
    chosen = parser.parse_args()
    network = open_network(chosen.model)
    image, layers = network.prepare(chosen.photo), explain.outer_layers(network.model)

    maps = explain.feature_maps(network.model, image, layers)
    for name, answer in maps.items():
        silent = float((answer == 0).mean())
        print(f"{name:<12} {' x '.join(map(str, answer.shape)):<16}" + f" {100 * silent:.0f} % silent" * (silent > 0.01))
    first = pictures.output_folder() / "17_features.png"
    features_page(first, image, maps, explain.first_filters(network.model), f"What {network.name} makes of a picture",
                  "the filters of the first layer, then the channels that answer most, layer by layer")
    print(first)

    gallery, layer = network.gallery(), chosen.layer or network.dream_layer
    found = explain.exciting_patches_of(network.model, gallery, layer, most=CHANNELS,
                                        per_image=1 if len(gallery) >= ENOUGH else 9)
    second = pictures.output_folder() / "17_features_patches.png"
    patches_page(second, gallery, found, f"What excites layer {layer} of {network.name}",
                 f"for each channel nine places in {len(gallery)} pictures, as much of them as the answer depends on")
    print(second)


if __name__ == "__main__":
    main()
