// Markov chains on the energy of a perceptron, f(x) = w·h_L + b + ½ κ‖x‖², h_l = σ(W_l h_{l−1} + b_l), in float32.
//
// Chains are independent of one another. So a block of them, small enough for its activations to stay in cache, goes
// through all steps before the next block begins, and each thread takes blocks. Inside a block the chains lie along the
// lanes of the vector registers: activations are [units][chains], a matrix product is a sum of (one weight) × (a vector
// of chains), and a tile of UNITS × VECTORS sums stays in registers while the weights are read. The sum over a chain's
// units has one fixed order, for every block and thread: results are bit-equal for any number of threads.
//
// No random number is drawn here: the caller passes the noise. Without headers of torch or Python this file compiles in
// two seconds. It is long because one file holds all that the compiler inlines into a step of a chain.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "vectors.h"

namespace {

constexpr int UNITS = 8;    // outputs of a tile: with two vectors of chains, 16 sums and their operands fit 32 registers
constexpr int VECTORS = 2;  // vectors of chains in a block

enum Kind { LANGEVIN, MALA, HMC };

// --- matrix products over a block of chains --------------------------------------------------------------------------

// A matrix [rows][columns] in panels of UNITS columns, the remaining columns in panels of 4, 2 and 1: each panel is
// [rows][its columns], in the order in which a tile reads it.
struct Panels {
    const float* data;
    int rows, columns;
};

inline int panel_size(int left) { return left >= UNITS ? UNITS : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

int64_t pack(const float* weight, int rows, int columns, int row_stride, int column_stride, float* out) {
    for (int first = 0, size; first < columns; first += size) {
        size = panel_size(columns - first);
        for (int i = 0; i < rows; ++i)
            for (int j = first; j < first + size; ++j)
                *out++ = weight[int64_t(i) * row_stride + int64_t(j) * column_stride];
    }
    return int64_t(rows) * columns;
}

// Call done(j, vector, sum) with Σ_i panel[i][j] in[i] for the J columns of a panel.
template <int J, int V, class Done>
inline void tile(const float* panel, int rows, const Vec* in, Done done) {
    Vec sum[J][V] = {};
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < J; ++j)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[j][v] += panel[i * J + j] * in[i * V + v];
    // The sums go through memory, so that `done` is compiled once and not J times.
    Vec sums[J * V];
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sums[j * V + v] = sum[j][v];
#pragma GCC unroll 1
    for (int k = 0; k < J * V; ++k) done(k / V, k % V, sums[k]);
}

// Call done(j, vector, sum) with Σ_i m[i][j] in[i] for every column j.
template <int V, class Done>
inline void product(const Panels& m, const Vec* in, Done done) {
    for (int first = 0, size; first < m.columns; first += size) {
        size = panel_size(m.columns - first);
        const float* panel = m.data + int64_t(first) * m.rows;
        const auto here = [&](int j, int v, Vec sum) { done(first + j, v, sum); };
        switch (size) {
            case UNITS: tile<UNITS, V>(panel, m.rows, in, here); break;
            case 4: tile<4, V>(panel, m.rows, in, here); break;
            case 2: tile<2, V>(panel, m.rows, in, here); break;
            default: tile<1, V>(panel, m.rows, in, here);
        }
    }
}

// --- the energy ------------------------------------------------------------------------------------------------------

struct Layer {
    Panels forward, backward;  // Wᵀ and W
    const float* bias;
};

struct Network {
    std::vector<Layer> hidden;
    Activation activation;
    const float* out;  // w
    float out_bias, base;
    int dim, width;  // D, and the width of the widest hidden layer
};

// Working memory of a block: vectors of chains, [units][V].
template <int V>
struct Scratch {
    std::vector<Vec> memory;
    Vec *values[2], *slopes, *x, *grad, *new_x, *new_grad, *noise, *velocity;
    Vec energy[V], new_energy[V], accept[V], uniform[V], jitter[V];

