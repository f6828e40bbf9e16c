// Everything that touches Python: checks tensors, hands plain pointers to the engine, and lets go of the GIL.
#include <pthread.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "engine.h"
#include "memory.h"
#include "tensors.h"

namespace elman {
namespace {

// ---- which engine ----------------------------------------------------------------------------------------------------

std::vector<const Engines*> engines_of_machine() {
    std::vector<const Engines*> found;
#if defined(ELMAN_X86)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        found.push_back(&avx512_engines());
    if (avx2) found.push_back(&avx2_engines());
#endif
    found.push_back(&portable_engines());
    return found;
}

const Engines& choose_engines() {
    const auto found = engines_of_machine();
    const char* wanted = std::getenv("ELMAN_CPU_ISA");
    if (!wanted || !*wanted) return *found.front();
    std::string names;
    for (const Engines* e : found) {
        if (std::string(e->name) == wanted) return *e;
        names += std::string(names.empty() ? "" : ", ") + e->name;
    }
    throw std::runtime_error("ELMAN_CPU_ISA should be one of " + names + " on this machine, and is " + wanted);
}

const Engines* engines = nullptr;
const Exchange* exchange = nullptr;
bool forked = false;

template <class T>
const Engine<T>& engine();
template <>
const Engine<float>& engine() {
    return engines->float32;
}
template <>
const Engine<double>& engine() {
    return engines->float64;
}

// OpenMP's pool does not survive a fork: a child works alone.
int allowed(int threads) { return forked || threads < 1 ? 1 : threads; }

// ---- tensors ---------------------------------------------------------------------------------------------------------

// A contiguous tensor of whatever numbers in a block of the pool, which takes it back when the tensor goes.
template <class T>
nb::object pooled(int ndim, const int64_t* sizes, int64_t numbers, T*& data) {
    struct Lent : Exchange::Owned {
        Pool::Block block;
    };
    auto lent = std::make_unique<Lent>();
    lent->block = pool().take(static_cast<size_t>(numbers) * sizeof(T));
    data = static_cast<T*>(lent->block.memory.get());
    return exchange->wrap(lent.release(), ndim, sizes, data, [](DlManaged* m) {
        auto* done = reinterpret_cast<Lent*>(m);
        pool().give(std::move(done->block));
        delete done;
    });
}

template <class T>
nb::object fresh_tensor(int ndim, const int64_t* sizes, int64_t large, bool poison) {
    int64_t numbers = 1;
    for (int d = 0; d < ndim; ++d) numbers *= sizes[d];
    T* data = nullptr;
    nb::object made = numbers > 0 && numbers >= large ? pooled(ndim, sizes, numbers, data) : exchange->fresh(ndim, sizes, numbers, data);
    if (poison) std::fill_n(data, numbers, std::numeric_limits<T>::quiet_NaN());
    return made;
}

// A tensor for each item: of the sizes of a tuple, or those of a tensor; None for None.
nb::list fresh(nb::tuple items, bool single, int64_t large, bool poison) {
    nb::list made;
    for (nb::handle item : items) {
        if (item.is_none()) {
            made.append(nb::none());
            continue;
        }
        int64_t sizes[3];
        int ndim;
        if (PyTuple_Check(item.ptr())) {
            ndim = static_cast<int>(std::min<size_t>(nb::len(item), 3));
            for (int d = 0; d < ndim; ++d) sizes[d] = nb::cast<int64_t>(item[d]);
        } else {
            const DlTensor like = exchange->describe(item, "tensor");
            ndim = std::min<int>(like.ndim, 3);
            std::copy_n(like.shape, ndim, sizes);
        }
        made.append(single ? fresh_tensor<float>(ndim, sizes, large, poison) : fresh_tensor<double>(ndim, sizes, large, poison));
    }
    return made;
}

[[noreturn]] void wrong(const char* name, const char* should) {
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

void require(std::initializer_list<nb::handle> always, bool has_c, std::initializer_list<nb::handle> with_c, const char* name) {
    for (nb::handle h : always)
        if (h.is_none()) wrong(name, "given");
    for (nb::handle h : with_c)
        if (has_c && h.is_none()) wrong(name, "given");
}

// Whether all given tensors are on the CPU and of the first one's type, float32 or float64.
bool alike(const nb::args& tensors) {
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

// ---- sequences -------------------------------------------------------------------------------------------------------

// Sorts the rows by length, longest first, and counts the tokens before every step; keeps what Sequence points to.
struct Ranks {
    std::vector<int64_t> order, length, of_row, offset;

    Sequence sequence(int64_t T, int64_t B, nb::handle lengths, nb::handle resets, bool reverse) {
        Sequence seq;
        seq.T = T;
        seq.B = B;
        seq.reverse = reverse;
        if (!lengths.is_none()) sort(T, B, lengths, seq);
        if (!resets.is_none()) {
            const DlTensor t = exchange->describe(resets, "resets");
            if (number_of(t) != Number::boolean || t.ndim != 2 || t.shape[0] != T || t.shape[1] != B)
                wrong("resets", "a (T, B) tensor of booleans");
            if (t.strides && T > 0 && B > 0 && ((B > 1 && t.strides[1] != 1) || (T > 1 && t.strides[0] != B)))
                wrong("resets", "contiguous");
            seq.resets = data_of<const uint8_t>(t);
        }
        return seq;
    }

private:
    void sort(int64_t T, int64_t B, nb::handle lengths, Sequence& seq) {
        const DlTensor t = exchange->describe(lengths, "lengths");
        if (number_of(t) != Number::int64 || t.ndim != 1 || t.shape[0] != B) wrong("lengths", "a (B,) tensor of int64");
        const int64_t* given = data_of<const int64_t>(t);
        const int64_t step = t.strides ? t.strides[0] : 1;
        of_row.resize(B);
        for (int64_t b = 0; b < B; ++b) {
            of_row[b] = given[b * step];
            if (of_row[b] < 0 || of_row[b] > T) wrong("lengths", "between 0 and the number of steps");
        }
        order.resize(B);
        std::iota(order.begin(), order.end(), int64_t{0});
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return of_row[a] > of_row[b]; });
        length.resize(B);
        for (int64_t rank = 0; rank < B; ++rank) length[rank] = of_row[order[rank]];
        offset.assign(T + 1, 0);
        int64_t running = B;
        for (int64_t s = 0; s < T; ++s) {
            while (running > 0 && length[running - 1] <= s) --running;
            offset[s + 1] = offset[s] + running;
        }
        seq.order = order.data();
        seq.length = length.data();
        seq.of_row = of_row.data();
        seq.offset = offset.data();
    }
};

// ---- packed weights --------------------------------------------------------------------------------------------------

Number number_of_input(nb::handle object, const char* name) {
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

int64_t gates_of(Kind kind) { return kind == Kind::rnn ? 1 : kind == Kind::gru ? 3 : 4; }

Shape shape_of(int kind, int f, nb::handle ih, nb::handle hh) {
    if (kind < 0 || kind > 2 || f < 0 || f > 3) wrong("kind", "a known cell");
    const DlTensor u = exchange->describe(ih, "weight_ih"), w = exchange->describe(hh, "weight_hh");
    if (u.ndim != 2 || w.ndim != 2) wrong("weights", "matrices");
    return {static_cast<Kind>(kind), static_cast<Activation>(f), u.shape[1], w.shape[1]};
}

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

Packed pack(int kind, int f, nb::handle ih, nb::handle hh, nb::handle b_ih, nb::handle b_hh, int threads) {
    Packed packed{shape_of(kind, f, ih, hh), number_of_input(ih, "weight_ih"), nullptr};
    const nb::handle all[] = {ih, hh, b_ih, b_hh};
    for (int i = 0; i < 4; ++i) packed.samples[i] = Sample::of(all[i]);
    if (packed.number == Number::float32)
        pack_into<float>(packed, ih, hh, b_ih, b_hh, threads);
    else
        pack_into<double>(packed, ih, hh, b_ih, b_hh, threads);
    return packed;
}

// ---- the calls -------------------------------------------------------------------------------------------------------

// The tensors of a call, by their places in the tuple: `Call` of calls.py.
constexpr size_t c_x = 0, c_h = 1, c_c = 2, c_ih = 3, c_hh = 4, c_b_ih = 5, c_b_hh = 6, c_h_initial = 7, c_c_initial = 8,
                 c_lengths = 9, c_resets = 10, c_count = 11;

bool readable(nb::tuple call) {
    for (size_t i = 0; i < nb::len(call); ++i) {
        const nb::handle object = call[i];
        DlTensor t;
        if (object.is_none()) continue;
        if (!exchange->try_view(object, t) || t.ndim > 3) return false;
        if (i != c_x && !is_dense(t)) return false;
        if (i == c_x && t.strides && t.ndim && t.strides[t.ndim - 1] != 1 && t.shape[t.ndim - 1] > 1) return false;
    }
    return true;
}

// What both passes read.
template <class T, class Run>
void read_past(Run& run, const nb::tuple& call, Ranks& ranks, bool reverse, int threads) {
    const DlTensor view = exchange->describe(call[c_x], "input");
    if (view.ndim != 3) wrong("input", "of three dimensions");
    const int64_t steps = view.shape[0], B = view.shape[1], H = run.shape.H;
    run.seq = ranks.sequence(steps, B, call[c_lengths], call[c_resets], reverse);
    run.threads = allowed(threads);
    run.x = rows<const T>(call[c_x], "input", steps, B, run.shape.I);
    run.h0 = dense<const T>(call[c_h], "h_0", {B, H});
    run.c0 = dense<const T>(call[c_c], "c_0", {B, H});
    run.h_initial = dense<const T>(call[c_h_initial], "initial h", {H});
    run.c_initial = dense<const T>(call[c_c_initial], "initial c", {H});
}

template <class T>
void run_forward(const Packed* kept, const Shape& shape, const nb::tuple& given, bool reverse, int threads, nb::handle y,
                 nb::handle hn, nb::handle cn, nb::handle saved) {
    const bool has_c = shape.kind == Kind::lstm;
    Ranks ranks;
    ForwardCall<T> call;
    call.shape = shape;
    read_past<T>(call, given, ranks, reverse, threads);
    const int64_t steps = call.seq.T, B = call.seq.B, H = shape.H;
    call.y = rows<T>(y, "output", steps, B, H);
    call.hn = dense<T>(hn, "h_n", {B, H});
    call.cn = dense<T>(cn, "c_n", {B, H});
    call.saved = dense<T>(saved, "saved", {steps * B, engine<T>().saved_width(shape)});
    require({given[c_h], y, hn}, has_c, {given[c_c], cn}, "states");
    if (!given[c_resets].is_none()) require({given[c_h_initial]}, has_c, {given[c_c_initial]}, "initial states");
    Matrices<T> weights;
    if (!kept) weights = matrices<T>(shape, gates_of(shape.kind), given[c_ih], given[c_hh], given[c_b_ih], given[c_b_hh]);
    nb::gil_scoped_release release;
    const int64_t work = (engine<T>().forward_work(call) + 63) / 64 * 64;
    const int64_t of_packed = kept ? 0 : engine<T>().packed_size(shape) * static_cast<int64_t>(sizeof(T));
    const Scratch scratch(work + of_packed);
    call.work = scratch.get();
    if (kept) {
        call.packed = kept->as<T>();
    } else {
        T* packed = reinterpret_cast<T*>(static_cast<char*>(scratch.get()) + work);
        engine<T>().pack(shape, weights, packed, call.threads);
        call.packed = packed;
    }
    engine<T>().forward(call);
}

void check_call(const nb::tuple& call) {
    if (nb::len(call) != c_count) wrong("call", "complete");
}

void forward(int kind, int f, const Packed* packed, nb::tuple call, bool reverse, int threads, nb::handle y, nb::handle hn,
             nb::handle cn, nb::handle saved) {
    check_call(call);
    const Shape shape = packed ? packed->shape : shape_of(kind, f, call[c_ih], call[c_hh]);
    const Number number = packed ? packed->number : number_of_input(call[c_x], "input");
    if (number == Number::float32)
        run_forward<float>(packed, shape, call, reverse, threads, y, hn, cn, saved);
    else
        run_forward<double>(packed, shape, call, reverse, threads, y, hn, cn, saved);
}

template <class T>
void run_step(const Packed& packed, nb::handle x, nb::handle h, nb::handle c, nb::handle h_out, nb::handle c_out, int threads) {
    const DlTensor view = exchange->describe(x, "input");
    if (view.ndim != 2) wrong("input", "of two dimensions");
    const int64_t B = view.shape[0], H = packed.shape.H;
    ForwardCall<T> call;
    call.shape = packed.shape;
    call.seq.T = 1;
    call.seq.B = B;
    call.threads = allowed(threads);
    call.packed = packed.as<T>();
    call.x = {dense<const T>(x, "input", {B, packed.shape.I}), 0, packed.shape.I};
    call.h0 = dense<const T>(h, "h", {B, H});
    call.c0 = dense<const T>(c, "c", {B, H});
    call.hn = dense<T>(h_out, "h_out", {B, H});
    call.cn = dense<T>(c_out, "c_out", {B, H});
    require({h, h_out}, packed.shape.kind == Kind::lstm, {c, c_out}, "states");
    nb::gil_scoped_release release;
    const int64_t work = (engine<T>().forward_work(call) + 63) / 64 * 64;
    const bool in_place = call.hn == call.h0;  // the old state is still being read while the new one is written
    const Scratch scratch(work + (in_place ? B * H * static_cast<int64_t>(sizeof(T)) : 0));
    call.y = {in_place ? reinterpret_cast<T*>(static_cast<char*>(scratch.get()) + work) : call.hn, 0, H};
    call.work = scratch.get();
    engine<T>().forward(call);
}

void step(const Packed& packed, nb::handle x, nb::handle h, nb::handle c, nb::handle h_out, nb::handle c_out, int threads) {
    if (packed.number == Number::float32)
        run_step<float>(packed, x, h, c, h_out, c_out, threads);
    else
        run_step<double>(packed, x, h, c, h_out, c_out, threads);
}

// ---- steps of a stack of layers ---------------------------------------------------------------------------------------

// Layers in one direction, each fed by the one below, ready to run a step in one call: their packed weights, and the
// parameters of the layer that they were made from, to see that they are still those.
class Stack {
    struct Known {
        nb::object parameter;
        int64_t version;
    };
    struct Layer {
        const Packed* packed;
        nb::object keep, weights[4];
    };
    std::vector<Known> known_;
    std::vector<Layer> layers_;
    nb::object version_ = nb::steal(PyUnicode_InternFromString("_version"));

    // Of a change in place, as torch counts them; -1 for what has none.
    int64_t version(nb::handle parameter) const {
        if (parameter.is_none()) return -1;
        const nb::object number = nb::steal(PyObject_GetAttr(parameter.ptr(), version_.ptr()));
        if (!number.is_valid()) throw nb::python_error();
        return PyLong_AsLongLong(number.ptr());
    }

    bool current(nb::handle parameters) const {
        PyObject *key, *value;
        Py_ssize_t at = 0;
        size_t i = 0;
        while (PyDict_Next(parameters.ptr(), &at, &key, &value)) {
            if (i == known_.size() || value != known_[i].parameter.ptr() || version(value) != known_[i].version) return false;
            ++i;
        }
        if (i != known_.size()) return false;
        for (const Layer& l : layers_)
            if (!l.packed->matches(l.weights[0], l.weights[1], l.weights[2], l.weights[3])) return false;
        return true;
    }

    const Shape& shape() const { return layers_.front().packed->shape; }
    Number number() const { return layers_.front().packed->number; }
    int64_t count() const { return static_cast<int64_t>(layers_.size()); }

    // Whether it is a state of these layers for the rows of x.
    bool fits(const DlTensor& state, const DlTensor& x) const {
        const int last = x.ndim;
        return number_of(state) == number() && state.ndim == last + 1 && state.shape[0] == count() &&
               (last == 1 || state.shape[1] == x.shape[0]) && state.shape[last] == shape().H && is_dense(state);
    }

    template <class T>
    nb::object run(const DlTensor& x, const DlTensor& h, const DlTensor& c, int threads, bool poison) const {
        const bool has_c = shape().kind == Kind::lstm;
        const int64_t B = x.ndim == 1 ? 1 : x.shape[0], H = shape().H, numbers = B * H;
        T *y, *h_out, *c_out = nullptr;
        const nb::object output = exchange->fresh<T>(x.ndim, h.shape + 1, numbers, y);
        const nb::object h_after = exchange->fresh<T>(h.ndim, h.shape, count() * numbers, h_out);
        const nb::object c_after = has_c ? exchange->fresh<T>(h.ndim, h.shape, count() * numbers, c_out) : nb::none();
        if (poison) {
            std::fill_n(y, numbers, std::numeric_limits<T>::quiet_NaN());
            std::fill_n(h_out, count() * numbers, std::numeric_limits<T>::quiet_NaN());
            if (has_c) std::fill_n(c_out, count() * numbers, std::numeric_limits<T>::quiet_NaN());
        }
        {
            const nb::gil_scoped_release release;
            Rows<const T> below{data_of<const T>(x), 0, x.ndim == 1 || !x.strides ? shape().I : x.strides[0]};
            for (int64_t k = 0; k < count(); ++k) {
                const int64_t at = k * numbers;
                ForwardCall<T> call;
                call.shape = layers_[k].packed->shape;
                call.seq.T = 1;
                call.seq.B = B;
                call.threads = allowed(threads);
                call.packed = layers_[k].packed->as<T>();
                call.x = below;
                call.h0 = data_of<const T>(h) + at;
                call.hn = h_out + at;
                if (has_c) {
                    call.c0 = data_of<const T>(c) + at;
                    call.cn = c_out + at;
                }
                call.y = {k + 1 == count() ? y : call.hn, 0, H};
                const Scratch scratch(engine<T>().forward_work(call));
                call.work = scratch.get();
                engine<T>().forward(call);
                below = {call.hn, 0, H};
            }
        }
        return has_c ? nb::object(nb::make_tuple(output, h_after, c_after)) : nb::object(nb::make_tuple(output, h_after));
    }

public:
    // layers: from the lowest on, pairs of packed weights and the four tensors that they were made from, or None.
    // parameters: all that the weights are among, by name, as torch.nn.Module keeps them.
    Stack(nb::list layers, nb::dict parameters) {
        for (nb::handle pair : layers) {
            Layer layer{nb::cast<const Packed*>(pair[0]), nb::borrow(pair[0]), {}};
            for (int i = 0; i < 4; ++i) layer.weights[i] = nb::borrow(pair[1][i]);
            layers_.push_back(std::move(layer));
        }
        for (auto [name, parameter] : parameters) known_.push_back({nb::borrow(parameter), version(parameter)});
        if (layers_.empty()) wrong("layers", "at least one");
        for (const Layer& l : layers_) {
            const bool above = &l != &layers_.front();
            if (l.packed->number != number() || l.packed->shape.kind != shape().kind || l.packed->shape.H != shape().H ||
                (above && l.packed->shape.I != shape().H))
                wrong("layers", "of one cell, size and number type");
        }
    }

    // What Python's collector has to know: a parameter may hold, by a hook of its own, the layer that holds this.
    int visit(visitproc visit, void* arg) const {
        for (const Known& k : known_) Py_VISIT(k.parameter.ptr());
        for (const Layer& l : layers_) {
            Py_VISIT(l.keep.ptr());
            for (const nb::object& w : l.weights) Py_VISIT(w.ptr());
        }
        return 0;
    }
    void clear() {
        known_.clear();
        layers_.clear();
    }

    // Output and states after one step, (output, h) or (output, h, c), all in memory of their own; None where these are not
    // the arguments or no longer the weights that this is for.
    nb::object step(nb::handle parameters, nb::handle x, nb::handle hx, int threads, bool poison) const {
        if (layers_.empty()) return nb::none();
        const bool has_c = shape().kind == Kind::lstm;
        nb::handle of_h = hx, of_c;
        if (has_c) {
            if (!PyTuple_Check(hx.ptr()) || PyTuple_GET_SIZE(hx.ptr()) != 2) return nb::none();
            of_h = PyTuple_GET_ITEM(hx.ptr(), 0);
            of_c = PyTuple_GET_ITEM(hx.ptr(), 1);
        }
        DlTensor input{}, h{}, c{};
        if (!exchange->plain_view(x, input) || !exchange->plain_view(of_h, h)) return nb::none();
        if (has_c && !exchange->plain_view(of_c, c)) return nb::none();
        if (number_of(input) != number() || input.ndim < 1 || input.ndim > 2) return nb::none();
        const int last = input.ndim - 1;
        if (input.shape[last] != shape().I || (input.strides && input.strides[last] != 1 && shape().I > 1)) return nb::none();
        if ((last == 1 && input.shape[0] == 0) || !fits(h, input) || (has_c && !fits(c, input))) return nb::none();
        if (!PyDict_Check(parameters.ptr()) || !current(parameters)) return nb::none();
        return number() == Number::float32 ? run<float>(input, h, c, threads, poison) : run<double>(input, h, c, threads, poison);
    }
};

int visit_stack(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return nb::inst_ready(self) ? nb::inst_ptr<Stack>(self)->visit(visit, arg) : 0;
}
int clear_stack(PyObject* self) {
    if (nb::inst_ready(self)) nb::inst_ptr<Stack>(self)->clear();
    return 0;
}
PyType_Slot stack_slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(visit_stack)},
                             {Py_tp_clear, reinterpret_cast<void*>(clear_stack)},
                             {0, nullptr}};

// Gradients that are given, and those that are made: the first nine fields of a call, in their order.
constexpr size_t g_y = 0, g_hn = 1, g_cn = 2, g_count = 3;
constexpr size_t kMade = c_c_initial + 1;

template <class T>
void run_backward(const Shape& shape, const nb::tuple& past, bool reverse, int threads, nb::handle y, nb::handle saved,
                  const nb::tuple& given, const nb::list& made) {
    const bool has_c = shape.kind == Kind::lstm;
    Ranks ranks;
    BackwardCall<T> call;
    call.shape = shape;
    read_past<T>(call, past, ranks, reverse, threads);
    const int64_t steps = call.seq.T, B = call.seq.B, I = shape.I, H = shape.H, G = gates_of(shape.kind);
    call.weights = matrices<T>(shape, G, past[c_ih], past[c_hh], past[c_b_ih], past[c_b_hh]);
    call.y = rows<const T>(y, "output", steps, B, H);
    call.saved = dense<const T>(saved, "saved", {steps * B, engine<T>().saved_width(shape)});
    call.d_y = rows<const T>(given[g_y], "gradient of the output", steps, B, H);
    call.d_hn = dense<const T>(given[g_hn], "gradient of h_n", {B, H});
    call.d_cn = dense<const T>(given[g_cn], "gradient of c_n", {B, H});
    call.d_x = rows<T>(made[c_x], "d_input", steps, B, I);
    call.d_h0 = dense<T>(made[c_h], "d_h_0", {B, H});
    call.d_c0 = dense<T>(made[c_c], "d_c_0", {B, H});
    call.d_ih = dense<T>(made[c_ih], "d_weight_ih", {G * H, I});
    call.d_hh = dense<T>(made[c_hh], "d_weight_hh", {G * H, H});
    call.d_b_ih = dense<T>(made[c_b_ih], "d_bias_ih", {G * H});
    call.d_b_hh = dense<T>(made[c_b_hh], "d_bias_hh", {G * H});
    call.d_h_initial = dense<T>(made[c_h_initial], "d initial h", {H});
    call.d_c_initial = dense<T>(made[c_c_initial], "d initial c", {H});
    require({past[c_h], y, saved, made[c_h]}, has_c, {past[c_c], made[c_c]}, "states");
    if (!past[c_resets].is_none())
        require({past[c_h_initial], made[c_h_initial]}, has_c, {past[c_c_initial], made[c_c_initial]}, "initial states");
    nb::gil_scoped_release release;
    const Scratch scratch(engine<T>().backward_work(call));
    call.work = scratch.get();
    engine<T>().backward(call);
}

void backward(int kind, int f, nb::tuple call, bool reverse, int threads, nb::handle y, nb::handle saved, nb::tuple given,
              nb::list made) {
    check_call(call);
    if (nb::len(given) != g_count || nb::len(made) != kMade) wrong("gradients", "complete");
    const Shape shape = shape_of(kind, f, call[c_ih], call[c_hh]);
    if (number_of_input(call[c_x], "input") == Number::float32)
        run_backward<float>(shape, call, reverse, threads, y, saved, given, made);
    else
        run_backward<double>(shape, call, reverse, threads, y, saved, given, made);
}

int64_t saved_width(int kind, int64_t H, bool single) {
    const Shape shape{static_cast<Kind>(kind), Activation::tanh, 0, H};
    return single ? engine<float>().saved_width(shape) : engine<double>().saved_width(shape);
}

template <class T>
void run_activation(int f, nb::handle x, nb::handle y, int64_t n) {
    const T* from = dense<const T>(x, "x", {n});
    T* to = dense<T>(y, "y", {n});
    nb::gil_scoped_release release;
    engine<T>().activation(static_cast<Activation>(f), from, to, n);
}

void activation(int f, nb::handle x, nb::handle y) {
    const int64_t n = exchange->describe(x, "x").shape[0];
    if (number_of_input(x, "x") == Number::float32)
        run_activation<float>(f, x, y, n);
    else
        run_activation<double>(f, x, y, n);
}

}  // namespace
}  // namespace elman

