// The calls of the engine on descriptions of tensors: a constructor that checks, and a `run` with scratch memory.
//
// Whoever calls these has the GIL for the first and not for the second. Nothing here knows Python.
#pragma once

#include "packed.h"
#include "ragged.h"

namespace elman {

// The tensors of a call, by their places in the tuple: `Call` of call.py.
inline constexpr size_t c_x = 0, c_h = 1, c_c = 2, c_ih = 3, c_hh = 4, c_b_ih = 5, c_b_hh = 6, c_h_initial = 7, c_c_initial = 8,
                        c_lengths = 9, c_resets = 10, c_count = 11;

// Gradients that are given, and those that are made: the first nine fields of a call, in their order.
inline constexpr size_t g_y = 0, g_hn = 1, g_cn = 2, g_count = 3;
inline constexpr size_t kMade = c_c_initial + 1;

// The weights of a call.
struct WeightViews {
    View at[4];
    explicit WeightViews(const View* call) : at{call[c_ih], call[c_hh], call[c_b_ih], call[c_b_hh]} {}
};

// What both passes read.
template <class T, class Run>
void read_past(Run& run, const View* call, Ranks& ranks, bool reverse, int threads) {
    require({call[c_x]}, false, {}, "input");
    const DlTensor& x = *call[c_x];
    check_memory(x, "input");
    if (x.ndim != 3) throw Wrong("input", "of three dimensions", text_of(x.shape, x.ndim));
    const int64_t steps = x.shape[0], B = x.shape[1], H = run.shape.H;
    for (int64_t width : {int64_t{1}, 8 * H, run.shape.I}) product({steps, B, width}, "input");
    for (int64_t size : {steps, B}) product({8, size, H + 1}, "input");
    run.seq = ranks.sequence(steps, B, call[c_lengths], call[c_resets], reverse);
    run.threads = allowed(threads);
    run.x = rows<const T>(call[c_x], "input", steps, B, run.shape.I);
    run.h0 = dense<const T>(call[c_h], "h_0", {B, H});
    run.c0 = dense<const T>(call[c_c], "c_0", {B, H});
    run.h_initial = dense<const T>(call[c_h_initial], "initial h", {H});
    run.c_initial = dense<const T>(call[c_c_initial], "initial c", {H});
    if (H == 0 || B == 0) run.seq.T = 0;  // there is nothing to compute, for however many steps
}

template <class T>
class ForwardRun {
    const Packed* kept_;
    Ranks ranks_;
    Matrices<T> weights_;
    ForwardCall<T> call_;

public:
    // results: y, h_n, c_n, saved.
    ForwardRun(const Packed* kept, const Shape& shape, const View* given, bool reverse, int threads, const View (&results)[4],
               Watch* watch)
        : kept_(kept) {
        const bool with_c = has_c(shape.kind);
        if (kept && kept->number != number_type<T>) throw Wrong("packed weights", "of the input's type", "of another");
        call_.shape = shape;
        call_.watch = watch;
        read_past<T>(call_, given, ranks_, reverse, threads);
        const int64_t steps = given[c_x]->shape[0], B = call_.seq.B, H = shape.H;
        call_.y = rows<T>(results[0], "output", steps, B, H);
        call_.hn = dense<T>(results[1], "h_n", {B, H});
        call_.cn = dense<T>(results[2], "c_n", {B, H});
        call_.saved = dense<T>(results[3], "saved", {steps * B, engine<T>().saved_width(shape)});
        require({given[c_h], results[0], results[1]}, with_c, {given[c_c], results[2]}, "states");
        if (given[c_resets]) require({given[c_h_initial]}, with_c, {given[c_c_initial]}, "initial states");
        if (!kept) weights_ = matrices<T>(shape, gates_of(shape.kind), WeightViews(given).at);
    }

