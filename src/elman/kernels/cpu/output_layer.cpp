// The output layer with its loss for one instruction set: logits, softmax, cross-entropy and gradients in one pass.
//
// The rows come in chunks. The logits of a chunk, symbol by row, are the only large scratch memory; everything else that a
// product reads lies in the L2 cache. Three products share the work:
//
//     logits_vn = sum over h of V_vh s_nh      a few rows of V against panels of s^T, block by block of symbols
//     dV_vh    += sum over n of p_vn s_nh      a few rows of p against panels of s, into dV itself
//     ds_nh     = sum over v of p_vn V_vh      a few columns of p against panels of V, copied a piece at a time
//
// Every sum is added up in one order (see microkernel.h), that over all symbols piece by piece, and blocks are put together
// in theirs: the results are the same for every number of threads. A row's loss and d_s have the same bits in any batch.
#include "output_layer.h"

#include "pack.h"
#include "softmax.h"
#include "threading.h"

namespace elman::ELMAN_ISA {

namespace {

inline constexpr int64_t kMostRows = 288, kFewestRows = 48;   // of a chunk: s^T and s of more do not fit into the L2 cache
inline constexpr int64_t kMostSymbols = 120, kBlocks = 24;    // of a block; blocks that a small vocabulary is cut into
inline constexpr int64_t kDepth = 120;                        // symbols of a piece of V
inline constexpr int64_t kLeastBytes = int64_t{4} << 20, kMostBytes = int64_t{56} << 20;  // of the logits of a chunk

// Panels of columns as equal as can be.
template <class T>
Panels<T> even_panels(int64_t columns, int64_t K) {
    const int64_t blocks = blocks_of<T>(columns), count = ceil_div(blocks, kMaxVectors);
    return {blocks, 1, static_cast<int>(count ? ceil_div(blocks, count) : 1), K};
}

template <class T>
class OutputLayer {
    static constexpr int W = Simd<T>::W;

    const OutputCall<T>& call_;
    const int threads_;
    int64_t chunk_ = 0, stride_ = 0;    // rows of a chunk, and numbers from one symbol's logits to the next
    int64_t symbols_ = 0, blocks_ = 0;  // of a block, and how many there are
    double sum_of_weights_ = 0;

    Barrier* barrier_;
    std::atomic<int64_t>* tickets_;  // three counters of pieces of work, each on a line of its own
    T *transposed_, *panels_;        // s^T and s of a chunk
    T* logits_;                      // (V, stride), or without gradients (symbols of a block, stride) for each thread
    T* d_s_;                         // (panels, rows of the chunk, vectors of the panel)
    T* target_logits_;               // (rows of the chunk)
    T *of_target_, *of_others_;      // (rows of the chunk)
    BlockStatistics<T> statistics_;  // (blocks, stride)
    T* piece_;                       // of V and of the probabilities, for each thread
    int64_t logits_each_ = 0, piece_each_ = 0;

public:
    int64_t bytes;

    OutputLayer(const OutputCall<T>& call, int threads, Arena arena) : call_(call), threads_(threads) {
        cut();
        barrier_ = arena.take<Barrier>(1);
        tickets_ = arena.take<std::atomic<int64_t>>(3 * kApart);
        target_logits_ = arena.take<T>(stride_);
        of_target_ = arena.take<T>(stride_);
        of_others_ = arena.take<T>(stride_);
        statistics_.largest = arena.take<T>(blocks_ * stride_);
        statistics_.sum = arena.take<T>(blocks_ * stride_);
        statistics_.weighted = call.smoothing != 0 ? arena.take<T>(blocks_ * stride_) : nullptr;
        transposed_ = arena.take<T>(padded<T>(chunk_) * call.H);
        panels_ = call.d_weight ? arena.take<T>(chunk_ * padded<T>(call.H)) : nullptr;
        d_s_ = call.wants_d_s() ? arena.take<T>(chunk_ * padded<T>(call.H)) : nullptr;
        arena.turn_page();
        int64_t begin = arena.used();
        piece_ = arena.take<T>(call.wants_d_s() ? kDepth * (features_of_part() * W + chunk_) : 0);
        piece_each_ = arena.repeat(begin, threads);
        begin = arena.used();
        logits_ = arena.take<T>((call.gradients ? call.V : symbols_) * stride_);
        logits_each_ = arena.repeat(begin, call.gradients ? 1 : threads);
        bytes = arena.used();
    }

