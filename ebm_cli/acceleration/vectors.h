// Vectors of float32 in the registers of the processor that compiles, and the activations of a perceptron on them.
//
// Everything here is inlined into the loops of chains.cpp and values.cpp.

#pragma once

#include <cmath>
#include <cstdint>
#ifdef __AVX__
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Vec __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(LANES * sizeof(int32_t))));

enum Activation { SILU, SOFTPLUS, TANH, GELU };

inline Vec fill(float a) { return a - Vec{}; }
// Bounds keep NaN: the instructions return their second operand where one is NaN, and a comparison with NaN is false.
#if defined(__AVX512F__)
inline Vec at_most(Vec a, float bound) { return (Vec)_mm512_min_ps((__m512)fill(bound), (__m512)a); }
inline Vec at_least(Vec a, float bound) { return (Vec)_mm512_max_ps((__m512)fill(bound), (__m512)a); }
#elif defined(__AVX__)
inline Vec at_most(Vec a, float bound) { return (Vec)_mm256_min_ps((__m256)fill(bound), (__m256)a); }
inline Vec at_least(Vec a, float bound) { return (Vec)_mm256_max_ps((__m256)fill(bound), (__m256)a); }
#else
inline Vec at_most(Vec a, float bound) { return a > bound ? fill(bound) : a; }
inline Vec at_least(Vec a, float bound) { return a < bound ? fill(bound) : a; }
#endif
inline Vec absolute(Vec a) { return a < 0.0f ? -a : a; }

// --- elementary functions: minimax polynomials, as accurate as torch's ------------------------------------------------

// exp(a) for a clamped to ±87: a = n log 2 + r with |r| ≤ ½ log 2, and n is added to the bits of the exponent.
inline Vec exponential(Vec a) {
    const float round = 12582912.0f;  // 1.5 · 2²³: adding it leaves the nearest integer in the low bits
    a = at_most(at_least(a, -87.0f), 87.0f);
    const Vec shifted = a * 1.44269504f + round;
    const Vec n = shifted - round;
    const Vec r = (a - n * 0.693359375f) + n * 2.12194440e-4f;
    Vec p = r * 1.38145964e-3f + 8.36871709e-3f;
    p = p * r + 4.16683881e-2f;
    p = p * r + 1.66665206e-1f;
    p = p * r + 4.99999934e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (Vec)(((Ints)shifted << 23) + 0x3f800000);
}

// σ(a) and σ'(a).
template <Activation A>
inline void activate(Vec a, Vec& value, Vec& slope) {
    if constexpr (A == SILU) {
        const Vec s = 1.0f / (1.0f + exponential(-a));
        value = a * s;
        slope = s + value * (1.0f - s);
    } else if constexpr (A == SOFTPLUS) {
        // log(1 + e) = 2 artanh t, t = e/(2 + e) ≤ 1/3, with e = exp(−|a|): nothing overflows.
        const Vec e = exponential(-absolute(a)), inverse = 1.0f / ((1.0f + e) * (2.0f + e));
        const Vec s = (2.0f + e) * inverse, t = e * (1.0f + e) * inverse, z = t * t;
        Vec p = z * 1.40891630e-1f + 1.39803024e-1f;
        p = p * z + 2.00124551e-1f;
        p = p * z + 3.33331573e-1f;
        p = p * z + 1.0f;
        value = 2.0f * t * p + at_least(a, 0.0f);
        slope = a > 0.0f ? s : e * s;
    } else if constexpr (A == TANH) {
        const Vec z = a * a;
        Vec p = z * -5.65998481e-3f + 2.05909842e-2f;
        p = p * z - 5.37210666e-2f;
        p = p * z + 1.33311275e-1f;
        p = p * z - 3.33332605e-1f;
        const Vec near = p * z * a + a, far = 1.0f - 2.0f / (1.0f + exponential(2.0f * absolute(a)));
        value = absolute(a) < 0.625f ? near : a < 0.0f ? -far : far;
        slope = 1.0f - value * value;
    } else {
        // a Φ(a): 1 − Φ(|a|) = φ(a) q(t)·√(2π), t = 1/(1 + |a|/4), the form of Abramowitz & Stegun 26.2.17.
        const Vec gauss = exponential(-0.5f * a * a), t = 1.0f / (1.0f + 0.25f * absolute(a));
        Vec q = t * -9.45106710e-2f + 3.55865497e-1f;
        q = q * t - 2.96201128e-1f;
        q = q * t + 3.13468585e-1f;
        q = q * t + 4.08361411e-3f;
        q = q * t + 1.19852531e-1f;
        q = q * t + 9.73246881e-2f;
        q = q * t + 1.16878589e-4f;
        const Vec tail = q * gauss, cdf = a < 0.0f ? tail : 1.0f - tail;
        value = a * cdf;
        slope = cdf + a * gauss * 0.398942280f;
    }
}

}  // namespace
