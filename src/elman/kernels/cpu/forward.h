// The forward pass of one layer in one direction: one parallel region, the loop over time inside it.
//
// Each thread owns some rows of the batch and some panels of units (see Grid). For its part of a step it starts every sum
// from the input's product U x + b, goes on with W h, and applies the cell while the sums are in the L1 cache. The input's
// product is made tile by tile just before, or, where a thread has few rows, for several steps at once, so that the tiles
// are full. Nothing is allocated.
#pragma once

#include "cell.h"
#include "pack.h"
#include "threading.h"

namespace elman::ELMAN_ISA {

// Where the pieces lie inside the packed weights.
template <template <class> class Cell, class T>
struct PackedLayout {
    Panels<T> ih, hh;
    int64_t at_hh, at_bias, at_bias_n, size;

    explicit PackedLayout(const Shape& shape) {
        const int64_t blocks = blocks_of<T>(shape.H);
        const int per_panel = Cell<T>::blocks_of_panel(blocks);
        ih = {blocks, Cell<T>::kGates, per_panel, shape.I};
        hh = {blocks, Cell<T>::kGates, per_panel, shape.H};
        at_hh = ih.size();
        at_bias = at_hh + hh.size();               // one number for each column of the panels
        at_bias_n = at_bias + ih.numbers(1);       // b'_n of the GRU, one number for each unit
        size = at_bias_n + blocks * Simd<T>::W;
    }
};

// What each gate's sum starts from. The GRU keeps the past's bias of its last gate apart, since the reset scales it.
template <template <class> class Cell, class T>
void pack_bias(const PackedLayout<Cell, T>& layout, const Matrices<T>& m, int64_t H, T* packed) {
    constexpr int W = Simd<T>::W;
    for (int64_t block = 0; block < layout.ih.blocks; ++block)
        for (int lane = 0; lane < W; ++lane) {
            const int64_t u = block * W + lane;
            for (int g = 0; g < Cell<T>::kGates; ++g) {
                const bool apart = Cell<T>::kCarries && g == Cell<T>::kGates - 1;
                const T of_x = m.b_ih && u < H ? m.b_ih[g * H + u] : T(0);
                const T of_h = m.b_hh && u < H ? m.b_hh[g * H + u] : T(0);
                packed[layout.at_bias + (block * Cell<T>::kGates + g) * W + lane] = apart ? of_x : of_x + of_h;
                if (apart) packed[layout.at_bias_n + u] = of_h;
            }
        }
}

template <template <class> class Cell, class T>
void pack(const Shape& shape, const Matrices<T>& m, T* packed, int threads) {
    const PackedLayout<Cell, T> layout(shape);
    pack_bias<Cell, T>(layout, m, shape.H, packed);
    const bool large = layout.size > 1 << 16;
#pragma omp parallel for num_threads(threads) if (large && threads > 1) schedule(static)
    for (int64_t p = 0; p < layout.ih.count(); ++p) {
        pack_gates(layout.ih, p, m.ih, shape.H, packed + layout.ih.offset(p));
        pack_gates(layout.hh, p, m.hh, shape.H, packed + layout.at_hh + layout.hh.offset(p));
    }
}

// Zeros where a row has no tokens.
template <class T>
void clear_padding(const Rows<T>& rows, const Sequence& seq, int64_t rank, int64_t width) {
    if (width == 0) return;
    for (int64_t t = seq.steps(rank); t < seq.T; ++t) std::memset(rows.at(t, seq.row(rank)), 0, width * sizeof(T));
}

template <template <class> class Cell, class T>
class Forward {
    static constexpr int W = Simd<T>::W;
    static constexpr int64_t kRowsAtOnce = 48;  // of input products made ahead of the steps
    using C = Cell<T>;

    const ForwardCall<T>& call_;
    const Shape& shape_;
    const Sequence& seq_;
    const PackedLayout<Cell, T> layout_;
    const Grid grid_;
    const int64_t Hp_, rows_, steps_at_once_;  // rows_: at most, of one group

    Barrier* barriers_;
    int64_t* dealt_;            // memory of the deal
    Deal deal_;
    // Of the first thread; the others' lie `each_` bytes apart.
    T* ahead_;                  // (panels, rows, vectors of the panel)
    const T** x_rows_;          // (rows of a chunk)
    const T** h_rows_;          // (rows)
    ForwardRow<T>* row_list_;   // (rows)
    int64_t each_;

public:
    Forward(const ForwardCall<T>& call, int threads, Arena arena)
        : call_(call), shape_(call.shape), seq_(call.seq), layout_(call.shape),
          grid_(Grid::choose(threads, seq_.B, layout_.hh.count(), C::kGates * shape_.H * shape_.H)), Hp_(padded<T>(shape_.H)), rows_(Deal::most(seq_, grid_.groups)),
          steps_at_once_(rows_ < rows_of_tile(4) * 2 && rows_ > 0 ? ceil_div(kRowsAtOnce, rows_) : 1) {
        barriers_ = arena.take<Barrier>(1 + grid_.groups);
        dealt_ = arena.take<int64_t>(Deal::numbers(seq_, grid_.groups));
        arena.turn_page();
        const int64_t begin = arena.used();
        ahead_ = arena.take<T>(ahead_size());
        x_rows_ = arena.take<const T*>(chunk_rows());
        h_rows_ = arena.take<const T*>(rows_);
        row_list_ = arena.take<ForwardRow<T>>(rows_);
        each_ = arena.repeat(begin, threads);
        bytes = arena.used();
    }

