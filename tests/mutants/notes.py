"""Why a survivor is equivalent to the source, or as good: (the line before, the line after) → one line."""

SPEED = "Equivalent: it decides how much is computed at once, or by which of two equal forms, and no number."
LIMIT = "As good: one nat more or less in the limit, of 100,000 or more, at which a run has exploded."
THIN = "if 1 < weight.shape[1] < THIN:"
COMPILED = "return torch.compile(function, fullgraph=True, dynamic={}, backend=self._backend, options=options)"
DROPPED = "DROPPED = {} # probability that the nodes left out of an expectation hold together"
ENDS = "ends = [pooled[:, round(q * (size - 1)), None, None] for q in (0.05, {})]"
IDENTITY = "identity = bool((mean[{}] == 0) & (scale[0] == 1))"
PLACE = "where = [round(v, {}) for v in path.outside(x)[bad][0].flatten()[:4].tolist()]"
POINT = "point = [round(v, 3) for v in u[bad][{}].tolist()]"

EQUIVALENT = {
    ("NEGLIGIBLE = BLOCK // 64", "NEGLIGIBLE = BLOCK + 64"): SPEED,
    ("GRAPH = 2**28", "GRAPH = 2/28"): SPEED,
    ("BLOCK = 1 << 22", "BLOCK = 1 * 22"): SPEED,
    ("BLOCK = 1 << 22", "BLOCK = 0 << 22"): SPEED,
    ("FEW = 10", "FEW = 9"): SPEED,
    ("FEW = 10", "FEW = 11"): SPEED,
    ("THIN = 16", "THIN = 17"): SPEED,
    (THIN, "if 1 > weight.shape[1] < THIN:"): SPEED,
    (THIN, "if 1 == weight.shape[1] < THIN:"): SPEED,
    ("if order >= 3:", "if order == 3:"): "Equivalent: no derivative beyond the third is ever asked for.",
    (COMPILED.format("False"), COMPILED.format("True")): "Equivalent: it decides how often is compiled, and no number.",
    (DROPPED.format("1e-12"), DROPPED.format("-0.999999999999")): "Equivalent up to 1e-12: nothing at all is left out.",
    (ENDS.format("0.95"), ENDS.format("-0.050000000000000044")): "As good: the order statistic beside the one meant.",
    (IDENTITY.format("0"), IDENTITY.format(" -1")): "Equivalent: it is asked only where all means are equal.",
    (POINT.format("0"), POINT.format(" -1")): "As good: the message names another of the points that are bad.",
    (PLACE.format("3"), PLACE.format("2")): "As good: the message names the point to two digits.",
    ('"energy_gap", 1e6,', '"energy_gap", 999999.0,'): LIMIT,
    ('"flow_nll", 1e5,', '"flow_nll", 100001.0,'): LIMIT,
}
