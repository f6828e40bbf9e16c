// The matrix product of a few rows and a panel of columns, with the sums in registers. Everything else rests on it.
//
// A panel holds up to four vectors of columns for all k, k-major: panel[k][N vectors]. Its columns come in blocks of one
// vector, and a block may stand for several gates of the same units (see pack.h). `tile` computes
//
//     out[r] = init[r] + sum over k of a[r][k * a_step] * panel[k]        r < M rows, N vectors of columns
//
// Each number of the result is `init` and, one after the other, the sums of kChain products each, which are chains of fused
// multiply-adds over k in ascending order from zero. A single chain over all k would round every product to the last bit
// of the whole sum, which costs float32 two thirds of its accuracy at a K of 256. The order does not depend on M, N or on
// who computes it: that is why a row gives the same bits alone, in any batch and on any thread.
#pragma once

#include "simd.h"

namespace elman::ELMAN_ISA {

inline constexpr int kMaxRows = 8;
inline constexpr int kMaxVectors = 4;
inline constexpr int64_t kChain = 128;  // adding up costs a hundredth of the time

// As many rows as leave registers for the panel's vectors and one broadcast.
constexpr int rows_of_tile(int vectors) {
    if (kRegisters == 32) return vectors == 4 ? 6 : 8;
    return vectors == 4 ? 3 : vectors == 3 ? 4 : vectors == 2 ? 6 : 8;
}

// a: M row pointers. init: M rows `init_stride` apart (0: one row for all), or null for zeros. out: rows `out_stride` apart.
template <class T>
using Tile = void (*)(const T* const* a, int64_t a_step, const T* panel, int64_t K, const T* init, int64_t init_stride,
                      T* out, int64_t out_stride);

template <class T, int M, int N>
void tile(const T* const* a, int64_t a_step, const T* panel, int64_t K, const T* init, int64_t init_stride, T* out,
          int64_t out_stride) {
    using S = Simd<T>;
    const T* row[M];
#pragma GCC unroll 8
    for (int r = 0; r < M; ++r) row[r] = a[r];
    int64_t at = 0;
    for (int64_t begin = 0; begin == 0 || begin < K; begin += kChain) {
        const int64_t end = K - begin < kChain ? K : begin + kChain;
        typename S::V sum[M][N] = {};
        for (int64_t k = begin; k < end; ++k) {
            typename S::V column[N];
#pragma GCC unroll 4
            for (int v = 0; v < N; ++v) column[v] = S::load(panel + v * S::W);
#pragma GCC unroll 8
            for (int r = 0; r < M; ++r) {
                const auto x = S::broadcast(row[r][at]);
#pragma GCC unroll 4
                for (int v = 0; v < N; ++v) sum[r][v] = S::fused(x, column[v], sum[r][v]);
            }
            if (M <= 2)  // nothing but the panel moves: it comes from L2, and the machine's own prefetcher is late
#pragma GCC unroll 4
                for (int v = 0; v < N; ++v) __builtin_prefetch(panel + (12 * N + v) * S::W);
            panel += N * S::W;
            at += a_step;
        }
        const T* before = begin == 0 ? init : out;
        const int64_t stride = begin == 0 ? init_stride : out_stride;
#pragma GCC unroll 8
        for (int r = 0; r < M; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < N; ++v) {
                const auto total = before ? S::load(before + r * stride + v * S::W) + sum[r][v] : sum[r][v];
                S::store(out + r * out_stride + v * S::W, total);
            }
    }
}

template <class T, int N>
inline constexpr Tile<T> kTilesOf[kMaxRows] = {tile<T, 1, N>, tile<T, 2, N>, tile<T, 3, N>, tile<T, 4, N>,
                                               tile<T, 5, N>, tile<T, 6, N>, tile<T, 7, N>, tile<T, 8, N>};

template <class T>
inline Tile<T> tile_for(int rows, int vectors) {
    switch (vectors) {
        case 1: return kTilesOf<T, 1>[rows - 1];
        case 2: return kTilesOf<T, 2>[rows - 1];
        case 3: return kTilesOf<T, 3>[rows - 1];
        default: return kTilesOf<T, 4>[rows - 1];
    }
}

// Cuts `rows` into tiles of nearly equal height and calls body(first row, height) for each.
template <class Body>
inline void for_tiles(int64_t rows, int vectors, Body&& body) {
    const int64_t tiles = (rows + rows_of_tile(vectors) - 1) / rows_of_tile(vectors);
    for (int64_t i = 0, first = 0; i < tiles; ++i) {
        const int height = static_cast<int>((rows - first + (tiles - i) - 1) / (tiles - i));
        body(first, height);
        first += height;
    }
}

}  // namespace elman::ELMAN_ISA