    explicit Scratch(const Network& net) {
        const size_t units = size_t(net.width) * V, point = size_t(net.dim) * V;
        memory.assign(units * (2 + net.hidden.size()) + 6 * point, Vec{});
        Vec* next = memory.data();
        const auto take = [&](size_t n) { return std::exchange(next, next + n); };
        for (Vec*& value : values) value = take(units);
        slopes = take(units * net.hidden.size());
        for (Vec** point_memory : {&x, &grad, &new_x, &new_grad, &noise, &velocity}) *point_memory = take(point);
    }
};

// σ(W in + b) and σ'(W in + b).
template <Activation A, int V>
void hidden(const Layer& layer, const Vec* in, Vec* value, Vec* slope) {
    const float* bias = layer.bias;
    product<V>(layer.forward, in, [=](int j, int v, Vec sum) {
        activate<A>(sum + bias[j], value[j * V + v], slope[j * V + v]);
    });
}

template <int V>
void hidden(Activation activation, const Layer& layer, const Vec* in, Vec* value, Vec* slope) {
    switch (activation) {
        case SILU: return hidden<SILU, V>(layer, in, value, slope);
        case SOFTPLUS: return hidden<SOFTPLUS, V>(layer, in, value, slope);
        case TANH: return hidden<TANH, V>(layer, in, value, slope);
        case GELU: return hidden<GELU, V>(layer, in, value, slope);
    }
}

// f(x) and ∇f(x) of a block.
template <int V>
void evaluate(const Network& net, Scratch<V>& s, const Vec* x, Vec* energy, Vec* grad) {
    const size_t units = size_t(net.width) * V;
    const Vec* in = x;
    Vec* slope = s.slopes;
    for (size_t l = 0; l < net.hidden.size(); ++l, slope += units) {
        Vec* out = s.values[l % 2];
        hidden<V>(net.activation, net.hidden[l], in, out, slope);
        in = out;
    }
    slope -= units;
    for (int v = 0; v < V; ++v) energy[v] = fill(net.out_bias);
    const int last = net.hidden.back().forward.columns;
    for (int j = 0; j < last; ++j)
        for (int v = 0; v < V; ++v) {
            energy[v] += net.out[j] * in[j * V + v];
            slope[j * V + v] *= net.out[j];
        }
    for (size_t l = net.hidden.size() - 1; l > 0; --l, slope -= units) {
        Vec* below = slope - units;
        product<V>(net.hidden[l].backward, slope, [=](int j, int v, Vec sum) { below[j * V + v] *= sum; });
    }
    const float base = net.base;
    product<V>(net.hidden[0].backward, slope, [=](int d, int v, Vec sum) {
        grad[d * V + v] = sum + base * x[d * V + v];
        energy[v] += 0.5f * base * x[d * V + v] * x[d * V + v];
    });
}

// --- the chains ------------------------------------------------------------------------------------------------------

// Settings of one step; a schedule gives every step its own.
struct Step {
    double step_size, temperature, noise_scale, clamp_grad, clamp_sample, jitter;
    int64_t n_leapfrog;
};

// Rows of chains [count][dim] → [dim][V lanes], and back.
template <int V>
void load(const float* rows, int64_t count, int dim, Vec* out) {
    float* to = reinterpret_cast<float*>(out);
    for (int64_t c = 0; c < count; ++c)
        for (int d = 0; d < dim; ++d) to[d * V * LANES + c] = rows[c * dim + d];
}

template <int V>
void store(const Vec* in, int64_t count, int dim, float* rows) {
    const float* from = reinterpret_cast<const float*>(in);
    for (int64_t c = 0; c < count; ++c)
        for (int d = 0; d < dim; ++d) rows[c * dim + d] = from[d * V * LANES + c];
}

// The Metropolis–Hastings test; a proposal with a non-finite energy or gradient is accepted with probability 0.
template <int V>
void accept_reject(Scratch<V>& s, int dim, const Vec* log_ratio) {
    Vec total[V];
    for (int v = 0; v < V; ++v) total[v] = s.new_energy[v];
    for (int d = 0; d < dim; ++d)
        for (int v = 0; v < V; ++v) total[v] += s.new_grad[d * V + v];
    for (int v = 0; v < V; ++v) {
        const Vec ratio = at_most(log_ratio[v], 0.0f), zero{};
        Vec accept = ratio > -87.0f ? exponential(ratio) : zero;  // false for NaN, too
        accept = total[v] - total[v] == 0.0f ? accept : zero;
        s.accept[v] += accept;
        const Ints moves = s.uniform[v] < accept;
        s.energy[v] = moves ? s.new_energy[v] : s.energy[v];
        for (int i = v; i < dim * V; i += V) {
            s.x[i] = moves ? s.new_x[i] : s.x[i];
            s.grad[i] = moves ? s.new_grad[i] : s.grad[i];
        }
    }
}

template <int V>
void langevin(const Network& net, Scratch<V>& s, const Step& step) {
    const float eps = step.step_size, noise = std::sqrt(2 * step.step_size * step.temperature) * step.noise_scale;
    const float bound = step.clamp_grad, limit = step.clamp_sample;
    evaluate<V>(net, s, s.x, s.energy, s.grad);
    for (int i = 0; i < net.dim * V; ++i) {
        const Vec grad = at_most(at_least(s.grad[i], -bound), bound);
        s.x[i] = at_most(at_least(s.x[i] - eps * grad + noise * s.noise[i], -limit), limit);
    }
}

template <int V>
void mala(const Network& net, Scratch<V>& s, const Step& step) {
    const double t = step.temperature;
    const float eps = step.step_size, noise = std::sqrt(2 * step.step_size * t), inverse = 1 / t;
    const float along = std::sqrt(step.step_size / (2 * t)), square = step.step_size / (4 * t);
    for (int i = 0; i < net.dim * V; ++i) s.new_x[i] = s.x[i] - eps * s.grad[i] + noise * s.noise[i];
    evaluate<V>(net, s, s.new_x, s.new_energy, s.new_grad);
    Vec log_ratio[V] = {};
    for (int d = 0; d < net.dim; ++d)
        for (int v = 0, i = d * V; v < V; ++v, ++i) {
            const Vec sum = s.grad[i] + s.new_grad[i];
            log_ratio[v] += sum * (along * s.noise[i] - square * sum);
        }
    for (int v = 0; v < V; ++v) log_ratio[v] += (s.energy[v] - s.new_energy[v]) * inverse;
    accept_reject<V>(s, net.dim, log_ratio);
}

template <int V>
void hmc(const Network& net, Scratch<V>& s, const Step& step) {
    const float step_size = step.step_size, heat = std::sqrt(step.temperature), inverse = 1 / step.temperature;
    const float lowest = 1 - step.jitter, spread = 2 * step.jitter;
    const int n = net.dim * V;
    Vec eps[V], half[V];
    for (int v = 0; v < V; ++v) {
        eps[v] = step.jitter > 0 ? (s.jitter[v] * spread + lowest) * step_size : fill(step_size);
        half[v] = eps[v] * 0.5f;
    }
    for (int i = 0; i < n; ++i) {
        s.noise[i] *= heat;
        s.velocity[i] = s.noise[i];
        s.new_x[i] = s.x[i];
        s.new_grad[i] = s.grad[i];
    }
    for (int64_t k = 0; k < step.n_leapfrog; ++k) {
        for (int d = 0; d < net.dim; ++d)
            for (int v = 0, i = d * V; v < V; ++v, ++i) {
                s.velocity[i] -= half[v] * s.new_grad[i];
                s.new_x[i] += eps[v] * s.velocity[i];
            }
        evaluate<V>(net, s, s.new_x, s.new_energy, s.new_grad);
        for (int d = 0; d < net.dim; ++d)
            for (int v = 0, i = d * V; v < V; ++v, ++i) s.velocity[i] -= half[v] * s.new_grad[i];
    }
    Vec log_ratio[V] = {};
    for (int d = 0; d < net.dim; ++d)
        for (int v = 0, i = d * V; v < V; ++v, ++i)
            log_ratio[v] += (s.noise[i] - s.velocity[i]) * (s.noise[i] + s.velocity[i]);
    for (int v = 0; v < V; ++v)
        log_ratio[v] = (s.energy[v] - s.new_energy[v] + 0.5f * log_ratio[v]) * inverse;
    accept_reject<V>(s, net.dim, log_ratio);
}

// Parallel tempering: every chain is a ladder of replicas, whose rows lie one replica after the other.
struct Ladder {
    int64_t size, moves;           // R, or 0 for chains of one temperature; steps of the kernel between exchanges
    const double* beta;            // [R], falling from 1
    const float* uniform;          // [n_steps][R − 1][n_chains]
    float *marks, *rates, *trips;  // [R][n_chains], [R − 1][n_chains], [n_chains]
};

// With a ladder there are R n_chains rows in x, energy and grad, and in the noise of each of n_steps · moves steps.
struct Run {
    Kind kind;
    int64_t n_chains, n_steps, thin, start, evaluated;  // evaluated: energy and grad are those at x
    const Step* steps;
    const float *noise, *uniform, *jitter;   // [n_steps][n_chains][D], [n_steps][n_chains], the same or null
    float *x, *energy, *grad, *accept, *kept;  // [n_chains][D], [n_chains], [n_chains][D], [n_chains], [·][n_chains][D]
    Ladder ladder;
};

// Load the noise of step i of the rows from `first` on, out of `rows`, and take the step.
template <int V>
void take_step(const Network& net, const Run& run, int64_t i, int64_t rows, int64_t first, int64_t count,
               const Step& step, Scratch<V>& s) {
    load<V>(run.noise + (i * rows + first) * net.dim, count, net.dim, s.noise);
    if (run.kind == LANGEVIN) return langevin<V>(net, s, step);
    load<V>(run.uniform + i * rows + first, count, 1, s.uniform);
    if (run.jitter != nullptr) load<V>(run.jitter + i * rows + first, count, 1, s.jitter);
    run.kind == MALA ? mala<V>(net, s, step) : hmc<V>(net, s, step);
}

// Add the sums of a block to those of its chains.
template <int V>
void add(const Vec* sums, int64_t count, float* to) {
    float values[V * LANES];
    std::memcpy(values, sums, sizeof(values));
    for (int64_t c = 0; c < count; ++c) to[c] += values[c];
}

// Advance the chains first … first + count − 1 through all steps.
template <int V>
void advance(const Network& net, const Run& run, int64_t first, int64_t count, Scratch<V>& s) {
    const int dim = net.dim;
    const int64_t at = first * dim, all = run.n_chains * dim;
    load<V>(run.x + at, count, dim, s.x);
    for (int v = 0; v < V; ++v) s.accept[v] = fill(0.0f);
    if (run.kind != LANGEVIN) {
        if (run.evaluated) {
            load<V>(run.energy + first, count, 1, s.energy);
            load<V>(run.grad + at, count, dim, s.grad);
        } else {
            evaluate<V>(net, s, s.x, s.energy, s.grad);
        }
    }
    float* kept = run.kept == nullptr ? nullptr : run.kept + at;
    for (int64_t i = 0; i < run.n_steps; ++i) {
        take_step<V>(net, run, i, run.n_chains, first, count, run.steps[i], s);
        if (kept != nullptr && (run.start + i + 1) % run.thin == 0) {
            store<V>(s.x, count, dim, kept);
            kept += all;
        }
    }
    store<V>(s.x, count, dim, run.x + at);
    if (run.kind == LANGEVIN) return;
    store<V>(s.energy, count, 1, run.energy + first);
    store<V>(s.grad, count, dim, run.grad + at);
    add<V>(s.accept, count, run.accept + first);
}

// --- parallel tempering ----------------------------------------------------------------------------------------------

enum Mark { NEW, FROM_COLD, FROM_HOT };  // where a position was last: at neither end of the ladder yet, or at which

// The replicas of a block of chains.
template <int V>
struct Replicas {
    struct Replica {
        Vec *x, *grad, *energy, *mark;
    };
    std::vector<Vec> memory, rates;
    std::vector<Replica> at;

