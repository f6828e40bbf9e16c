// DLPack: torch tensors in C++ without torch's headers, through the exchange table that torch.Tensor carries.
//
// The table is a struct of C functions with a stable layout (DLPack 1.2 and later); `describe` fills in a borrowed view
// of a tensor in a few nanoseconds. A view is good as long as the Python object that it came from is alive.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>

#include <nanobind/nanobind.h>

#include "tensor.h"

namespace elman {

namespace nb = nanobind;

// DLPack's structures for exchange, in its order.
struct DlManaged {
    uint32_t major, minor;
    void* context;
    void (*deleter)(DlManaged*);
    uint64_t flags;
    DlTensor tensor;
};
struct DlExchange {
    uint32_t major, minor;
    DlExchange* older;
    void* allocate;
    void* managed_from_object;
    int (*managed_to_object)(DlManaged* tensor, void** out);
    int (*describe)(void* object, DlTensor* out);
    void* current_stream;
};

class Exchange {
    const DlExchange* table_ = nullptr;
    nb::object tensor_type_;

public:
    // torch_tensor: the class torch.Tensor.
    explicit Exchange(nb::object torch_tensor) : tensor_type_(std::move(torch_tensor)) {
        nb::object capsule = tensor_type_.attr("__dlpack_c_exchange_api__");
        table_ = static_cast<const DlExchange*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
        if (!table_) throw nb::python_error();
        if (table_->major != 1 || !table_->describe || !table_->managed_to_object) throw std::runtime_error("torch has an unknown version of DLPack");
    }

    // The description of a tensor, or of no tensor for what has none: another object, a device or layout that DLPack does
    // not know, a wrapper around other tensors.
    bool try_view(nb::handle object, DlTensor& view) const {
        view = {};
        if (!is_tensor(object)) return false;
        if (table_->describe(object.ptr(), &view) != 0) {
            PyErr_Clear();
            return false;
        }
        // A view into nothing, such as a row of a freed tensor, is described as its offset.
        constexpr uintptr_t kSuspicious = uintptr_t{1} << 32;
        if (view.data && reinterpret_cast<uintptr_t>(view.data) < kSuspicious && !has_storage(object)) view.data = nullptr;
        return true;
    }

    // The same on the CPU, of exactly the class torch.Tensor, with memory; false for all else, a user's subclass among it.
    bool plain_view(nb::handle object, DlTensor& view) const {
        return reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())) == tensor_type_.ptr() && try_view(object, view) &&
               view.device.type == 1 && has_memory(view);
    }

    // The description of a tensor.
    DlTensor view(nb::handle object, const char* name) const {
        if (!is_tensor(object)) throw nb::type_error((std::string(name) + " should be a torch.Tensor").c_str());
        DlTensor view;
        if (!try_view(object, view)) throw Wrong(name, "an ordinary tensor on the CPU", "one without memory to read");
        return view;
    }

    // What a tensor of ours needs beside its numbers.
    struct Owned {
        DlManaged managed;
        int64_t shape[3], strides[3];
    };

    // A contiguous tensor on the CPU over the numbers at `data`, of at most three dimensions. `gone` is called when it goes.
    template <class T>
    nb::object wrap(Owned* owned, int ndim, const int64_t* sizes, T* data, void (*gone)(DlManaged*)) const {
        int64_t stride = 1;
        for (int d = ndim - 1; d >= 0; --d) {
            owned->shape[d] = sizes[d];
            owned->strides[d] = stride;
            // The product of the sizes was checked, or is 0; of an empty tensor no stride is read.
            if (sizes[d] > 0 && __builtin_mul_overflow(stride, sizes[d], &stride)) stride = 1;
        }
        const DlType type{2, 8 * sizeof(T), 1};
        owned->managed = {1, 0, nullptr, gone, 0, {data, {1, 0}, ndim, type, owned->shape, owned->strides, 0}};
        void* object = nullptr;
        if (table_->managed_to_object(&owned->managed, &object) != 0) throw nb::python_error();
        return nb::steal(static_cast<PyObject*>(object));
    }

    // The same over fresh memory, `numbers` numbers at `data`, which is one block with the description and goes with it.
    template <class T>
    nb::object fresh(int ndim, const int64_t* sizes, int64_t numbers, T*& data) const {
        constexpr uintptr_t kLine = 64;
        auto* owned = static_cast<Owned*>(std::malloc(sizeof(Owned) + kLine + static_cast<size_t>(numbers) * sizeof(T)));
        if (!owned) throw std::bad_alloc();
        data = reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(owned + 1) + kLine - 1) / kLine * kLine);
        return wrap(owned, ndim, sizes, data, [](DlManaged* m) { std::free(m); });
    }

private:
    static bool has_storage(nb::handle object) {
        try {
            return nb::cast<uintptr_t>(object.attr("untyped_storage")().attr("data_ptr")()) != 0;
        } catch (const nb::python_error&) {
            return false;
        }
    }
    bool is_tensor(nb::handle object) const {
        return PyObject_TypeCheck(object.ptr(), reinterpret_cast<PyTypeObject*>(tensor_type_.ptr()));
    }
};

// Set when the module is loaded.
inline const Exchange* exchange = nullptr;

}  // namespace elman
