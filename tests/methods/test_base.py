"""Every method: defaults of the interface, and numbers out of range."""

from collections.abc import Callable

import pytest

from ebm_cli.densities import CouplingFlow, Gaussian
from ebm_cli.methods import CD, CNCE, DSM, ED, FCE, MLE, NCE, SM, SSM, Method
from ebm_cli.samplers.mala import MALA
from tests.methods.toys import correlated, mlp
from tests.support import seeded


def cd(**keys: float) -> CD:
    return CD((3,), MALA(), Gaussian(correlated()), **keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [SM(), SSM(), DSM(), MLE((2,)), ED(), CNCE()])
def test_method_without_chains_has_no_negatives(method: Method) -> None:
    assert method.negatives(mlp(), correlated()[:8, :2], seeded()) is None
    assert method.proposal() is None


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SSM(n_projections=0), "n_projections"),
        (lambda: DSM(sigma=0.0), "sigma"),
        (lambda: ED(t=0.0), "t"),
        (lambda: ED(n_perturbations=0), "n_perturbations"),
        (lambda: ED(w=-1.0), "w"),
        (lambda: CNCE(eps=0.0), "eps"),
        (lambda: CNCE(eps_least=2.0), "eps_least"),
        (lambda: CNCE(n_copies=0), "n_copies"),
        (lambda: NCE(Gaussian(correlated()), nu=0.0), "nu"),
        (lambda: NCE(Gaussian(correlated()), nu=1.5, objective="ranking"), "nu"),
        (lambda: SSM(eps=0.0), "eps"),
        (lambda: NCE(Gaussian(correlated()), fit_steps=-1), "fit_steps"),
        (lambda: FCE(CouplingFlow((2,)), flow_lr=0.0), "flow_lr"),
        (lambda: FCE(CouplingFlow((2,)), flow_lr=-1.0), "flow_lr"),
        (lambda: FCE(CouplingFlow((2,)), threshold=0.5), "threshold"),
        (lambda: FCE(CouplingFlow((2,)), turn_every=0), "turn_every"),
        (lambda: MLE((2,), n_grid=4), "n_grid"),
        (lambda: MLE((2,), scale=0.0), "scale"),
        (lambda: cd(k=0), "k"),
        (lambda: cd(restart=1.5), "restart"),
        (lambda: cd(buffer_size=0), "buffer_size"),
        (lambda: cd(l2=-1.0), "l2"),
    ],
)
def test_method_refuses_numbers_out_of_range(make: Callable[[], Method], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must"):
        make()
