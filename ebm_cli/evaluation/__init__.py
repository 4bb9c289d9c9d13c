"""Evaluation of a trained model: log Z, divergences, sample distances, chain diagnostics, out-of-distribution
detection; layer 5, imported by layers 6 and above."""
