"""Reference distributions in float64, from SciPy's densities and entropies.

The Gaussian KL is the Gauss-Hermite quadrature of log p - log q, which is exact for polynomials of degree 2 and shares
no formula with the code.
"""

import gymnasium as gym
import numpy as np
import scipy.special
import scipy.stats


class GaussianReference:
    def __init__(self, space):
        self.size = int(np.prod(space.shape))

    def split(self, flat):
        return flat[:, : self.size], np.exp(flat[:, self.size :])

    def logp(self, flat, x):
        mean, std = self.split(flat)
        return scipy.stats.norm.logpdf(x.reshape(len(x), self.size), mean, std).sum(axis=1)

    def entropy(self, flat):
        return scipy.stats.norm.entropy(*self.split(flat)).sum(axis=1)

    def kl(self, flat, other):
        (mean, std), (other_mean, other_std) = self.split(flat), self.split(other)
        total = 0.0
        for node, weight in zip(*np.polynomial.hermite_e.hermegauss(3)):
            x = mean + std * node
            log_ratio = scipy.stats.norm.logpdf(node) - np.log(std) - scipy.stats.norm.logpdf(x, other_mean, other_std)
            total += weight / np.sqrt(2 * np.pi) * log_ratio
        return total.sum(axis=1)


class CategoricalReference:
    def __init__(self, space):
        several = isinstance(space, gym.spaces.MultiDiscrete)
        nvec, self.start = (space.nvec.ravel(), space.start.ravel()) if several else ([space.n], [space.start])
        self.ends = np.cumsum(nvec)[:-1]

    def parts(self, flat):
        return np.split(flat, self.ends, axis=1)

    def logp(self, flat, x):
        columns = x.reshape(len(x), -1) - self.start
        return sum(
            scipy.special.log_softmax(part, axis=1)[np.arange(len(x)), column]
            for part, column in zip(self.parts(flat), columns.T)
        )

    def entropy(self, flat):
        return sum(scipy.stats.entropy(scipy.special.softmax(part, axis=1), axis=1) for part in self.parts(flat))

    def kl(self, flat, other):
        return sum(
            scipy.stats.entropy(scipy.special.softmax(a, axis=1), scipy.special.softmax(b, axis=1), axis=1)
            for a, b in zip(self.parts(flat), self.parts(other))
        )


class BernoulliReference:
    def __init__(self, space):
        pass

    def logp(self, flat, x):
        return scipy.special.log_expit((2 * x.reshape(flat.shape) - 1) * flat).sum(axis=1)

    def entropy(self, flat):
        return (scipy.special.entr(scipy.special.expit(flat)) + scipy.special.entr(scipy.special.expit(-flat))).sum(
            axis=1
        )

    def kl(self, flat, other):
        return sum(
            scipy.special.rel_entr(scipy.special.expit(s * flat), scipy.special.expit(s * other)) for s in (1, -1)
        ).sum(axis=1)


def reference_of(space):
    kind = {gym.spaces.Box: GaussianReference, gym.spaces.MultiBinary: BernoulliReference}.get(
        type(space), CategoricalReference
    )
    return kind(space)
