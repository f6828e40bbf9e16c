// One step of a stack of layers in one call: the engine's half of `elman.kernels.cpu.stepper`.
#pragma once

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "calls.h"
#include "dlpack.h"

namespace elman {

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

    // The number of the last promise under which all numbers were compared; 0: none (see `elman.kernels.cpu.packing`).
    int64_t promise_ = 0;

    static constexpr int64_t kNoCount = -1;

    // The count of changes in place; kNoCount for what has none.
    int64_t version(nb::handle parameter) const {
        if (parameter.is_none()) return 0;
        const nb::object number = nb::steal(PyObject_GetAttr(parameter.ptr(), version_.ptr()));
        if (!number.is_valid()) {  // made under inference_mode
            PyErr_Clear();
            return kNoCount;
        }
        return PyLong_AsLongLong(number.ptr());
    }

    // Whether the layer has the parameters that were packed, with the numbers that they had. Under a promise that the numbers do
    // not change these are read once, and from then on torch's counts of changes in place are enough.
    bool current(nb::handle parameters, int64_t promise, int threads) {
        PyObject *key, *value;
        Py_ssize_t at = 0;
        size_t i = 0;
        const int64_t compared = std::exchange(promise_, 0);
        bool trusted = promise > 0 && promise <= compared;
        while (PyDict_Next(parameters.ptr(), &at, &key, &value)) {
            if (i == known_.size() || value != known_[i].parameter.ptr()) return false;
            if (promise > 0) {
                const int64_t now = version(value);
                if (now != known_[i].version || now == kNoCount) trusted = false;
                known_[i].version = now;
            }
            ++i;
        }
        if (i != known_.size()) return false;
        for (const Layer& l : layers_)
            if (!is_current(l, trusted, threads)) return false;
        promise_ = std::max(promise, compared);
        return true;
    }

    static bool is_current(const Layer& l, bool trusted, int threads) {
        DlTensor tensors[4];
        View views[4] = {};
        for (int i = 0; i < 4; ++i) {
            if (l.weights[i].is_none()) continue;
            if (!exchange->try_view(l.weights[i], tensors[i])) return false;
            views[i] = &tensors[i];
        }
        return l.packed->matches(views, trusted, threads);
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
        const bool with_c = has_c(shape().kind);
        const int64_t B = x.ndim == 1 ? 1 : x.shape[0], H = shape().H, numbers = product({B, H}, "the output");
        product({count(), B, H}, "the state");
        T *y, *h_out, *c_out = nullptr;
        const nb::object output = exchange->fresh<T>(x.ndim, h.shape + 1, numbers, y);
        const nb::object h_after = exchange->fresh<T>(h.ndim, h.shape, count() * numbers, h_out);
        const nb::object c_after = with_c ? exchange->fresh<T>(h.ndim, h.shape, count() * numbers, c_out) : nb::none();
        if (poison) {
            std::fill_n(y, numbers, std::numeric_limits<T>::quiet_NaN());
            std::fill_n(h_out, count() * numbers, std::numeric_limits<T>::quiet_NaN());
            if (with_c) std::fill_n(c_out, count() * numbers, std::numeric_limits<T>::quiet_NaN());
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
                if (with_c) {
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
        return with_c ? nb::object(nb::make_tuple(output, h_after, c_after)) : nb::object(nb::make_tuple(output, h_after));
    }

public:
    // layers: from the lowest on, pairs of packed weights and the four tensors that they were made from, or None.
    // parameters: all that the weights are among, by name, as torch.nn.Module keeps them.
    Stack(nb::list layers, nb::dict parameters) {
        for (nb::handle pair : layers) {
            PyObject* weights = PyTuple_Check(pair.ptr()) && PyTuple_GET_SIZE(pair.ptr()) == 2 ? PyTuple_GET_ITEM(pair.ptr(), 1) : nullptr;
            if (!weights || !PyTuple_Check(weights) || PyTuple_GET_SIZE(weights) != 4)
                throw Wrong("layers", "pairs of packed weights and four tensors", "something else");
            const nb::object packed = nb::borrow(PyTuple_GET_ITEM(pair.ptr(), 0));
            Layer layer{nb::cast<const Packed*>(packed), packed, {}};
            for (int i = 0; i < 4; ++i) layer.weights[i] = nb::borrow(PyTuple_GET_ITEM(weights, i));
            if (!layer.packed) throw Wrong("packed weights", "given", "None");
            layers_.push_back(std::move(layer));
        }
        for (auto [name, parameter] : parameters) known_.push_back({nb::borrow(parameter), version(parameter)});
        if (layers_.empty()) throw Wrong("layers", "at least one", "none");
        for (const Layer& l : layers_) {
            const bool above = &l != &layers_.front();
            if (l.packed->number != number() || l.packed->shape.kind != shape().kind || l.packed->shape.H != shape().H ||
                (above && l.packed->shape.I != shape().H))
                throw Wrong("layers", "of one cell, size and number type", "different");
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
    nb::object step(nb::handle parameters, nb::handle x, nb::handle hx, int threads, bool poison, int64_t promise) {
        if (layers_.empty()) return nb::none();
        const bool with_c = has_c(shape().kind);
        nb::handle of_h = hx, of_c;
        if (with_c) {
            if (!PyTuple_Check(hx.ptr()) || PyTuple_GET_SIZE(hx.ptr()) != 2) return nb::none();
            of_h = PyTuple_GET_ITEM(hx.ptr(), 0);
            of_c = PyTuple_GET_ITEM(hx.ptr(), 1);
        }
        DlTensor input{}, h{}, c{};
        if (!exchange->plain_view(x, input) || !exchange->plain_view(of_h, h)) return nb::none();
        if (with_c && !exchange->plain_view(of_c, c)) return nb::none();
        if (number_of(input) != number() || input.ndim < 1 || input.ndim > 2) return nb::none();
        const int last = input.ndim - 1;
        if (input.shape[last] != shape().I || (input.strides && input.strides[last] != 1 && shape().I > 1)) return nb::none();
        if ((last == 1 && input.shape[0] == 0) || !fits(h, input) || (with_c && !fits(c, input))) return nb::none();
        if (!PyDict_Check(parameters.ptr()) || !current(parameters, promise, allowed(threads))) return nb::none();
        return number() == Number::float32 ? run<float>(input, h, c, threads, poison) : run<double>(input, h, c, threads, poison);
    }
};

inline int visit_stack(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return nb::inst_ready(self) ? nb::inst_ptr<Stack>(self)->visit(visit, arg) : 0;
}
inline int clear_stack(PyObject* self) {
    if (nb::inst_ready(self)) nb::inst_ptr<Stack>(self)->clear();
    return 0;
}
inline PyType_Slot stack_slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(visit_stack)},
                             {Py_tp_clear, reinterpret_cast<void*>(clear_stack)},
                             {0, nullptr}};

}  // namespace elman
