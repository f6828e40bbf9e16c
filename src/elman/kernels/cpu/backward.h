// The backward pass: backpropagation through time, the same loop as forward.h run from the last step to the first.
//
// For each step a thread multiplies the gradients of the gates of the step after by W, adds what comes from the output,
// and lets the cell turn the gradient of its state into those of its gates. These are kept for a chunk of steps, a few
// hundred tokens; then the threads make the large products of the chunk, d_x, d_U and d_W, while it is in the cache.
// Two chunks alternate, so that a fast thread can go on while a slow one still reads. Nothing is allocated.
//
// Groups keep their tokens apart, each in memory of its own. Where there are many tokens for the size of the weights, each
// group also adds up the gradients of the weights over its own tokens, and the sums are put together at the end: no group
// ever waits for another or reads what another has written. Where the weights are large, all threads share the rows of
// d_U and d_W instead, over the tokens of all groups.
#pragma once

#include "forward.h"
#include "small_input.h"
#include "weight_gradient.h"

namespace elman::ELMAN_ISA {

template <template <class> class Cell, class T>
class Backward {
    static constexpr int W = Simd<T>::W;
    using S = Simd<T>;
    using C = Cell<T>;
    static constexpr int64_t kBytesOfAChunk = 3 << 20, kTokensOfAChunk = 768, kStepsOfABias = 16;

    const BackwardCall<T>& call_;
    const Shape& shape_;
    const Sequence& seq_;
    const int64_t H_, Hp_, K_, width_;  // K_: sums of one product, width_: all planes of a token
    const Panels<T> hh_, ih_;           // panels over the columns of W and of U
    const Grid grid_;
    const int64_t rows_;                // at most, of one group
    const bool apart_;                  // each group adds up the gradients of the weights by itself
    const int64_t steps_of_chunk_, tokens_of_chunk_;  // of one group

    Barrier* barriers_;
    int64_t* dealt_;                    // memory of the deal
    Deal deal_;
    T *hh_packed_, *ih_packed_;
    T *carry_, *d_c_, *d_h_initial_, *d_c_initial_;  // (B, Hp) by row

    // Of the first group; the others' lie `each_group_` bytes apart.
    T* chunks_[2];                      // (tokens of a chunk) x width
    T* d_bias_;                         // (2, width): of the last few steps, and of those after them
    T *h_packed_, *x_packed_;           // the chunk's past states and inputs, for the gradients of W and U
    const T **x_rows_[2], **h_rows_[2]; // (tokens of a chunk), for each of the two chunks
    T *own_ih_, *own_hh_;               // gradients of the weights, where groups are apart; unused by the first
    int64_t each_group_;

    // Of the first thread; the others' lie `each_thread_` bytes apart.
    T* product_;                        // WeightGradient::left_size
    const T** gate_rows_;               // (rows)
    BackwardRow<T>* row_list_;          // (rows)
    int64_t each_thread_;

public:
    int64_t bytes;

