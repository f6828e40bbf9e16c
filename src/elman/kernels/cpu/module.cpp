// Everything that touches Python: checks tensors, hands plain pointers to the engine, and lets go of the GIL.
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "engine.h"
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

// ---- memory ----------------------------------------------------------------------------------------------------------

struct Free {
    void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;

Memory allocate(int64_t bytes) {
    void* p = std::aligned_alloc(64, static_cast<size_t>((bytes + 127) / 64 * 64));
    if (!p) throw std::bad_alloc();
    return Memory(p);
}

// Scratch memory of the calling thread. It is kept for the next call, unless it is unusually large.
class Scratch {
    static constexpr int64_t kKept = 64 << 20;
    struct Kept {
        Memory memory;
        int64_t bytes = 0;
    };
    static thread_local Kept kept_;
    Memory large_;
    void* at_;

public:
    explicit Scratch(int64_t bytes) {
        if (bytes > kKept) {
            large_ = allocate(bytes);
            at_ = large_.get();
            return;
        }
        if (bytes > kept_.bytes || !kept_.memory) {
            kept_.memory.reset();
            kept_.memory = allocate(bytes);
            kept_.bytes = bytes;
        }
        at_ = kept_.memory.get();
    }
    void* get() const { return at_; }
};
thread_local Scratch::Kept Scratch::kept_;

// Large blocks that come and go with every training step. Fresh memory costs a page fault for every 4 KiB, which for small
// layers is more than the arithmetic; so blocks are kept for the next step, up to a limit, and lie in large pages.
class Pool {
    static constexpr size_t kPage = 2 << 20, kKept = size_t{1} << 29;
    struct Block {
        void* memory;
        size_t bytes;
    };
    std::mutex mutex_;
    std::vector<Block> free_;
    size_t kept_ = 0;

public:
    // At least `bytes`; what is there may be up to twice as large.
    Block take(size_t bytes) {
        bytes = (bytes + kPage - 1) / kPage * kPage;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            auto best = free_.end();
            for (auto b = free_.begin(); b != free_.end(); ++b)
                if (b->bytes >= bytes && b->bytes <= 2 * bytes && (best == free_.end() || b->bytes < best->bytes)) best = b;
            if (best != free_.end()) {
                const Block found = *best;
                free_.erase(best);
                kept_ -= found.bytes;
                return found;
            }
        }
        void* p = std::aligned_alloc(kPage, bytes);
        if (!p) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
        madvise(p, bytes, MADV_HUGEPAGE);
#endif
        return {p, bytes};
    }
    void give(Block block) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (kept_ + block.bytes <= kKept) {
                free_.push_back(block);
                kept_ += block.bytes;
                return;
            }
        }
        std::free(block.memory);
    }
    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }

    // A contiguous tensor in a block of the pool, which it goes back to with the tensor.
    template <class T>
    nb::object tensor(const std::vector<size_t>& shape) {
        struct Lent {
            Pool* pool;
            Block block;
        };
        size_t numbers = 1;
        for (size_t size : shape) numbers *= size;
        auto* lent = new Lent{this, take(numbers * sizeof(T))};
        const nb::capsule owner(lent, [](void* p) noexcept {
            auto* done = static_cast<Lent*>(p);
            done->pool->give(done->block);
            delete done;
        });
        return nb::ndarray<nb::pytorch, T>(lent->block.memory, shape.size(), shape.data(), owner).cast();
    }
};

// Never destroyed: a tensor may outlive the module.
Pool& pool() {
    static Pool* one = new Pool;
    return *one;
}

nb::object block(const std::vector<size_t>& shape, bool single) {
    return single ? pool().tensor<float>(shape) : pool().tensor<double>(shape);
}

// ---- tensors ---------------------------------------------------------------------------------------------------------

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
    std::vector<int64_t> order, length, offset;

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
        std::vector<int64_t> of_row(B);
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

struct Initial {
    nb::handle h, c;
};