    void run() {
        const int64_t work = (engine<T>().forward_work(call_) + 63) / 64 * 64;
        const int64_t of_packed = kept_ ? 0 : engine<T>().packed_size(call_.shape) * static_cast<int64_t>(sizeof(T));
        const Scratch scratch(work + of_packed);
        call_.work = scratch.get();
        if (kept_) {
            call_.packed = kept_->as<T>();
        } else {
            T* packed = reinterpret_cast<T*>(static_cast<char*>(scratch.get()) + work);
            engine<T>().pack(call_.shape, weights_, packed, call_.threads);
            call_.packed = packed;
        }
        engine<T>().forward(call_);
    }
};

template <class T>
class StepRun {
    ForwardCall<T> call_;

public:
    // tensors: x, h, c, h_out, c_out.
    StepRun(const Packed& packed, const View (&tensors)[5], int threads) {
        const auto& [x, h, c, h_out, c_out] = tensors;
        require({x, h, h_out}, has_c(packed.shape.kind), {c, c_out}, "input and states");
        if (x->ndim != 2) throw Wrong("input", "of two dimensions", text_of(x->shape, x->ndim));
        const int64_t B = x->shape[0], H = packed.shape.H;
        for (int64_t width : {8 * (H + 1), packed.shape.I}) product({B, width}, "input");
        call_.shape = packed.shape;
        call_.seq.T = H == 0 ? 0 : 1;
        call_.seq.B = B;
        call_.threads = allowed(threads);
        call_.packed = packed.as<T>();
        call_.x = {dense<const T>(x, "input", {B, packed.shape.I}), 0, packed.shape.I};
        call_.h0 = dense<const T>(h, "h", {B, H});
        call_.c0 = dense<const T>(c, "c", {B, H});
        call_.hn = dense<T>(h_out, "h_out", {B, H});
        call_.cn = dense<T>(c_out, "c_out", {B, H});
    }

    void run() {
        const int64_t work = (engine<T>().forward_work(call_) + 63) / 64 * 64, B = call_.seq.B, H = call_.shape.H;
        const bool in_place = call_.hn == call_.h0;  // the old state is still being read while the new one is written
        const Scratch scratch(work + (in_place ? B * H * static_cast<int64_t>(sizeof(T)) : 0));
        call_.y = {in_place ? reinterpret_cast<T*>(static_cast<char*>(scratch.get()) + work) : call_.hn, 0, H};
        call_.work = scratch.get();
        engine<T>().forward(call_);
    }
};

template <class T>
class BackwardRun {
    Ranks ranks_;
    BackwardCall<T> call_;

public:
    BackwardRun(const Shape& shape, const View* past, bool reverse, int threads, View saved, const View* given, const View* made,
                Watch* watch) {
        const bool with_c = has_c(shape.kind);
        call_.shape = shape;
        call_.watch = watch;
        read_past<T>(call_, past, ranks_, reverse, threads);
        const int64_t steps = past[c_x]->shape[0], B = call_.seq.B, I = shape.I, H = shape.H, G = gates_of(shape.kind);
        call_.weights = matrices<T>(shape, G, WeightViews(past).at);
        call_.saved = dense<const T>(saved, "saved", {steps * B, engine<T>().saved_width(shape)});
        call_.d_y = rows<const T>(given[g_y], "gradient of the output", steps, B, H);
        call_.d_hn = dense<const T>(given[g_hn], "gradient of h_n", {B, H});
        call_.d_cn = dense<const T>(given[g_cn], "gradient of c_n", {B, H});
        call_.d_x = rows<T>(made[c_x], "d_input", steps, B, I);
        if (H == 0 && made[c_x]) std::fill_n(dense<T>(made[c_x], "d_input", {steps, B, I}), steps * B * I, T(0));
        call_.d_h0 = dense<T>(made[c_h], "d_h_0", {B, H});
        call_.d_c0 = dense<T>(made[c_c], "d_c_0", {B, H});
        call_.d_ih = dense<T>(made[c_ih], "d_weight_ih", {G * H, I});
        call_.d_hh = dense<T>(made[c_hh], "d_weight_hh", {G * H, H});
        call_.d_b_ih = dense<T>(made[c_b_ih], "d_bias_ih", {G * H});
        call_.d_b_hh = dense<T>(made[c_b_hh], "d_bias_hh", {G * H});
        call_.d_h_initial = dense<T>(made[c_h_initial], "d initial h", {H});
        call_.d_c_initial = dense<T>(made[c_c_initial], "d initial c", {H});
        require({past[c_h], saved, made[c_h]}, with_c, {past[c_c], made[c_c]}, "states");
        if (past[c_resets])
            require({past[c_h_initial], made[c_h_initial]}, with_c, {past[c_c_initial], made[c_c_initial]}, "initial states");
    }

    void run() {
        const Scratch scratch(engine<T>().backward_work(call_));
        call_.work = scratch.get();
        engine<T>().backward(call_);
    }
};

}  // namespace elman
