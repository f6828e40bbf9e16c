// The call of the output layer with its loss on descriptions of tensors: a constructor that checks, and a `run`.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "arguments.h"
#include "isa.h"
#include "workspace.h"

namespace elman {

// The tensors by their places in the tuple. Gradients are made where there are scales.
inline constexpr size_t o_s = 0, o_weight = 1, o_bias = 2, o_target = 3, o_class_weight = 4, o_scale = 5, o_loss = 6, o_d_s = 7,
                        o_d_weight = 8, o_d_bias = 9, o_count = 10;

// What torch raises as an IndexError.
struct OutOfBounds : std::out_of_range {
    explicit OutOfBounds(int64_t target) : std::out_of_range("Target " + std::to_string(target) + " is out of bounds.") {}
};

template <class T>
class OutputRun {
    OutputCall<T> call_;
    std::vector<OutputRow<T>> rows_;  // those whose target is not the ignored one
    T *loss_, *d_s_;
    int64_t N_;

public:
    OutputRun(const View (&tensors)[o_count], int64_t ignored, double smoothing, double z, int threads, Watch* watch) {
        const View s = tensors[o_s], weight = tensors[o_weight];
        require({s, weight, tensors[o_target], tensors[o_loss]}, false, {}, "a tensor of the output layer");
        if (tensors[o_d_s] || tensors[o_d_weight] || tensors[o_d_bias]) require({tensors[o_scale]}, false, {}, "scale");
        for (View t : {s, weight})
            if (t->ndim != 2) throw Wrong(t == s ? "input" : "weight", "a matrix", text_of(t->shape, t->ndim));
        N_ = s->shape[0];
        const int64_t H = weight->shape[1], V = weight->shape[0];
        if (H == 0) throw Wrong("weight", "of one feature or more", text_of(weight->shape, 2));
        for (int64_t size : {N_, V, H}) product({8, size, 512}, "input or weight");
        product({8, N_, H}, "input");
        product({8, V, H}, "weight");
        if (!(smoothing >= 0 && smoothing <= 1)) throw Wrong("label_smoothing", "from 0 to 1", std::to_string(smoothing));
        if (!std::isfinite(z)) throw Wrong("z_loss", "finite", std::to_string(z));
        const Rows<const T> inputs = matrix_rows(tensors[o_s], H, "input");
        const T* scale = dense<const T>(tensors[o_scale], "scale", {N_});
        call_.H = H;
        call_.V = V;
        call_.threads = allowed(threads);
        call_.weight = dense<const T>(weight, "weight", {V, H});
        call_.bias = dense<const T>(tensors[o_bias], "bias", {V});
        call_.class_weight = dense<const T>(tensors[o_class_weight], "class weight", {V});
        call_.smoothing = smoothing;
        call_.z = z;
        call_.gradients = scale != nullptr;
        loss_ = dense<T>(tensors[o_loss], "loss", {N_});
        d_s_ = dense<T>(tensors[o_d_s], "d_input", {N_, H});
        call_.d_weight = dense<T>(tensors[o_d_weight], "d_weight", {V, H});
        call_.d_bias = dense<T>(tensors[o_d_bias], "d_bias", {V});
        call_.watch = watch;
        read_targets(*tensors[o_target], ignored, inputs, scale);
    }

    void run() {
        std::fill_n(loss_, N_, T(0));
        if (d_s_ && static_cast<int64_t>(rows_.size()) < N_) std::fill_n(d_s_, N_ * call_.H, T(0));
        if (rows_.empty()) {
            if (call_.d_weight) std::fill_n(call_.d_weight, call_.V * call_.H, T(0));
            if (call_.d_bias) std::fill_n(call_.d_bias, call_.V, T(0));
            return;
        }
        call_.rows = rows_.data();
        call_.N = static_cast<int64_t>(rows_.size());
        const Scratch scratch(engine<T>().output_work(call_));
        call_.work = scratch.get();
        engine<T>().output(call_);
    }

private:
    // Of a matrix whose rows are contiguous and lie at any distance.
    static Rows<const T> matrix_rows(View t, int64_t columns, const char* name) {
        check_memory(*t, name);
        check_number(*t, name, number_type<T>);
        if (t->shape[1] != columns) throw Wrong(name, "of " + std::to_string(columns) + " columns, as the weight is", text_of(t->shape, 2));
        if (t->shape[0] == 0 || columns == 0) return {data_of<const T>(*t), 0, 0};
        if (!t->strides) return {data_of<const T>(*t), 0, columns};
        if (t->strides[1] != 1 && columns > 1) throw Wrong(name, "contiguous in its last dimension", "strided");
        return {data_of<const T>(*t), 0, t->strides[0]};
    }

    void read_targets(const DlTensor& t, int64_t ignored, const Rows<const T>& inputs, const T* scale) {
        check_memory(t, "target");
        check_number(t, "target", Number::int64);
        if (!has_sizes(t, {N_})) throw Wrong("target", text_of(&N_, 1), text_of(t.shape, t.ndim));
        if (!is_dense(t)) throw Wrong("target", "contiguous", "strided");
        const int64_t* target = data_of<const int64_t>(t);
        rows_.reserve(static_cast<size_t>(N_));
        for (int64_t n = 0; n < N_; ++n) {
            if (target[n] == ignored) continue;
            if (target[n] < 0 || target[n] >= call_.V) throw OutOfBounds(target[n]);
            rows_.push_back({inputs.at(0, n), target[n], scale ? scale[n] : T(0), loss_ + n, d_s_ ? d_s_ + n * call_.H : nullptr});
        }
    }
};

}  // namespace elman