template <class T>
void run_forward(const Packed& packed, nb::handle x, nb::handle h0, nb::handle c0, Initial initial, nb::handle lengths,
                 nb::handle resets, bool reverse, int threads, nb::handle y, nb::handle hn, nb::handle cn,
                 nb::handle saved) {
    const DlTensor view = exchange->describe(x, "input");
    if (view.ndim != 3) wrong("input", "of three dimensions");
    const int64_t steps = view.shape[0], B = view.shape[1], H = packed.shape.H;
    const bool has_c = packed.shape.kind == Kind::lstm;
    Ranks ranks;
    ForwardCall<T> call;
    call.shape = packed.shape;
    call.seq = ranks.sequence(steps, B, lengths, resets, reverse);
    call.threads = allowed(threads);
    call.packed = packed.as<T>();
    call.x = rows<const T>(x, "input", steps, B, packed.shape.I);
    call.y = rows<T>(y, "output", steps, B, H);
    call.h0 = dense<const T>(h0, "h_0", {B, H});
    call.c0 = dense<const T>(c0, "c_0", {B, H});
    call.h_initial = dense<const T>(initial.h, "initial h", {H});
    call.c_initial = dense<const T>(initial.c, "initial c", {H});
    call.hn = dense<T>(hn, "h_n", {B, H});
    call.cn = dense<T>(cn, "c_n", {B, H});
    call.saved = dense<T>(saved, "saved", {steps * B, engine<T>().saved_width(packed.shape)});
    require({h0, y, hn}, has_c, {c0, cn}, "states");
    if (!resets.is_none()) require({initial.h}, has_c, {initial.c}, "initial states");
    nb::gil_scoped_release release;
    const Scratch scratch(engine<T>().forward_work(call));
    call.work = scratch.get();
    engine<T>().forward(call);
}