    Replicas(int64_t size, int dim) : memory(size * (2 * dim + 2) * V), rates((size - 1) * V) {
        Vec* next = memory.data();
        const auto take = [&](int n) { return std::exchange(next, next + n * V); };
        for (int64_t r = 0; r < size; ++r) {
            Replica replica{};
            replica.x = take(dim), replica.grad = take(dim), replica.energy = take(1), replica.mark = take(1);
            at.push_back(replica);
        }
    }
};

template <int V>
inline void exchange(const Ints* swaps, int n, Vec* a, Vec* b) {
    for (int i = 0; i < n; ++i)
        for (int v = 0, k = i * V; v < V; ++v, ++k) {
            const Vec held = a[k];
            a[k] = swaps[v] ? b[k] : a[k];
            b[k] = swaps[v] ? held : b[k];
        }
}

// Test the pairs of neighbours r, r + 1 with r = parity, parity + 2, …: min(1, exp((β_r − β_{r+1})(E_r − E_{r+1}) / T)).
template <int V>
void exchange_pairs(const Run& run, int64_t i, int parity, int64_t first, int64_t count, int dim, Scratch<V>& s,
                    Replicas<V>& replicas) {
    const Ladder& ladder = run.ladder;
    const double t = run.steps[i].temperature;
    for (int64_t r = parity; r + 1 < ladder.size; r += 2) {
        const auto &a = replicas.at[r], &b = replicas.at[r + 1];
        load<V>(ladder.uniform + (i * (ladder.size - 1) + r) * run.n_chains + first, count, 1, s.uniform);
        const float gap = float(ladder.beta[r] / t) - float(ladder.beta[r + 1] / t);
        Ints swaps[V];
        for (int v = 0; v < V; ++v) {
            const Vec ratio = at_most(gap * (a.energy[v] - b.energy[v]), 0.0f), zero{};
            const Vec rate = ratio > -87.0f ? exponential(ratio) : zero;  // false for NaN, too
            replicas.rates[r * V + v] += rate;
            swaps[v] = s.uniform[v] < rate;
        }
        exchange<V>(swaps, dim, a.x, b.x);
        exchange<V>(swaps, dim, a.grad, b.grad);
        exchange<V>(swaps, 1, a.energy, b.energy);
        exchange<V>(swaps, 1, a.mark, b.mark);
    }
}

// Advance ladders first … first + count − 1 through all steps: moves of every replica, and two rounds of exchanges. A
// replica is a chain at its own temperature, with the step size of all.
template <int V>
void advance_ladders(const Network& net, const Run& run, int64_t first, int64_t count, Scratch<V>& s) {
    const int dim = net.dim;
    const Ladder& ladder = run.ladder;
    const int64_t n = run.n_chains, rows = ladder.size * n;
    Replicas<V> replicas(ladder.size, dim);
    Vec trips[V] = {}, *const x = s.x, *const grad = s.grad;
    for (int v = 0; v < V; ++v) s.accept[v] = fill(0.0f);
    for (int64_t r = 0; r < ladder.size; ++r) {
        const auto& replica = replicas.at[r];
        const int64_t row = r * n + first;
        load<V>(run.x + row * dim, count, dim, replica.x);
        load<V>(ladder.marks + row, count, 1, replica.mark);
        if (run.evaluated) {
            load<V>(run.energy + row, count, 1, replica.energy);
            load<V>(run.grad + row * dim, count, dim, replica.grad);
        } else {
            evaluate<V>(net, s, replica.x, replica.energy, replica.grad);
        }
    }
    float* kept = run.kept == nullptr ? nullptr : run.kept + first * dim;
    for (int64_t i = 0; i < run.n_steps; ++i) {
        for (int64_t r = 0; r < ladder.size; ++r) {
            const auto& replica = replicas.at[r];
            Step step = run.steps[i];
            step.temperature /= ladder.beta[r];
            s.x = replica.x, s.grad = replica.grad;
            std::copy_n(replica.energy, V, s.energy);
            for (int64_t m = 0; m < ladder.moves; ++m)
                take_step<V>(net, run, i * ladder.moves + m, rows, r * n + first, count, step, s);
            std::copy_n(s.energy, V, replica.energy);
        }
        for (int parity : {0, 1}) exchange_pairs<V>(run, i, parity, first, count, dim, s, replicas);
        Vec *cold = replicas.at.front().mark, *hot = replicas.at.back().mark;
        for (int v = 0; v < V; ++v) {
            trips[v] += cold[v] == float(FROM_HOT) ? fill(1.0f) : Vec{};
            cold[v] = fill(FROM_COLD);
            hot[v] = hot[v] > float(NEW) ? fill(FROM_HOT) : hot[v];
        }
        if (kept != nullptr && (run.start + i + 1) % run.thin == 0) {
            store<V>(replicas.at.front().x, count, dim, kept);
            kept += n * dim;
        }
    }
    s.x = x, s.grad = grad;
    for (int64_t r = 0; r < ladder.size; ++r) {
        const auto& replica = replicas.at[r];
        const int64_t row = r * n + first;
        store<V>(replica.x, count, dim, run.x + row * dim);
        store<V>(replica.grad, count, dim, run.grad + row * dim);
        store<V>(replica.energy, count, 1, run.energy + row);
        store<V>(replica.mark, count, 1, ladder.marks + row);
        if (r + 1 < ladder.size) add<V>(&replicas.rates[r * V], count, ladder.rates + row);
    }
    add<V>(s.accept, count, run.accept + first);
    add<V>(trips, count, ladder.trips + first);
}

// The blocks of chains of one call, which threads take one after the other.
struct Job {
    Network net;
    Run run;
    std::atomic<int64_t> next{0};
    std::vector<std::thread> helpers;

