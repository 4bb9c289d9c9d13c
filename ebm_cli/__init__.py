"""`ebm`: a command-line experiment runner for energy-based models.

Its public Python API, for notebooks and scripts:

    train, Run                  `ebm train`, and the run that it leaves: results, config, figures, model
    evaluate, Report            `ebm evaluate`, and its results
    load, compose, Model        a trained model, or several as one: energy, score, log-density, samples, in data units
    UserError                   raised for a mistake of the user, with a message of one line
    energies, densities, datasets, methods, samplers, derivatives, evaluation
                                the packages behind the config groups, and what they are made of

For instance:

    run = ebm_cli.train("method=nce", "dataset=moons", "steps=2000")
    model = run.model()
    x = model.sample(1000)
    model.log_prob(x), model.log_z_se

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
    from ebm_cli.api.model import Model as Model
    from ebm_cli.api.model import compose as compose
    from ebm_cli.api.model import load as load
    from ebm_cli.api.run import Report as Report
    from ebm_cli.api.run import Run as Run
    from ebm_cli.api.verbs import evaluate as evaluate
    from ebm_cli.api.verbs import train as train
    from ebm_cli.errors import UserError as UserError

__version__ = "0.1.0"
__all__ = [
    "Model",
    "Report",
    "Run",
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
    "train",
]

_MODULES = {
    "Model": "api.model",
    "Report": "api.run",
    "Run": "api.run",
    "UserError": "errors",
    "compose": "api.model",
    "evaluate": "api.verbs",
    "load": "api.model",
    "train": "api.verbs",
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
