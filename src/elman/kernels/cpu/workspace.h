// Workspace: memory that is reused from one call to the next.
//
// A training step asks for the same large blocks as the one before. Fresh memory costs a page fault for every 4 KiB, which
// for small layers is more than the arithmetic; so blocks are kept, up to a limit, and large ones lie in large pages, which
// also spares the processor's tables of pages.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace elman {

struct Free {
    void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;

inline constexpr size_t kLargePage = 2 << 20;

inline Memory allocate(int64_t bytes) {
    if (bytes < 0 || bytes > std::numeric_limits<int64_t>::max() / 2) throw std::bad_alloc();
    const size_t wanted = static_cast<size_t>(bytes) + 64;
    const size_t unit = wanted >= kLargePage ? kLargePage : wanted >= 4096 ? 4096 : 64;
    const size_t whole = (wanted + unit - 1) / unit * unit;
    Memory memory(std::aligned_alloc(unit, whole));
    if (!memory) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    // Not the rest beyond them: of a large page that is hardly used the machine would give all.
    if (unit == kLargePage) madvise(memory.get(), wanted / kLargePage * kLargePage, MADV_HUGEPAGE);
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

    // At least as many bytes as asked; what is there may be up to twice as large.
    Block take(size_t asked) {
        const size_t bytes = (asked + kLargePage - 1) / kLargePage * kLargePage;
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
        // A small one is a whole large page too, for whoever gets it next.
        const size_t least = kLargePage - 64;
        return {allocate(static_cast<int64_t>(asked < least ? least : asked)), bytes};
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

}  // namespace elman
