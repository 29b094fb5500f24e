"""Where does it look? Cover it and ask again.

A network says "wolf" with 98 %. Is it the ears? A well-known one went by the snow. The simplest way to find out needs no
gradient and no access to the inside of the network: lay a grey patch on the image, ask for the probability of the class, move
the patch, ask again (Zeiler and Fergus 2014, section 4.2). Where the patch hides what the network goes by, the probability
falls. Drawn as a map, it shows what the answer hangs on.

The patch stands at rows 0, stride, 2 stride, ... and columns likewise. The last position of a row or column is the first at
which the patch reaches the edge, and it may be cut off there, so that every pixel is covered at some time: along a length L
there are

    ceil((L - size) / stride) + 1

positions. The map is the probability itself, one number per position. It is low where the image matters.

Two things to watch. Each question is about the image with **one** patch: whoever draws into the image must put it back, or
work on a copy. And a patch is never neutral. Black means ink to some networks and nothing to others; grey is an edge on a white
ground. That is why the value is an argument, and why maps of different values should be compared before anybody believes them.

Write `occlusion_map`: probability is a function that takes an image (H, W) and returns a number, fill the value of the patch.
Return an array (rows, columns).
"""

import numpy as np


def occlusion_map(probability, image, size, stride, fill):
    #: stub
    # TODO: ask for each position of the patch.
    raise NotImplementedError("occlusion_map returns one probability for each position of the patch")
    #: solution
    H, W = image.shape
    rows, columns = -(-(H - size) // stride) + 1, -(-(W - size) // stride) + 1
    found = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            covered = image.copy()
            covered[i * stride:i * stride + size, j * stride:j * stride + size] = fill
            found[i, j] = probability(covered)
    return found
    #: end
