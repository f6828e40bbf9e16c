// Threads: how a layer is split over them, the spin barrier, and the memory that each one works in.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#include <omp.h>
#include <sched.h>

#include "engine.h"

namespace elman::ELMAN_ISA {

// A barrier for threads that meet every few microseconds. It spins, and yields when it has waited for longer than that:
// on a busy machine the one that is missing may need our core. 64 bytes apart, so that barriers share no line.
class alignas(64) Barrier {
    std::atomic<int64_t> arrived_{0};

public:
    // `round` counts the meetings of the calling thread, from 1.
    void meet(int members, int64_t round) {
        if (members == 1) return;
        arrived_.fetch_add(1, std::memory_order_acq_rel);
        const int64_t all = members * round;
        for (int spins = 0; arrived_.load(std::memory_order_acquire) < all; ++spins) {
            if (spins > 500) {
                sched_yield();
                continue;
            }
#if defined(__SSE2__)
            __builtin_ia32_pause();
#endif
        }
    }
};

// Threads form `groups`; a group owns rows of the batch and shares them among its `members`, which own hidden units.
// Groups never wait for each other inside the loop over time; members meet once a step.
struct Grid {
    int threads = 1, groups = 1, members = 1;

    // Few rows for each thread make the product slow, since every thread reads all weights for them; a barrier for each
    // step costs less then, provided that the step is long enough. `panels`: pieces that the units can be split into;
    // `work`: multiply-adds of one row and step.
    static Grid choose(int threads, int64_t B, int64_t panels, int64_t work) {
        constexpr int64_t kRowsOfAGroup = 6, kWorkOfAMember = 30000;
        Grid grid;
        grid.threads = threads;
        grid.groups = clamp(B / kRowsOfAGroup, threads);
        const int64_t rows = (B + grid.groups - 1) / grid.groups;
        grid.members = clamp(rows * work / kWorkOfAMember, threads / grid.groups);
        grid.members = clamp(panels, grid.members);
        if (grid.members == 1) grid.groups = clamp(B, threads);
        return grid;
    }
    static int clamp(int64_t wanted, int64_t most) {
        return static_cast<int>(wanted < 1 ? 1 : wanted > most ? most : wanted);
    }
    int64_t rows(int64_t B) const { return (B + groups - 1) / groups; }  // at most, of one group
};

// A part of [0, count) for one of `parts`.
struct Share {
    int64_t begin, end;
    Share(int64_t count, int part, int parts) : begin(count * part / parts), end(count * (part + 1) / parts) {}
};

// Which ranks a group owns. Neighbours in memory, where it can be so: threads that write into neighbouring rows take the
// lines of the cache from each other, ahead of time too, since the machine prefetches past the end of a row. Under lengths
// ranks are dealt out in turn (group, group + groups, ...), so that every group has its share of long and short rows.
struct Deal {
    int64_t B = 0;
    int groups = 1;
    bool in_turn = false;

    int64_t rank(int group, int64_t i) const { return in_turn ? group + i * groups : Share(B, group, groups).begin + i; }
    // How many of the first `ranks` ranks are the group's.
    int64_t count(int group, int64_t ranks) const {
        if (in_turn) return ranks <= group ? 0 : (ranks - group + groups - 1) / groups;
        const Share own(B, group, groups);
        return ranks <= own.begin ? 0 : (ranks < own.end ? ranks : own.end) - own.begin;
    }
};

// One thread's place in the grid.
struct Member {
    Grid grid;
    Deal deal;
    int thread = 0, group = 0, member = 0;
    bool idle = false;  // takes part only in the products that all threads share
    Barrier *team_barrier = nullptr, *group_barrier = nullptr;
    int64_t team_round = 0, group_round = 0;

    Member(const Grid& grid, const Sequence& seq, int thread, Barrier* barriers)
        : grid(grid), deal{seq.B, grid.groups, seq.length != nullptr}, thread(thread), group(thread / grid.members),
          member(thread % grid.members), idle(group >= grid.groups), team_barrier(barriers),
          group_barrier(barriers + 1 + (idle ? 0 : group)) {}

    int64_t rank(int64_t i) const { return deal.rank(group, i); }
    // How many of the first `ranks` ranks are this group's.
    int64_t mine(int64_t ranks) const { return idle ? 0 : deal.count(group, ranks); }
    void meet_group() {
        if (!idle) group_barrier->meet(grid.members, ++group_round);
    }
    void meet_team() { team_barrier->meet(grid.threads, ++team_round); }
};

// Hands out pieces of one block of memory; with a null base it only adds up their size.
class Arena {
    char* base_;
    int64_t used_ = 0;

public:
    explicit Arena(void* base) : base_(static_cast<char*>(base)) {}
    template <class P>
    P* take(int64_t count) {
        char* p = base_ ? base_ + used_ : nullptr;
        used_ += (count * static_cast<int64_t>(sizeof(P)) + 63) / 64 * 64;
        return reinterpret_cast<P*>(p);
    }
    int64_t used() const { return used_; }

    // What follows begins on a page of its own.
    void turn_page() { used_ = (used_ + kPage - 1) / kPage * kPage; }

    // Repeats for each of `threads` what was taken since `begin`, where a page began. Each gets pages of its own: what threads
    // write must not only lie on different lines of the cache, for the machine prefetches those that come after, and takes
    // them from whoever has just written there. Returns the distance between one thread's memory and the next one's.
    int64_t repeat(int64_t begin, int64_t threads) {
        turn_page();
        const int64_t each = used_ - begin;
        used_ = begin + threads * each;
        return each;
    }

private:
    static constexpr int64_t kPage = 4096;
};

// The same place in the memory of a later thread.
template <class P>
P* of_thread(P* first, int64_t distance, int64_t thread) {
    return reinterpret_cast<P*>(reinterpret_cast<uintptr_t>(first) + thread * distance);
}

// Runs make(threads).run(0 .. threads - 1) at the same time, in the pool of whatever OpenMP torch has loaded. Where OpenMP
// grants fewer threads (inside another parallel region, under a limit) the job is made again for one.
template <class Make>
void run_team(int threads, const Make& make) {
    auto job = make(threads);
    job.prepare();
    bool done = threads == 1;
    if (done) {
        job.run(0);
        return;
    }
#pragma omp parallel num_threads(threads)
    if (omp_get_num_threads() == threads) {
        job.run(omp_get_thread_num());
#pragma omp master
        done = true;
    }
    if (done) return;
    auto alone = make(1);
    alone.prepare();
    alone.run(0);
}

}  // namespace elman::ELMAN_ISA
