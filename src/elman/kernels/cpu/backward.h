// The backward pass: backpropagation through time, the same loop as forward.h run from the last step to the first.
//
// For each step a thread multiplies the gradients of the gates of the step after by W, adds what comes from the output,
// and lets the cell turn the gradient of its state into those of its gates. These are kept for a chunk of steps, a few
// hundred tokens; then the threads make the large products of the chunk, d_x, d_U and d_W, while it is in the cache.
// Two chunks alternate, so that a fast thread can go on while a slow one still reads. Nothing is allocated.
#pragma once

#include "forward.h"
#include "narrow.h"
#include "product.h"

namespace elman::ELMAN_ISA {

template <template <class> class Cell, class T>
class Backward {
    static constexpr int W = Simd<T>::W;
    using S = Simd<T>;
    using C = Cell<T>;
    static constexpr int64_t kBytesOfAChunk = 3 << 20, kTokensOfAChunk = 768;

    const BackwardCall<T>& call_;
    const Shape& shape_;
    const Sequence& seq_;
    const int64_t H_, Hp_, K_, width_;  // K_: sums of one product, width_: all planes of a token
    const Panels<T> hh_, ih_;           // panels over the columns of W and of U
    const Grid grid_;
    const int64_t rows_, steps_of_chunk_, tokens_of_chunk_;

    Barrier* barriers_;
    T *hh_packed_, *ih_packed_;
    T* chunks_[2];                      // (tokens of a chunk) x width
    T *carry_, *d_c_, *d_h_initial_, *d_c_initial_;  // (B, Hp) by rank
    T* d_bias_;                         // (groups, width)
    T *h_packed_, *x_packed_;           // the chunk's past states and inputs, for the gradients of W and U
    T* product_;                        // (threads) x WeightGradient::left_size
    const T **x_rows_[2], **h_rows_[2]; // (tokens of a chunk), for each of the two chunks
    const T** gate_rows_;               // (threads) x (tokens of a chunk of the group)
    BackwardRow<T>* row_list_;          // (threads) x (rows)

public:
    int64_t bytes;

    Backward(const BackwardCall<T>& call, int threads, Arena arena)
        : call_(call), shape_(call.shape), seq_(call.seq), H_(shape_.H), Hp_(padded<T>(H_)), K_(C::kGates * Hp_),
          width_(C::kPlanes * Hp_), hh_(column_panels<T>(H_, K_)), ih_(column_panels<T>(shape_.I, K_)),
          grid_(Grid::choose(threads, seq_.B, hh_.count(), K_ * H_)), rows_(grid_.rows(seq_.B)),
          steps_of_chunk_(choose_steps()), tokens_of_chunk_(steps_of_chunk_ * seq_.B) {
        barriers_ = arena.take<Barrier>(1 + grid_.groups);
        hh_packed_ = arena.take<T>(hh_.size());
        ih_packed_ = arena.take<T>(call.d_x.data ? ih_.size() : 0);
        chunks_[0] = arena.take<T>(tokens_of_chunk_ * width_);
        chunks_[1] = arena.take<T>(tokens_of_chunk_ * width_);
        carry_ = arena.take<T>(seq_.B * Hp_);
        d_c_ = arena.take<T>(C::kHasC ? seq_.B * Hp_ : 0);
        d_h_initial_ = arena.take<T>(seq_.resets ? seq_.B * Hp_ : 0);
        d_c_initial_ = arena.take<T>(seq_.resets && C::kHasC ? seq_.B * Hp_ : 0);
        d_bias_ = arena.take<T>(grid_.groups * width_);
        h_packed_ = arena.take<T>(call.d_hh ? WeightGradient<T>::right_size(H_, tokens_of_chunk_) : 0);
        x_packed_ = arena.take<T>(call.d_ih ? WeightGradient<T>::right_size(shape_.I, tokens_of_chunk_) : 0);
        product_ = arena.take<T>(threads * WeightGradient<T>::left_size(tokens_of_chunk_));
        for (int turn = 0; turn < 2; ++turn) {
            x_rows_[turn] = arena.take<const T*>(tokens_of_chunk_);
            h_rows_[turn] = arena.take<const T*>(tokens_of_chunk_);
        }
        gate_rows_ = arena.take<const T*>(threads * rows_ * steps_of_chunk_);
        row_list_ = arena.take<BackwardRow<T>>(threads * rows_);
        bytes = arena.used();
    }

