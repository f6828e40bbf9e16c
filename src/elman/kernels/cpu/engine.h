// What the engine is asked to do, in plain pointers and sizes; the boundary between bindings.cpp and the kernels.
//
// Letters: T steps, B rows (sequences), I input features, H hidden units. All memory belongs to the caller. A matrix row
// is contiguous; the distance between rows is given where it can differ. Nothing here depends on an instruction set.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace elman {

// Whether a long call should end early, at a signal for example. The calling thread asks now and then, by `look`, which may
// set `stopped`; from then on no thread computes, and the results are whatever numbers.
struct Watch {
    void (*look)(Watch&) = nullptr;
    std::atomic<bool> stopped{false};
    int64_t spent = 0;  // multiply-adds since the last look
    int64_t last = 0;   // of `look`'s own
};

// What a piece of memory held; see digest.h.
struct Digest {
    uint64_t lanes[32];
    bool operator==(const Digest&) const = default;
};

enum class Activation { tanh, relu, sigmoid, identity };
enum class Kind {
#define ELMAN_CELL(cell, Struct, gates, has_c) cell,
#include "kinds.def"
};

struct Declared {
    int64_t gates;
    bool has_c;
};
inline constexpr Declared kDeclared[] = {
#define ELMAN_CELL(cell, Struct, gates, has_c) {gates, has_c},
#include "kinds.def"
};
inline constexpr int kKinds = sizeof kDeclared / sizeof *kDeclared;

inline int64_t gates_of(Kind kind) { return kDeclared[static_cast<int>(kind)].gates; }
inline bool has_c(Kind kind) { return kDeclared[static_cast<int>(kind)].has_c; }

// Which row is where at which step. Rows are ranked by length, longest first, so that the rows that still run at a
// step are the first `active(s)` ranks. Steps count in the order in which they are run; `time` turns them into places
// in the input. A token is one step of one row; its place is numbered step by step and row by row, there or not.
struct Sequence {
    int64_t T = 0, B = 0;
    const int64_t* order = nullptr;    // (B) the row of each rank; null: rank = row
    const int64_t* length = nullptr;   // (B) the length of each rank; null: all T
    const int64_t* of_row = nullptr;   // (B) the length of each row, where there is `length`
    const int64_t* offset = nullptr;   // (T + 1) the number of tokens before step s; null: s * B
    const uint8_t* resets = nullptr;   // (T, B) 1 where a step begins a new sequence; null: none
    bool reverse = false;

    int64_t row(int64_t rank) const { return order ? order[rank] : rank; }
    int64_t steps(int64_t rank) const { return length ? length[rank] : T; }
    int64_t time(int64_t s, int64_t rank) const { return reverse ? steps(rank) - 1 - s : s; }
    int64_t before(int64_t s) const { return offset ? offset[s] : s * B; }
    int64_t place(int64_t s, int64_t rank) const { return s * B + row(rank); }
    int64_t active(int64_t s) const { return s < 0 ? B : s >= T ? 0 : before(s + 1) - before(s); }
    // Whether the state is put back to the initial one before step s. In reverse the boundary lies on the other side, and
    // what is marked behind the end of a row is no boundary.
    bool fresh(int64_t s, int64_t rank) const {
        if (!resets) return false;
        const int64_t t = time(s, rank) + (reverse ? 1 : 0);
        return t < steps(rank) && resets[t * B + row(rank)];
    }
};

template <class T>
struct Rows {
    T* data = nullptr;
    int64_t step = 0, row = 0;  // distances, in numbers, between steps and between rows of the batch

    T* at(int64_t t, int64_t b) const { return data + t * step + b * row; }
};

struct Shape {
    Kind kind = Kind::rnn;
    Activation f = Activation::tanh;
    int64_t I = 0, H = 0;
};

// The weights as torch has them: (G*H, I), (G*H, H), (G*H) or null; contiguous.
template <class T>
struct Matrices {
    const T *ih = nullptr, *hh = nullptr, *b_ih = nullptr, *b_hh = nullptr;
};

