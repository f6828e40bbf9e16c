// All kernels for one instruction set. Compiled once for each, with its flags and with ELMAN_ISA naming it.
#include "engine.h"

#include "backward.h"
#include "digest.h"
#include "forward.h"
#include "output_layer.h"

#define ELMAN_CELL_HEADERS
#include "kinds.def"

namespace elman {
namespace ELMAN_ISA {

template <class T, class Result, class Body>
Result by_kind(Kind kind, Body&& body) {
    switch (kind) {
#define ELMAN_CELL(cell, Struct, gates, has_c)                                                          \
    static_assert(Struct<T>::kGates == gates && Struct<T>::kHasC == has_c, #cell " is not as declared"); \
    case Kind::cell: return body.template operator()<Struct>();
#include "kinds.def"
    }
    __builtin_unreachable();
}

template <class T>
int64_t packed_size(const Shape& shape) {
    return by_kind<T, int64_t>(shape.kind, [&]<template <class> class Cell>() { return PackedLayout<Cell, T>(shape).size; });
}

template <class T>
int64_t saved_width(const Shape& shape) {
    return by_kind<T, int64_t>(shape.kind, [&]<template <class> class Cell>() { return Cell<T>::kSaved * padded<T>(shape.H); });
}

template <class T>
void pack_all(const Shape& shape, const Matrices<T>& m, T* packed, int threads) {
    by_kind<T, void>(shape.kind, [&]<template <class> class Cell>() { pack<Cell, T>(shape, m, packed, threads); });
}

template <class T>
int64_t forward_bytes(const ForwardCall<T>& call) {
    return by_kind<T, int64_t>(call.shape.kind, [&]<template <class> class Cell>() { return forward_work<Cell, T>(call); });
}

template <class T>
void forward_all(const ForwardCall<T>& call) {
    by_kind<T, void>(call.shape.kind, [&]<template <class> class Cell>() { forward<Cell, T>(call); });
}

template <class T>
int64_t backward_bytes(const BackwardCall<T>& call) {
    return by_kind<T, int64_t>(call.shape.kind, [&]<template <class> class Cell>() { return backward_work<Cell, T>(call); });
}

template <class T>
void backward_all(const BackwardCall<T>& call) {
    by_kind<T, void>(call.shape.kind, [&]<template <class> class Cell>() { backward<Cell, T>(call); });
}

template <class T>
void activation(Activation f, const T* x, T* y, int64_t n) {
    const FlushDenormals flush;
    constexpr int W = Simd<T>::W;
    for (int64_t i = 0; i < n; i += W) {
        const int left = static_cast<int>(n - i < W ? n - i : W);
        Simd<T>::store(y + i, activate<T>(f, Simd<T>::load(x + i, left)), left);
    }
}

template <class T>
constexpr Engine<T> engine() {
    return {packed_size<T>, saved_width<T>, pack_all<T>, forward_bytes<T>, forward_all<T>, backward_bytes<T>, backward_all<T>,
            activation<T>, output_bytes<T>, output<T>};
}

}  // namespace ELMAN_ISA

#define ELMAN_NAME_OF(isa) #isa
#define ELMAN_NAME(isa) ELMAN_NAME_OF(isa)
#define ELMAN_JOIN_OF(isa) isa##_engines
#define ELMAN_JOIN(isa) ELMAN_JOIN_OF(isa)

const Engines& ELMAN_JOIN(ELMAN_ISA)() {
    static constexpr Engines engines{ELMAN_NAME(ELMAN_ISA), ELMAN_ISA::engine<float>(), ELMAN_ISA::engine<double>(),
                                     ELMAN_ISA::digest};
    return engines;
}

}  // namespace elman