    void prepare() {
        for (int i = 0; i < 1 + grid_.groups; ++i) new (barriers_ + i) Barrier;
        std::memset(d_bias_, 0, grid_.groups * width_ * sizeof(T));
        if (seq_.resets) std::memset(d_h_initial_, 0, seq_.B * Hp_ * sizeof(T));
        if (seq_.resets && C::kHasC) std::memset(d_c_initial_, 0, seq_.B * Hp_ * sizeof(T));
    }

    void run(int thread) {
        const FlushDenormals flush;
        Member me(grid_, thread, barriers_);
        pack(me);
        start(me);
        me.meet_team();
        const Share panels(hh_.count(), me.member, grid_.members);
        int turn = 0;
        for (int64_t s1 = seq_.T; s1 > 0; turn ^= 1) {
            const int64_t s0 = s1 > steps_of_chunk_ ? s1 - steps_of_chunk_ : 0;
            list_tokens(me, s0, s1, turn);
            for (int64_t s = s1 - 1; s >= s0; --s) {
                T* now = chunks_[turn] + (seq_.before(s) - seq_.before(s0)) * width_;
                step(me, panels, s, s + 1 < s1 ? now + seq_.active(s) * width_ : chunks_[turn ^ 1], now);
                me.meet_group();
            }
            me.meet_team();
            products(me, s0, s1, turn);
            s1 = s0;
        }
        step(me, panels, -1, chunks_[turn ^ 1], nullptr);
        me.meet_team();
        if (thread == 0) reduce();
        if (seq_.T == 0 && thread == 0) clear();
    }

private:
    int64_t choose_steps() const {
        if (seq_.T == 0 || seq_.B == 0) return seq_.T;
        if (seq_.T * seq_.B <= kTokensOfAChunk) return seq_.T;  // one chunk: the gradients of the weights are written once
        const int64_t fit = kBytesOfAChunk / (width_ * static_cast<int64_t>(sizeof(T)));
        const int64_t tokens = fit < 192 ? 192 : fit > kTokensOfAChunk ? kTokensOfAChunk : fit;
        const int64_t steps = tokens / seq_.B < 1 ? 1 : tokens / seq_.B;
        return steps < seq_.T ? steps : seq_.T;
    }

    void pack(const Member& me) const {
        const Share hh(hh_.count(), me.thread, grid_.threads);
        for (int64_t p = hh.begin; p < hh.end; ++p)
            pack_columns(hh_, p, call_.weights.hh, H_, H_, C::kGateOfHh, C::kGates, hh_packed_ + hh_.offset(p));
        if (!call_.d_x.data) return;
        if (is_narrow<T>(shape_.I)) {
            if (me.thread == 0) pack_features(call_.weights.ih, shape_.I, H_, C::kGateOfIh, C::kGates, ih_packed_);
            return;
        }
        const Share ih(ih_.count(), me.thread, grid_.threads);
        for (int64_t p = ih.begin; p < ih.end; ++p)
            pack_columns(ih_, p, call_.weights.ih, shape_.I, H_, C::kGateOfIh, C::kGates, ih_packed_ + ih_.offset(p));
    }

    // The gradients of the final state wait where the row's last step will look for them.
    void start(const Member& me) const {
        const Share ranks(seq_.B, me.thread, grid_.threads);
        for (int64_t rank = ranks.begin; rank < ranks.end; ++rank) {
            const int64_t at = seq_.row(rank) * H_;
            if (call_.d_x.data) clear_padding(call_.d_x, seq_, rank, shape_.I);
            fill(carry_ + rank * Hp_, call_.d_hn ? call_.d_hn + at : nullptr);
            if (C::kHasC) fill(d_c_ + rank * Hp_, call_.d_cn ? call_.d_cn + at : nullptr);
        }
    }

    void fill(T* padded_row, const T* row) const {
        std::memset(padded_row, 0, Hp_ * sizeof(T));
        if (row) std::memcpy(padded_row, row, H_ * sizeof(T));
    }

    const T* h_before(int64_t s, int64_t rank) const {
        if (seq_.fresh(s, rank)) return call_.h_initial;
        const int64_t b = seq_.row(rank);
        return s == 0 ? call_.h0 + b * H_ : call_.y.at(seq_.time(s - 1, rank), b);
    }

