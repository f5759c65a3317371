"""`CnnPolicy`: one convolutional network for policy and value, over images: Nature's (Mnih et al. 2015) or A3C's (Mnih et al. 2016)."""

import functools
import math

import numpy as np
import tensorflow as tf

from baselines_ppo.config.policy_settings import OLDER_CNN
from common import seeding
from common.distributions import DiagGaussianPdType, make_pdtype
from common.errors import UserError
from common.formatting import describe_space
from common.hints import CHOOSE_CHANNELS, USE_MLP
from common.policies.base import Policy
from common.policies.initializers import check_init, initialise_weights
from common.policies.observation_encoder import is_image
from common.runtime.memory import check_memory
from common.validation import check_choice

# kind -> [(filters, kernel, stride)], width of the dense layer
ARCHITECTURES = {"large": ([(32, 8, 4), (64, 4, 2), (64, 3, 1)], 512), "small": ([(16, 8, 4), (32, 4, 2)], 256)}


CHANNELS = ("first", "last", "smaller")


def least_pixels(convolutions):
    """The least height and width of images, of which one pixel is left."""
    return functools.reduce(lambda n, layer: (n - 1) * layer[2] + layer[1], reversed(convolutions), 1)


def channel_axis(space, convolutions, channels=None):
    """'first' if images are [C, H, W], as Gymnasium's frame stack has them, 'last' if they are [H, W, C].

    Args:
        space: of the images.
        convolutions: as in `ARCHITECTURES`.
        channels: 'first' or 'last'; 'smaller': the axis with fewer entries of the two, the last of equal ones; None: that, where it is sure, because an
            axis with so few entries has too few pixels for the convolutions.

    Raises:
        UserError: for anything else, and where it is not sure.
    """
    if channels is not None and check_choice("channels", channels, CHANNELS) != "smaller":
        return channels
    first, _, last = space.shape
    if channels is None and min(first, last) >= least_pixels(convolutions):
        raise UserError(
            f"images of {space.shape} may have {first} channels first or {last} channels last; {CHOOSE_CHANNELS}, or {USE_MLP}"
        )
    return "first" if first < last else "last"


class CnnPolicy(Policy):
    """Baselines' CnnPolicy. Images are uint8 [H, W, C] or, as Gymnasium's frame stack has them, [C, H, W].

    Args:
        name: 'pi' or 'oldpi'.
        ob_space: a Box of rank 3 and dtype uint8, at least 36 x 36 pixels, for the small network 20 x 20.
        ac_space: any action space; a Gaussian's log std is a free variable.
        kind: 'large', Nature's, or 'small', A3C's.
        init: 'normc', Baselines', or 'orthogonal'.
        init_logstd: where a Gaussian's log std starts.
        channels: which axis of an image has the channels: 'first', 'last', 'smaller' or None, as `channel_axis` has them.

    Raises:
        UserError: if the observations are no such images, for a setting that cannot be, or a network beyond this machine's memory.
    """

    network_is_pure = True
    older_settings = OLDER_CNN
    metrics_rows = 256  # a whole segment forwards is a twelfth of four epochs over it

    def __init__(self, name, ob_space, ac_space, kind="large", *, init="normc", init_logstd=0.0, channels=None):
        shapes = self.shapes(ob_space, ac_space, kind, channels=channels)
        check_init(init, init_logstd)
        check_memory(4 * sum(map(math.prod, shapes.values())), f"images of {ob_space.shape}: the network")
        super().__init__(name, ob_space, ac_space)
        self.kind, self.init, self.init_logstd = kind, init, float(init_logstd)
        # on a CPU XLA's convolutions are slower than TensorFlow's own; on a GPU the fused ones win
        self.xla = bool(tf.config.list_physical_devices("GPU"))
        self.num_microbatches = (
            1 if self.xla else 2
        )  # one's convolutions fill the gaps between the other's: 0.85 of the time of a whole
        self.convolutions, _ = ARCHITECTURES[kind]
        self.channels_first = channel_axis(ob_space, self.convolutions, channels) == "first"
        self.free_logstd = "pol/logstd" in shapes
        self.weights = {key: tf.Variable(tf.zeros(shape), name=key) for key, shape in shapes.items()}
        self.initialise(seeding.generator(0, seeding.INITIALISE))

    @classmethod
    def shapes(cls, ob_space, ac_space, kind="large", *, channels=None, **others):
        """{name: shape} of the weights, as `Policy.shapes`; `others` make no difference. UserError for what cannot be."""
        if not is_image(ob_space) or ob_space.dtype != np.uint8:
            raise UserError(
                f"CnnPolicy needs images, a Box of rank 3 and dtype uint8, not {describe_space(ob_space)}; {USE_MLP}"
            )
        convolutions, dense = ARCHITECTURES[check_choice("kind", kind, ARCHITECTURES)]
        axis = channel_axis(ob_space, convolutions, channels)
        channels, *pixels = ob_space.shape if axis == "first" else (ob_space.shape[2], *ob_space.shape[:2])
        shapes = {}
        for i, (filters, kernel, stride) in enumerate(convolutions, 1):
            pixels = [(n - kernel) // stride + 1 for n in pixels]
            if min(pixels) < 1:
                least = least_pixels(convolutions)
                raise UserError(
                    f"images of {ob_space.shape}, with their channels {axis}, are too small for the {kind!r} network; give at least "
                    f"{least} x {least} pixels, or {USE_MLP}"
                )
            shapes |= {f"conv{i}/w": [kernel, kernel, channels, filters], f"conv{i}/b": [filters]}
            channels = filters
        pdtype = make_pdtype(ac_space)
        gaussian = isinstance(pdtype, DiagGaussianPdType)
        outputs = pdtype.param_shape()[0] // (2 if gaussian else 1)
        shapes |= {
            "fc/w": [channels * math.prod(pixels), dense],
            "fc/b": [dense],
            "pol/final/w": [dense, outputs],
            "pol/final/b": [outputs],
            "vf/final/w": [dense, 1],
            "vf/final/b": [1],
        }
        return shapes | ({"pol/logstd": [outputs]} if gaussian else {})

    def settings(self):
        return {
            "kind": self.kind,
            "init": self.init,
            "init_logstd": self.init_logstd,
            "channels": "first" if self.channels_first else "last",
        }

    def initialise(self, rng):
        """Draw the weights afresh from a NumPy generator; biases are zero."""
        initialise_weights(self.weights, rng, self.init, self.init_logstd)

    def forward(self, ob):
        """(flatparam [N, p], vpred [N]) at images [N, H, W, C], as `Policy.forward`."""
        return self.network(self.weights, ob)

    def network(self, w, ob):
        """`forward` over the weights `w`, {name: variable}."""
        x = tf.cast(ob, tf.float32) / 255.0
        if self.channels_first:
            x = tf.transpose(x, [0, 2, 3, 1])  # TensorFlow's CPU convolutions take channels last only
        for i, (_, _, stride) in enumerate(self.convolutions, 1):
            x = tf.nn.relu(tf.nn.conv2d(x, w[f"conv{i}/w"], stride, "VALID") + w[f"conv{i}/b"])
        x = tf.nn.relu(tf.matmul(tf.reshape(x, [-1, w["fc/w"].shape[0]]), w["fc/w"]) + w["fc/b"])
        flat = tf.matmul(x, w["pol/final/w"]) + w["pol/final/b"]
        if self.free_logstd:
            flat = tf.concat([flat, tf.broadcast_to(w["pol/logstd"], tf.shape(flat))], -1)
        return flat, (tf.matmul(x, w["vf/final/w"]) + w["vf/final/b"])[:, 0]
