"""How good a model is, and how well its chains mix: log Z and divergences by quadrature, chain diagnostics."""