    void prepare() {
        new (barrier_) Barrier;
        for (int i = 0; i < 3; ++i) new (tickets_ + i * kApart) std::atomic<int64_t>(0);
        sum_of_weights_ = static_cast<double>(call_.V);
        if (call_.class_weight && call_.smoothing != 0) {
            sum_of_weights_ = 0;
            for (int64_t v = 0; v < call_.V; ++v) sum_of_weights_ += call_.class_weight[v];
        }
    }

    void run(int thread) {
        const FlushDenormals flush;
        Team team{*this, thread};
        for (int64_t n0 = 0; n0 < call_.N && !is_stopped(call_.watch); n0 += chunk_) {
            const Chunk chunk{n0, n0 + chunk_ < call_.N ? chunk_ : call_.N - n0};
            pack(team, chunk);
            const Panels<T> panels = even_panels<T>(chunk.rows, call_.H);
            team.share(blocks_, [&](int64_t b) {
                block_logits(chunk, panels, b, thread);
                return work(b, chunk) * call_.H;
            });
            team.share(ceil_div(chunk.rows, W), [&](int64_t i) {
                for (int64_t n = i * W; n < (i + 1) * W; ++n) reduce(chunk, n);
                return blocks_ * W * 20;
            });
            if (!call_.gradients) continue;
            team.share(blocks_, [&](int64_t b) {
                probabilities(chunk, b);
                if (call_.d_weight) weight_gradient(chunk, b);
                return work(b, chunk) * call_.H;
            });
            if (d_s_) input_gradient(team, chunk);
        }
    }

private:
    static constexpr int64_t kApart = 64 / sizeof(std::atomic<int64_t>);

    struct Chunk {
        int64_t first, rows;
    };

    // A thread among those that share pieces of work. Between two rounds all of them meet.
    struct Team {
        const OutputLayer& layer;
        const int thread;
        int64_t round = 0;

        // Runs body(i) for each of `count` pieces, which returns its multiply-adds, on whichever thread is free.
        template <class Body>
        void share(int64_t count, Body&& body) {
            auto& ticket = layer.tickets_[round % 3 * kApart];
            if (thread == 0) layer.tickets_[(round + 1) % 3 * kApart].store(0, std::memory_order_relaxed);
            for (int64_t i; !is_stopped(layer.call_.watch) && (i = ticket.fetch_add(1, std::memory_order_relaxed)) < count;) {
                const int64_t spent = body(i);
                if (thread == 0) tick(layer.call_.watch, spent);
            }
            if (layer.barrier_->meet(layer.threads_, ++round) && thread == 0) tick(layer.call_.watch, kBetweenLooks);
        }
    };

    // How rows and symbols are cut; it depends on the sizes alone.
    void cut() {
        const int64_t N = call_.N, V = call_.V;
        symbols_ = V < kBlocks * kMostSymbols ? ceil_div(ceil_div(V, kBlocks), 6) * 6 : kMostSymbols;
        blocks_ = ceil_div(V, symbols_);
        int64_t most = kMostRows;
        if (call_.gradients) {
            const int64_t whole = V * N * static_cast<int64_t>(sizeof(T)) / 5;
            const int64_t limit = whole < kLeastBytes ? kLeastBytes : whole > kMostBytes ? kMostBytes : whole;
            most = limit / ((V + 3 * call_.H + 2 * blocks_) * static_cast<int64_t>(sizeof(T))) / W * W;
            most = most < kFewestRows ? kFewestRows : most > kMostRows ? kMostRows : most;
        }
        chunk_ = padded<T>(ceil_div(N, ceil_div(N, most)));
        // Columns of logits are read too: from one to the next no multiple of four lines, which would share few sets of the cache.
        stride_ = chunk_ + (chunk_ / W % 4 ? 0 : W);
    }

    int64_t first_symbol(int64_t b) const { return b * symbols_; }
    int64_t symbols_of(int64_t b) const { return call_.V - b * symbols_ < symbols_ ? call_.V - b * symbols_ : symbols_; }
    int64_t work(int64_t b, const Chunk& chunk) const { return symbols_of(b) * chunk.rows; }
    BlockStatistics<T> statistics(int64_t b) const {
        return {statistics_.largest + b * stride_, statistics_.sum + b * stride_,
                statistics_.weighted ? statistics_.weighted + b * stride_ : nullptr};
    }

    // s^T by panels of rows, and s by panels of features.
    void pack(Team& team, const Chunk& chunk) const {
        const Panels<T> by_row = even_panels<T>(chunk.rows, call_.H), by_feature = even_panels<T>(call_.H, chunk.rows);
        team.share(by_row.blocks + (panels_ ? by_feature.count() : 0), [&](int64_t i) {
            if (i < by_row.blocks)
                pack_transposed(chunk, by_row, i);
            else
                pack_features(chunk, by_feature, i - by_row.blocks);
            return chunk.rows * W;
        });
    }