    const T* saved(int64_t s, int64_t rank) const {
        return C::kSaved ? call_.saved + seq_.token(s, rank) * C::kSaved * Hp_ : nullptr;
    }

    const T* c_before(int64_t s, int64_t rank) const {
        if (!C::kHasC) return nullptr;
        if (seq_.fresh(s, rank)) return call_.c_initial;
        return s == 0 ? call_.c0 + seq_.row(rank) * H_ : saved(s - 1, rank) + 4 * Hp_;
    }

    // The rows of the input and of the past state of every token of the chunk, for the large products.
    void list_tokens(const Member& me, int64_t s0, int64_t s1, int turn) const {
        const Share steps(s1 - s0, me.thread, grid_.threads);
        for (int64_t s = s0 + steps.begin; s < s0 + steps.end; ++s)
            for (int64_t rank = 0, n = seq_.active(s); rank < n; ++rank) {
                const int64_t at = seq_.token(s, rank) - seq_.before(s0);
                x_rows_[turn][at] = call_.x.at(seq_.time(s, rank), seq_.row(rank));
                h_rows_[turn][at] = h_before(s, rank);
            }
    }

    // later: the gradients of the gates of step s + 1, now: where those of step s go. At s = -1 there is no step any more,
    // and what is left is the gradient of the state before the first.
    void step(const Member& me, const Share& panels, int64_t s, const T* later, T* now) const {
        const int64_t rows = me.mine(seq_.active(s)), with_later = me.mine(seq_.active(s + 1));
        const T** gates = gate_rows_ + me.thread * rows_ * steps_of_chunk_;
        for (int64_t i = 0; i < with_later; ++i) gates[i] = later + me.rank(i) * width_ + C::kFirstHh * Hp_;
        BackwardRow<T>* list = row_list_ + me.thread * rows_;
        for (int64_t i = 0; i < rows; ++i) list[i] = describe(s, me.rank(i), now);
        for (int64_t p = panels.begin; p < panels.end; ++p) {
            const int vectors = hh_.vectors(p);
            alignas(64) T sums[kMaxRows * kMaxVectors * W];
            for_tiles(with_later, vectors, [&](int64_t first, int height) {
                tile_for<T>(height, vectors)(gates + first, 1, hh_packed_ + hh_.offset(p), K_, nullptr, 0, sums, vectors * W);
                finish(me, p, s, sums, vectors * W, list + first, height);
            });
            if (with_later == rows) continue;
            std::memset(sums, 0, sizeof sums);
            finish(me, p, s, sums, 0, list + with_later, rows - with_later);
        }
    }

    BackwardRow<T> describe(int64_t s, int64_t rank, T* now) const {
        const int64_t b = seq_.row(rank);
        BackwardRow<T> row{};
        row.carry = carry_ + rank * Hp_;
        row.d_c = C::kHasC ? d_c_ + rank * Hp_ : nullptr;
        row.ends = seq_.steps(rank) == s + 1;
        row.cut = !row.ends && seq_.fresh(s + 1, rank);
        row.d_h_initial = seq_.resets ? d_h_initial_ + rank * Hp_ : nullptr;
        row.d_c_initial = seq_.resets && C::kHasC ? d_c_initial_ + rank * Hp_ : nullptr;
        if (s < 0) {
            row.d_h0 = call_.d_h0 + b * H_;
            row.d_c0 = C::kHasC ? call_.d_c0 + b * H_ : nullptr;
            return row;
        }
        const int64_t t = seq_.time(s, rank);
        row.h_before = h_before(s, rank);
        row.c_before = c_before(s, rank);
        row.h = call_.y.at(t, b);
        row.saved = saved(s, rank);
        row.d_y = call_.d_y.data ? call_.d_y.at(t, b) : nullptr;
        row.d_gates = now + rank * width_;
        return row;
    }

