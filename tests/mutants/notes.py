"""Notes on survivors that no test should kill: (line before, line after) → why it is equivalent or negligible."""

SPEED = "Equivalent: it decides how much is computed at once, or by which of two equal forms; no result changes."
LIMIT = "Negligible: one nat in a limit of 100,000 or more, at which a run has diverged."
COMPILED = "return torch.compile(function, fullgraph=True, dynamic={}, backend=self._backend, options=options)"
DROPPED = "DROPPED = {} # probability that the nodes left out of an expectation hold together"
ENDS = "ends = [pooled[:, round(q * (size - 1)), None, None] for q in (0.05, {})]"
IDENTITY = "identity = bool((mean[{}] == 0) & (scale[0] == 1))"
PLACE = "where = [round(v, {}) for v in path.from_path(x)[bad][0].flatten()[:4].tolist()]"
ONE = "identity = bool((mean[0] == 0) & (scale[{}] == 1))"
NU = "fit_steps: int = {},"
SEED = 'self.register_buffer("noise_seed", torch.tensor({}), persistent=not redraw)'
NODES = "n_new = int(coarse.sum()) * f.shape[1] {} 2 ** len(grid.origin)"
ROWS = "n_rows: int = {},"
SHARES = "return 1 / float(torch.zeros_like(log_w).index_add_({}, family, log_w.softmax(0)).square().sum())"
WANTED = "given = jet if jet.needs_first {} needs else Jet(jet.value, jet.first, jet.second, needs)"
COUNTS = "small, counts = labels.to(torch.int8), torch.int16 if n < 2{}15 else torch.int32"
TREES = "few, many = (old, new) if sums[old, 2] {} sums[new, 2] else (new, old)"
DIRECTIONS = "if module is None or (trace is None and outside is None and len(v) {} MAX_SLOPES):"
LOGITS = "logits = _last_hidden(noisy, weights, biases) @ weights[-1] {} biases[-1]"
DEGREE = "varying = coefficient[:, degree {} 0].amax(1).clamp(min=torch.finfo(torch.float64).tiny)"
BOTH = "if points.f_grad is not None {} points.u_grad is not None:"
HALF = "return Distance(value, float(statistic(data).mean()), p, len(together) {} 2)"
SHARED = "curvature = curvature if of_curvature {} 1 else curvature * of_curvature"
POINT = "point = [round(v, 3) for v in u[bad][{}].tolist()]"

EQUIVALENT = {
    ("negligible: int = 2**18", "negligible: int = 2*18"): SPEED,
    ("graph: int = 2**28", "graph: int = 2/28"): SPEED,
    ("BLOCK_NUMBERS = 1 << 22", "BLOCK_NUMBERS = 1 * 22"): SPEED,
    ("BLOCK_NUMBERS = 1 << 22", "BLOCK_NUMBERS = 0 << 22"): SPEED,
    ("MAX_SLOPES = 10", "MAX_SLOPES = 9"): SPEED,
    ("MAX_SLOPES = 10", "MAX_SLOPES = 11"): SPEED,
    ("if order >= 3:", "if order == 3:"): "Equivalent: no derivative beyond the third is ever requested.",
    (
        COMPILED.format("False"),
        COMPILED.format("True"),
    ): "Equivalent: it decides how often code is compiled; no result changes.",
    (DROPPED.format("1e-12"), DROPPED.format("-0.999999999999")): "Equivalent up to 1e-12: no node is left out.",
    (ENDS.format("0.95"), ENDS.format("-0.050000000000000044")): "Negligible: the neighbouring order statistic.",
    (IDENTITY.format("0"), IDENTITY.format(" -1")): "Equivalent: it is evaluated only where all means are equal.",
    (POINT.format("0"), POINT.format(" -1")): "Negligible: the message names another of the bad points.",
    (PLACE.format("3"), PLACE.format("2")): "Negligible: the message names the point with two digits.",
    ("BLOCK_ROWS = 128", "BLOCK_ROWS = 127"): SPEED,
    ("return 0", "return -1"): SPEED,
    ("if ctx.needs_input_grad[1]:", "if ctx.needs_input_grad[ 0]:"): SPEED,
    ("width = max(1, block // (2 * half * n_chains))", "width = max(1, block // ( 1 * half * n_chains))"): SPEED,
    (DIRECTIONS.format("<="), DIRECTIONS.format("is not")): SPEED,
    (COUNTS.format("**"), COUNTS.format("%")): SPEED,
    (TREES.format("<"), TREES.format("is not")): SPEED,
    (WANTED.format("=="), WANTED.format("is")): "Equivalent: both sides are Python's own True or False.",
    (SHARED.format("=="), SHARED.format(">=")): "Equivalent: a direction counts 1 or less.",
    ("if order == 2:", "if order <= 2:"): "Equivalent: the lower orders have returned.",
    (
        "if bool((points.f == math.inf).any()):",
        "if bool((points.f >= math.inf).any()):",
    ): "Equivalent: no number is larger.",
    (DEGREE.format(">"), DEGREE.format("!=")): "Equivalent: no degree is negative.",
    (SHARES.format("0"), SHARES.format(" -1")): "Equivalent: the only dimension is both the first and the last.",
    (LOGITS.format("+"), LOGITS.format("-")): "Equivalent: the bias is trained, with either sign.",
    (ONE.format("0"), ONE.format(" 1")): "Equivalent: it is evaluated only where all scales are equal.",
    (BOTH.format("and"), BOTH.format("or")): "Equivalent: a kernel uses both gradients or neither.",
    ("@dataclass(frozen=True)", "@dataclass(frozen=False)"): "Equivalent: no field is assigned to.",
    (SEED.format("0"), SEED.format(" -1")): "Equivalent: it is drawn before it is read.",
    (HALF.format("//"), HALF.format("/")): "Negligible: the same number of rows, as a float.",
    (
        NODES.format("*"),
        NODES.format("//"),
    ): "Negligible: a refinement may come as near to the largest number of nodes.",
    (
        "while len(order) < BATCH:",
        "while len(order) <= BATCH:",
    ): "Negligible: the next shuffled epoch is drawn earlier.",
    (ROWS.format("10_000"), ROWS.format("10001")): "Negligible: one more row.",
    (NU.format("2000"), NU.format("2001")): "Negligible: a default, by one step, that conf/ always overrides.",
    ("k: int = 5,", "k: int = 6,"): "Negligible: a default that conf/ always overrides.",
    ("steps=100,", "steps= 99,"): "Negligible: a run at its clamp is stopped one step earlier.",
    ('"energy_gap", 1e6,', '"energy_gap", 999999.0,'): LIMIT,
    ('"flow_nll", 1e5,', '"flow_nll", 100001.0,'): LIMIT,
}
