// Fresh tensors: small ones beside their description, large ones in blocks of the pool.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "dlpack.h"
#include "workspace.h"

namespace elman {

// An uninitialised contiguous tensor in a block of the pool, which takes it back when the tensor is freed.
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
    const int64_t numbers = product({ndim > 0 ? sizes[0] : 1, ndim > 1 ? sizes[1] : 1, ndim > 2 ? sizes[2] : 1}, "the result");
    T* data = nullptr;
    nb::object made = numbers > 0 && numbers >= large ? pooled(ndim, sizes, numbers, data) : exchange->fresh(ndim, sizes, numbers, data);
    if (poison) std::fill_n(data, numbers, std::numeric_limits<T>::quiet_NaN());
    return made;
}

// A tensor for each item: of the sizes of a tuple, or those of a tensor; None for None.
inline nb::list fresh(nb::tuple items, bool single, int64_t large, bool poison) {
    nb::list made;
    for (nb::handle item : items) {
        if (item.is_none()) {
            made.append(nb::none());
            continue;
        }
        int64_t sizes[3];
        int ndim;
        if (PyTuple_Check(item.ptr())) {
            ndim = static_cast<int>(nb::len(item));
            if (ndim > 3) throw Wrong("the result", "of at most three dimensions", std::to_string(ndim));
            for (int d = 0; d < ndim; ++d) sizes[d] = nb::cast<int64_t>(item[d]);
            for (int d = 0; d < ndim; ++d)
                if (sizes[d] < 0) throw Wrong("the result", "of no negative size", text_of(sizes, ndim));
        } else {
            const DlTensor like = exchange->view(item, "tensor");
            ndim = like.ndim;
            if (ndim > 3) throw Wrong("the result", "of at most three dimensions", std::to_string(ndim));
            std::copy_n(like.shape, ndim, sizes);
        }
        made.append(single ? fresh_tensor<float>(ndim, sizes, large, poison) : fresh_tensor<double>(ndim, sizes, large, poison));
    }
    return made;
}

}  // namespace elman
