"""Texts of the page of benchmarks beside its numbers."""

HOW = """\
`make bench` measures this page: each row in its own process, ours and the peers on the same weights, data, batch and
number of threads. The results are compared first; then, in each round, every variant runs a block of calls, in
shuffled order. A ratio is the median over the rounds of the ratios within a round, with the 95 % interval of that
median by order statistics. `floor` is only the matrix products that the work requires, by `torch.mm` (MKL) on whole
matrices; blocks that stay in the cache, or oneDNN, can be faster than that. A target is met if the median reaches it,
or if the worse end of the interval is within 15 % of it. A target that names no variant of ours is for the fastest of
them. `make bench only=sm,ula-2-64-64-1-1024 quick=1` measures some rows with fewer rounds, `resume=1` skips the rows
that have been measured in full, and `python -m tests.benchmarks list` lists the rows.
[benchmarks.json](benchmarks.json) has the numbers."""

FAMILIES = {
    "sm": (
        "Exact score matching",
        "The loss and its gradient in all parameters; MLP D-128-128-1, softplus, batch 128. No optimizer.",
    ),
    "ssm": (
        "Sliced score matching",
        "The same with the loss ½ (v·∇f)² − vᵀ∇²f v along random signs, which every library draws itself.",
    ),
    "ula": (
        "Langevin chains",
        """\
A step of all chains, SiLU networks. JAX and blackjax run the whole chain jitted. Ours, torchebm and JAX are compared
after ten steps with the same noise, blackjax by the mean energy.""",
    ),
    "mala": ("MALA", "A step of all chains."),
    "hmc": ("HMC", "A trajectory of ten leapfrogs of all chains."),
    "tempering": (
        "Parallel tempering",
        """\
A step of MALA of every replica of all chains, then exchanges: ebmkit tests every second pair of neighbours, ours every
pair. ebmkit evaluates each replica's gradient twice a step, ours once.""",
    ),
    "cd": (
        "Contrastive divergence",
        """\
A whole training step: 20 Langevin steps, loss, gradient, Adam. Ours uses the fused Adam of `ebm train`, the peers in
torch `torch.optim.Adam` as in their examples, JAX its own Adam in the same jitted step.""",
    ),
    "pcd": ("Persistent contrastive divergence", "The same with a replay buffer of 10,000 chains."),
    "nce": (
        "Noise contrastive estimation",
        """\
A whole training step. `torch.distributions` is a handwritten loss: a forward pass of the data and one of the noise,
log-densities from `MultivariateNormal`, `torch.optim.Adam`.""",
    ),
    "fce": (
        "Flow contrastive estimation",
        """\
A turn of the energy and one of the flow, 8 affine couplings of two hidden layers of 32, batch 256. The method and
energy are the same for all; only the flow is another library's.""",
    ),
    "ed": (
        "Energy discrepancy",
        """\
A whole training step in the published setting: five energies of 128 rows, four layers of 128 softplus units, Adam. Most
of it is the products of the network, which are the same for all. `compile=auto` takes the native one for the default
length of a run.""",
    ),
    "cnce": (
        "Conditional noise contrastive estimation",
        """\
A whole training step: two energies of 128 rows, the same network. No peer has this loss: the base is a handwritten one,
with a forward pass of the rows and one of the copies.""",
    ),
    "startup": (
        "The command and its loop",
        """\
Seconds from the start of a process to its answer. `ebm train` is compared with a process that imports torch and Hydra
and makes one step of `torch.optim.Adam`. The loop's own cost is its step minus a handwritten step with the loss of the
method and `torch.optim.Adam`; it is negative where one buffer for all parameters saves more than the loop adds.
Outside the steps of a default run are imports, evaluation and figures.""",
    ),
    "memory": (
        "Memory",
        "The peak memory of a step beyond what was allocated before it; each in its own process.",
    ),
    "kl": (
        "Whole runs on eight Gaussians",
        """\
Seconds of training, without start-up and evaluation, until the averaged weights reach a KL from the data, which is
computed on the same grid for all. Every loss trains the energy of `ebm train` from the same weights, with the
optimizer, schedule, batch and number of steps that `ebm train` has for that method or the most similar one; the peers'
chains take 20 steps of 0.01. There is one run of each, one after the other, so that other processes on the machine are
in the seconds. JAX, blackjax, folx and normflows have no losses for energies.""",
    ),
    "scaling": (
        "Scaling",
        "Our cost of a step against one size; an exponent below that of the arithmetic is the overhead of small sizes.",
    ),
}
"""Family of rows → title and text, in the order of the page."""

