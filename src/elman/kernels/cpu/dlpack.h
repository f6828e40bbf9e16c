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

namespace elman {

namespace nb = nanobind;

// DLPack's structures, in its order.
struct DlDevice {
    int32_t type, id;
};
struct DlType {
    uint8_t code, bits;
    uint16_t lanes;
};
struct DlTensor {
    void* data;
    DlDevice device;
    int32_t ndim;
    DlType dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
};
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

enum class Number { float32, float64, int64, boolean, other };

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

    // Any tensor, on any device.
    DlTensor view(nb::handle object, const char* name) const {
        if (!PyObject_TypeCheck(object.ptr(), reinterpret_cast<PyTypeObject*>(tensor_type_.ptr())))
            throw nb::type_error((std::string(name) + " should be a torch.Tensor").c_str());
        DlTensor view{};
        if (table_->describe(object.ptr(), &view) != 0) throw nb::python_error();
        return view;
    }

    // The same for a tensor that may have no memory, or be none; false if so.
    bool try_view(nb::handle object, DlTensor& view) const {
        view = {};
        if (!PyObject_TypeCheck(object.ptr(), reinterpret_cast<PyTypeObject*>(tensor_type_.ptr()))) return false;
        if (table_->describe(object.ptr(), &view) == 0) return true;
        PyErr_Clear();
        return false;
    }

    // An object of exactly the class torch.Tensor, on the CPU; false for all else, a subclass of a user's among it.
    bool plain_view(nb::handle object, DlTensor& view) const {
        return reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())) == tensor_type_.ptr() && try_view(object, view) &&
               view.device.type == 1;
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
            stride *= sizes[d];
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

    DlTensor describe(nb::handle object, const char* name) const {
        const DlTensor t = view(object, name);
        if (t.device.type != 1) throw std::invalid_argument(std::string(name) + " should be on the CPU");
        return t;
    }
};

// Set when the module is loaded.
inline const Exchange* exchange = nullptr;

inline Number number_of(const DlTensor& t) {
    if (t.dtype.lanes != 1) return Number::other;
    if (t.dtype.code == 2 && t.dtype.bits == 32) return Number::float32;
    if (t.dtype.code == 2 && t.dtype.bits == 64) return Number::float64;
    if (t.dtype.code == 0 && t.dtype.bits == 64) return Number::int64;
    if (t.dtype.code == 6) return Number::boolean;
    return Number::other;
}

inline bool is_dense(const DlTensor& t) {
    int64_t stride = 1, numbers = 1;
    bool dense = true;
    for (int d = t.ndim - 1; d >= 0; --d) {
        dense = dense && (!t.strides || t.shape[d] == 1 || t.strides[d] == stride);
        stride *= t.shape[d];
        numbers *= t.shape[d];
    }
    return dense || numbers == 0;
}

}  // namespace elman
