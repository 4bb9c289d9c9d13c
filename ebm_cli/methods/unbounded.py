"""The sign that score matching has no lower bound on its data.

Along the family c·f, c > 0, the objective is ½ c² S − c T with S = E‖∇f‖² and T = E tr ∇²f. Its minimum is at
c = T/S: a network that can scale its output has T ≈ S, whatever the data, and its objective is then −S/2. Where the
data have a density p of finite Fisher information I = E‖∇log p‖², integration by parts bounds T for every f:
T = −E[∇log p·∇f] ≤ √(I S).

Rows that repeat a value, or lie in a subspace, have no such density. Then f can have a kink at every row, with a
minimum there: its curvature T grows without bound while its gradient, 0 in the minimum, does not. T is then a multiple
of S, and T²/S, at most I for a density, is arbitrarily large.
"""

from ebm_cli.methods.base import Symptom

UNBOUNDED = Symptom(
    "laplacian",
    4.0,
    "the objective has no lower bound on these data: at the rows the curvature grows while the gradient vanishes, "
    "as for repeated values and for columns that determine each other",
    "set dataset.dequantise=gaussian or dataset.noise_std, method.whiten=true for collinear columns, or guard=ignore",
    steps=200,
    over="score_norm",
    least=100.0,
    is_of_data=True,
)