    Backward(const BackwardCall<T>& call, int threads, Arena arena)
        : call_(call), shape_(call.shape), seq_(call.seq), H_(shape_.H), Hp_(padded<T>(H_)), K_(C::kGates * Hp_),
          width_(C::kPlanes * Hp_), hh_(column_panels<T>(H_, K_)), ih_(column_panels<T>(shape_.I, K_)),
          grid_(Grid::choose(threads, seq_.B, hh_.count(), K_ * H_)), rows_(Deal::most(seq_, grid_.groups)), apart_(choose_apart()),
          steps_of_chunk_(choose_steps()), tokens_of_chunk_(steps_of_chunk_ * rows_) {
        barriers_ = arena.take<Barrier>(1 + grid_.groups);
        dealt_ = arena.take<int64_t>(Deal::numbers(seq_, grid_.groups));
        hh_packed_ = arena.take<T>(hh_.size());
        ih_packed_ = arena.take<T>(call.d_x.data ? ih_.size() : 0);
        carry_ = arena.take<T>(seq_.B * Hp_);
        d_c_ = arena.take<T>(C::kHasC ? seq_.B * Hp_ : 0);
        d_h_initial_ = arena.take<T>(seq_.resets ? seq_.B * Hp_ : 0);
        d_c_initial_ = arena.take<T>(seq_.resets && C::kHasC ? seq_.B * Hp_ : 0);
        arena.turn_page();
        const int64_t groups = arena.used();
        for (T*& chunk : chunks_) chunk = arena.take<T>(tokens_of_chunk_ * width_);
        d_bias_ = arena.take<T>(2 * width_);
        h_packed_ = arena.take<T>(call.d_hh ? WeightGradient<T>::right_size(H_, tokens_of_chunk_) : 0);
        x_packed_ = arena.take<T>(call.d_ih ? WeightGradient<T>::right_size(shape_.I, tokens_of_chunk_) : 0);
        for (int turn = 0; turn < 2; ++turn) {
            x_rows_[turn] = arena.take<const T*>(tokens_of_chunk_);
            h_rows_[turn] = arena.take<const T*>(tokens_of_chunk_);
        }
        own_ih_ = arena.take<T>(apart_ && call.d_ih ? C::kGates * H_ * shape_.I : 0);
        own_hh_ = arena.take<T>(apart_ && call.d_hh ? C::kGates * H_ * H_ : 0);
        each_group_ = arena.repeat(groups, grid_.groups);
        const int64_t all = arena.used();
        product_ = arena.take<T>(WeightGradient<T>::left_size(tokens_of_chunk_));
        gate_rows_ = arena.take<const T*>(rows_);
        row_list_ = arena.take<BackwardRow<T>>(rows_);
        each_thread_ = arena.repeat(all, threads);
        bytes = arena.used();
    }

    void prepare() {
        for (int i = 0; i < 1 + grid_.groups; ++i) new (barriers_ + i) Barrier;
        deal_ = Deal::make(seq_, grid_.groups, dealt_);
        for (int group = 0; group < grid_.groups; ++group) std::memset(of_group(d_bias_, group), 0, 2 * width_ * sizeof(T));
        if (seq_.resets) std::memset(d_h_initial_, 0, seq_.B * Hp_ * sizeof(T));
        if (seq_.resets && C::kHasC) std::memset(d_c_initial_, 0, seq_.B * Hp_ * sizeof(T));
    }

    void run(int thread) {
        const FlushDenormals flush;
        Member me(grid_, deal_, thread, barriers_);
        pack(me);
        start(me);
        me.meet_team(call_.watch);
        const Share panels(hh_.count(), me.member, grid_.members);
        int turn = 0;
        for (int64_t s1 = seq_.T; s1 > 0; turn ^= 1) {
            const int64_t s0 = s1 > steps_of_chunk_ ? s1 - steps_of_chunk_ : 0;
            if (!me.idle) steps(me, panels, s0, s1, turn);
            if (!apart_) me.meet_team(call_.watch);
            products(me, s0, s1, turn);
            s1 = s0;
        }
        if (!me.idle) step(me, panels, -1, of_group(chunks_[turn ^ 1], me.group), nullptr);
        me.meet_team(call_.watch);
        if (apart_ && seq_.T > 0) {
            add_groups(me, call_.d_ih, own_ih_, C::kGates * H_ * shape_.I);
            add_groups(me, call_.d_hh, own_hh_, C::kGates * H_ * H_);
        }
        if (thread == 0) reduce();
        if (seq_.T == 0 && thread == 0) clear();
    }

private:
    template <class P>
    P* of_group(P* first, int group) const {
        return of_thread(first, each_group_, group);
    }

    // Reading the tokens of the other groups against putting together the sums, in numbers that come from another core.
    bool choose_apart() const {
        const int64_t tokens = seq_.before(seq_.T), weights = C::kGates * H_ * (H_ + shape_.I);
        return grid_.groups > 1 && tokens * (width_ + H_ + shape_.I) / 2 > 3 * (grid_.groups - 1) * weights;
    }

