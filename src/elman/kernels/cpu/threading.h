// Threading: how a layer is split over threads, the spin barrier, and each thread's memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <new>

#include <omp.h>
#include <sched.h>

#include "engine.h"

namespace elman::ELMAN_ISA {

// Looks at a barrier before a thread gives its core away; ThreadSanitizer makes each of them slow.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ELMAN_SPINS 0
#endif
#endif
#ifndef ELMAN_SPINS
#define ELMAN_SPINS 500
#endif

// A barrier for threads that meet every few microseconds. It spins, and yields when it has waited for longer than that:
// on a busy machine the one that is missing may need our core. 64 bytes apart, so that barriers share no line.
class alignas(64) Barrier {
    std::atomic<int64_t> arrived_{0}, end_{std::numeric_limits<int64_t>::max()};

public:
    // Those who meet once a step leave together: one of them says so at some step, before they meet, and it holds from the step
    // after the next one on, when each has met the one who said it.
    void end_after(int64_t step) { end_.store(step + 2, std::memory_order_relaxed); }
    bool has_ended(int64_t step) const { return step >= end_.load(std::memory_order_relaxed); }

    // `round` counts the meetings of the calling thread, from 1. Returns whether it gave its core away meanwhile.
    bool meet(int members, int64_t round) {
        if (members == 1) return false;
        arrived_.fetch_add(1, std::memory_order_acq_rel);
        const int64_t all = members * round;
        bool waited = false;
        for (int spins = 0; arrived_.load(std::memory_order_acquire) < all; ++spins) {
            if (spins > ELMAN_SPINS) {
                sched_yield();
                waited = true;
                continue;
            }
#if defined(__SSE2__)
            __builtin_ia32_pause();
#endif
        }
        return waited;
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
};

// Called by the thread that made the call after some multiply-adds: looks, a few times in a millisecond, whether the call should end.
inline constexpr int64_t kBetweenLooks = 2'000'000;
inline void tick(Watch* watch, int64_t multiply_adds) {
    if (!watch || (watch->spent += multiply_adds) < kBetweenLooks) return;
    watch->spent = 0;
    watch->look(*watch);
}
inline bool is_stopped(const Watch* watch) { return watch && watch->stopped.load(std::memory_order_relaxed); }

// A part of [0, count) for one of `parts`.
struct Share {
    int64_t begin, end;
    Share(int64_t count, int part, int parts) : begin(count * part / parts), end(count * (part + 1) / parts) {}
};

// Cuts the rows of a batch into one piece for each group, with about as many tokens in each: body(group, begin, end).
template <class Body>
inline void cut_rows(const Sequence& seq, int groups, Body&& body) {
    const int64_t total = seq.before(seq.T);
    int64_t begin = 0, end = 0, tokens = 0;
    for (int group = 0; group < groups; ++group, begin = end) {
        const int64_t wanted = total * (group + 1) / groups;
        while (end < seq.B && (group + 1 == groups || 2 * tokens + seq.of_row[end] <= 2 * wanted)) tokens += seq.of_row[end++];
        body(group, begin, end);
    }
}

// Which ranks a group owns: those of rows that lie next to each other. Threads that write into neighbouring rows take the
// lines of the cache from each other, ahead of time too, since the machine prefetches past the end of a row.
struct Deal {
    int64_t B = 0;
    int groups = 1;
    const int64_t* ranks = nullptr;  // under lengths: (B) the ranks of each group in ascending order, group by group
    const int64_t* first = nullptr;  // (groups + 1) where those of each group begin

    int64_t rank(int group, int64_t i) const { return ranks ? ranks[first[group] + i] : Share(B, group, groups).begin + i; }
    // How many of the first `count` ranks are the group's.
    int64_t count(int group, int64_t count) const {
        if (ranks) return std::lower_bound(ranks + first[group], ranks + first[group + 1], count) - (ranks + first[group]);
        const Share own(B, group, groups);
        return count <= own.begin ? 0 : (count < own.end ? count : own.end) - own.begin;
    }
    // The most that a group owns.
    static int64_t most(const Sequence& seq, int groups) {
        if (!seq.length) return (seq.B + groups - 1) / groups;
        int64_t found = 0;
        cut_rows(seq, groups, [&](int, int64_t begin, int64_t end) { found = std::max(found, end - begin); });
        return found;
    }
    // Memory for what `make` fills in.
    static int64_t numbers(const Sequence& seq, int groups) { return seq.length ? seq.B + groups + 1 : 0; }
    static Deal make(const Sequence& seq, int groups, int64_t* memory) {
        if (!seq.length) return {seq.B, groups};
        int64_t *first = memory, *ranks = memory + groups + 1;
        first[0] = 0;
        cut_rows(seq, groups, [&](int group, int64_t begin, int64_t end) {
            int64_t at = first[group];
            for (int64_t rank = 0; rank < seq.B; ++rank)
                if (seq.row(rank) >= begin && seq.row(rank) < end) ranks[at++] = rank;
            first[group + 1] = at;
        });
        return {seq.B, groups, ranks, first};
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
    bool leaving = false;

    Member(const Grid& grid, const Deal& deal, int thread, Barrier* barriers)
        : grid(grid), deal(deal), thread(thread), group(thread / grid.members),
          member(thread % grid.members), idle(group >= grid.groups), team_barrier(barriers),
          group_barrier(barriers + 1 + (idle ? 0 : group)) {}

    int64_t rank(int64_t i) const { return deal.rank(group, i); }
    // How many of the first `ranks` ranks are this group's.
    int64_t mine(int64_t ranks) const { return idle ? 0 : deal.count(group, ranks); }
    // The thread that made the call looks after a long wait: on a busy machine a step of few multiply-adds takes long.
    void meet_group(Watch* watch) {
        if (!idle && group_barrier->meet(grid.members, ++group_round) && thread == 0) tick(watch, kBetweenLooks);
    }
    // Called at every step, counted in the order in which they run: whether the group leaves before it.
    bool leaves(int64_t step, const Watch* watch) {
        if (group_barrier->has_ended(step)) return true;
        if (member == 0 && !leaving && is_stopped(watch)) group_barrier->end_after(step), leaving = true;
        return false;
    }
    void meet_team(Watch* watch) {
        if (team_barrier->meet(grid.threads, ++team_round) && thread == 0) tick(watch, kBetweenLooks);
    }
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

// A region pays off from about this many multiply-adds for each thread.
inline constexpr int64_t kWorkOfAThread = 200000;

inline int threads_for(int64_t multiply_adds, int threads) {
    const int64_t useful = multiply_adds / kWorkOfAThread;
    return useful < 1 ? 1 : useful > threads ? threads : static_cast<int>(useful);
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