TRIED = """\
Trials from before this suite, on two cores with AVX-512, medians of interleaved runs:

- **`vmap` over a basis of `jvp(grad)`**, the textbook way to an exact trace in torch: slower than a loop of
  `autograd.grad` in two dimensions and never faster than the forward Laplacian. Compiled it is 1.4 to 3 times as fast
  as torchebm, while the forward Laplacian is 3 to 74 times as fast without compilation. Compiled with its backward
  pass it crashed for softplus unless the reuse of buffers by the compiler was off.
- **A loop of D calls of `autograd.grad`**: faster than torchebm in two dimensions, slower in ten to a hundred.
- **A Cholesky factor in place of the QR** of the first layer's weight, to reduce the rank of the Laplacian: it fails
  if the weight is rank-deficient; QR stays exact to 3e-16.
- **`torch.func.grad` and `vmap(grad)` for the gradient of a chain**: up to twice as slow as `autograd.grad`.
- **Compiling one, ten or twenty steps of a chain into one graph**: as fast as the uncompiled value and gradient
  without autograd; contrastive divergence recovers the time of the compilation only after 10,000 steps.
- **Compiling gradients alone, or the energy alone, on a CPU**: no faster than eager torch. Compilation is worth it for
  second derivatives; chains gain from native code.
- **In the native chains**: other tiles of the products, other forms of the exponential and of the reciprocal, Estrin's
  scheme, unrolled activations: no measurable gain. Threads of OpenMP took a third more CPU time than the library's own
  threads, which draw noise in the meantime ([ADR 18](adr/0018-native-chains-run-in-blocks.md)).
- **oneDNN's products in every layer**: where MKL uses only AVX2 they are up to 2.3 times as fast and are used
  ([ADR 23](adr/0023-use-onednn-for-large-products-on-amd.md)), but not for a training step of 128 × 128: the overhead
  of Python in their backward pass exceeds the gain (0.8 to 0.95 of the speed on nce and ssm with two threads).
- **One convolution on the stacked jet** of a convolutional energy: stacking copies the largest part, so three
  convolutions are as fast ([ADR 12](adr/0012-image-energies-have-exact-rules.md)).
- **Rules in place of autograd for the first derivatives of a convolutional energy**: no measurable difference for cd
  and nce; the convolutions are the whole cost.
- **Autoregressive flows as the noise of flow contrastive estimation**: one of their two directions takes D passes. In
  64 dimensions a step takes 17 (MAF) and 430 (NSF) times as long as with our couplings. Compiled couplings gain a
  third, after 26 s of compilation.
- **`DataLoader(TensorDataset)`**: 0.65 ms for a batch; indexing with a permutation takes 0.01 ms.
- **Two threads for small networks**: with one other busy process on the machine they are half as fast as one thread,
  so `threads=auto` is 1 for them.
- **One product of the stacked value, first and second order** of a fully connected layer: 0.84 to 0.99 of the speed of
  separate products, on every row of sm and ssm. Compiled it gains 5 % at D = 2 and a third with five projections, and
  is used there.
- **Sums over directions in chunks**, for the cache: 3 to 6 % faster from 64 dimensions on, but with less readable
  code. `vector_norm` and `einsum` in their place take 5 to 30 times as long.
- **The steps of ed and cnce in torch**: the whole network as one autograd function, its derivatives by hand with the
  same bits: 0.94 to 0.98 of the speed. All buffers kept from step to step: 6 % of the network's part; blocks of 80 to
  320 rows, for the cache: 2 to 15 % slower. Native code is 1.3 to 1.7 times as fast
  ([ADR 37](adr/0037-steps-of-energies-run-in-native-code.md)): its products run at 90 % of the peak of the processor.
  There, what is left beside them is Python: after a megabyte of activations its own code has left the cache, so that
  the small operators of a loss take three times as long as alone.
- **`aten::silu` and `silu_backward` in chains**: 20 to 30 % slower than sigmoid, product and `lerp` from 128 × 128 on.
- **The loss of noise contrastive estimation as one autograd function** with its derivative by hand: as slow as the
  graph of softplus and means, because calling Python in the backward pass costs what the kernels save. `silu` with its
  slope kept from the forward pass: 15 % slower than computing the slope again.
- **glibc's thresholds for returning memory**: a bare torch script can spend half of a small step on pages that it
  requests again; a process with the imports of `ebm` does not (0 to 7 page faults in a step, before and after).
- **Norm of the gradient by one concatenation**: 26 µs instead of 33, in a step of 930. One buffer of gradients, filled
  by a copy, with norm, Adam and average computed on it, takes 34 µs instead of 71
  ([ADR 24](adr/0024-parameters-share-one-buffer.md)).
- **Weights packed for oneDNN once for each chain**: saves 1 to 2 µs of the 30 of a product, and packing one takes 80.
- **The factor of an activation's backward pass fused into oneDNN's product**: as slow as a product and a
  multiplication.
- **`multinomial` or the top of random numbers** for the rows of a replay buffer: take 3 to 7 times as long as
  `randperm`."""
