"""What the page says beside its numbers."""

HOW = """\
`make bench` measures this page anew: every row in a process of its own, ours and the peers side by side on the same
weights, data, batch and number of threads. Results are compared first; then, in each round, every variant runs a
block of calls, in shuffled order. A ratio is the median over the rounds of the ratios within a round, with the 95 %
interval of that median by order statistics. `floor` is the matrix products alone that the work cannot do without, by
`torch.mm`, which is MKL, on whole matrices: blocks that stay in the cache, or oneDNN, can be ahead of it. A target
is met where the median reaches it, or where the worse end of its interval is within 15 % of it; where it names no path
of ours, it is the fastest's. `make bench only=sm,ula-2-64-64-1-1024 quick=1` measures some of it in a hurry, `resume=1`
leaves out what is measured in full already; `python -m tests.benchmarks list` names the rows, and
[benchmarks.json](benchmarks.json) holds the numbers."""

FAMILIES = {
    "sm": (
        "Exact score matching",
        "The loss and its gradient in all parameters; MLP D-128-128-1, softplus, batch 128. No optimizer.",
    ),
    "ssm": (
        "Sliced score matching",
        "As above, with ½ (v·∇f)² − vᵀ∇²f v along random signs, which every library draws for itself.",
    ),
    "ula": (
        "Langevin chains",
        """\
A step of all chains, SiLU networks. JAX and blackjax run the whole chain jitted. Ours and torchebm are compared after
ten steps with the same noise, JAX with that noise given to it, blackjax by the mean energy.""",
    ),
    "mala": ("MALA", "A step of all chains."),
    "hmc": ("HMC", "A trajectory of ten leapfrogs of all chains."),
    "cd": (
        "Contrastive divergence",
        """\
A whole training step: 20 Langevin steps, loss, gradient, Adam. Ours with the fused Adam of `ebm train`, torch's peers
with `torch.optim.Adam` as they use it, JAX with its Adam in the same jitted step.""",
    ),
    "pcd": ("Persistent contrastive divergence", "The same with a replay buffer of 10,000 chains."),
    "nce": (
        "Noise contrastive estimation",
        """\
A whole training step. `torch.distributions` is the loss as it is written by hand: a forward pass of the data and one of
the noise, log-densities from `MultivariateNormal`, `torch.optim.Adam`.""",
    ),
    "fce": (
        "Flow contrastive estimation",
        """\
A turn of the energy and one of the flow, 8 affine couplings of two hidden layers of 32, batch 256; the same method and
energy, another library's flow in it.""",
    ),
    "startup": (
        "The command and its loop",
        """\
Processes from their start to their answer. `ebm train` is compared with a process that imports torch and Hydra and
makes one step of `torch.optim.Adam`. The loop's own cost is its step less one that is written by hand with the method's
loss and `torch.optim.Adam`: less than nothing where one buffer for all parameters saves more. What is outside the steps
of a default run is imports, evaluation and figures.""",
    ),
    "memory": (
        "Memory",
        "What a step takes at its peak, beyond what was held before it; each in a process of its own.",
    ),
    "kl": (
        "Whole runs on eight Gaussians",
        """\
Seconds of training, without start-up and evaluation, until the averaged weights are within a KL of the data, by the
same grid for all. Every loss trains the energy of `ebm train` from the same weights, with the optimizer, schedule,
batch and number of steps that `ebm train` has for that method, or for the one most like it; the peers' chains take 20
steps of 0.01. One run of each, one after the other: a busy neighbour is in the seconds. JAX, blackjax, folx and
normflows have no losses of energies.""",
    ),
    "scaling": (
        "Scaling",
        "Our cost of one step against one size; an exponent below that of the arithmetic is overhead of small sizes.",
    ),
}
"""Family of rows → title and text, in the order of the page."""