    int64_t bytes;

    void prepare() {
        for (int i = 0; i < 1 + grid_.groups; ++i) new (barriers_ + i) Barrier;
        deal_ = Deal::make(seq_, grid_.groups, dealt_);
    }

    void run(int thread) {
        const FlushDenormals flush;
        Member me(grid_, deal_, thread, barriers_);
        if (me.idle) return;
        const Share panels(layout_.hh.count(), me.member, grid_.members);
        for (int64_t s0 = 0; s0 < seq_.T; s0 += steps_at_once_) {
            const int64_t s1 = s0 + steps_at_once_ < seq_.T ? s0 + steps_at_once_ : seq_.T;
            const int64_t tokens = gather_x(me, s0, s1);
            if (steps_at_once_ > 1) inputs_ahead(me, panels, tokens);
            for (int64_t s = s0, done = 0; s < s1; ++s) {
                if (me.leaves(s, call_.watch)) return;
                if (s > 0) me.meet_group(call_.watch);
                const int64_t rows = me.mine(seq_.active(s));
                gather_rows(me, s, rows);
                for (int64_t p = panels.begin; p < panels.end && !is_stopped(call_.watch); ++p) {
                    step(me, p, rows, done, tokens);
                    if (me.thread == 0) tick(call_.watch, rows * (shape_.H + (steps_at_once_ > 1 ? 0 : shape_.I)) * layout_.hh.vectors(p) * W);
                }
                done += rows;
            }
        }
        me.meet_group(call_.watch);
        if (me.member == 0) write_final(me);
    }

private:
    int64_t chunk_rows() const { return rows_ * steps_at_once_; }
    int64_t ahead_size() const { return steps_at_once_ > 1 ? chunk_rows() * layout_.ih.numbers(1) : 0; }
    const T** x_rows(const Member& me) const { return of_thread(x_rows_, each_, me.thread); }
    const T** h_rows(const Member& me) const { return of_thread(h_rows_, each_, me.thread); }
    ForwardRow<T>* row_list(const Member& me) const { return of_thread(row_list_, each_, me.thread); }
    T* ahead(const Member& me, int64_t p, int64_t tokens) const {
        return of_thread(ahead_, each_, me.thread) + layout_.ih.first_block(p) * C::kGates * W * tokens;
    }

    int64_t gather_x(const Member& me, int64_t s0, int64_t s1) const {
        const T** x = x_rows(me);
        int64_t tokens = 0;
        for (int64_t s = s0; s < s1; ++s)
            for (int64_t i = 0, n = me.mine(seq_.active(s)); i < n; ++i) {
                const int64_t rank = me.rank(i);
                x[tokens++] = call_.x.at(seq_.time(s, rank), seq_.row(rank));
            }
        return tokens;
    }

    // U x + b for all tokens of the chunk, into memory of this thread.
    void inputs_ahead(const Member& me, const Share& panels, int64_t tokens) const {
        const T* const* x = x_rows(me);
        for (int64_t p = panels.begin; p < panels.end && !is_stopped(call_.watch); ++p) {
            const int vectors = layout_.ih.vectors(p);
            T* out = ahead(me, p, tokens);
            for_tiles(tokens, vectors, [&](int64_t first, int height) {
                input_tile(p, x + first, height, out + first * vectors * W);
            });
            if (me.thread == 0) tick(call_.watch, tokens * shape_.I * vectors * W);
        }
    }

    void input_tile(int64_t p, const T* const* x, int height, T* out) const {
        const int vectors = layout_.ih.vectors(p);
        const T* bias = call_.packed + layout_.at_bias + layout_.ih.first_block(p) * C::kGates * W;
        tile_for<T>(height, vectors)(x, 1, call_.packed + layout_.ih.offset(p), shape_.I, bias, 0, out, vectors * W);
    }

    const T* h_before(int64_t s, int64_t rank) const {
        if (seq_.fresh(s, rank)) return call_.h_initial;
        const int64_t b = seq_.row(rank);
        return s == 0 ? call_.h0 + b * shape_.H : call_.y.at(seq_.time(s - 1, rank), b);
    }

