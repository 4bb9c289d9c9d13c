"""A convolutional network as an energy of images."""

from torch import nn

from ebm_cli.energies.activations import ACTIVATIONS, Activation
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.energies.images import bound_spectral_norm, conv3x3, require_image, to_channels_last
from ebm_cli.energies.initialisation import initialise, require_size


class Conv(NetworkEnergy):
    """f(x) = w·h_L + b + ½ κ‖x‖²,   h_l = σ(W_l ∗ h_{l−1} + b_l),   h_0 = x.

    The convolutions are 3 × 3: the first has stride 1, each further one stride 2 and twice the channels. There is no
    batch normalisation: it would make the energy of a point depend on the other points of the batch.

    Args:
        shape: shape of one point, [channels, height, width].
        width: channels of the first convolution, ≥ 1.
        depth: convolutions, ≥ 1.
        activation: σ; sm and ssm need a smooth one.
        base: κ ≥ 0, the Gaussian base in inverse squared standardised units.
        input_scale: s > 0, initial standard deviation of the first layer's inputs to σ on standardised data.
        spectral_norm: divide the weights of the convolutions after the first by their largest singular value. The
            first and the last layer stay free: they set the scales of the features and of the energy.

    Shapes: x [B, *shape] → [B].  Raises: ValueError if a number is out of range, or the points are not images.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 32,
        depth: int = 3,
        activation: Activation = "silu",
        base: float = 0.2,
        input_scale: float = 2.0,
        spectral_norm: bool = False,
    ) -> None:
        require_image(shape)
        require_size(width, depth, input_scale)
        channels, height, across = shape
        first = conv3x3(channels, width)
        strided = [conv3x3(width * 2**i, width * 2 ** (i + 1), stride=2) for i in range(depth - 1)]
        initialise(first, strided, input_scale)
        layers: list[nn.Module] = [first, *map(bound_spectral_norm, strided)] if spectral_norm else [first, *strided]
        for _ in strided:
            height, across = (height + 1) // 2, (across + 1) // 2
        network = nn.Sequential(
            nn.Unflatten(1, shape),
            *(part for layer in layers for part in (layer, ACTIVATIONS[activation]())),
            nn.Flatten(),
            nn.Linear(width * 2 ** (depth - 1) * height * across, 1),
        )
        super().__init__(shape, to_channels_last(network), base)