TRIED = """\
From trials before this suite, on two cores with AVX-512, medians of interleaved runs:

- **`vmap` over a basis of `jvp(grad)`**, the textbook way to an exact trace in torch: slower than a loop of
  `autograd.grad` in two dimensions and never ahead of the forward Laplacian. Compiled it is 1.4 to 3 times as fast as
  torchebm, where the forward Laplacian is 3 to 74 times uncompiled; compiled with its backward pass it crashed for
  softplus unless the compiler's reuse of buffers was off.
- **A loop of D calls of `autograd.grad`**: ahead of torchebm in two dimensions, behind it in ten to a hundred.
- **A Cholesky factor in place of the QR** of the first layer's weight, to reduce the rank of the Laplacian: it fails
  where the weight is rank-deficient; QR stays exact to 3e-16.
- **`torch.func.grad` and `vmap(grad)` for the gradient of a chain**: up to twice as slow as `autograd.grad`.
- **Compiling one, ten or twenty steps of a chain into one graph**: as fast as the value and gradient without autograd,
  uncompiled; a training step of contrastive divergence pays its compilation back only after 10,000 steps.
- **Compiling gradients alone, or the energy alone, on a CPU**: no faster than eager torch; it pays for second
  derivatives, and chains gain from native code.
- **In the native chains**: other tiles of the products, other forms of the exponential and of the reciprocal, Estrin's
  scheme, unrolled activations: nothing that could be measured. OpenMP's threads took a third more processor time than
  threads of its own where there is noise to draw meanwhile ([ADR 18](adr/0018-native-chains-run-in-blocks.md)).
- **oneDNN's products in every layer**: where MKL stays at AVX2 they are up to 2.3 times as fast and are used
  ([ADR 23](adr/0023-use-onednn-for-large-products-on-amd.md)), but not for a training step of 128 × 128: what Python
  adds to their backward pass there is more than they save (0.8 to 0.95 of the speed on nce and ssm of two threads).
- **One convolution on the stacked jet** of a convolutional energy: stacking copies the largest part, so that three
  convolutions are as fast ([ADR 12](adr/0012-image-energies-have-exact-rules.md)).
- **Rules in place of autograd for the first derivatives of a convolutional energy**: within the noise of autograd for
  cd and nce; the convolutions are all of the cost.
- **Autoregressive flows as the noise of flow contrastive estimation**: one of their two directions takes D passes. In
  64 dimensions a step takes 17 (MAF) and 430 (NSF) times that of our couplings. Compiled couplings gain a third, after
  26 s of compilation.
- **`DataLoader(TensorDataset)`**: 0.65 ms a batch, where indexing with a permutation takes 0.01.
- **Two threads for small networks**: with one busy neighbour on the machine they are twice as slow as one, so that
  `threads=auto` is 1 for them.
- **One product of the stacked value, first and second order** of a fully connected layer: 0.84 to 0.99 of the speed of
  separate products, on every row of sm and ssm. Compiled it gains 5 % at D = 2 and a third at five projections, and is
  used there.
- **Sums over directions in chunks**, for the cache: 3 to 6 % from 64 dimensions on, and the code the worse for it.
  `vector_norm` and `einsum` in their place: 5 to 30 times as slow.
- **`aten::silu` and `silu_backward` in chains**: 20 to 30 % slower than sigmoid, product and `lerp` from 128 × 128 on.
- **The loss of noise contrastive estimation as one autograd function** with its derivative by hand: as long as the
  graph of softplus and means, because calling Python in the backward pass takes what the kernels save. `silu` with its
  slope kept from the way forth: 15 % slower than to compute it again.
- **glibc's thresholds for memory that is given back**: a bare torch script can spend half of a small step on pages
  that it asks for anew; a process that has imported what `ebm` needs does not (0 to 7 faults a step, before and after).
- **Norm of the gradient by one concatenation**: 26 µs for 33, of a step of 930. One buffer of gradients that is filled
  by a copy, and norm, Adam and average on it, take 34 of 71 ([ADR 24](adr/0024-parameters-share-one-buffer.md)).
- **Weights packed for oneDNN once a chain**: 1 to 2 µs of 30 a product, and 80 to pack one.
- **The factor of an activation's way back fused into oneDNN's product**: as long as a product and a multiplication.
- **`multinomial` or the top of random numbers** for the rows of a replay buffer: 3 to 7 times as slow as `randperm`."""