    // Turns the sums of a tile, d_h as it comes from the later step, into the gradients of the gates, one vector of units
    // of all its rows after the other, so that the gradient of the bias adds up in registers.
    void finish(const Member& me, int64_t p, int64_t s, const T* sums, int64_t stride, const BackwardRow<T>* list,
                int64_t rows) const {
        T* d_bias = d_bias_ + me.group * width_;
        for (int b = 0; b < hh_.blocks_in(p); ++b) {
            const int64_t u = (hh_.first_block(p) + b) * W;
            const int n = static_cast<int>(H_ - u < W ? H_ - u : W);
            typename S::V bias[C::kPlanes] = {};
            for (int64_t i = 0; i < rows; ++i) {
                const BackwardRow<T>& row = list[i];
                auto d_h = S::load(sums + i * stride + b * W);
                if (C::kCarries || row.ends) d_h += S::load(row.carry + u);
                if (row.cut) d_h = cut(d_h, row, u);
                if (s < 0) {
                    S::store(row.d_h0 + u, d_h, n);
                    if (C::kHasC) S::store(row.d_c0 + u, S::load(row.d_c + u), n);
                    continue;
                }
                if (row.d_y) d_h += S::load(row.d_y + u, n);
                C::backward(shape_.f, d_h, row, u, n, Hp_, bias);
            }
            if (s < 0) continue;
            for (int plane = 0; plane < C::kPlanes; ++plane) {
                T* at = d_bias + plane * Hp_ + u;
                S::store(at, S::load(at) + bias[plane]);
            }
        }
    }

    // The later step began from the initial state, so its gradient goes there, and nothing reaches the step before.
    static typename S::V cut(typename S::V d_h, const BackwardRow<T>& row, int64_t u) {
        S::store(row.d_h_initial + u, S::load(row.d_h_initial + u) + d_h);
        if (C::kHasC) {
            S::store(row.d_c_initial + u, S::load(row.d_c_initial + u) + S::load(row.d_c + u));
            S::store(row.d_c + u, typename S::V{});
        }
        return typename S::V{};
    }

    void products(Member& me, int64_t s0, int64_t s1, int turn) const {
        const T* chunk = chunks_[turn];
        const int64_t tokens = seq_.before(s1) - seq_.before(s0);
        const bool add = s1 < seq_.T;
        const WeightGradient<T> hh{chunk + C::kFirstHh * Hp_, width_, tokens, h_rows_[turn], H_, H_, C::kGates,
                                   C::kGateOfHh, call_.d_hh, add};
        const WeightGradient<T> ih{chunk, width_, tokens, x_rows_[turn], shape_.I, H_, C::kGates, C::kGateOfIh,
                                   call_.d_ih, add};
        T* left = product_ + me.thread * WeightGradient<T>::left_size(tokens_of_chunk_);
        if (call_.d_hh) hh.pack(me.thread, grid_.threads, h_packed_);
        const bool narrow = is_narrow<T>(shape_.I);
        if (call_.d_ih && !narrow) ih.pack(grid_.threads - 1 - me.thread, grid_.threads, x_packed_);
        if (call_.d_x.data && narrow) few_inputs(me, s0, s1, chunk);
        if (call_.d_x.data && !narrow) inputs(me, s0, s1, chunk);
        me.meet_team();
        if (call_.d_hh) hh.run(me.thread, grid_.threads, h_packed_, left);
        if (call_.d_ih && narrow)
            narrow_gradient(chunk, width_, tokens, x_rows_[turn], shape_.I, H_, C::kGates, C::kGateOfIh, call_.d_ih, add,
                            me.thread, grid_.threads);
        if (call_.d_ih && !narrow) ih.run(me.thread, grid_.threads, x_packed_, left);
    }

    // d_x = (gradients of the gates) U, the rows shared by all threads.
    void inputs(const Member& me, int64_t s0, int64_t s1, const T* chunk) const {
        const int64_t tokens = seq_.before(s1) - seq_.before(s0);
        const Share mine(tokens, me.thread, grid_.threads);
        for (int64_t p = 0; p < ih_.count(); ++p) {
            const int vectors = ih_.vectors(p);
            const int64_t first_column = ih_.first_block(p) * W;
            int64_t s = s0;
            for_tiles(mine.end - mine.begin, vectors, [&](int64_t first, int height) {
                alignas(64) T sums[kMaxRows * kMaxVectors * W];
                const T* gates[kMaxRows];
                const int64_t token = mine.begin + first;
                for (int r = 0; r < height; ++r) gates[r] = chunk + (token + r) * width_;
                tile_for<T>(height, vectors)(gates, 1, ih_packed_ + ih_.offset(p), K_, nullptr, 0, sums, vectors * W);
                for (int r = 0; r < height; ++r) {
                    const int64_t at = seq_.before(s0) + token + r;
                    while (seq_.before(s + 1) <= at) ++s;
                    const int64_t rank = at - seq_.before(s);
                    write_row(call_.d_x.at(seq_.time(s, rank), seq_.row(rank)) + first_column, sums + r * vectors * W,
                              shape_.I - first_column, vectors);
                }
            });
        }
    }

