// The plain recurrent network: h_t = f(U x_t + W h_{t-1} + b).
//
// Backward: d_a = d_h f'(a), where f' is written in terms of h. Saved: h.
#pragma once

#include "activations.h"
#include "cell.h"

namespace elman::ELMAN_ISA {

template <class T>
struct Rnn {
    using S = Simd<T>;
    using V = typename S::V;
    static constexpr int kGates = 1;
    static constexpr int kSaved = 1;
    static constexpr int kPlanes = 1;              // a
    static constexpr int kGateOfIh[] = {0};
    static constexpr int kGateOfHh[] = {0};
    static constexpr int kFirstHh = 0;
    static constexpr bool kHasC = false;
    static constexpr bool kCarries = false;

    // At least two panels where there are two blocks, so that two threads can share the units.
    static int blocks_of_panel(int64_t blocks) {
        return blocks >= 8 ? 4 : blocks >= 2 ? static_cast<int>((blocks + 1) / 2) : 1;
    }

    static void between(T*, int64_t, int, const T*, T*) {}

    static void forward(Activation f, const T* a, const T*, const ForwardRow<T>& row, int64_t u, int n, int64_t) {
        const V h = activate<T>(f, S::load(a));
        S::store(row.h + u, h, n);
        if (row.saved) S::store(row.saved + u, h);
    }

    static void backward(Activation f, V d_h, const BackwardRow<T>& row, int64_t u, int n, int64_t, V* d_bias) {
        const V d = first<T>(d_h * slope<T>(f, S::load(row.saved + u)), n);
        S::store(row.d_gates + u, d);
        d_bias[0] += d;
    }
};

}  // namespace elman::ELMAN_ISA
