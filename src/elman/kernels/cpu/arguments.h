// Arguments of a call: descriptions of tensors, checked, as the engine's pointers and sizes.
#pragma once

#include <initializer_list>

#include "engine.h"
#include "tensor.h"

namespace elman {

// A (T, B, features) tensor whose rows are contiguous and lie at any distance; data is null for none.
template <class T>
Rows<T> rows(View t, const char* name, int64_t steps, int64_t B, int64_t features) {
    if (!t) return {};
    check_memory(*t, name);
    check_number(*t, name, number_type<T>);
    if (!has_sizes(*t, {steps, B, features})) {
        const int64_t sizes[] = {steps, B, features};
        throw Wrong(name, text_of(sizes, 3), text_of(t->shape, t->ndim));
    }
    if (steps == 0 || B == 0 || features == 0) return {data_of<T>(*t), 0, 0};
    if (!t->strides) return {data_of<T>(*t), B * features, features};
    if (t->strides[2] != 1 && features > 1) throw Wrong(name, "contiguous in its last dimension", "strided");
    return {data_of<T>(*t), t->strides[0], t->strides[1]};
}

inline void require(std::initializer_list<const void*> always, bool with_c, std::initializer_list<const void*> second, const char* name) {
    for (const void* given : always)
        if (!given) throw Wrong(name, "given", "None");
    for (const void* given : second)
        if (with_c && !given) throw Wrong(name, "given", "None");
}

inline Number number_of_input(View t, const char* name) {
    require({t}, false, {}, name);
    check_memory(*t, name);
    const Number number = number_of(*t);
    if (number != Number::float32 && number != Number::float64) throw Wrong(name, "float32 or float64", text_of(t->dtype));
    return number;
}

template <class T>
Matrices<T> matrices(const Shape& shape, int64_t gates, const View* w) {
    return {dense<const T>(w[0], "weight_ih", {gates * shape.H, shape.I}), dense<const T>(w[1], "weight_hh", {gates * shape.H, shape.H}),
            dense<const T>(w[2], "bias_ih", {gates * shape.H}), dense<const T>(w[3], "bias_hh", {gates * shape.H})};
}

inline Shape shape_of(int kind, int f, View ih, View hh) {
    if (kind < 0 || kind >= kKinds || f < 0 || f > 3) throw Wrong("kind", "a known cell", std::to_string(kind) + ", " + std::to_string(f));
    require({ih, hh}, false, {}, "weights");
    for (View t : {ih, hh})
        if (t->ndim != 2) throw Wrong(t == ih ? "weight_ih" : "weight_hh", "a matrix", text_of(t->shape, t->ndim));
    const Shape shape{static_cast<Kind>(kind), static_cast<Activation>(f), ih->shape[1], hh->shape[1]};
    product({8, shape.H, shape.H}, "weight_hh");
    product({8, shape.H, shape.I}, "weight_ih");
    product({8, shape.I}, "weight_ih");
    return shape;
}

}  // namespace elman