    int64_t choose_steps() const {
        const int64_t rows = apart_ ? rows_ : seq_.B;
        if (seq_.T == 0 || rows == 0) return seq_.T;
        if (seq_.T * rows <= kTokensOfAChunk) return seq_.T;  // one chunk: the gradients of the weights are written once
        const int64_t fit = kBytesOfAChunk / (width_ * static_cast<int64_t>(sizeof(T)));
        const int64_t tokens = fit < 192 ? 192 : fit > kTokensOfAChunk ? kTokensOfAChunk : fit;
        const int64_t steps = tokens / rows < 1 ? 1 : tokens / rows;
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
            fill(carry_ + seq_.row(rank) * Hp_, call_.d_hn ? call_.d_hn + at : nullptr);
            if (C::kHasC) fill(d_c_ + seq_.row(rank) * Hp_, call_.d_cn ? call_.d_cn + at : nullptr);
        }
    }

    void fill(T* padded_row, const T* row) const {
        std::memset(padded_row, 0, Hp_ * sizeof(T));
        if (row && H_ > 0) std::memcpy(padded_row, row, H_ * sizeof(T));
    }

    const T* h_before(int64_t s, int64_t rank) const {
        if (seq_.fresh(s, rank)) return call_.h_initial;
        return s == 0 ? call_.h0 + seq_.row(rank) * H_ : saved(s - 1, rank) + (C::kSaved - 1) * Hp_;
    }

    const T* saved(int64_t s, int64_t rank) const {
        return call_.saved + seq_.place(s, rank) * C::kSaved * Hp_;
    }

    const T* c_before(int64_t s, int64_t rank) const {
        if (!C::kHasC) return nullptr;
        if (seq_.fresh(s, rank)) return call_.c_initial;
        return s == 0 ? call_.c0 + seq_.row(rank) * H_ : saved(s - 1, rank) + 4 * Hp_;
    }

    // The steps of a chunk. A group numbers its tokens of a chunk step by step.
    void steps(Member& me, const Share& panels, int64_t s0, int64_t s1, int turn) const {
        T* chunk = of_group(chunks_[turn], me.group);
        T* now = chunk + list_tokens(me, s0, s1, turn) * width_;
        const T* later = of_group(chunks_[turn ^ 1], me.group);
        for (int64_t s = s1 - 1; s >= s0; --s) {
            if (me.leaves(seq_.T - 1 - s, call_.watch)) return;
            now -= me.mine(seq_.active(s)) * width_;
            if (!is_stopped(call_.watch)) step(me, panels, s, later, now);
            if ((s - s0) % kStepsOfABias == 0) add_up_bias(of_group(d_bias_, me.group), panels);
            me.meet_group(call_.watch);
            later = now;
        }
    }

    // A sum of all steps would round each to the last bit of the whole. Each member adds up the units of its own panels.
    void add_up_bias(T* d_bias, const Share& panels) const {
        for (int64_t p = panels.begin; p < panels.end; ++p)
            for (int plane = 0; plane < C::kPlanes; ++plane)
                for (int b = 0; b < hh_.blocks_in(p); ++b) {
                    T* now = d_bias + plane * Hp_ + (hh_.first_block(p) + b) * W;
                    S::store(now + width_, S::load(now + width_) + S::load(now));
                    S::store(now, typename S::V{});
                }
    }

    // The rows of the input and of the past state of every token of the chunk, for the large products. Returns their number.
    int64_t list_tokens(const Member& me, int64_t s0, int64_t s1, int turn) const {
        const Share mine(s1 - s0, me.member, grid_.members);
        const T **x = of_group(x_rows_[turn], me.group), **h = of_group(h_rows_[turn], me.group);
        int64_t at = 0;
        for (int64_t s = s0; s < s1; ++s) {
            const int64_t rows = me.mine(seq_.active(s));
            for (int64_t i = 0; i < rows && s >= s0 + mine.begin && s < s0 + mine.end; ++i) {
                const int64_t rank = me.rank(i);
                x[at + i] = call_.x.at(seq_.time(s, rank), seq_.row(rank));
                h[at + i] = h_before(s, rank);
            }
            at += rows;
        }
        return at;
    }

