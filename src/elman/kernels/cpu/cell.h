// The contract of a cell: what forward.h and backward.h ask of it.
//
// A cell is a struct template over the number type with
//
//     kGates        gates, in torch's order; the forward panels hold them side by side
//     kSaved        numbers of a unit that the forward pass keeps for the backward pass, each a plane of Hp numbers; the last
//                   one is h', since the output is the caller's, who may change it
//     kPlanes       gradients of a unit that the backward pass writes, each a plane of Hp numbers
//     kGateOfIh     the gate that each of the first kGates planes belongs to, for U and b_ih
//     kGateOfHh     the same for W and b_hh, from plane kFirstHh on
//     kHasC         a second state
//     kCarries      part of d_h goes to the step before without passing through W
//     between       called after the product with U and before the one with W
//     forward       one vector of units of one row: from the sums of its gates to the new state
//     backward      one vector of units of one row: from d_h to the gradients of the sums, which it also adds to those of
//                   the bias, a vector for each plane
//
// Hp is H rounded up to whole vectors. Vectors from torch's own memory are read and written with n, the number of units
// that are really there; planes are ours and hold whole vectors. Behind the last unit those that are saved hold any numbers,
// NaN among them where the input is infinite, and the gradients zeros: they are factors of products.
#pragma once

#include "engine.h"
#include "simd.h"

namespace elman::ELMAN_ISA {

template <class T>
struct ForwardRow {
    const T *h_before, *c_before;  // (H)
    T *h, *c;                      // (H)
    T* saved;                      // kSaved planes, or null
};

template <class T>
struct BackwardRow {
    const T *h_before;      // (H)
    const T* c_before;      // (H), readable with n
    const T* saved;
    const T* d_y;           // (H) or null
    T* d_gates;             // kPlanes planes
    T *carry, *d_c;         // (Hp): what reaches this step from the later one
    T *d_h_initial, *d_c_initial;  // (Hp): sums, where there are resets
    T *d_h0, *d_c0;         // (H): where the gradients end, before the first step
    bool ends;              // the row's last step: `carry` holds the gradient of the final state
    bool cut;               // the state was put back after this step: what comes from there belongs to the initial state
};

// Zeros behind the last unit.
template <class T>
inline typename Simd<T>::V first(typename Simd<T>::V v, int n) {
    if (n >= Simd<T>::W) return v;
    for (int lane = n; lane < Simd<T>::W; ++lane) v[lane] = T(0);
    return v;
}

}  // namespace elman::ELMAN_ISA
