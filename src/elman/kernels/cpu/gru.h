// The gated recurrent unit in torch's form (Cho et al. 2014, with the reset after the product):
//
//     r = sigmoid(U_r x + b_r + W_r h + b'_r)      z = sigmoid(U_z x + b_z + W_z h + b'_z)
//     m = W_n h + b'_n                             n = tanh(U_n x + b_n + r m)
//     h' = n + z (h - n)
//
// Backward, with d for the gradient of h':
//
//     d_n = d (1 - z) (1 - n^2)    d_m = d_n r    d_r = d_n m r (1 - r)    d_z = d (h - n) z (1 - z)
//     d_h = d z  (carried)  +  W^T [d_r, d_z, d_m]  (through the product)
//
// Planes of the gradients: n r z m, so that U's (n r z) and W's (r z m) both lie side by side. Saved: r z n m h'.
#pragma once

#include "activations.h"
#include "cell.h"

namespace elman::ELMAN_ISA {

template <class T>
struct Gru {
    using S = Simd<T>;
    using V = typename S::V;
    static constexpr int W = S::W;
    static constexpr int kGates = 3;
    static constexpr int kSaved = 5;
    static constexpr int kPlanes = 4;
    static constexpr int kGateOfIh[] = {2, 0, 1};
    static constexpr int kGateOfHh[] = {0, 1, 2};
    static constexpr int kFirstHh = 1;
    static constexpr bool kHasC = false;
    static constexpr bool kCarries = true;

    static int blocks_of_panel(int64_t) { return 1; }

    // n's two products must not be added up: the input's is put aside, and the sum starts again from b'_n.
    static void between(T* sums, int64_t stride, int rows, const T* bias, T* aside) {
        for (int r = 0; r < rows; ++r) {
            T* n = sums + r * stride + 2 * W;
            S::store(aside + r * W, S::load(n));
            S::store(n, S::load(bias));
        }
    }

    static void forward(Activation, const T* a, const T* aside, const ForwardRow<T>& row, int64_t u, int n_units,
                        int64_t Hp) {
        const V r = sigmoid<T>(S::load(a)), z = sigmoid<T>(S::load(a + W)), m = S::load(a + 2 * W);
        const V n = tanh<T>(S::fused(r, m, S::load(aside)));
        const V h = S::load(row.h_before + u, n_units);
        const V after = S::fused(z, h - n, n);
        S::store(row.h + u, after, n_units);
        if (!row.saved) return;
        S::store(row.saved + u, r);
        S::store(row.saved + Hp + u, z);
        S::store(row.saved + 2 * Hp + u, n);
        S::store(row.saved + 3 * Hp + u, m);
        S::store(row.saved + 4 * Hp + u, after);
    }

    static void backward(Activation, V d_h, const BackwardRow<T>& row, int64_t u, int n_units, int64_t Hp, V* d_bias) {
        const V one = S::broadcast(T(1));
        const V r = S::load(row.saved + u), z = S::load(row.saved + Hp + u);
        const V n = S::load(row.saved + 2 * Hp + u), m = S::load(row.saved + 3 * Hp + u);
        const V h = S::load(row.h_before + u, n_units);
        const V d_n = d_h * (one - z) * (one - n * n);
        const V d_r = d_n * m * r * (one - r);
        const V d_z = d_h * (h - n) * z * (one - z);
        emit(d_n, 0, row, u, n_units, Hp, d_bias);
        emit(d_r, 1, row, u, n_units, Hp, d_bias);
        emit(d_z, 2, row, u, n_units, Hp, d_bias);
        emit(d_n * r, 3, row, u, n_units, Hp, d_bias);
        S::store(row.carry + u, d_h * z);
    }

    static void emit(V d, int plane, const BackwardRow<T>& row, int64_t u, int n_units, int64_t Hp, V* d_bias) {
        d = first<T>(d, n_units);
        S::store(row.d_gates + plane * Hp + u, d);
        d_bias[plane] += d;
    }
};

}  // namespace elman::ELMAN_ISA