    void pack_transposed(const Chunk& chunk, const Panels<T>& panels, int64_t block) const {
        const int64_t p = block / panels.per_panel, step = panels.vectors(p) * W, n0 = block * W, H = call_.H;
        T* out = transposed_ + panels.offset(p) + (block - panels.first_block(p)) * W;
        for (int64_t h = 0; h < H; h += W) {
            const int width = static_cast<int>(H - h < W ? H - h : W);
            typename Simd<T>::V rows[W] = {};
            for (int lane = 0; lane < W && n0 + lane < chunk.rows; ++lane)
                rows[lane] = Simd<T>::load(call_.rows[chunk.first + n0 + lane].s + h, width);
            transpose<T>(rows);
            for (int i = 0; i < width; ++i) Simd<T>::store(out + (h + i) * step, rows[i]);
        }
    }

    void pack_features(const Chunk& chunk, const Panels<T>& panels, int64_t p) const {
        T* out = panels_ + panels.offset(p);
        const int64_t h0 = panels.first_block(p) * W;
        for (int64_t n = 0; n < chunk.rows; ++n)
            for (int v = 0; v < panels.vectors(p); ++v, out += W) {
                const int64_t left = call_.H - h0 - v * W;
                Simd<T>::store(out, Simd<T>::load(call_.rows[chunk.first + n].s + h0 + v * W, static_cast<int>(left < W ? left : W)));
            }
    }

    // Logits of a block of symbols, panel by panel of rows, made exponentials while they lie in the L1 cache.
    void block_logits(const Chunk& chunk, const Panels<T>& panels, int64_t b, int thread) const {
        const int64_t v0 = first_symbol(b), symbols = symbols_of(b), H = call_.H;
        T* logits = call_.gradients ? logits_ + v0 * stride_ : of_thread(logits_, logits_each_, thread);
        const T* bias = call_.bias ? call_.bias + v0 : nullptr;
        for (int64_t p = 0; p < panels.count(); ++p) {
            const int64_t n0 = panels.first_block(p) * W;
            const int vectors = panels.vectors(p);
            for_tiles(symbols, vectors, [&](int64_t first, int height) {
                const T* a[kMaxRows];
                for (int r = 0; r < height; ++r) a[r] = call_.weight + (v0 + first + r) * H;
                if (p == 0) prefetch_rows(a[0] + height * H, height * H);
                tile_for<T>(height, vectors)(a, 1, transposed_ + panels.offset(p), H, nullptr, 0, logits + first * stride_ + n0, stride_);
            });
            for (int64_t n = n0; n < n0 + vectors * W && n < chunk.rows; ++n) {
                const int64_t v = call_.rows[chunk.first + n].target - v0;
                if (v >= 0 && v < symbols) target_logits_[n] = logits[v * stride_ + n] + (bias ? bias[v] : T(0));
            }
            for (int i = 0; i < vectors; ++i)
                exponentials<T>(logits + n0 + i * W, stride_, symbols, bias, call_.class_weight ? call_.class_weight + v0 : nullptr,
                                statistics(b), n0 + i * W);
        }
    }

    static void prefetch_rows(const T* from, int64_t numbers) {
        for (int64_t i = 0; i < numbers; i += 64 / sizeof(T)) __builtin_prefetch(from + i, 0, 2);
    }

    void reduce(const Chunk& chunk, int64_t n) const {
        if (n >= chunk.rows) {  // the padding has no probabilities
            for (int64_t b = 0; b < blocks_; ++b) statistics_.largest[b * stride_ + n] = 0;
            of_target_[n] = of_others_[n] = 0;
            return;
        }
        const OutputRow<T>& row = call_.rows[chunk.first + n];
        const RowLoss made = reduce_row<T>(call_, row, statistics_, stride_, blocks_, n, target_logits_[n], sum_of_weights_);
        *row.loss = static_cast<T>(made.loss);
        of_target_[n] = static_cast<T>(made.of_target);
        of_others_[n] = static_cast<T>(made.of_others);
    }

