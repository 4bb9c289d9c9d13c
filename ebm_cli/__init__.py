"""`ebm`: a command-line experiment runner for energy-based models.

Its public Python API, for notebooks and scripts:

    load, Model                 a trained run or checkpoint: energy, standardizer, data set, config
    compose                     several models as one energy: a product or a mixture
    evaluate, Protocol          the results of `ebm evaluate`, and the settings that they are computed with
    UserError                   raised for a mistake of the user, with a message of one line
    energies, densities, datasets, methods, samplers, derivatives, evaluation
                                the packages behind the config groups, and what they are made of

For instance, samples of a trained model by 1,000 steps of MALA:

    model = ebm_cli.load("outputs/train/…")
    rng = torch.Generator().manual_seed(0)
    x = ebm_cli.samplers.wide_starts(model.standardizer.like, 100, rng)
    state, info = ebm_cli.samplers.run(ebm_cli.samplers.MALA(0.05), model.energy, x, 1000, rng)
    samples = model.standardizer.inverse(state.x)  # in data units

Every name is imported when it is first used, because `ebm --help` imports this package and must not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebm_cli import datasets as datasets
    from ebm_cli import densities as densities
    from ebm_cli import derivatives as derivatives
    from ebm_cli import energies as energies
    from ebm_cli import evaluation as evaluation
    from ebm_cli import methods as methods
    from ebm_cli import samplers as samplers
    from ebm_cli.errors import UserError as UserError
    from ebm_cli.evaluation.protocol import Protocol as Protocol
    from ebm_cli.evaluation.suite import evaluate as evaluate
    from ebm_cli.runs.model import Model as Model
    from ebm_cli.runs.model import compose as compose
    from ebm_cli.runs.model import load as load

__version__ = "0.1.0"
__all__ = [
    "Model",
    "Protocol",
    "UserError",
    "__version__",
    "compose",
    "datasets",
    "densities",
    "derivatives",
    "energies",
    "evaluate",
    "evaluation",
    "load",
    "methods",
    "samplers",
]

_MODULES = {
    "Model": "runs.model",
    "Protocol": "evaluation.protocol",
    "UserError": "errors",
    "compose": "runs.model",
    "evaluate": "evaluation.suite",
    "load": "runs.model",
}
"""Public function or class → its module; every other public name is a package."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"ebm_cli.{_MODULES.get(name, name)}")
    found = getattr(module, name) if name in _MODULES else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
