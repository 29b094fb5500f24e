"""Right for square batches.

The loss of a batch is the mean over its samples,

    loss = mean over n of  logsumexp(z[n]) - z[n, label[n]]         grad_z = grad * (softmax(z) - onehot) / N

and of the two lengths of z (N, M), samples and classes, backward below has picked the wrong one. What makes this kind of
mistake so durable is that an array shows no names: axis 0 is as good as axis 1, nothing crashes, and the gradient points
exactly where it should. Only its length is wrong, by N / M, and a learning rate that was tuned by hand swallows that. The
day the batch size is changed, training falls apart, and everybody suspects the batch size.

Most tests are written with round numbers. A 3 x 3 matrix is easy to type; 10 digits and a batch of 10 are easy to read. In
all of these, axes cannot be told apart: this mistake, a transposed weight, a sum over the wrong axis, a mean for a sum.
The rule that the checks of this track follow is simple: **no two lengths alike**.

There is another way to hide it: logits so large that softmax is certain. Then the gradient is zero, and zero divided by
anything is zero.

Write `inputs`: it returns logits (N, M) and labels (N,) for which a gradient check exposes the class. Then give the letter.
"""

import numpy as np

from minivision.exercises import Op

MISTAKES = {
    "A": "softmax is taken over the batch, not over the classes",
    "B": "the 1 of the right class is not subtracted",
    "C": "the mean is taken over the number of classes, not over that of samples",
    "D": "the sign is wrong",
    "E": "the upstream gradient is not multiplied in",
}


class CrossEntropy(Op):
    """The mean cross-entropy of a batch, with a mistake in its backward. Leave it as it is."""

    def forward(self, logits, labels):
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self.p, self.labels = np.exp(log_p), labels
        return -log_p[np.arange(len(labels)), labels].mean()

    def backward(self, grad):
        onehot = np.eye(self.p.shape[1])[self.labels]
        return grad * (self.p - onehot) / self.p.shape[1]


def inputs():
    #: stub
    # TODO: return logits, an array (N, M), and labels, N whole numbers from 0 to M - 1.
    raise NotImplementedError("inputs returns logits and labels that expose the mistake")
    #: solution
    return np.random.default_rng(0).standard_normal((2, 3)), np.array([2, 0])
    #: end


#: stub
MISTAKE = ""      # TODO: a letter from MISTAKES
#: solution
MISTAKE = "C"
#: end
