// The Python module: checks tensors, hands plain pointers to the engine, and releases the GIL.
#include <pthread.h>

#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "ragged.h"
#include "stack.h"

namespace elman {
namespace {

// The tensors of a call, by their places in the tuple: `Call` of call.py.
constexpr size_t c_x = 0, c_h = 1, c_c = 2, c_ih = 3, c_hh = 4, c_b_ih = 5, c_b_hh = 6, c_h_initial = 7, c_c_initial = 8,
                 c_lengths = 9, c_resets = 10, c_count = 11;

bool has_strides(nb::tuple call) {
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
    const bool with_c = has_c(shape.kind);
    Ranks ranks;
    ForwardCall<T> call;
    call.shape = shape;
    read_past<T>(call, given, ranks, reverse, threads);
    const int64_t steps = call.seq.T, B = call.seq.B, H = shape.H;
    call.y = rows<T>(y, "output", steps, B, H);
    call.hn = dense<T>(hn, "h_n", {B, H});
    call.cn = dense<T>(cn, "c_n", {B, H});
    call.saved = dense<T>(saved, "saved", {steps * B, engine<T>().saved_width(shape)});
    require({given[c_h], y, hn}, with_c, {given[c_c], cn}, "states");
    if (!given[c_resets].is_none()) require({given[c_h_initial]}, with_c, {given[c_c_initial]}, "initial states");
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
    if (view.ndim != 2) wrong("input", "of with_c dimensions");
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
    require({h, h_out}, has_c(packed.shape.kind), {c, c_out}, "states");
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

// Gradients that are given, and those that are made: the first nine fields of a call, in their order.
constexpr size_t g_y = 0, g_hn = 1, g_cn = 2, g_count = 3;
constexpr size_t kMade = c_c_initial + 1;

template <class T>
void run_backward(const Shape& shape, const nb::tuple& past, bool reverse, int threads, nb::handle y, nb::handle saved,
                  const nb::tuple& given, const nb::list& made) {
    const bool with_c = has_c(shape.kind);
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
    require({past[c_h], y, saved, made[c_h]}, with_c, {past[c_c], made[c_c]}, "states");
    if (!past[c_resets].is_none())
        require({past[c_h_initial], made[c_h_initial]}, with_c, {past[c_c_initial], made[c_c_initial]}, "initial states");
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
    nb::dict kinds;
#define ELMAN_KIND(name, cell, f) kinds[#name] = nb::make_tuple(static_cast<int>(Kind::cell), static_cast<int>(Activation::f));
#include "kinds.def"
    m.attr("KINDS") = kinds;
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
    m.def("has_strides", &has_strides, nb::arg("call"), "Whether all tensors of a call have the strides that the engine reads.");
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
