// The gradient of a weight matrix: one product over many tokens, d_W += (gradients of the gates)^T (input).
//
// It is done for a few hundred tokens at a time, while the gradients are still in the cache, never for a single step.
// Threads share the rows of d_W. Both factors are copied into the order in which `tile` reads them: the input by panels of
// columns, once for all threads, gathered from wherever the rows of the tokens lie; the gradients by tiles of rows, unless
// the input is so narrow that the copy would cost more than it saves.
#pragma once

#include "pack.h"
#include "threading.h"

namespace elman::ELMAN_ISA {

inline constexpr int64_t kRowsOfABlock = 32 * rows_of_tile(kMaxVectors);
inline constexpr int64_t kPanelsWithoutCopy = 2;  // of the input: so few do not repay a copy of the gradients

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
    Watch* watch;

    static int64_t right_size(int64_t columns, int64_t tokens) { return column_panels<T>(columns, tokens).size(); }
    static int64_t left_size(int64_t tokens) { return tokens * kRowsOfABlock; }

    // This thread's share of the input, into `right`: right_size numbers for all threads together.
    void pack(int thread, int threads, T* right) const {
        const Panels<T> panels = column_panels<T>(columns, tokens);
        const Share mine(panels.count(), thread, threads);
        for (int64_t p = mine.begin; p < mine.end; ++p) pack_right(panels, p, right + panels.offset(p));
    }

    // This thread's share of the product, when all have packed; left: left_size numbers of its own.
    void run(int thread, int threads, const T* right, T* left, bool ticks) const {
        const Panels<T> panels = column_panels<T>(columns, tokens);
        const Share rows_of_thread(gates * padded<T>(H), thread, threads);
        const bool copy = panels.count() > kPanelsWithoutCopy;
        const int64_t at_once = copy ? kRowsOfABlock : rows_of_thread.end - rows_of_thread.begin;
        for (int64_t m0 = rows_of_thread.begin; m0 < rows_of_thread.end && !is_stopped(watch); m0 += at_once) {
            const int64_t n = m0 + at_once < rows_of_thread.end ? at_once : rows_of_thread.end - m0;
            if (copy)
                for_tiles(n, kMaxVectors, [&](int64_t first, int height) {
                    pack_left(m0 + first, height, left + first * tokens);
                });
            for (int64_t p = 0; p < panels.count() && !is_stopped(watch); ++p) {
                for_tiles(n, copy ? kMaxVectors : panels.vectors(p), [&](int64_t first, int height) {
                    const T* from = copy ? left + first * tokens : d_gates + m0 + first;
                    multiply(m0 + first, height, from, copy ? height : stride, panels, p, right + panels.offset(p));
                });
                if (ticks) tick(watch, n * tokens * panels.vectors(p) * Simd<T>::W);
            }
        }
    }

private:
    // left[token][row of the tile]
    void pack_left(int64_t m, int height, T* left) const {
        const T* source = d_gates + m;
        constexpr int usual = rows_of_tile(kMaxVectors);
        if (height == usual) {
            for (int64_t k = 0; k < tokens; ++k, source += stride, left += usual) std::memcpy(left, source, usual * sizeof(T));
            return;
        }
        for (int64_t k = 0; k < tokens; ++k, source += stride)
            for (int r = 0; r < height; ++r) *left++ = source[r];
    }

    void pack_right(const Panels<T>& panels, int64_t p, T* right) const {
        constexpr int W = Simd<T>::W;
        const int64_t first = panels.first_block(p) * W;
        const int vectors = panels.vectors(p);
        constexpr int64_t kAhead = 8;
        for (int64_t k = 0; k < tokens; ++k) {
            if (k + kAhead < tokens)
                for (int v = 0; v < vectors; ++v) __builtin_prefetch(rows[k + kAhead] + first + v * W);
            for (int v = 0; v < vectors; ++v, right += W) {
                const int64_t n = columns - first - v * W;
                Simd<T>::store(right, Simd<T>::load(rows[k] + first + v * W, static_cast<int>(n < W ? n : W)));
            }
        }
    }

    // left: the rows from m on at the first token; `step` numbers further on, those at the next.
    void multiply(int64_t m, int height, const T* left, int64_t step, const Panels<T>& panels, int64_t p,
                  const T* right) const {
        constexpr int W = Simd<T>::W;
        alignas(64) T sums[kMaxRows * kMaxVectors * W];
        const T* a[kMaxRows];
        for (int r = 0; r < height; ++r) a[r] = left + r;
        const int vectors = panels.vectors(p);
        const int64_t Hp = padded<T>(H), first = panels.first_block(p) * W;
        for (int r = 0; r < height; ++r) {  // the result lies far away: asked for now, it is there after the product
            const int64_t plane = (m + r) / Hp, u = (m + r) % Hp;
            if (plane >= gates || u >= H) continue;
            const T* row = out + (gate_of[plane] * H + u) * columns + first;
            for (int v = 0; v < vectors; ++v) __builtin_prefetch(row + v * W, 1);
        }
        tile_for<T>(height, vectors)(a, step, right, tokens, nullptr, 0, sums, vectors * W);
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