    // later: the gradients of the gates of step s + 1, now: where those of step s go. At s = -1 there is no step any more,
    // and what is left is the gradient of the state before the first.
    void step(const Member& me, const Share& panels, int64_t s, const T* later, T* now) const {
        const int64_t rows = me.mine(seq_.active(s)), with_later = me.mine(seq_.active(s + 1));
        const T** gates = of_thread(gate_rows_, each_thread_, me.thread);
        for (int64_t i = 0; i < with_later; ++i) gates[i] = later + i * width_ + C::kFirstHh * Hp_;
        BackwardRow<T>* list = of_thread(row_list_, each_thread_, me.thread);
        for (int64_t i = 0; i < rows; ++i) list[i] = describe(s, me.rank(i), now ? now + i * width_ : nullptr);
        for (int64_t p = panels.begin; p < panels.end; ++p) {
            const int vectors = hh_.vectors(p);
            alignas(64) T sums[kMaxRows * kMaxVectors * W];
            for_tiles(with_later, vectors, [&](int64_t first, int height) {
                tile_for<T>(height, vectors)(gates + first, 1, hh_packed_ + hh_.offset(p), K_, nullptr, 0, sums, vectors * W);
                finish(me, p, s, sums, vectors * W, list + first, height);
            });
            if (me.thread == 0) tick(call_.watch, with_later * K_ * vectors * W);
            if (with_later == rows) continue;
            std::memset(sums, 0, sizeof sums);
            finish(me, p, s, sums, 0, list + with_later, rows - with_later);
        }
    }

    BackwardRow<T> describe(int64_t s, int64_t rank, T* d_gates) const {
        const int64_t b = seq_.row(rank);
        BackwardRow<T> row{};
        row.carry = carry_ + b * Hp_;
        row.d_c = C::kHasC ? d_c_ + b * Hp_ : nullptr;
        row.ends = seq_.steps(rank) == s + 1;
        row.cut = !row.ends && seq_.fresh(s + 1, rank);
        row.d_h_initial = seq_.resets ? d_h_initial_ + b * Hp_ : nullptr;
        row.d_c_initial = seq_.resets && C::kHasC ? d_c_initial_ + b * Hp_ : nullptr;
        if (s < 0) {
            row.d_h0 = call_.d_h0 + b * H_;
            row.d_c0 = C::kHasC ? call_.d_c0 + b * H_ : nullptr;
            return row;
        }
        const int64_t t = seq_.time(s, rank);
        row.h_before = h_before(s, rank);
        row.c_before = c_before(s, rank);
        row.saved = saved(s, rank);
        row.d_y = call_.d_y.data ? call_.d_y.at(t, b) : nullptr;
        row.d_gates = d_gates;
        return row;
    }

