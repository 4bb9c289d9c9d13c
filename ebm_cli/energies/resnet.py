"""A residual convolutional network as an energy of images."""

from torch import nn

from ebm_cli.energies.activations import ACTIVATIONS, Activation
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.energies.images import bound_spectral_norm, conv3x3, require_image, to_channels_last
from ebm_cli.energies.initialisation import initialise, require_size
from ebm_cli.energies.residual_mlp import Residual


class ResNet(NetworkEnergy):
    """f(x) = w·σ(h_L) + b + ½ κ‖x‖²,   h_l = pool(h_{l−1} + V_l ∗ σ(W_l ∗ h_{l−1} + b_l) + c_l),   h_0 = σ(W ∗ x + b).

    The convolutions are 3 × 3. There is no batch normalisation: it would make the energy of a point depend on the other
    points of the batch. After each block the mean over 2 × 2 pixels halves the size of the image; unlike a stride, it
    gives all pixels the same weight in the gradient.

    Args:
        shape: shape of one point, [channels, height, width].
        width: channels of the residual stream and of the hidden layer of each block, ≥ 1.
        depth: residual blocks, ≥ 1.
        activation: σ; sm and ssm need a smooth one.
        base: κ ≥ 0, the Gaussian base in inverse squared standardised units.
        input_scale: s > 0, initial standard deviation of the first layer's inputs to σ on standardised data.
        spectral_norm: divide the weights of the blocks' convolutions by their largest singular value. The first and
            the last layer stay free: they set the scales of the features and of the energy.

    Shapes: x [B, *shape] → [B].  Raises: ValueError if a number is out of range, or the points are not images.
    Sources: He, Zhang, Ren & Sun (2016); Du & Mordatch (2019), appendix A, for energies of this kind.
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
        sigma = ACTIVATIONS[activation]
        first = conv3x3(channels, width)
        initialise(first, [], input_scale)
        layers: list[nn.Module] = [nn.Unflatten(1, shape), first, sigma()]
        for _ in range(depth):
            pair: list[nn.Module] = [conv3x3(width, width), conv3x3(width, width)]
            before, after = map(bound_spectral_norm, pair) if spectral_norm else pair
            # Sizes are rounded up, so that the last row and column of an odd image are not dropped.
            layers += [Residual(nn.Sequential(before, sigma(), after)), nn.AvgPool2d(2, ceil_mode=True)]
            height, across = (height + 1) // 2, (across + 1) // 2
        network = nn.Sequential(*layers, sigma(), nn.Flatten(), nn.Linear(width * height * across, 1))
        super().__init__(shape, to_channels_last(network), base)
