// Products with an input of few features, d_U and d_x, for which a tile would be mostly padding.
//
// Here the vectors lie along the units instead of the features: d_U is an outer product for each token, d_x a dot product.
#pragma once

#include "pack.h"
#include "threading.h"

namespace elman::ELMAN_ISA {

template <class T>
constexpr bool is_narrow(int64_t features) {
    return features > 0 && features <= (Simd<T>::W >= 8 ? Simd<T>::W / 4 : 1);
}

// Column i of U as the planes of the gradients lie: out[i * K + plane * Hp + u], K = planes * Hp, zeros behind the last unit.
template <class T>
inline void pack_features(const T* matrix, int64_t features, int64_t H, const int* gate_of, int planes, T* out) {
    const int64_t Hp = padded<T>(H);
    for (int64_t i = 0; i < features; ++i)
        for (int plane = 0; plane < planes; ++plane)
            for (int64_t u = 0; u < Hp; ++u)
                *out++ = u < H ? matrix[(gate_of[plane] * H + u) * features + i] : T(0);
}

// d_x of up to W tokens: sums[i] holds feature i of all of them, a token in each lane.
//
// d_gates: the rows of the tokens, K numbers each; weights: from pack_features.
template <class T>
inline void narrow_inputs(const T* const* d_gates, int tokens, const T* weights, int64_t features, int64_t K,
                          typename Simd<T>::V* sums) {
    using S = Simd<T>;
    constexpr int W = S::W;
    const T* rows[W];
    for (int r = 0; r < W; ++r) rows[r] = d_gates[r < tokens ? r : 0];
    for (int64_t i = 0; i < features; ++i, weights += K) {
        typename S::V partial[W] = {};
        for (int64_t k = 0; k < K; k += W) {
            const auto weight = S::load(weights + k);
#pragma GCC unroll 16
            for (int r = 0; r < W; ++r) partial[r] = S::fused(S::load(rows[r] + k), weight, partial[r]);
        }
        transpose<T>(partial);
        sums[i] = partial[0];
        for (int r = 1; r < W; ++r) sums[i] += partial[r];
    }
}

// This thread's share of d_U, by vectors of units: out[(gate * H + u) * features + i] = or += the sum over the tokens.
//
// d_gates: (tokens, stride), plane * Hp + u in a row; rows: the tokens' inputs.
template <class T>
inline void narrow_gradient(const T* d_gates, int64_t stride, int64_t tokens, const T* const* rows, int64_t features,
                            int64_t H, int planes, const int* gate_of, T* out, bool add, int thread, int threads) {
    using S = Simd<T>;
    constexpr int W = S::W, kAtOnce = 8;
    const int64_t Hp = padded<T>(H);
    const Share vectors(planes * Hp / W, thread, threads);
    for (int64_t v = vectors.begin; v < vectors.end; v += kAtOnce) {
        const int n = static_cast<int>(vectors.end - v < kAtOnce ? vectors.end - v : kAtOnce);
        for (int64_t i = 0; i < features; ++i) {
            typename S::V sum[kAtOnce] = {};
            const T* row = d_gates + v * W;
            for (int64_t k = 0; k < tokens; ++k, row += stride) {
                const auto x = S::broadcast(rows[k][i]);
                if (n == kAtOnce) {
#pragma GCC unroll 8
                    for (int j = 0; j < kAtOnce; ++j) sum[j] = S::fused(x, S::load(row + j * W), sum[j]);
                } else {
                    for (int j = 0; j < n; ++j) sum[j] = S::fused(x, S::load(row + j * W), sum[j]);
                }
            }
            for (int64_t m = v * W; m < (v + n) * W; ++m) {
                const int64_t plane = m / Hp, u = m % Hp;
                if (u >= H) continue;
                T& to = out[(gate_of[plane] * H + u) * features + i];
                const T found = sum[m / W - v][m % W];
                to = add ? to + found : found;
            }
        }
    }
}

}  // namespace elman::ELMAN_ISA