template <class T>
struct ForwardCall {
    Shape shape;
    Sequence seq;
    int threads = 1;
    const T* packed = nullptr;             // from Engine::pack
    Rows<const T> x;                       // (T, B, I)
    Rows<T> y;                             // (T, B, H), zeros where no token is
    const T *h0 = nullptr, *c0 = nullptr;  // (B, H), never null where the cell has the state
    const T *h_initial = nullptr, *c_initial = nullptr;  // (H) what a reset puts back; null where there are no resets
    T *hn = nullptr, *cn = nullptr;        // (B, H); may be h0 and c0 themselves
    T* saved = nullptr;                    // (T, B, saved_width) by place, for the backward pass; null in inference
    void* work = nullptr;                  // forward_work bytes
    Watch* watch = nullptr;                // null: a call that is not to be ended
};

template <class T>
struct BackwardCall {
    Shape shape;
    Sequence seq;
    int threads = 1;
    Matrices<T> weights;
    Rows<const T> x;
    const T *h0 = nullptr, *c0 = nullptr, *h_initial = nullptr, *c_initial = nullptr;
    const T* saved = nullptr;
    Rows<const T> d_y;                     // data null: zeros
    const T *d_hn = nullptr, *d_cn = nullptr;  // (B, H) or null
    Rows<T> d_x;                           // data null: not wanted; zeros where no token is
    T *d_ih = nullptr, *d_hh = nullptr;    // null: not wanted; written, not added to
    T *d_b_ih = nullptr, *d_b_hh = nullptr;
    T *d_h0 = nullptr, *d_c0 = nullptr;    // (B, H)
    T *d_h_initial = nullptr, *d_c_initial = nullptr;  // (H); null where there are no resets
    void* work = nullptr;                  // backward_work bytes
    Watch* watch = nullptr;
};

// A row of the output layer whose target counts.
template <class T>
struct OutputRow {
    const T* s = nullptr;   // (H)
    int64_t target = 0;     // in [0, V)
    T scale = 0;            // of this row's loss in the gradients
    T* loss = nullptr;
    T* d_s = nullptr;       // (H); null: not wanted
};

// Logits weight s + bias, and the cross-entropy of their softmax for each row:
//
//     loss = -(1 - smoothing) w_target log p_target - smoothing / V * sum over v of w_v log p_v + z log(sum of e^logit)^2
template <class T>
struct OutputCall {
    int64_t N = 0, H = 0, V = 0;
    int threads = 1;
    const OutputRow<T>* rows = nullptr;          // (N)
    const T *weight = nullptr, *bias = nullptr;  // (V, H), and (V) or null
    const T* class_weight = nullptr;             // (V) w; null: ones
    double smoothing = 0, z = 0;
    bool gradients = false;                      // whether any is wanted
    T *d_weight = nullptr, *d_bias = nullptr;    // null: not wanted; written, not added to
    void* work = nullptr;                        // output_work bytes
    Watch* watch = nullptr;

    bool wants_d_s() const { return gradients && N > 0 && rows[0].d_s; }
};

// One number type of one instruction set.
template <class T>
struct Engine {
    int64_t (*packed_size)(const Shape&);   // numbers
    int64_t (*saved_width)(const Shape&);   // numbers for each token
    void (*pack)(const Shape&, const Matrices<T>&, T* packed, int threads);
    int64_t (*forward_work)(const ForwardCall<T>&);    // bytes
    void (*forward)(const ForwardCall<T>&);
    int64_t (*backward_work)(const BackwardCall<T>&);  // bytes
    void (*backward)(const BackwardCall<T>&);
    void (*activation)(Activation, const T* x, T* y, int64_t n);
    int64_t (*output_work)(const OutputCall<T>&);      // bytes
    void (*output)(const OutputCall<T>&);
};

struct Engines {
    const char* name;
    Engine<float> float32;
    Engine<double> float64;
    void (*digest)(const void* data, int64_t bytes, Digest& out);
};

const Engines& portable_engines();
const Engines& avx2_engines();
const Engines& avx512_engines();

}  // namespace elman