    // The gradient of the logits of a block, in their place, and that of the bias.
    void probabilities(const Chunk& chunk, int64_t b) const {
        using S = Simd<T>;
        const int64_t v0 = first_symbol(b), width = padded<T>(chunk.rows);
        const T* factor = statistics(b).largest;
        for (int64_t v = v0; v < v0 + symbols_of(b); ++v) {
            T* row = logits_ + v * stride_;
            if (call_.smoothing == 0) {
                for (int64_t n = 0; n < width; n += W) S::store(row + n, S::load(row + n) * S::load(factor + n));
                continue;
            }
            const auto w = S::broadcast(call_.class_weight ? -call_.class_weight[v] : T(-1));
            for (int64_t n = 0; n < width; n += W)
                S::store(row + n, S::fused(w, S::load(of_others_ + n), S::load(row + n) * S::load(factor + n)));
        }
        for (int64_t n = 0; n < chunk.rows; ++n) {
            const int64_t v = call_.rows[chunk.first + n].target - v0;
            if (v >= 0 && v < symbols_of(b)) logits_[(v0 + v) * stride_ + n] -= of_target_[n];
        }
        if (!call_.d_bias) return;
        for (int64_t v = v0; v < v0 + symbols_of(b); ++v) {
            typename S::V sum{};
            for (int64_t n = 0; n < chunk.rows; n += W)
                sum += S::load(logits_ + v * stride_ + n, static_cast<int>(chunk.rows - n < W ? chunk.rows - n : W));
            T total = chunk.first ? call_.d_bias[v] : T(0);
            for (int lane = 0; lane < W; ++lane) total += sum[lane];
            call_.d_bias[v] = total;
        }
    }

    void weight_gradient(const Chunk& chunk, int64_t b) const {
        const Panels<T> panels = even_panels<T>(call_.H, chunk.rows);
        const int64_t v0 = first_symbol(b), H = call_.H;
        for_tiles(symbols_of(b), panels.per_panel, [&](int64_t first, int height) {
            const T* a[kMaxRows];
            for (int r = 0; r < height; ++r) a[r] = logits_ + (v0 + first + r) * stride_;
            T* const rows = call_.d_weight + (v0 + first) * H;
            if (chunk.first) prefetch_rows(rows + height * H, v0 + first + 2 * height <= call_.V ? height * H : 0);
            for (int64_t p = 0; p < panels.count(); ++p) {
                const int64_t h0 = panels.first_block(p) * W;
                const int vectors = panels.vectors(p);
                const T* right = panels_ + panels.offset(p);
                if (h0 + vectors * W <= H) {
                    tile_for<T>(height, vectors)(a, 1, right, chunk.rows, chunk.first ? rows + h0 : nullptr, H, rows + h0, H);
                    continue;
                }
                alignas(64) T sums[kMaxRows * kMaxVectors * W];
                copy(height, vectors, rows + h0, H, sums, vectors * W, H - h0, chunk.first != 0);
                tile_for<T>(height, vectors)(a, 1, right, chunk.rows, chunk.first ? sums : nullptr, vectors * W, sums, vectors * W);
                copy(height, vectors, sums, vectors * W, rows + h0, H, H - h0, true);
            }
        });
    }

    // The first `columns` numbers of some rows of some vectors.
    static void copy(int64_t rows, int vectors, const T* from, int64_t from_step, T* to, int64_t to_step, int64_t columns, bool wanted) {
        for (int64_t r = 0; wanted && r < rows; ++r)
            for (int v = 0; v < vectors && v * W < columns; ++v) {
                const int n = static_cast<int>(columns - v * W < W ? columns - v * W : W);
                Simd<T>::store(to + r * to_step + v * W, Simd<T>::load(from + r * from_step + v * W, n), n);
            }
    }

    // The pieces that the features are split into for d_s, and the blocks of the largest one.
    int64_t feature_parts() const {
        const int64_t panels = ceil_div(blocks_of<T>(call_.H), kMaxVectors);
        return panels < threads_ ? panels : threads_;
    }
    int64_t features_of_part() const { return ceil_div(blocks_of<T>(call_.H), feature_parts()); }

    // d_s, split by features and where these are too few also by rows: every sum runs over all symbols.
    void input_gradient(Team& team, const Chunk& chunk) const {
        const int64_t parts = feature_parts(), of_rows = ceil_div(threads_, parts);
        team.share(parts * of_rows, [&](int64_t i) {
            const Share blocks(blocks_of<T>(call_.H), static_cast<int>(i % parts), static_cast<int>(parts));
            const Share vectors(ceil_div(chunk.rows, W), static_cast<int>(i / parts), static_cast<int>(of_rows));
            const Part part{blocks.begin, blocks.end, vectors.begin * W, vectors.end * W < chunk.rows ? vectors.end * W : chunk.rows};
            for (int64_t v0 = 0; v0 < call_.V && !is_stopped(call_.watch); v0 += kDepth) add_piece(team, chunk, part, v0);
            write_input_gradient(chunk, part);
            return kBetweenLooks;
        });
    }