    template <int V>
    void work() {
        constexpr int64_t size = V * LANES;
        Scratch<V> scratch(net);
        const auto block = run.ladder.size > 0 ? advance_ladders<V> : advance<V>;
        for (int64_t first; (first = size * next++) < run.n_chains;)
            block(net, run, first, std::min(size, run.n_chains - first), scratch);
    }

    // Few chains are cut into small blocks, so that every thread finds one. The size must not depend on the threads.
    bool few() const { return run.n_chains <= 4 * LANES; }
    void work() { few() ? work<1>() : work<VECTORS>(); }
    int64_t blocks() const { return (run.n_chains - 1) / (LANES * (few() ? 1 : VECTORS)) + 1; }
};

}  // namespace

extern "C" {

// Write weights in the order of their products: for each hidden layer W [n_out][n_in] the panels of Wᵀ, then of W.
void ebm_pack(int64_t n_hidden, const int64_t* widths, const float* const* weights, float* out) {
    for (int64_t l = 0; l < n_hidden; ++l) {
        const int n_in = widths[l], n_out = widths[l + 1];
        out += pack(weights[l], n_in, n_out, 1, n_in, out);
        out += pack(weights[l], n_out, n_in, n_in, 1, out);
    }
}

// Whether ebm_finish has a pool of threads.
int64_t ebm_has_pool() {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

// Begin n_steps transitions of n_chains chains that have done `start` steps before, on all threads but the caller's: x,
// energy, grad and accept are updated. The result is the argument of ebm_finish; until that has returned, the caller
// may draw the noise of later steps, but must not touch these arrays.
void* ebm_start(int64_t kind, int64_t activation, int64_t n_hidden, const int64_t* widths, const float* packed,
                const float* const* biases, const float* out, double base, int64_t n_chains, int64_t n_steps,
                int64_t start, int64_t thin, int64_t evaluated, const void* steps, const float* noise,
                const float* uniform, const float* jitter, float* x, float* energy, float* grad, float* accept,
                float* kept, int64_t ladder, int64_t moves, const double* beta, const float* exchange_uniform,
                float* marks, float* rates, float* trips, int64_t threads) {
    Network net{{}, Activation(activation), out, biases[n_hidden][0], float(base), int(widths[0]), 0};
    for (int64_t l = 0; l < n_hidden; ++l) {
        const int n_in = widths[l], n_out = widths[l + 1];
        const float* backward = packed + int64_t(n_in) * n_out;
        net.hidden.push_back({{packed, n_in, n_out}, {backward, n_out, n_in}, biases[l]});
        net.width = std::max(net.width, n_out);
        packed = backward + int64_t(n_in) * n_out;
    }
    Job* job = new Job{std::move(net),
                       {Kind(kind), n_chains, n_steps, thin, start, evaluated, static_cast<const Step*>(steps), noise,
                        uniform, jitter, x, energy, grad, accept, kept,
                        {ladder, moves, beta, exchange_uniform, marks, rates, trips}}};
    try {
        const int64_t workers = std::min(threads, job->blocks());
        for (int64_t i = 1; i < workers; ++i) job->helpers.emplace_back([job] { job->work(); });
    } catch (const std::system_error&) {
        // The system has no more threads: the existing ones do the work.
    }
    return job;
}

// Help with the remaining blocks, on this many threads of OpenMP's pool if there is one, and wait until all are done.
void ebm_finish(void* started, int64_t threads) {
    Job* job = static_cast<Job*>(started);
    const int team = std::min(threads, job->blocks());
#pragma omp parallel num_threads(team) if (team > 1)
    job->work();
    for (std::thread& helper : job->helpers) helper.join();
    delete job;
}
}
