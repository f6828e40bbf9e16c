// Descriptions of tensors as DLPack gives them, checked before any memory is read; no Python in here.
//
// A description that is not what the engine needs ends in `Wrong`, which says what should be and what is. Sizes are
// multiplied with checks for overflow: an expanded or empty tensor may have any.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace elman {

// DLPack's structures, in its order.
struct DlDevice {
    int32_t type, id;
};
struct DlType {
    uint8_t code, bits;
    uint16_t lanes;
};
struct DlTensor {
    void* data;
    DlDevice device;
    int32_t ndim;
    DlType dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
};

enum class Number { float32, float64, int64, boolean, other };

inline Number number_of(const DlTensor& t) {
    if (t.dtype.lanes != 1) return Number::other;
    if (t.dtype.code == 2 && t.dtype.bits == 32) return Number::float32;
    if (t.dtype.code == 2 && t.dtype.bits == 64) return Number::float64;
    if (t.dtype.code == 0 && t.dtype.bits == 64) return Number::int64;
    if (t.dtype.code == 6 && t.dtype.bits == 8) return Number::boolean;
    return Number::other;
}

template <class T>
constexpr Number number_type = sizeof(T) == 4 ? Number::float32 : Number::float64;

// An argument that the engine cannot take.
struct Wrong : std::invalid_argument {
    std::string what, should, found;
    Wrong(std::string what, std::string should, std::string found)
        : std::invalid_argument(what + " should be " + should + ", and is " + found), what(std::move(what)),
          should(std::move(should)), found(std::move(found)) {}
};

// Beyond this no tensor fits into a memory, and products of two sizes still fit into 64 bits.
inline constexpr int64_t kLargest = int64_t{1} << 42;

inline int64_t product(std::initializer_list<int64_t> sizes, const char* name) {
    int64_t numbers = 1;
    for (int64_t size : sizes)
        if (size == 0) return 0;
    for (int64_t size : sizes)
        if (size < 0 || __builtin_mul_overflow(numbers, size, &numbers) || numbers > kLargest)
            throw Wrong(name, "of a size that fits into memory", "too large");
    return numbers;
}

inline std::string text_of(const int64_t* sizes, int64_t count) {
    std::string text = "(";
    for (int64_t d = 0; d < count; ++d) text += (d ? ", " : "") + std::to_string(sizes[d]);
    return text + (count == 1 ? ",)" : ")");
}

inline std::string text_of(const DlType& type) {
    static constexpr const char* kCodes[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
    return (type.code < 7 ? std::string(kCodes[type.code]) : "type " + std::to_string(type.code) + " of ") +
           (type.code == 6 ? "" : std::to_string(type.bits));
}

// Whether there is memory behind the description wherever it has numbers: there is none behind wrappers and freed storages.
inline bool has_memory(const DlTensor& t) {
    if (t.data) return true;
    for (int d = 0; d < t.ndim; ++d)
        if (t.shape[d] == 0) return true;
    return false;
}

inline void check_memory(const DlTensor& t, const char* name) {
    if (t.device.type != 1) throw Wrong(name, "on the CPU", "on another device");
    if (!has_memory(t)) throw Wrong(name, "a tensor with memory of its own", "one without: a wrapper, or freed");
}

inline bool has_sizes(const DlTensor& t, std::initializer_list<int64_t> sizes) {
    if (t.ndim != static_cast<int>(sizes.size())) return false;
    for (int d = 0; d < t.ndim; ++d)
        if (t.shape[d] != sizes.begin()[d]) return false;
    return true;
}

inline bool is_dense(const DlTensor& t) {
    int64_t stride = 1;
    bool dense = true;
    for (int d = 0; d < t.ndim; ++d)
        if (t.shape[d] == 0) return true;
    for (int d = t.ndim - 1; d >= 0; --d) {
        dense = dense && (!t.strides || t.shape[d] == 1 || t.strides[d] == stride);
        if (__builtin_mul_overflow(stride, t.shape[d], &stride)) dense = false;
    }
    return dense;
}

template <class T>
T* data_of(const DlTensor& t) {
    return t.data ? reinterpret_cast<T*>(static_cast<char*>(t.data) + t.byte_offset) : nullptr;
}

// An argument, or null for one that is not given.
using View = const DlTensor*;

inline void check_number(const DlTensor& t, const char* name, Number number) {
    if (number_of(t) == number) return;
    const char* should = number == Number::float32   ? "float32, as the input is"
                         : number == Number::float64 ? "float64, as the input is"
                         : number == Number::int64   ? "int64"
                                                     : "bool";
    throw Wrong(name, should, text_of(t.dtype));
}

// A contiguous tensor of exactly these sizes; null for none.
template <class T>
T* dense(View t, const char* name, std::initializer_list<int64_t> sizes) {
    if (!t) return nullptr;
    check_memory(*t, name);
    check_number(*t, name, number_type<T>);
    if (!has_sizes(*t, sizes)) throw Wrong(name, text_of(sizes.begin(), static_cast<int64_t>(sizes.size())), text_of(t->shape, t->ndim));
    if (!is_dense(*t)) throw Wrong(name, "contiguous", "strided");
    return data_of<T>(*t);
}

}  // namespace elman
