// The packed weights of a layer and direction, and how to see that the weights are still those.
#pragma once

#include <cstring>

#include "arguments.h"
#include "isa.h"
#include "workspace.h"

namespace elman {

// A few of the numbers of a tensor and where they lay, to notice later that it has changed.
class Sample {
    static constexpr int64_t kNumbers = 16;
    const void* data_ = nullptr;
    bool known_ = true;
    double values_[kNumbers] = {};

    template <class T>
    static double at(const T* data, int64_t count, int64_t i) {
        return static_cast<double>(data[(count - 1) * i / (kNumbers - 1)]);
    }

public:
    static Sample of(nb::handle object) {
        Sample sample;
        if (object.is_none()) return sample;
        const DlTensor t = exchange->describe(object, "weight");
        int64_t count = 1;
        for (int d = t.ndim - 1; d >= 0; --d) {
            sample.known_ = sample.known_ && (!t.strides || t.shape[d] == 1 || t.strides[d] == count);
            count *= t.shape[d];
        }
        sample.data_ = data_of<char>(t);
        if (count == 0 || !sample.known_) return sample;
        for (int64_t i = 0; i < kNumbers; ++i)
            sample.values_[i] = t.dtype.bits == 32 ? at(data_of<const float>(t), count, i) : at(data_of<const double>(t), count, i);
        return sample;
    }
    bool operator==(const Sample& other) const {
        return known_ && other.known_ && data_ == other.data_ && std::memcmp(values_, other.values_, sizeof values_) == 0;
    }
};

// The weights of one layer and direction in the order in which the forward pass reads them.
struct Packed {
    Shape shape;
    Number number;
    Memory memory;
    Sample samples[4] = {};

    bool matches(nb::handle ih, nb::handle hh, nb::handle b_ih, nb::handle b_hh) const {
        return Sample::of(ih) == samples[0] && Sample::of(hh) == samples[1] && Sample::of(b_ih) == samples[2] &&
               Sample::of(b_hh) == samples[3];
    }

    template <class T>
    const T* as() const {
        return static_cast<const T*>(memory.get());
    }
};

template <class T>
void pack_into(Packed& packed, nb::handle ih, nb::handle hh, nb::handle b_ih, nb::handle b_hh, int threads) {
    const auto m = matrices<T>(packed.shape, gates_of(packed.shape.kind), ih, hh, b_ih, b_hh);
    packed.memory = allocate(engine<T>().packed_size(packed.shape) * sizeof(T));
    nb::gil_scoped_release release;
    engine<T>().pack(packed.shape, m, static_cast<T*>(packed.memory.get()), allowed(threads));
}

inline Packed pack(int kind, int f, nb::handle ih, nb::handle hh, nb::handle b_ih, nb::handle b_hh, int threads) {
    Packed packed{shape_of(kind, f, ih, hh), number_of_input(ih, "weight_ih"), nullptr};
    const nb::handle all[] = {ih, hh, b_ih, b_hh};
    for (int i = 0; i < 4; ++i) packed.samples[i] = Sample::of(all[i]);
    if (packed.number == Number::float32)
        pack_into<float>(packed, ih, hh, b_ih, b_hh, threads);
    else
        pack_into<double>(packed, ih, hh, b_ih, b_hh, threads);
    return packed;
}

}  // namespace elman
