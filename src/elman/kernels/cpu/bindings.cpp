// The Python module: takes tensors as descriptions, hands them to the calls of the engine, and releases the GIL.
#include <pthread.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "fresh.h"
#include "output_call.h"
#include "stack.h"

namespace elman {
namespace {

// Descriptions of Python's tensors, null for None. They are good while the objects live, as those of a call do.
template <size_t N>
class Described {
    DlTensor tensors_[N];
    View views_[N] = {};

public:
    void set(size_t i, nb::handle object, const char* name) {
        if (object.is_none()) return;
        tensors_[i] = exchange->view(object, name);
        views_[i] = &tensors_[i];
    }
    Described() = default;
    Described(std::initializer_list<nb::handle> objects, const char* name) {
        size_t i = 0;
        for (nb::handle object : objects) set(i++, object, name);
    }
    Described(nb::handle sequence, const char* name) {
        if (nb::len(sequence) != N) throw Wrong(name, std::to_string(N) + " tensors or None", std::to_string(nb::len(sequence)));
        for (size_t i = 0; i < N; ++i) set(i, sequence[i], name);
    }
    Described(const Described&) = delete;
    Described& operator=(const Described&) = delete;
    const View (&views() const)[N] { return views_; }
    View operator[](size_t i) const { return views_[i]; }
};

// Python's main thread, the only one that runs the handlers of signals.
pthread_t main_thread;

// Runs Python's handlers of signals, at most every 50 ms, and ends the call where one of them raises.
void look_for_signals(Watch& watch) {
    using namespace std::chrono;
    const int64_t now = duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
    if (watch.last == 0) watch.last = now;
    if (now - watch.last < 50) return;
    const nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) watch.stopped.store(true);
    watch.last = duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

// Runs a call without the GIL; what a handler of a signal has raised meanwhile is raised here.
template <class Run>
void run_watched(Run& run, Watch& watch) {
    {
        const nb::gil_scoped_release release;
        run.run();
    }
    if (watch.stopped) throw nb::python_error();
}

struct WatchOfCall : Watch {
    WatchOfCall() {
        if (pthread_equal(pthread_self(), main_thread)) look = look_for_signals;
    }
    Watch* get() { return look ? this : nullptr; }
};

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

// Whether all given tensors have memory on the CPU and the first one's type, float32 or float64.
bool alike(const nb::args& tensors) {
    Number first = Number::other;
    for (nb::handle object : tensors) {
        if (object.is_none()) continue;
        DlTensor t;
        if (!exchange->try_view(object, t) || t.device.type != 1 || !has_memory(t)) return false;
        const Number number = number_of(t);
        if (first == Number::other) first = number;
        if (number != first || (number != Number::float32 && number != Number::float64)) return false;
    }
    return true;
}

Packed pack(int kind, int f, nb::handle ih, nb::handle hh, nb::handle b_ih, nb::handle b_hh, int threads) {
    const Described<4> weights({ih, hh, b_ih, b_hh}, "a weight");
    Packing packing(kind, f, weights.views(), threads);
    const nb::gil_scoped_release release;
    return packing.run();
}

bool matches(const Packed& packed, nb::handle ih, nb::handle hh, nb::handle b_ih, nb::handle b_hh, bool trusted, int threads) {
    const nb::handle objects[] = {ih, hh, b_ih, b_hh};
    DlTensor tensors[4];
    View views[4] = {};
    for (int i = 0; i < 4; ++i) {
        if (objects[i].is_none()) continue;
        if (!exchange->try_view(objects[i], tensors[i])) return false;
        views[i] = &tensors[i];
    }
    return packed.matches(views, trusted, allowed(threads));
}

void forward(int kind, int f, const Packed* packed, nb::tuple call, bool reverse, int threads, nb::handle y, nb::handle hn,
             nb::handle cn, nb::handle saved) {
    const Described<c_count> tensors(call, "a tensor of the call");
    const Described<4> results({y, hn, cn, saved}, "a result");
    const Shape shape = packed ? packed->shape : shape_of(kind, f, tensors[c_ih], tensors[c_hh]);
    const Number number = packed ? packed->number : number_of_input(tensors[c_x], "input");
    WatchOfCall watch;
    if (number == Number::float32) {
        ForwardRun<float> run(packed, shape, tensors.views(), reverse, threads, results.views(), watch.get());
        run_watched(run, watch);
    } else {
        ForwardRun<double> run(packed, shape, tensors.views(), reverse, threads, results.views(), watch.get());
        run_watched(run, watch);
    }
}

void step(const Packed& packed, nb::handle x, nb::handle h, nb::handle c, nb::handle h_out, nb::handle c_out, int threads) {
    const Described<5> tensors({x, h, c, h_out, c_out}, "a tensor of the step");
    if (packed.number == Number::float32) {
        StepRun<float> run(packed, tensors.views(), threads);
        const nb::gil_scoped_release release;
        run.run();
    } else {
        StepRun<double> run(packed, tensors.views(), threads);
        const nb::gil_scoped_release release;
        run.run();
    }
}

void backward(int kind, int f, nb::tuple call, bool reverse, int threads, nb::handle saved, nb::tuple given, nb::list made) {
    const Described<c_count> past(call, "a tensor of the call");
    const Described<g_count> gradients(given, "a gradient");
    const Described<kMade> results(made, "a gradient to make");
    Described<1> kept({saved}, "what was saved");
    const Shape shape = shape_of(kind, f, past[c_ih], past[c_hh]);
    WatchOfCall watch;
    if (number_of_input(past[c_x], "input") == Number::float32) {
        BackwardRun<float> run(shape, past.views(), reverse, threads, kept[0], gradients.views(), results.views(), watch.get());
        run_watched(run, watch);
    } else {
        BackwardRun<double> run(shape, past.views(), reverse, threads, kept[0], gradients.views(), results.views(), watch.get());
        run_watched(run, watch);
    }
}

template <class T>
void run_output(const View (&tensors)[o_count], int64_t ignored, double smoothing, double z, int threads) {
    WatchOfCall watch;
    OutputRun<T> run(tensors, ignored, smoothing, z, threads, watch.get());
    run_watched(run, watch);
}

void linear_cross_entropy(nb::tuple call, int64_t ignored, double smoothing, double z, int threads) {
    const Described<o_count> tensors(call, "a tensor of the output layer");
    if (number_of_input(tensors[o_s], "input") == Number::float32)
        run_output<float>(tensors.views(), ignored, smoothing, z, threads);
    else
        run_output<double>(tensors.views(), ignored, smoothing, z, threads);
}

int64_t saved_width(int kind, int64_t H, bool single) {
    if (kind < 0 || kind >= kKinds) throw Wrong("kind", "a known cell", std::to_string(kind));
    product({8, H, 8}, "the state");
    const Shape shape{static_cast<Kind>(kind), Activation::tanh, 0, H};
    return single ? engine<float>().saved_width(shape) : engine<double>().saved_width(shape);
}

template <class T>
void run_activation(int f, View x, View y) {
    const int64_t n = x->shape[0];
    const T* from = dense<const T>(x, "x", {n});
    T* to = dense<T>(y, "y", {n});
    const nb::gil_scoped_release release;
    engine<T>().activation(static_cast<Activation>(f), from, to, n);
}

void activation(int f, nb::handle x, nb::handle y) {
    const Described<2> tensors({x, y}, "x or y");
    const Number number = number_of_input(tensors[0], "x");
    require({tensors[1]}, false, {}, "y");
    if (f < 0 || f > 3) throw Wrong("f", "a known activation", std::to_string(f));
    if (tensors[0]->ndim != 1) throw Wrong("x", "of one dimension", text_of(tensors[0]->shape, tensors[0]->ndim));
    if (number == Number::float32)
        run_activation<float>(f, tensors[0], tensors[1]);
    else
        run_activation<double>(f, tensors[0], tensors[1]);
}

// Raises `elman.errors.ShapeError`, and a RuntimeError for memory that is not there.
void raise_as_ours(const std::exception_ptr& error, void*) {
    try {
        std::rethrow_exception(error);
    } catch (const Wrong& wrong) {
        const nb::object type = nb::module_::import_("elman.errors").attr("ShapeError");
        const nb::object ours = type(wrong.what, nb::arg("should") = wrong.should, nb::arg("found") = wrong.found);
        PyErr_SetObject(type.ptr(), ours.ptr());
    } catch (const std::bad_alloc&) {
        PyErr_SetString(PyExc_RuntimeError, "there is not enough memory for the result of this call: use shorter or fewer sequences");
    }
}

}  // namespace
}  // namespace elman

