// The energy of a perceptron at many points, f(x) = w·h_L + b + ½ κ‖x‖², h_l = σ(W_l h_{l−1} + b_l), in float32, and the
// gradient of Σ_n g_n f(x_n) in its weights.
//
// Activations are [points][units], and units lie along the lanes of the vector registers. A block of points goes
// through all layers while it is in cache, first for the values and then, with g known, for the derivatives
// δ_l = ∂(Σ g f)/∂(W_l h_{l−1} + b_l), which overwrite the slopes σ'. The gradients ∂W_l = Σ_n δ_l h_{l−1}ᵀ are one
// product each, cut by outputs and inputs. Every sum is taken by one thread in one order: results are bit-equal for any
// number of threads.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vectors.h"

namespace {

// A tile of sums in registers: ROWS × two vectors; with their operands they fit 32 registers, or 16 under AVX.
#if defined(__AVX__) && !defined(__AVX512F__)
constexpr int ROWS = 4;
#else
constexpr int ROWS = 8;
#endif
constexpr int STRIP = 2 * LANES;  // columns of a tile; matrices are padded with zeros to a multiple of them
constexpr int64_t BLOCK = 32;     // points of a block, and a multiple of ROWS
constexpr int64_t OUTPUTS = 64;   // of a part of a weight's gradient, a multiple of ROWS

typedef float Loose __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));
inline Vec load(const float* from) { return *reinterpret_cast<const Loose*>(from); }
inline void store(float* to, Vec a) { *reinterpret_cast<Loose*>(to) = a; }

inline int64_t padded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Call done(row, column, sum) with Σ_k a[row, k] b[k, column], k < n, for ROWS rows and, a vector at a time, STRIP columns.
template <class Done>
inline void tile(const float* a, int64_t row_stride, int64_t k_stride, const float* b, int64_t b_stride, int64_t n,
                 Done done) {
    Vec sum[ROWS][2] = {};
    for (int64_t k = 0; k < n; ++k, a += k_stride, b += b_stride) {
        const Vec left = load(b), right = load(b + LANES);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; ++row) {
            sum[row][0] += a[row * row_stride] * left;
            sum[row][1] += a[row * row_stride] * right;
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; ++row) {
        done(row, 0, sum[row][0]);
        done(row, LANES, sum[row][1]);
    }
}

struct Network {
    int64_t n_hidden;
    const int64_t* widths;        // D and the widths of the hidden layers
    const float* const* weights;  // W_l [n_out][n_in] of the hidden layers, and w
    const float* const* biases;
    float base;

    int64_t inputs(int64_t l) const { return widths[l]; }
    int64_t outputs(int64_t l) const { return widths[l + 1]; }
    // Distance between two rows of h_l, with h_0 = x.
    int64_t stride(int64_t l) const { return padded(widths[l], STRIP); }
};

struct LayerMemory {
    float *value, *slope;       // h and σ', then δ, [points][units]
    float *forward, *backward;  // Wᵀ and W, strip by strip: [rows][STRIP]
    float* bias;
};

// What the derivatives need of the values; `memory` is cut into its parts.
struct Memory {
    int64_t n_points, n_rows;  // rows: the points, and zeros up to a whole block
    float *x, *out;            // padded points, w
    std::vector<LayerMemory> layers;
    int64_t size = 0;

    Memory(const Network& net, int64_t n_points, float* memory)
        : n_points(n_points), n_rows(padded(n_points, BLOCK)) {
        const auto take = [&](int64_t n) { return (size += n, memory == nullptr ? nullptr : memory + size - n); };
        x = take(n_rows * net.stride(0));
        for (int64_t l = 0; l < net.n_hidden; ++l) {
            LayerMemory layer{};
            const int64_t wide = net.stride(l + 1);
            layer.value = take(n_rows * wide), layer.slope = take(n_rows * wide);
            layer.forward = take(net.inputs(l) * wide), layer.backward = take(net.outputs(l) * net.stride(l));
            layer.bias = take(wide);
            layers.push_back(layer);
        }
        out = take(net.stride(net.n_hidden));
    }

    int64_t n_blocks() const { return n_rows / BLOCK; }
    // h_l, with h_0 = x.
    const float* inputs(int64_t l) const { return l == 0 ? x : layers[l - 1].value; }
};

// Write matrix[row · row_stride + column · column_stride] strip by strip.
void pack(const float* matrix, int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride, float* to) {
    for (int64_t strip = 0; strip < columns; strip += STRIP)
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t c = strip; c < strip + STRIP; ++c)
                *to++ = c < columns ? matrix[row * row_stride + c * column_stride] : 0;
}