    // Turns the sums of a tile, d_h as it comes from the later step, into the gradients of the gates, one vector of units
    // of all its rows after the other, so that the gradient of the bias adds up in registers.
    void finish(const Member& me, int64_t p, int64_t s, const T* sums, int64_t stride, const BackwardRow<T>* list,
                int64_t rows) const {
        T* d_bias = of_group(d_bias_, me.group);
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

    // The large products of a chunk: each group packs and makes d_x for its own tokens; a single group has everybody's help.
    void products(Member& me, int64_t s0, int64_t s1, int turn) const {
        const bool add = s1 < seq_.T;
        if (apart_) {
            prepare_products(me, me.group, me.member, grid_.members, s0, s1, turn);
            me.meet_group(call_.watch);
            weights(me, me.group, me.member, grid_.members, s0, s1, turn, add);
            return;
        }
        if (grid_.groups == 1)
            prepare_products(me, 0, me.thread, grid_.threads, s0, s1, turn);
        else if (!me.idle)
            prepare_products(me, me.group, me.member, grid_.members, s0, s1, turn);
        me.meet_team(call_.watch);
        for (int group = 0; group < grid_.groups; ++group)
            weights(me, group, me.thread, grid_.threads, s0, s1, turn, add || group > 0);
    }

    int64_t tokens_of(const Member& me, int group, int64_t s0, int64_t s1) const {
        int64_t tokens = 0;
        for (int64_t s = s0; s < s1; ++s) tokens += me.deal.count(group, seq_.active(s));
        return tokens;
    }

    // What the gradients of the weights are made of; the gradient of W takes its gates from plane kFirstHh on.
    WeightGradient<T> gradient_of_hh(int group, int64_t tokens, int turn, bool add) const {
        T* out = apart_ && group > 0 ? of_group(own_hh_, group) : call_.d_hh;
        return {of_group(chunks_[turn], group) + C::kFirstHh * Hp_, width_, tokens, of_group(h_rows_[turn], group), H_, H_,
                C::kGates, C::kGateOfHh, out, add, call_.watch};
    }
    WeightGradient<T> gradient_of_ih(int group, int64_t tokens, int turn, bool add) const {
        T* out = apart_ && group > 0 ? of_group(own_ih_, group) : call_.d_ih;
        return {of_group(chunks_[turn], group), width_, tokens, of_group(x_rows_[turn], group), shape_.I, H_, C::kGates,
                C::kGateOfIh, out, add, call_.watch};
    }

    void prepare_products(const Member& me, int group, int part, int parts, int64_t s0, int64_t s1, int turn) const {
        if (is_stopped(call_.watch)) return;
        const bool narrow = is_narrow<T>(shape_.I);
        const int64_t tokens = tokens_of(me, group, s0, s1);
        if (call_.d_hh) gradient_of_hh(group, tokens, turn, false).pack(part, parts, of_group(h_packed_, group));
        if (call_.d_ih && !narrow)
            gradient_of_ih(group, tokens, turn, false).pack(parts - 1 - part, parts, of_group(x_packed_, group));
        if (!call_.d_x.data) return;
        Places places(*this, me, group, s0);
        const Share mine(tokens, part, parts);
        const T* chunk = of_group(chunks_[turn], group);
        if (narrow)
            few_inputs(places, mine, chunk);
        else
            inputs(places, mine, chunk, me.thread == 0);
    }

    void weights(const Member& me, int group, int part, int parts, int64_t s0, int64_t s1, int turn, bool add) const {
        if (is_stopped(call_.watch)) return;
        const int64_t tokens = tokens_of(me, group, s0, s1);
        T* left = of_thread(product_, each_thread_, me.thread);
        if (call_.d_hh) gradient_of_hh(group, tokens, turn, add).run(part, parts, of_group(h_packed_, group), left, me.thread == 0);
        if (!call_.d_ih) return;
        const WeightGradient<T> ih = gradient_of_ih(group, tokens, turn, add);
        if (is_narrow<T>(shape_.I))
            narrow_gradient(ih.d_gates, width_, tokens, ih.rows, shape_.I, H_, C::kGates, C::kGateOfIh, ih.out, add, part, parts);
        else
            ih.run(part, parts, of_group(x_packed_, group), left, me.thread == 0);
    }

    // Where the gradient of the input of a group's token goes; asked for in ascending order of the tokens, from step s on.
    class Places {
        const Backward& of_;
        const Member& me_;
        int group_;
        int64_t s_, before_ = 0;

    public:
        Places(const Backward& of, const Member& me, int group, int64_t s) : of_(of), me_(me), group_(group), s_(s) {}
        T* at(int64_t token) {
            while (token - before_ >= rows()) before_ += rows(), ++s_;
            const int64_t rank = me_.deal.rank(group_, token - before_);
            return of_.call_.d_x.at(of_.seq_.time(s_, rank), of_.seq_.row(rank));
        }

    private:
        int64_t rows() const { return me_.deal.count(group_, of_.seq_.active(s_)); }
    };

    // d_x = (gradients of the gates) U.
    void inputs(const Places& start, const Share& mine, const T* chunk, bool ticks) const {
        for (int64_t p = 0; p < ih_.count() && !is_stopped(call_.watch); ++p) {
            const int vectors = ih_.vectors(p);
            const int64_t first_column = ih_.first_block(p) * W;
            Places places = start;
            for_tiles(mine.end - mine.begin, vectors, [&](int64_t first, int height) {
                alignas(64) T sums[kMaxRows * kMaxVectors * W];
                const T* gates[kMaxRows];
                const int64_t token = mine.begin + first;
                for (int r = 0; r < height; ++r) gates[r] = chunk + (token + r) * width_;
                tile_for<T>(height, vectors)(gates, 1, ih_packed_ + ih_.offset(p), K_, nullptr, 0, sums, vectors * W);
                for (int r = 0; r < height; ++r)
                    write_row(places.at(token + r) + first_column, sums + r * vectors * W, shape_.I - first_column, vectors);
            });
            if (ticks) tick(call_.watch, (mine.end - mine.begin) * K_ * vectors * W);
        }
    }

    // The same for an input of a few features.
    void few_inputs(Places& places, const Share& mine, const T* chunk) const {
        for (int64_t token = mine.begin; token < mine.end; token += W) {
            const int n = static_cast<int>(mine.end - token < W ? mine.end - token : W);
            const T* gates[W];
            for (int r = 0; r < n; ++r) gates[r] = chunk + (token + r) * width_;
            typename S::V sums[W];
            narrow_inputs(gates, n, ih_packed_, shape_.I, K_, sums);
            for (int r = 0; r < n; ++r) {
                T* to = places.at(token + r);
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
            for (int64_t i = width_; i < 2 * width_; ++i) d_bias_[i] += of_group(d_bias_, group)[i];
        const T* d_bias = d_bias_ + width_;
        for (int plane = 0; plane < C::kGates && H_ > 0; ++plane) {
            const int64_t bytes_of_gate = H_ * sizeof(T);
            if (call_.d_b_ih) std::memcpy(call_.d_b_ih + C::kGateOfIh[plane] * H_, d_bias + plane * Hp_, bytes_of_gate);
            if (call_.d_b_hh)
                std::memcpy(call_.d_b_hh + C::kGateOfHh[plane] * H_, d_bias + (C::kFirstHh + plane) * Hp_, bytes_of_gate);
        }
        add_rows(call_.d_h_initial, d_h_initial_);
        if (C::kHasC) add_rows(call_.d_c_initial, d_c_initial_);
    }

    // This thread's share of adding the sums of the other groups to those of the first.
    void add_groups(const Member& me, T* to, const T* own, int64_t numbers) const {
        if (!to) return;
        const Share mine(numbers, me.thread, grid_.threads);
        for (int group = 1; group < grid_.groups; ++group) {
            const T* from = of_group(own, group);
            for (int64_t i = mine.begin; i < mine.end; ++i) to[i] += from[i];
        }
    }

    void add_rows(T* to, const T* rows) const {
        if (!to) return;
        if (H_ > 0) std::memset(to, 0, H_ * sizeof(T));
        if (!seq_.resets) return;  // an empty input
        for (int64_t b = 0; b < seq_.B; ++b)
            for (int64_t u = 0; u < H_; ++u) to[u] += rows[b * Hp_ + u];
    }

    // Without a single step no product has written the gradients of the weights.
    void clear() const {
        if (H_ == 0) return;
        if (call_.d_ih && shape_.I > 0) std::memset(call_.d_ih, 0, C::kGates * H_ * shape_.I * sizeof(T));
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
