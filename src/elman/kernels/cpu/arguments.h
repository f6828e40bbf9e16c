// Arguments of a call: tensors from Python, checked, as the engine's pointers and sizes.
#pragma once

#include <initializer_list>
#include <stdexcept>
#include <string>

#include "dlpack.h"
#include "engine.h"

namespace elman {

[[noreturn]] inline void wrong(const char* name, const char* should) {
    throw std::invalid_argument(std::string(name) + " should be " + should);
}

template <class T>
constexpr Number number_type = sizeof(T) == 4 ? Number::float32 : Number::float64;

template <class T>
T* data_of(const DlTensor& t) {
    return reinterpret_cast<T*>(static_cast<char*>(t.data) + t.byte_offset);
}

// A contiguous tensor of exactly these sizes, or null for None.
template <class T>
T* dense(nb::handle object, const char* name, std::initializer_list<int64_t> sizes) {
    if (object.is_none()) return nullptr;
    const DlTensor t = exchange->describe(object, name);
    if (number_of(t) != number_type<T>) wrong(name, "of the same number type as the input");
    if (t.ndim != static_cast<int>(sizes.size())) wrong(name, "of another number of dimensions");
    int64_t stride = 1, numbers = 1;
    for (int d = t.ndim - 1; d >= 0; --d) {
        if (t.shape[d] != sizes.begin()[d]) wrong(name, "of another size");
        if (t.strides && t.shape[d] != 1 && t.strides[d] != stride) stride = -1;
        stride *= t.shape[d];
        numbers *= t.shape[d];
    }
    if (numbers && stride != numbers) wrong(name, "contiguous");
    return data_of<T>(t);
}

// A (T, B, features) tensor whose rows are contiguous and lie at any distance; data is null for None.
template <class T>
Rows<T> rows(nb::handle object, const char* name, int64_t steps, int64_t B, int64_t features) {
    if (object.is_none()) return {};
    const DlTensor t = exchange->describe(object, name);
    if (number_of(t) != number_type<T>) wrong(name, "of the same number type as the input");
    if (t.ndim != 3 || t.shape[0] != steps || t.shape[1] != B || t.shape[2] != features) wrong(name, "of another shape");
    if (!t.strides) return {data_of<T>(t), B * features, features};
    // Without numbers no stride is read, and torch leaves those of an expanded tensor as they are: a sum's gradient has 0.
    if (t.strides[2] != 1 && features > 1 && steps > 0 && B > 0) wrong(name, "contiguous in its last dimension");
    return {data_of<T>(t), t.strides[0], t.strides[1]};
}

inline void require(std::initializer_list<nb::handle> always, bool with_c, std::initializer_list<nb::handle> second, const char* name) {
    for (nb::handle h : always)
        if (h.is_none()) wrong(name, "given");
    for (nb::handle h : second)
        if (with_c && h.is_none()) wrong(name, "given");
}

// Whether all given tensors are on the CPU and of the first one's type, float32 or float64.
inline bool alike(const nb::args& tensors) {
    Number first = Number::other;
    for (nb::handle object : tensors) {
        if (object.is_none()) continue;
        DlTensor t;
        if (!exchange->try_view(object, t) || t.device.type != 1) return false;
        const Number number = number_of(t);
        if (first == Number::other) first = number;
        if (number != first || (number != Number::float32 && number != Number::float64)) return false;
    }
    return true;
}

inline Number number_of_input(nb::handle object, const char* name) {
    const Number number = number_of(exchange->describe(object, name));
    if (number != Number::float32 && number != Number::float64) wrong(name, "float32 or float64");
    return number;
}

template <class T>
Matrices<T> matrices(const Shape& shape, int64_t gates, nb::handle ih, nb::handle hh, nb::handle b_ih, nb::handle b_hh) {
    return {dense<const T>(ih, "weight_ih", {gates * shape.H, shape.I}),
            dense<const T>(hh, "weight_hh", {gates * shape.H, shape.H}),
            dense<const T>(b_ih, "bias_ih", {gates * shape.H}), dense<const T>(b_hh, "bias_hh", {gates * shape.H})};
}

inline Shape shape_of(int kind, int f, nb::handle ih, nb::handle hh) {
    if (kind < 0 || kind >= kKinds || f < 0 || f > 3) wrong("kind", "a known cell");
    const DlTensor u = exchange->describe(ih, "weight_ih"), w = exchange->describe(hh, "weight_hh");
    if (u.ndim != 2 || w.ndim != 2) wrong("weights", "matrices");
    return {static_cast<Kind>(kind), static_cast<Activation>(f), u.shape[1], w.shape[1]};
}

}  // namespace elman
