// The packed weights of a layer and direction, and how to see that the weights are still those.
#pragma once

#include <cstring>
#include <vector>

#include "arguments.h"
#include "isa.h"
#include "workspace.h"

namespace elman {

// Where a tensor lay and what it held, all of it, to notice later that it has changed. A change of one number is seen with
// certainty, any other with a probability of all but 2^-64 (see digest.h).
class Fingerprint {
    static constexpr int64_t kChunk = 1 << 16;  // bytes that one thread reads at a time
    bool given_ = false, known_ = false;
    const char* data_ = nullptr;
    DlType type_{};
    int64_t sizes_[2] = {}, bytes_ = 0;
    std::vector<Digest> digests_;

    Digest digest(int64_t chunk) const {
        const int64_t at = chunk * kChunk, left = bytes_ - at;
        Digest d;
        engines->digest(data_ + at, left < kChunk ? left : kChunk, d);
        return d;
    }
    bool lies_at(View t) const {
        if (!t) return !given_;
        return given_ && known_ && data_of<const char>(*t) == data_ && std::memcmp(&t->dtype, &type_, sizeof type_) == 0 &&
               t->device.type == 1 && (t->ndim == 1 ? has_sizes(*t, {sizes_[0]}) : has_sizes(*t, {sizes_[0], sizes_[1]})) &&
               is_dense(*t);
    }

public:
    Fingerprint() = default;

    // Of a tensor that was checked.
    Fingerprint(View t, int threads) {
        if (!t) return;
        given_ = true;
        known_ = is_dense(*t) && t->device.type == 1 && t->ndim <= 2 && has_memory(*t);
        if (!known_) return;
        data_ = data_of<const char>(*t);
        type_ = t->dtype;
        for (int d = 0; d < t->ndim; ++d) sizes_[d] = t->shape[d];
        bytes_ = product({t->shape[0], t->ndim > 1 ? t->shape[1] : 1, t->dtype.bits / 8}, "weight");
        digests_.resize((bytes_ + kChunk - 1) / kChunk);
        const int64_t count = static_cast<int64_t>(digests_.size());
#pragma omp parallel for num_threads(threads) if (count > 8 && threads > 1) schedule(static)
        for (int64_t i = 0; i < count; ++i) digests_[i] = digest(i);
    }

    // Whether it is the same memory.
    bool same_place(View t) const { return lies_at(t); }

    // Whether the memory holds the same numbers; where it is the same.
    bool same_numbers(int threads) const {
        const int64_t count = static_cast<int64_t>(digests_.size());
        int changed = 0;
#pragma omp parallel for num_threads(threads) if (count > 8 && threads > 1) schedule(static) reduction(| : changed)
        for (int64_t i = 0; i < count; ++i) changed |= !(digest(i) == digests_[i]);
        return !changed;
    }
};

// The weights of one layer and direction in the order in which the forward pass reads them.
struct Packed {
    Shape shape;
    Number number;
    Memory memory;
    Fingerprint prints[4];

    // Whether these are the tensors that were packed, with the numbers that they had; the numbers are not looked at where the
    // caller trusts them.
    bool matches(const View (&weights)[4], bool trusted, int threads) const {
        for (int i = 0; i < 4; ++i)
            if (!prints[i].same_place(weights[i])) return false;
        for (int i = 0; i < 4 && !trusted; ++i)
            if (!prints[i].same_numbers(threads)) return false;
        return true;
    }

    template <class T>
    const T* as() const {
        return static_cast<const T*>(memory.get());
    }
};

// A description of weights, checked; `run` packs them.
class Packing {
    Packed packed_;
    Matrices<float> single_;
    Matrices<double> double_;
    View weights_[4];
    int threads_;

public:
    Packing(int kind, int f, const View (&weights)[4], int threads)
        : packed_{shape_of(kind, f, weights[0], weights[1]), number_of_input(weights[0], "weight_ih"), nullptr, {}},
          weights_{weights[0], weights[1], weights[2], weights[3]}, threads_(allowed(threads)) {
        const int64_t gates = gates_of(packed_.shape.kind);
        if (packed_.number == Number::float32)
            single_ = matrices<float>(packed_.shape, gates, weights);
        else
            double_ = matrices<double>(packed_.shape, gates, weights);
    }
    Packed run() {
        // First the fingerprint: what changes meanwhile is seen at the next call.
        for (int i = 0; i < 4; ++i) packed_.prints[i] = Fingerprint(weights_[i], threads_);
        if (packed_.number == Number::float32)
            pack_into(single_);
        else
            pack_into(double_);
        return std::move(packed_);
    }

private:
    template <class T>
    void pack_into(const Matrices<T>& m) {
        packed_.memory = allocate(engine<T>().packed_size(packed_.shape) * static_cast<int64_t>(sizeof(T)));
        engine<T>().pack(packed_.shape, m, static_cast<T*>(packed_.memory.get()), threads_);
    }
};

}  // namespace elman