void pack_layer(const Network& net, const Memory& memory, int64_t l) {
    const int64_t n_in = net.inputs(l), n_out = net.outputs(l);
    const LayerMemory& layer = memory.layers[l];
    pack(net.weights[l], n_in, n_out, 1, n_in, layer.forward);
    // No derivative in x is asked for.
    if (l > 0) pack(net.weights[l], n_out, n_in, n_in, 1, layer.backward);
    pack(net.biases[l], 1, n_out, 0, 1, layer.bias);
}

// --- values ----------------------------------------------------------------------------------------------------------

template <Activation A>
void hidden_rows(const Network& net, const Memory& memory, int64_t first) {
    for (int64_t l = 0; l < net.n_hidden; ++l) {
        const int64_t n_in = net.inputs(l), in_stride = net.stride(l), stride = net.stride(l + 1);
        const LayerMemory& layer = memory.layers[l];
        for (int64_t strip = 0; strip < stride; strip += STRIP)
            for (int64_t row = first; row < first + BLOCK; row += ROWS)
                tile(memory.inputs(l) + row * in_stride, in_stride, 1, layer.forward + strip * n_in, STRIP, n_in,
                     [=](int i, int c, Vec sum) {
                         Vec value, slope;
                         activate<A>(sum + load(layer.bias + strip + c), value, slope);
                         const int64_t at = (row + i) * stride + strip + c;
                         store(layer.value + at, value);
                         store(layer.slope + at, slope);
                     });
    }
}

void hidden_rows(Activation activation, const Network& net, const Memory& memory, int64_t first) {
    switch (activation) {
        case SILU: return hidden_rows<SILU>(net, memory, first);
        case SOFTPLUS: return hidden_rows<SOFTPLUS>(net, memory, first);
        case TANH: return hidden_rows<TANH>(net, memory, first);
        case GELU: return hidden_rows<GELU>(net, memory, first);
    }
}

// w·h_L + b + ½ κ‖x‖² of a point.
float energy_of(const Network& net, const Memory& memory, int64_t row) {
    const int64_t stride = net.stride(net.n_hidden), dim = net.stride(0);
    const float *value = memory.inputs(net.n_hidden) + row * stride, *x = memory.x + row * dim;
    Vec sum{}, square{};
    for (int64_t c = 0; c < stride; c += LANES) sum += load(value + c) * load(memory.out + c);
    for (int64_t d = 0; d < dim; d += LANES) square += load(x + d) * load(x + d);
    sum += 0.5f * net.base * square;
    float energy = net.biases[net.n_hidden][0];
    for (int i = 0; i < LANES; ++i) energy += sum[i];
    return energy;
}

// --- derivatives -----------------------------------------------------------------------------------------------------

// δ of all layers for a block of points.
void backward_rows(const Network& net, const Memory& memory, const float* g, int64_t first) {
    const int64_t wide = net.stride(net.n_hidden);
    for (int64_t row = first; row < first + BLOCK; ++row) {
        float* slope = memory.layers.back().slope + row * wide;
        // A row beyond the points has no derivative, whatever its slopes are.
        for (int64_t c = 0; c < wide; c += LANES)
            store(slope + c, row < memory.n_points ? load(slope + c) * load(memory.out + c) * g[row] : Vec{});
    }
    for (int64_t l = net.n_hidden - 1; l > 0; --l) {
        const int64_t n_out = net.outputs(l), out_stride = net.stride(l + 1), stride = net.stride(l);
        const LayerMemory& layer = memory.layers[l];
        float* below = memory.layers[l - 1].slope;
        for (int64_t strip = 0; strip < stride; strip += STRIP)
            for (int64_t row = first; row < first + BLOCK; row += ROWS)
                tile(layer.slope + row * out_stride, out_stride, 1, layer.backward + strip * n_out, STRIP, n_out,
                     [=](int i, int c, Vec sum) {
                         float* slope = below + (row + i) * stride + strip + c;
                         store(slope, load(slope) * sum);
                     });
    }
}

// A part of ∂W_l: some outputs and a strip of inputs.
struct Part {
    int64_t layer, output, strip;
};

std::vector<Part> parts_of(const Network& net) {
    std::vector<Part> parts;
    for (int64_t l = 0; l < net.n_hidden; ++l)
        for (int64_t strip = 0; strip < net.stride(l); strip += STRIP)
            for (int64_t output = 0; output < net.outputs(l); output += OUTPUTS) parts.push_back({l, output, strip});
    return parts;
}

