// The long short-term memory in torch's form (Hochreiter and Schmidhuber 1997, with Gers' forget gate):
//
//     i, f, o = sigmoid(U x + b + W h + b')     g = tanh(U_g x + b_g + W_g h + b'_g)
//     c' = f c + i g                            h' = o tanh(c')
//
// Backward, with d for the gradient of h' and e for the one of c' that comes from the step after:
//
//     e += d o (1 - tanh^2 c')      d_o = d tanh(c') o (1 - o)
//     d_i = e g i (1 - i)           d_f = e c f (1 - f)           d_g = e i (1 - g^2)          e for c: e f
//
// Planes of the gradients: i f g o. Saved: i f g o c' h'.
#pragma once

#include "activations.h"
#include "cell.h"

namespace elman::ELMAN_ISA {

template <class T>
struct Lstm {
    using S = Simd<T>;
    using V = typename S::V;
    static constexpr int W = S::W;
    static constexpr int kGates = 4;
    static constexpr int kSaved = 6;
    static constexpr int kPlanes = 4;
    static constexpr int kGateOfIh[] = {0, 1, 2, 3};
    static constexpr int kGateOfHh[] = {0, 1, 2, 3};
    static constexpr int kFirstHh = 0;
    static constexpr bool kHasC = true;
    static constexpr bool kCarries = false;

    static int blocks_of_panel(int64_t) { return 1; }

    static void between(T*, int64_t, int, const T*, T*) {}

    static void forward(Activation, const T* a, const T*, const ForwardRow<T>& row, int64_t u, int n, int64_t Hp) {
        const V i = sigmoid<T>(S::load(a)), f = sigmoid<T>(S::load(a + W));
        const V g = tanh<T>(S::load(a + 2 * W)), o = sigmoid<T>(S::load(a + 3 * W));
        const V c = S::fused(f, S::load(row.c_before + u, n), i * g);
        const V h = o * tanh<T>(c);
        S::store(row.h + u, h, n);
        if (!row.saved) {
            S::store(row.c + u, c, n);
            return;
        }
        S::store(row.saved + u, i);
        S::store(row.saved + Hp + u, f);
        S::store(row.saved + 2 * Hp + u, g);
        S::store(row.saved + 3 * Hp + u, o);
        S::store(row.saved + 4 * Hp + u, c);
        S::store(row.saved + 5 * Hp + u, h);
    }

    static void backward(Activation, V d_h, const BackwardRow<T>& row, int64_t u, int n, int64_t Hp, V* d_bias) {
        const V one = S::broadcast(T(1));
        const V i = S::load(row.saved + u), f = S::load(row.saved + Hp + u);
        const V g = S::load(row.saved + 2 * Hp + u), o = S::load(row.saved + 3 * Hp + u);
        const V squashed = tanh<T>(S::load(row.saved + 4 * Hp + u));
        const V d_c = S::fused(d_h * o, one - squashed * squashed, S::load(row.d_c + u));
        emit(d_c * g * i * (one - i), 0, row, u, n, Hp, d_bias);
        emit(d_c * S::load(row.c_before + u, n) * f * (one - f), 1, row, u, n, Hp, d_bias);
        emit(d_c * i * (one - g * g), 2, row, u, n, Hp, d_bias);
        emit(d_h * squashed * o * (one - o), 3, row, u, n, Hp, d_bias);
        S::store(row.d_c + u, d_c * f);
    }

    static void emit(V d, int plane, const BackwardRow<T>& row, int64_t u, int n, int64_t Hp, V* d_bias) {
        d = first<T>(d, n);
        S::store(row.d_gates + plane * Hp + u, d);
        d_bias[plane] += d;
    }
};

}  // namespace elman::ELMAN_ISA