    const T* c_before(int64_t s, int64_t rank) const {
        if (!C::kHasC) return nullptr;
        if (seq_.fresh(s, rank)) return call_.c_initial;
        const int64_t at = seq_.row(rank) * shape_.H;
        if (s == 0) return call_.c0 + at;
        return call_.saved ? saved(s - 1, rank) + 4 * Hp_ : call_.cn + at;
    }

    T* saved(int64_t s, int64_t rank) const {
        return call_.saved ? call_.saved + seq_.place(s, rank) * C::kSaved * Hp_ : nullptr;
    }

    void gather_rows(const Member& me, int64_t s, int64_t rows) const {
        const T** h = h_rows(me);
        ForwardRow<T>* list = row_list(me);
        for (int64_t i = 0; i < rows; ++i) {
            const int64_t rank = me.rank(i), b = seq_.row(rank);
            h[i] = h_before(s, rank);
            T* c = C::kHasC && call_.cn ? call_.cn + b * shape_.H : nullptr;
            list[i] = {h[i], c_before(s, rank), call_.y.at(seq_.time(s, rank), b), c, saved(s, rank)};
        }
    }

    // One panel of units of one step, for all rows of the group.
    void step(const Member& me, int64_t p, int64_t rows, int64_t done, int64_t tokens) const {
        const int vectors = layout_.hh.vectors(p);
        const int64_t stride = vectors * W;
        const T* W_panel = call_.packed + layout_.at_hh + layout_.hh.offset(p);
        const T* bias_n = call_.packed + layout_.at_bias_n + layout_.hh.first_block(p) * W;
        for_tiles(rows, vectors, [&](int64_t first, int height) {
            alignas(64) T local[kMaxRows * kMaxVectors * W], aside[kMaxRows * W];
            T* sums = local;
            if (steps_at_once_ > 1)
                sums = ahead(me, p, tokens) + (done + first) * stride;
            else
                input_tile(p, x_rows(me) + first, height, sums);
            C::between(sums, stride, height, bias_n, aside);
            tile_for<T>(height, vectors)(h_rows(me) + first, 1, W_panel, shape_.H, sums, stride, sums, stride);
            for (int r = 0; r < height; ++r) finish(p, sums + r * stride, aside + r * W, row_list(me)[first + r]);
        });
    }

    void finish(int64_t p, const T* sums, const T* aside, const ForwardRow<T>& row) const {
        for (int b = 0; b < layout_.hh.blocks_in(p); ++b) {
            const int64_t u = (layout_.hh.first_block(p) + b) * W;
            const int n = static_cast<int>(shape_.H - u < W ? shape_.H - u : W);
            C::forward(shape_.f, sums + b * C::kGates * W, aside, row, u, n, Hp_);
        }
    }

    void write_final(const Member& me) const {
        for (int64_t i = 0, n = me.mine(seq_.B); i < n; ++i) {
            const int64_t rank = me.rank(i), at = seq_.row(rank) * shape_.H, steps = seq_.steps(rank);
            clear_padding(call_.y, seq_, rank, shape_.H);
            const T* h = steps == 0 ? call_.h0 + at : call_.y.at(seq_.time(steps - 1, rank), seq_.row(rank));
            copy(call_.hn + at, h);
            if (!C::kHasC) continue;
            if (steps == 0)
                copy(call_.cn + at, call_.c0 + at);
            else if (call_.saved)
                copy(call_.cn + at, saved(steps - 1, rank) + 4 * Hp_);
        }
    }

    void copy(T* to, const T* from) const {
        if (to != from && shape_.H > 0) std::memcpy(to, from, shape_.H * sizeof(T));
    }
};

// As many threads as have something to do: nothing is shared here that an idle one could help with.
template <template <class> class Cell, class T>
int asked_threads(const ForwardCall<T>& call) {
    const Shape& shape = call.shape;
    const int64_t of_step = Cell<T>::kGates * shape.H * shape.H, of_input = Cell<T>::kGates * shape.H * shape.I;
    const int threads = threads_for(call.seq.before(call.seq.T) * (of_step + of_input), call.threads);
    const Grid grid = Grid::choose(threads, call.seq.B, PackedLayout<Cell, T>(shape).hh.count(), of_step);
    return grid.groups * grid.members;
}

// Memory for the asked number of threads, or for one if OpenMP gives us fewer.
template <template <class> class Cell, class T>
int64_t forward_work(const ForwardCall<T>& call) {
    const int64_t many = Forward<Cell, T>(call, asked_threads<Cell>(call), Arena(nullptr)).bytes;
    const int64_t one = Forward<Cell, T>(call, 1, Arena(nullptr)).bytes;
    return many > one ? many : one;
}

template <template <class> class Cell, class T>
void forward(const ForwardCall<T>& call) {
    run_team(asked_threads<Cell>(call), [&](int threads) { return Forward<Cell, T>(call, threads, Arena(call.work)); });
}

}  // namespace elman::ELMAN_ISA
