// The gradient of a weight matrix: one product over many tokens, d_W += (gradients of the gates)^T (input).
//
// It is done for a few hundred tokens at a time, while the gradients are still in the cache, never for a single step.
// Threads share the rows of d_W. Both factors are copied into the order in which `tile` reads them: the gradients by
// tiles of rows, the input by panels of columns, gathered from wherever the rows of the tokens lie.
#pragma once

#include "pack.h"
#include "parallel.h"

namespace elman::ELMAN_ISA {

inline constexpr int64_t kTilesOfABlock = 32;

template <class T>
struct WeightGradient {
    const T* d_gates;         // (tokens, stride); column plane * Hp + u belongs to gate_of[plane], unit u
    int64_t stride;
    int64_t tokens;
    const T* const* rows;     // (tokens) rows of `columns` numbers
    int64_t columns;
    int64_t H;
    int gates;
    const int* gate_of;
    T* out;                   // (gates * H, columns)
    bool add;                 // to what is there, or write over it

    static int64_t work(int64_t tokens) {
        return tokens * (kTilesOfABlock * rows_of_tile(kMaxVectors) + kMaxVectors * Simd<T>::W);
    }

    // work: `work(tokens)` numbers of this thread's own.
    void run(int thread, int threads, T* work) const {
        constexpr int height = rows_of_tile(kMaxVectors);
        const int64_t Hp = padded<T>(H);
        const Share tiles(ceil_div(gates * Hp, height), thread, threads);
        const Panels<T> panels = column_panels<T>(columns, tokens);
        T* left = work;
        T* right = work + tokens * kTilesOfABlock * height;
        for (int64_t t0 = tiles.begin; t0 < tiles.end; t0 += kTilesOfABlock) {
            const int64_t t1 = t0 + kTilesOfABlock < tiles.end ? t0 + kTilesOfABlock : tiles.end;
            pack_left(t0, t1, height, left);
            for (int64_t p = 0; p < panels.count(); ++p) {
                pack_right(panels, p, right);
                for (int64_t t = t0; t < t1; ++t)
                    multiply(t * height, height, left + (t - t0) * tokens * height, panels, p, right);
            }
        }
    }

private:
    // left[tile][token][row of the tile]
    void pack_left(int64_t t0, int64_t t1, int height, T* left) const {
        const int64_t all = gates * padded<T>(H);
        for (int64_t k = 0; k < tokens; ++k)
            for (int64_t t = t0; t < t1; ++t) {
                const T* source = d_gates + k * stride + t * height;
                T* to = left + ((t - t0) * tokens + k) * height;
                const int64_t there = all - t * height;
                if (there >= height)
                    std::memcpy(to, source, height * sizeof(T));
                else
                    for (int r = 0; r < height; ++r) to[r] = r < there ? source[r] : T(0);
            }
    }

    void pack_right(const Panels<T>& panels, int64_t p, T* right) const {
        constexpr int W = Simd<T>::W;
        const int64_t first = panels.first_block(p) * W;
        const int vectors = panels.vectors(p);
        for (int64_t k = 0; k < tokens; ++k)
            for (int v = 0; v < vectors; ++v, right += W) {
                const int64_t n = columns - first - v * W;
                Simd<T>::store(right, Simd<T>::load(rows[k] + first + v * W, static_cast<int>(n < W ? n : W)));
            }
    }

    void multiply(int64_t m, int height, const T* left, const Panels<T>& panels, int64_t p, const T* right) const {
        constexpr int W = Simd<T>::W;
        alignas(64) T sums[kMaxRows * kMaxVectors * W];
        const T* a[kMaxRows];
        for (int r = 0; r < height; ++r) a[r] = left + r;
        const int vectors = panels.vectors(p);
        const int64_t Hp = padded<T>(H), first = panels.first_block(p) * W;
        tile_for<T>(height, vectors)(a, height, right, tokens, nullptr, 0, sums, vectors * W);
        for (int r = 0; r < height; ++r) {
            const int64_t plane = (m + r) / Hp, u = (m + r) % Hp;
            if (plane >= gates || u >= H) continue;
            T* row = out + (gate_of[plane] * H + u) * columns + first;
            for (int v = 0; v < vectors; ++v) {
                const int64_t left_over = columns - first - v * W;
                const int n = static_cast<int>(left_over < W ? left_over : W);
                auto sum = Simd<T>::load(sums + (r * vectors + v) * W);
                if (add) sum += Simd<T>::load(row + v * W, n);
                Simd<T>::store(row + v * W, sum, n);
            }
        }
    }
};

}  // namespace elman::ELMAN_ISA