void forward(const Packed& packed, nb::handle x, nb::handle h0, nb::handle c0, nb::handle h_initial, nb::handle c_initial,
             nb::handle lengths, nb::handle resets, bool reverse, int threads, nb::handle y, nb::handle hn, nb::handle cn,
             nb::handle saved) {
    const Initial initial{h_initial, c_initial};
    if (packed.number == Number::float32)
        run_forward<float>(packed, x, h0, c0, initial, lengths, resets, reverse, threads, y, hn, cn, saved);
    else
        run_forward<double>(packed, x, h0, c0, initial, lengths, resets, reverse, threads, y, hn, cn, saved);
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

    static bool is_dense(const DlTensor& t) {
        int64_t stride = 1;
        for (int d = t.ndim - 1; d >= 0; --d) {
            if (t.strides && t.shape[d] != 1 && t.strides[d] != stride) return false;
            stride *= t.shape[d];
        }
        return true;
    }

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

using Handles = std::vector<nb::handle>;

// Names for the positions in the lists that `backward` takes.
enum Weight { w_ih, w_hh, w_b_ih, w_b_hh, weights_count };
enum Past { p_h0, p_c0, p_h_initial, p_c_initial, past_count };
enum Given { g_y, g_hn, g_cn, given_count };
enum Wanted { d_x, d_w_ih, d_w_hh, d_w_b_ih, d_w_b_hh, d_h0, d_c0, d_h_initial, d_c_initial, wanted_count };

template <class T>
void run_backward(const Shape& shape, nb::handle x, const Handles& w, const Handles& past, nb::handle lengths,
                  nb::handle resets, bool reverse, int threads, nb::handle y, nb::handle saved, const Handles& given,
                  const Handles& wanted) {
    const DlTensor view = exchange->describe(x, "input");
    if (view.ndim != 3) wrong("input", "of three dimensions");
    const int64_t steps = view.shape[0], B = view.shape[1], I = shape.I, H = shape.H, G = gates_of(shape.kind);
    const bool has_c = shape.kind == Kind::lstm;
    Ranks ranks;
    BackwardCall<T> call;
    call.shape = shape;
    call.seq = ranks.sequence(steps, B, lengths, resets, reverse);
    call.threads = allowed(threads);
    call.weights = matrices<T>(shape, G, w[w_ih], w[w_hh], w[w_b_ih], w[w_b_hh]);
    call.x = rows<const T>(x, "input", steps, B, I);
    call.y = rows<const T>(y, "output", steps, B, H);
    call.h0 = dense<const T>(past[p_h0], "h_0", {B, H});
    call.c0 = dense<const T>(past[p_c0], "c_0", {B, H});
    call.h_initial = dense<const T>(past[p_h_initial], "initial h", {H});
    call.c_initial = dense<const T>(past[p_c_initial], "initial c", {H});
    call.saved = dense<const T>(saved, "saved", {steps * B, engine<T>().saved_width(shape)});
    call.d_y = rows<const T>(given[g_y], "gradient of the output", steps, B, H);
    call.d_hn = dense<const T>(given[g_hn], "gradient of h_n", {B, H});
    call.d_cn = dense<const T>(given[g_cn], "gradient of c_n", {B, H});
    call.d_x = rows<T>(wanted[d_x], "d_input", steps, B, I);
    call.d_ih = dense<T>(wanted[d_w_ih], "d_weight_ih", {G * H, I});
    call.d_hh = dense<T>(wanted[d_w_hh], "d_weight_hh", {G * H, H});
    call.d_b_ih = dense<T>(wanted[d_w_b_ih], "d_bias_ih", {G * H});
    call.d_b_hh = dense<T>(wanted[d_w_b_hh], "d_bias_hh", {G * H});
    call.d_h0 = dense<T>(wanted[d_h0], "d_h_0", {B, H});
    call.d_c0 = dense<T>(wanted[d_c0], "d_c_0", {B, H});
    call.d_h_initial = dense<T>(wanted[d_h_initial], "d initial h", {H});
    call.d_c_initial = dense<T>(wanted[d_c_initial], "d initial c", {H});
    require({past[p_h0], y, saved, wanted[d_h0]}, has_c, {past[p_c0], wanted[d_c0]}, "states");
    if (!resets.is_none())
        require({past[p_h_initial], wanted[d_h_initial]}, has_c, {past[p_c_initial], wanted[d_c_initial]}, "initial states");
    nb::gil_scoped_release release;
    const Scratch scratch(engine<T>().backward_work(call));
    call.work = scratch.get();
    engine<T>().backward(call);
}

void backward(int kind, int f, nb::handle x, const Handles& w, const Handles& past, nb::handle lengths, nb::handle resets,
              bool reverse, int threads, nb::handle y, nb::handle saved, const Handles& given, const Handles& wanted) {
    if (w.size() != weights_count || past.size() != past_count || given.size() != given_count || wanted.size() != wanted_count)
        wrong("arguments", "complete");
    const Shape shape = shape_of(kind, f, w[w_ih], w[w_hh]);
    if (number_of_input(x, "input") == Number::float32)
        run_backward<float>(shape, x, w, past, lengths, resets, reverse, threads, y, saved, given, wanted);
    else
        run_backward<double>(shape, x, w, past, lengths, resets, reverse, threads, y, saved, given, wanted);
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
    m.def("block", &block, nb::arg("shape"), nb::arg("single"),
          "A tensor of whatever numbers, in memory that is kept for the next one.");
    m.def("pack", &pack, nb::arg("kind"), nb::arg("f"), nb::arg("ih"), nb::arg("hh"), nb::arg("b_ih").none(),
          nb::arg("b_hh").none(), nb::arg("threads"));
    m.def("forward", &forward, nb::arg("packed"), nb::arg("x"), nb::arg("h0"), nb::arg("c0").none(),
          nb::arg("h_initial").none(), nb::arg("c_initial").none(), nb::arg("lengths").none(), nb::arg("resets").none(),
          nb::arg("reverse"), nb::arg("threads"), nb::arg("y"), nb::arg("hn"), nb::arg("cn").none(),
          nb::arg("saved").none());
    m.def("step", &step, nb::arg("packed"), nb::arg("x"), nb::arg("h"), nb::arg("c").none(), nb::arg("h_out"),
          nb::arg("c_out").none(), nb::arg("threads"));
    m.def("backward", &backward, nb::arg("kind"), nb::arg("f"), nb::arg("x"), nb::arg("weights"), nb::arg("past"),
          nb::arg("lengths").none(), nb::arg("resets").none(), nb::arg("reverse"), nb::arg("threads"), nb::arg("y"),
          nb::arg("saved"), nb::arg("given"), nb::arg("wanted"));
    m.def("activation", &activation, nb::arg("f"), nb::arg("x"), nb::arg("y"));
}