    // The same for an input of a few features.
    void few_inputs(const Member& me, int64_t s0, int64_t s1, const T* chunk) const {
        const int64_t first = seq_.before(s0);
        const Share mine(seq_.before(s1) - first, me.thread, grid_.threads);
        int64_t s = s0;
        for (int64_t token = mine.begin; token < mine.end; token += W) {
            const int n = static_cast<int>(mine.end - token < W ? mine.end - token : W);
            const T* gates[W];
            for (int r = 0; r < n; ++r) gates[r] = chunk + (token + r) * width_;
            typename S::V sums[W];
            narrow_inputs(gates, n, ih_packed_, shape_.I, K_, sums);
            for (int r = 0; r < n; ++r) {
                const int64_t at = first + token + r;
                while (seq_.before(s + 1) <= at) ++s;
                const int64_t rank = at - seq_.before(s);
                T* to = call_.d_x.at(seq_.time(s, rank), seq_.row(rank));
                for (int64_t i = 0; i < shape_.I; ++i) to[i] = sums[i][r];
            }
        }
    }

    static void write_row(T* to, const T* from, int64_t n, int vectors) {
        for (int v = 0; v < vectors; ++v) {
            const int64_t left = n - v * W;
            S::store(to + v * W, S::load(from + v * W), static_cast<int>(left < W ? left : W));
        }
    }

    // Adds up what the groups and rows have gathered, in their order, so that the result does not depend on timing.
    void reduce() const {
        for (int group = 1; group < grid_.groups; ++group)
            for (int64_t i = 0; i < width_; ++i) d_bias_[i] += d_bias_[group * width_ + i];
        for (int plane = 0; plane < C::kGates; ++plane) {
            const int64_t bytes_of_gate = H_ * sizeof(T);
            if (call_.d_b_ih) std::memcpy(call_.d_b_ih + C::kGateOfIh[plane] * H_, d_bias_ + plane * Hp_, bytes_of_gate);
            if (call_.d_b_hh)
                std::memcpy(call_.d_b_hh + C::kGateOfHh[plane] * H_, d_bias_ + (C::kFirstHh + plane) * Hp_, bytes_of_gate);
        }
        add_rows(call_.d_h_initial, d_h_initial_);
        if (C::kHasC) add_rows(call_.d_c_initial, d_c_initial_);
    }

    void add_rows(T* to, const T* rows) const {
        if (!to) return;
        std::memset(to, 0, H_ * sizeof(T));
        if (!seq_.resets) return;  // an empty input
        for (int64_t rank = 0; rank < seq_.B; ++rank)
            for (int64_t u = 0; u < H_; ++u) to[u] += rows[rank * Hp_ + u];
    }

    // Without a single step no product has written the gradients of the weights.
    void clear() const {
        if (call_.d_ih) std::memset(call_.d_ih, 0, C::kGates * H_ * shape_.I * sizeof(T));
        if (call_.d_hh) std::memset(call_.d_hh, 0, C::kGates * H_ * H_ * sizeof(T));
    }
};

template <template <class> class Cell, class T>
int asked_threads(const BackwardCall<T>& call) {
    const int64_t tokens = call.seq.before(call.seq.T);
    return threads_for(tokens * Cell<T>::kGates * call.shape.H * (call.shape.I + call.shape.H), call.threads);
}

template <template <class> class Cell, class T>
int64_t backward_work(const BackwardCall<T>& call) {
    const int64_t many = Backward<Cell, T>(call, asked_threads<Cell>(call), Arena(nullptr)).bytes;
    const int64_t one = Backward<Cell, T>(call, 1, Arena(nullptr)).bytes;
    return many > one ? many : one;
}

template <template <class> class Cell, class T>
void backward(const BackwardCall<T>& call) {
    run_team(asked_threads<Cell>(call), [&](int threads) { return Backward<Cell, T>(call, threads, Arena(call.work)); });
}

}  // namespace elman::ELMAN_ISA