void weight_gradient(const Network& net, const Memory& memory, const Part& part, float* gradient) {
    const int64_t l = part.layer, n_in = net.inputs(l), n_out = net.outputs(l), last = part.output + OUTPUTS;
    for (int64_t output = part.output; output < std::min(last, n_out); output += ROWS)
        tile(memory.layers[l].slope + output, 1, net.stride(l + 1), memory.inputs(l) + part.strip, net.stride(l),
             memory.n_rows, [=](int i, int c, Vec sum) {
                 const int64_t input = part.strip + c;
                 if (output + i >= n_out) return;
                 float* to = gradient + (output + i) * n_in + input;
                 if (input + LANES <= n_in) return store(to, sum);
                 for (int64_t j = 0; j < n_in - input; ++j) to[j] = sum[j];
             });
}

// Σ_n g_n m[n] over the points, or Σ_n m[n] without g: [columns].
void column_sums(const float* m, int64_t n_points, int64_t stride, int64_t columns, const float* g, float* to) {
    for (int64_t c = 0; c < columns; c += LANES) {
        Vec sum{};
        for (int64_t n = 0; n < n_points; ++n) sum += load(m + n * stride + c) * (g == nullptr ? 1.0f : g[n]);
        for (int64_t j = 0; j < std::min<int64_t>(LANES, columns - c); ++j) to[c + j] = sum[j];
    }
}

void last_layer_gradients(const Network& net, const Memory& memory, const float* g, float* weight, float* bias) {
    const int64_t l = net.n_hidden;
    column_sums(memory.inputs(l), memory.n_points, net.stride(l), net.widths[l], g, weight);
    *bias = 0;
    for (int64_t n = 0; n < memory.n_points; ++n) *bias += g[n];
}

}  // namespace

extern "C" {

// The number of floats that ebm_values needs.
int64_t ebm_values_memory(int64_t n_hidden, const int64_t* widths, int64_t n_points) {
    return Memory({n_hidden, widths, nullptr, nullptr, 0}, n_points, nullptr).size;
}

// Evaluate f [n_points] at x [n_points][D]; `floats` keeps what ebm_values_backward needs.
void ebm_values(int64_t activation, int64_t n_hidden, const int64_t* widths, const float* const* weights,
                const float* const* biases, double base, int64_t n_points, const float* x, float* floats, float* f,
                int64_t threads) {
    const Network net{n_hidden, widths, weights, biases, float(base)};
    const Memory memory(net, n_points, floats);
    const int64_t dim = net.inputs(0), stride = net.stride(0);
    const int team = std::min(threads, memory.n_blocks());
#pragma omp parallel num_threads(team) if (team > 1)
    {
#pragma omp for schedule(static) nowait
        for (int64_t l = 0; l < n_hidden; ++l) pack_layer(net, memory, l);
#pragma omp single
        pack(weights[n_hidden], 1, net.inputs(n_hidden), 0, 1, memory.out);
#pragma omp for schedule(static)
        for (int64_t block = 0; block < memory.n_blocks(); ++block) {
            const int64_t first = block * BLOCK, last = std::min(first + BLOCK, n_points);
            std::fill_n(memory.x + first * stride, BLOCK * stride, 0.0f);
            for (int64_t row = first; row < last; ++row) std::copy_n(x + row * dim, dim, memory.x + row * stride);
            hidden_rows(Activation(activation), net, memory, first);
            for (int64_t row = first; row < last; ++row) f[row] = energy_of(net, memory, row);
        }
    }
}

// The gradient of Σ_n g_n f(x_n), after ebm_values with the same floats, which it uses up: in the weights and biases of
// the hidden layers and of the last one.
void ebm_values_backward(int64_t n_hidden, const int64_t* widths, int64_t n_points, float* floats, const float* g,
                         float* const* weights, float* const* biases, int64_t threads) {
    const Network net{n_hidden, widths, nullptr, nullptr, 0};
    const Memory memory(net, n_points, floats);
    const std::vector<Part> parts = parts_of(net);
    const int64_t n_parts = parts.size();
    const int team = std::min(threads, memory.n_blocks());
#pragma omp parallel num_threads(team) if (team > 1)
    {
#pragma omp for schedule(static)
        for (int64_t block = 0; block < memory.n_blocks(); ++block) backward_rows(net, memory, g, block * BLOCK);
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < n_parts; ++i) weight_gradient(net, memory, parts[i], weights[parts[i].layer]);
#pragma omp for schedule(static) nowait
        for (int64_t l = 0; l < n_hidden; ++l)
            column_sums(memory.layers[l].slope, n_points, net.stride(l + 1), net.outputs(l), nullptr, biases[l]);
#pragma omp single
        last_layer_gradients(net, memory, g, weights[n_hidden], biases[n_hidden]);
    }
}
}