NB_MODULE(_engine, m) {
    using namespace elman;
    namespace nb = nanobind;
    nb::set_leak_warnings(false);  // a layer that is alive when the process ends is no mistake
    engines = &choose_engines();
    exchange = new Exchange(nb::module_::import_("torch").attr("Tensor"));
    pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); },
                   [] {
                       pool().unlock();
                       forked = true;
                   });

    nb::class_<Packed>(m, "Packed", "The weights of one layer and direction, ready for the forward pass.")
        .def("matches", &Packed::matches, nb::arg("ih"), nb::arg("hh"), nb::arg("b_ih").none(), nb::arg("b_hh").none(),
             "Whether these are still, as far as a sample shows, the tensors that were packed.");
    nb::class_<Stack>(m, "Stack", nb::type_slots(stack_slots),
                      "Layers of one direction, each fed by the one below, ready to run a step in one call.")
        .def(nb::init<nb::list, nb::dict>(), nb::arg("layers"), nb::arg("parameters"))
        .def("step", &Stack::step, nb::arg("parameters"), nb::arg("x"), nb::arg("hx").none(), nb::arg("threads"),
             nb::arg("poison"), "(output, h) or (output, h, c) in fresh memory, or None: not what this is for.");
    m.def("isa", [] { return std::string(engines->name); }, "The instruction set in use.");
    m.def("isas", [] {
        std::vector<std::string> names;
        for (const Engines* e : engines_of_machine()) names.emplace_back(e->name);
        return names;
    }, "The instruction sets that this machine has, the fastest first.");
    m.def("alike", &alike, "Whether all tensors are on the CPU and of one type that the engine knows.");
    m.def("saved_width", &saved_width, "Numbers that the forward pass keeps for each token.");
    m.def("fresh", &fresh, nb::arg("items"), nb::arg("single"), nb::arg("large"), nb::arg("poison"),
          "A tensor of whatever numbers for each item: a tuple of sizes, a tensor of the same sizes, or None for none. From "
          "`large` numbers on in memory that is kept for the next one; NaN under `poison`.");
    m.def("readable", &readable, nb::arg("call"), "Whether all tensors of a call are laid out as the engine reads them.");
    m.def("pack", &pack, nb::arg("kind"), nb::arg("f"), nb::arg("ih"), nb::arg("hh"), nb::arg("b_ih").none(),
          nb::arg("b_hh").none(), nb::arg("threads"));
    m.def("forward", &forward, nb::arg("kind"), nb::arg("f"), nb::arg("packed").none(), nb::arg("call"), nb::arg("reverse"),
          nb::arg("threads"), nb::arg("y"), nb::arg("hn"), nb::arg("cn").none(), nb::arg("saved").none(),
          "Run the forward pass; without packed weights those of the call are packed first.");
    m.def("step", &step, nb::arg("packed"), nb::arg("x"), nb::arg("h"), nb::arg("c").none(), nb::arg("h_out"),
          nb::arg("c_out").none(), nb::arg("threads"));
    m.def("backward", &backward, nb::arg("kind"), nb::arg("f"), nb::arg("call"), nb::arg("reverse"), nb::arg("threads"),
          nb::arg("y"), nb::arg("saved"), nb::arg("given"), nb::arg("made"));
    m.def("activation", &activation, nb::arg("f"), nb::arg("x"), nb::arg("y"));
}
