// How weights are laid out for `tile`: panels of columns, k-major, the gates of a block of units side by side.
//
// A block is one vector of units. For the forward pass a block carries its G gates next to each other, so that the sums of
// all gates of a unit end up together and the activation can follow at once. Blocks past the last unit are padded with
// zeros. The caller owns all memory.
#pragma once

#include "engine.h"
#include "microkernel.h"

namespace elman::ELMAN_ISA {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
inline int64_t blocks_of(int64_t units) {
    return ceil_div(units, Simd<T>::W);
}

// `units` rounded up to whole vectors.
template <class T>
inline int64_t padded(int64_t units) {
    return blocks_of<T>(units) * Simd<T>::W;
}

template <class T>
struct Panels {
    int64_t blocks = 0;
    int gates = 1;       // vectors of one block
    int per_panel = 1;   // blocks of one panel
    int64_t K = 0;

    int64_t count() const { return ceil_div(blocks, per_panel); }
    int64_t first_block(int64_t p) const { return p * per_panel; }
    int blocks_in(int64_t p) const {
        const int64_t left = blocks - first_block(p);
        return static_cast<int>(left < per_panel ? left : per_panel);
    }
    int vectors(int64_t p) const { return blocks_in(p) * gates; }
    int64_t numbers(int64_t k) const { return blocks * gates * Simd<T>::W * k; }
    int64_t size() const { return numbers(K); }
    int64_t offset(int64_t p) const { return first_block(p) * gates * Simd<T>::W * K; }
};

// Panels over the columns of a matrix that is used as it is: W of the backward pass, U for the gradient of x.
template <class T>
inline Panels<T> column_panels(int64_t columns, int64_t K) {
    const int64_t blocks = blocks_of<T>(columns);
    const int per_panel = blocks >= 2 * kMaxVectors || blocks % kMaxVectors == 0 ? kMaxVectors : blocks > 3 ? 3 : 2;
    return {blocks, 1, per_panel, K};
}

// Panel p of the transpose of `matrix` (G*H rows of K numbers): column v * W + lane of the panel is gate g of unit u.
template <class T>
inline void pack_gates(const Panels<T>& panels, int64_t p, const T* matrix, int64_t H, T* panel) {
    using S = Simd<T>;
    constexpr int W = S::W;
    const int64_t K = panels.K, stride = panels.vectors(p) * W;
    for (int b = 0; b < panels.blocks_in(p); ++b) {
        const int64_t u = (panels.first_block(p) + b) * W;
        const int lanes = static_cast<int>(H - u < W ? H - u : W);
        for (int g = 0; g < panels.gates; ++g) {
            const T* source = matrix + (g * H + u) * K;
            T* out = panel + (b * panels.gates + g) * W;
            int64_t k = 0;
            for (; lanes == W && k + W <= K; k += W) {
                typename S::V block[W];
                for (int lane = 0; lane < W; ++lane) block[lane] = S::load(source + lane * K + k);
                transpose<T>(block);
                for (int i = 0; i < W; ++i) S::store(out + (k + i) * stride, block[i]);
            }
            for (; k < K; k += W) {
                const int depth = static_cast<int>(K - k < W ? K - k : W);
                typename S::V block[W] = {};
                for (int lane = 0; lane < lanes; ++lane) block[lane] = S::load(source + lane * K + k, depth);
                transpose<T>(block);
                for (int i = 0; i < depth; ++i) S::store(out + (k + i) * stride, block[i]);
            }
        }
    }
}

// Panel p over the columns of `matrix` ((gates*H) rows of `columns` numbers). Row k of the panel is plane * Hp + u of the
// gradients of the gates; `gate_of[plane]` names the block of H rows that the plane belongs to.
template <class T>
inline void pack_columns(const Panels<T>& panels, int64_t p, const T* matrix, int64_t columns, int64_t H,
                         const int* gate_of, int planes, T* panel) {
    constexpr int W = Simd<T>::W;
    const int64_t Hp = padded<T>(H), first = panels.first_block(p) * W;
    const int vectors = panels.vectors(p);
    for (int plane = 0; plane < planes; ++plane)
        for (int64_t u = 0; u < Hp; ++u)
            for (int v = 0; v < vectors; ++v, panel += W) {
                const T* source = matrix + (gate_of[plane] * H + u) * columns + first + v * W;
                const int64_t left = columns - first - v * W;
                Simd<T>::store(panel, u < H ? Simd<T>::load(source, static_cast<int>(left < W ? left : W))
                                            : typename Simd<T>::V{});
            }
}

}  // namespace elman::ELMAN_ISA