    // Blocks of features and rows of a chunk.
    struct Part {
        int64_t begin, end, n0, n1;
        template <class Body>
        void panels(Body&& body) const {
            for (int64_t block = begin; block < end; block += kMaxVectors)
                body(block, static_cast<int>(end - block < kMaxVectors ? end - block : kMaxVectors));
        }
    };

    // Adds what kDepth symbols from v0 on give. Both factors are copied first, along the lines in which they lie.
    void add_piece(const Team& team, const Chunk& chunk, const Part& part, int64_t v0) const {
        const int64_t depth = call_.V - v0 < kDepth ? call_.V - v0 : kDepth;
        T* const right = of_thread(piece_, piece_each_, team.thread);
        T* const left = right + kDepth * features_of_part() * W;
        for (int64_t k = 0; k < depth; ++k) {
            const T* source = call_.weight + (v0 + k) * call_.H;
            part.panels([&](int64_t block, int vectors) {
                T* out = right + (block - part.begin) * W * depth + k * vectors * W;
                for (int64_t v = 0; v < vectors; ++v) {
                    const int64_t at = (block + v) * W, n = call_.H - at;
                    Simd<T>::store(out + v * W, Simd<T>::load(source + at, static_cast<int>(n < W ? n : W)));
                }
            });
        }
        const int64_t rows = part.n1 - part.n0;
        for_tiles(rows, kMaxVectors, [&](int64_t first, int height) { pack_left(part.n0 + first, height, v0, depth, left + first * depth); });
        part.panels([&](int64_t block, int vectors) {
            T* const out = d_s_ + block * W * chunk.rows;
            for_tiles(rows, kMaxVectors, [&](int64_t first, int height) {
                const T* a[kMaxRows];
                for (int r = 0; r < height; ++r) a[r] = left + first * depth + r;
                alignas(64) T sums[kMaxRows * kMaxVectors * W];
                tile_for<T>(height, vectors)(a, height, right + (block - part.begin) * W * depth, depth, nullptr, 0, sums, vectors * W);
                T* const total = out + (part.n0 + first) * vectors * W;
                for (int i = 0; i < height * vectors * W; i += W) {
                    const auto sum = Simd<T>::load(sums + i);
                    Simd<T>::store(total + i, v0 ? Simd<T>::load(total + i) + sum : sum);
                }
            });
            if (team.thread == 0) tick(call_.watch, rows * vectors * W * depth);
        });
    }

    // left[symbol][row of the tile]
    void pack_left(int64_t n, int height, int64_t v0, int64_t depth, T* left) const {
        const T* source = logits_ + v0 * stride_ + n;
        constexpr int usual = rows_of_tile(kMaxVectors);
        for (int64_t k = 0; k < depth; ++k, source += stride_, left += height) {
            if (height == usual)
                std::memcpy(left, source, usual * sizeof(T));
            else
                for (int r = 0; r < height; ++r) left[r] = source[r];
        }
    }

    void write_input_gradient(const Chunk& chunk, const Part& part) const {
        part.panels([&](int64_t block, int vectors) {
            for (int64_t n = part.n0; n < part.n1; ++n)
                copy(1, vectors, d_s_ + block * W * chunk.rows + n * vectors * W, 0, call_.rows[chunk.first + n].d_s + block * W, 0,
                     call_.H - block * W, true);
        });
    }
};

template <class T>
int threads_of(const OutputCall<T>& call) {
    return threads_for(call.N * call.V * (call.H + 1) * (call.gradients ? 3 : 1), call.threads);
}

}  // namespace

template <class T>
int64_t output_bytes(const OutputCall<T>& call) {
    const int64_t many = OutputLayer<T>(call, threads_of(call), Arena(nullptr)).bytes;
    const int64_t one = OutputLayer<T>(call, 1, Arena(nullptr)).bytes;
    return many > one ? many : one;
}

template <class T>
void output(const OutputCall<T>& call) {
    run_team(threads_of(call), [&](int threads) { return OutputLayer<T>(call, threads, Arena(call.work)); });
}

template int64_t output_bytes<float>(const OutputCall<float>&);
template int64_t output_bytes<double>(const OutputCall<double>&);
template void output<float>(const OutputCall<float>&);
template void output<double>(const OutputCall<double>&);

}  // namespace elman::ELMAN_ISA
