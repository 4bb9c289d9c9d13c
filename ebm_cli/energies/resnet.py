"""A residual convolutional network as an energy of images."""

from torch import nn

from ebm_cli.energies.activations import ACTIVATIONS, Activation
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.energies.images import bounded, channels_last, check_image, conv3x3
from ebm_cli.energies.initialisation import check_size, initialise
from ebm_cli.energies.residual_mlp import Residual


class ResNet(NetworkEnergy):
    """f(x) = w·σ(h_L) + b + ½ κ‖x‖²,   h_l = pool(h_{l−1} + V_l ∗ σ(W_l ∗ h_{l−1} + b_l) + c_l),   h_0 = σ(W ∗ x + b).

    3 × 3 convolutions, without normalisation: batch statistics would make the energy of a point depend on the points
    beside it. After each block the mean over 2 × 2 pixels halves the picture, which gives every pixel the same weight
    in the gradient; a stride does not.

    Args:
        shape: shape of one point, [channels, height, width].
        width: channels of the stream and of a block's hidden layer, ≥ 1.
        depth: residual blocks, ≥ 1.
        activation: σ; smooth ones are needed by sm and ssm.
        base: κ ≥ 0, the Gaussian base in inverse squared standardised units.
        input_scale: s > 0, how fast the first layer's features vary over standardised data at the start.
        spectral_norm: divide the weights of the blocks' convolutions by their largest singular value. The first and
            the last layer stay free: they are the scale of the features and that of the energy.

    Shapes: x [B, *shape] → [B].  Raises: ValueError for a number out of its range, or a shape that is no image.
    Source: He, Zhang, Ren & Sun (2016); Du & Mordatch (2019), appendix A, for energies of this kind.
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
        check_image(shape)
        check_size(width, depth, input_scale)
        channels, height, across = shape
        sigma = ACTIVATIONS[activation]
        first = conv3x3(channels, width)
        initialise(first, [], input_scale)
        layers: list[nn.Module] = [nn.Unflatten(1, shape), first, sigma()]
        for _ in range(depth):
            pair: list[nn.Module] = [conv3x3(width, width), conv3x3(width, width)]
            before, after = map(bounded, pair) if spectral_norm else pair
            # Rounded up, so that the last row and column of an odd picture are not dropped.
            layers += [Residual(nn.Sequential(before, sigma(), after)), nn.AvgPool2d(2, ceil_mode=True)]
            height, across = (height + 1) // 2, (across + 1) // 2
        network = nn.Sequential(*layers, sigma(), nn.Flatten(), nn.Linear(width * height * across, 1))
        super().__init__(shape, channels_last(network), base)
