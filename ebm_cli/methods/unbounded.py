"""The sign that score matching has no lower bound on its data.

Along the family c·f, c > 0, the objective is ½ c² S − c T with S = E‖∇f‖² and T = E tr ∇²f. Its minimum is at
c = T/S: a network that can scale its output has T ≈ S, whatever the data, and its objective is then −S/2. Where the
data have a density p of finite Fisher information I = E‖∇log p‖², integration by parts bounds T for every f:
T = −E[∇log p·∇f] ≤ √(I S).

Rows that repeat a value, or lie in a subspace, have no such density. Then f can have a kink at every row, with a
minimum there: its curvature T grows without bound while its gradient, 0 in the minimum, does not. T is then a multiple
of S, and T²/S, at most I for a density, is arbitrarily large.

T/S is at most 1.7 after a hundred steps on moons, eight_gaussians, checkerboard, twentyfive_gaussians and funnel (sm
or ssm at their defaults), 1.4 on dequantised digits, 1.2 on wine in whitened coordinates; on whole numbers, two
values, copied or collinear columns it exceeds 4 within a hundred steps and grows to between 10 and 1000
(docs/development/experiments/0028-unbounded-scores.md).
"""

from ebm_cli.methods.base import Symptom

UNBOUNDED = Symptom(
    "laplacian",
    4.0,
    "the objective has no lower bound on these data (at the rows the curvature grows while the gradient vanishes)",
    "set dataset.noise_std, or method.whiten=true for collinear columns; few rows need patience and eval_every",
    steps=200,
    over="score_norm",
    least=100.0,
    is_of_data=True,
)
