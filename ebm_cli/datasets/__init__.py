"""Data sets, the config group `dataset`: rows to train and evaluate on and, if it is known, their density; layer 2,
imported by layers 3 and above."""

from ebm_cli.datasets.banana import Banana
from ebm_cli.datasets.base import Dataset, Labelled, Part, UnseenPart
from ebm_cli.datasets.batches import Batches
from ebm_cli.datasets.checkerboard import Checkerboard
from ebm_cli.datasets.cifar10 import CIFAR10
from ebm_cli.datasets.digits import Digits
from ebm_cli.datasets.fashion_mnist import FashionMNIST
from ebm_cli.datasets.file import File
from ebm_cli.datasets.funnel import Funnel
from ebm_cli.datasets.gaussian import Gaussian
from ebm_cli.datasets.ica import ICA
from ebm_cli.datasets.mixture import GaussianGrid, GaussianRing, Mixture
from ebm_cli.datasets.mnist import MNIST
from ebm_cli.datasets.moons import Moons
from ebm_cli.datasets.pinwheel import Pinwheel
from ebm_cli.datasets.rings import Rings
from ebm_cli.datasets.shuttle import Shuttle
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.datasets.swiss_roll import SwissRoll
from ebm_cli.datasets.synthetic import Synthetic
from ebm_cli.datasets.table import Table
from ebm_cli.datasets.table_suite.table import TableSuite
from ebm_cli.datasets.target import Target
from ebm_cli.datasets.two_spirals import TwoSpirals

__all__ = [
    "CIFAR10",
    "ICA",
    "MNIST",
    "Banana",
    "Batches",
    "Checkerboard",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "File",
    "Funnel",
    "Gaussian",
    "GaussianGrid",
    "GaussianRing",
    "Labelled",
    "Mixture",
    "Moons",
    "Part",
    "Pinwheel",
    "Rings",
    "Shuttle",
    "Standardizer",
    "SwissRoll",
    "Synthetic",
    "Table",
    "TableSuite",
    "Target",
    "TwoSpirals",
    "UnseenPart",
]