NB_MODULE(_engine, m) {
    using namespace elman;
    namespace nb = nanobind;
    nb::set_leak_warnings(false);  // a layer that is alive when the process ends is no mistake
    nb::register_exception_translator(raise_as_ours);
    engines = &choose_engines();
    exchange = new Exchange(nb::module_::import_("torch").attr("Tensor"));
    main_thread = static_cast<pthread_t>(
        nb::cast<unsigned long>(nb::module_::import_("threading").attr("main_thread")().attr("ident")));
    pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); },
                   [] {
                       pool().unlock();
                       forked = true;
                       main_thread = pthread_self();
                   });

    nb::class_<Packed>(m, "Packed", "The weights of one layer and direction, ready for the forward pass.")
        .def("matches", &matches, nb::arg("ih"), nb::arg("hh"), nb::arg("b_ih").none(), nb::arg("b_hh").none(), nb::arg("trusted"),
             nb::arg("threads"), "Whether these are the tensors that were packed, with all numbers that they had then; these are not "
             "looked at where they are trusted.");
    nb::class_<Stack>(m, "Stack", nb::type_slots(stack_slots),
                      "Layers of one direction, each fed by the one below, ready to run a step in one call.")
        .def(nb::init<nb::list, nb::dict>(), nb::arg("layers"), nb::arg("parameters"))
        .def("step", &Stack::step, nb::arg("parameters"), nb::arg("x"), nb::arg("hx").none(), nb::arg("threads"),
             nb::arg("poison"), nb::arg("promise"),
             "(output, h) or (output, h, c) in fresh memory, or None: not what this is for.");
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
    m.def("alike", &alike, "Whether all tensors have memory on the CPU and are of one type that the engine knows.");
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
          nb::arg("saved"), nb::arg("given"), nb::arg("made"));
    m.def("linear_cross_entropy", &linear_cross_entropy, nb::arg("call"), nb::arg("ignored"), nb::arg("smoothing"),
          nb::arg("z"), nb::arg("threads"),
          "The output layer with its loss: s, weight, bias, target, class weight, scale of each row, and what is made: the loss of "
          "each row, and the gradients of s, weight and bias. None for what is not given or not wanted.");
    m.def("activation", &activation, nb::arg("f"), nb::arg("x"), nb::arg("y"));
}
