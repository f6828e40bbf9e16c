// Workspace: memory that is reused from one call to the next, and fresh tensors in it.
//
// A training step asks for the same large blocks as the one before. Fresh memory costs a page fault for every 4 KiB, which
// for small layers is more than the arithmetic; so blocks are kept, up to a limit, and large ones lie in large pages, which
// also spares the processor's tables of pages.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "dlpack.h"

namespace elman {

struct Free {
    void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;

inline constexpr size_t kLargePage = 2 << 20;

inline Memory allocate(int64_t bytes) {
    const size_t wanted = static_cast<size_t>(bytes) + 64;
    const size_t unit = wanted >= kLargePage ? kLargePage : wanted >= 4096 ? 4096 : 64;
    const size_t whole = (wanted + unit - 1) / unit * unit;
    Memory memory(std::aligned_alloc(unit, whole));
    if (!memory) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    if (unit == kLargePage) madvise(memory.get(), whole, MADV_HUGEPAGE);
#endif
    return memory;
}

// Large blocks that are lent out, to tensors for example, and come back.
class Pool {
    static constexpr size_t kKept = size_t{1} << 29;

public:
    struct Block {
        Memory memory;
        size_t bytes = 0;
    };

    // At least `bytes`; what is there may be up to twice as large.
    Block take(size_t bytes) {
        bytes = (bytes + kLargePage - 1) / kLargePage * kLargePage;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            auto best = free_.end();
            for (auto b = free_.begin(); b != free_.end(); ++b)
                if (b->bytes >= bytes && b->bytes <= 2 * bytes && (best == free_.end() || b->bytes < best->bytes)) best = b;
            if (best != free_.end()) {
                Block found = std::move(*best);
                free_.erase(best);
                kept_ -= found.bytes;
                return found;
            }
        }
        return {allocate(static_cast<int64_t>(bytes) - 64), bytes};
    }
    void give(Block block) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (kept_ + block.bytes > kKept) return;
        kept_ += block.bytes;
        free_.push_back(std::move(block));
    }
    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }

private:
    std::mutex mutex_;
    std::vector<Block> free_;
    size_t kept_ = 0;
};

// Never destroyed: a tensor may outlive the module.
inline Pool& pool() {
    static Pool* one = new Pool;
    return *one;
}

// Scratch memory of the calling thread. It is kept for the next call, unless it is unusually large.
class Scratch {
    static constexpr int64_t kKept = 64 << 20;
    struct Kept {
        Memory memory;
        int64_t bytes = 0;
    };
    static Kept& kept() {
        static thread_local Kept one;
        return one;
    }
    Pool::Block large_;
    void* at_;

public:
    explicit Scratch(int64_t bytes) {
        if (bytes > kKept) {
            large_ = pool().take(static_cast<size_t>(bytes));
            at_ = large_.memory.get();
            return;
        }
        Kept& mine = kept();
        if (bytes > mine.bytes || !mine.memory) {
            mine.memory.reset();
            mine.memory = allocate(bytes);
            mine.bytes = bytes;
        }
        at_ = mine.memory.get();
    }
    ~Scratch() {
        if (large_.memory) pool().give(std::move(large_));
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    void* get() const { return at_; }
};

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
    int64_t numbers = 1;
    for (int d = 0; d < ndim; ++d) numbers *= sizes[d];
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

}  // namespace elman
