// Forward and backward passes of every cell on several threads, for ThreadSanitizer: `make tsan`.
//
// Shapes are chosen so that each way of sharing the work occurs: rows in groups, units among members, sums of groups put
// together, chunks that alternate, lengths, resets, two Python threads at once, and a call that is ended in the middle.
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "calls.h"
#include "output_call.h"

using namespace elman;

namespace {

struct Case {
    int kind;
    int64_t T, B, I, H;
    int threads;
    bool ragged, reverse, ended;
};

class Tensors {
    std::vector<std::vector<double>> memory_;
    std::vector<std::vector<int64_t>> sizes_;
    std::vector<DlTensor> tensors_;

public:
    Tensors() { tensors_.reserve(64); }
    template <class T>
    View make(std::vector<int64_t> sizes, DlType type, const std::vector<T>& numbers) {
        memory_.emplace_back(numbers.size() * sizeof(T) / sizeof(double) + 1);
        std::memcpy(memory_.back().data(), numbers.data(), numbers.size() * sizeof(T));
        sizes_.push_back(std::move(sizes));
        tensors_.push_back({memory_.back().data(), {1, 0}, static_cast<int32_t>(sizes_.back().size()), type, sizes_.back().data(), nullptr, 0});
        return &tensors_.back();
    }
    View floats(std::mt19937& rng, std::vector<int64_t> sizes) {
        int64_t count = 1;
        for (int64_t size : sizes) count *= size;
        std::vector<float> numbers(count);
        std::normal_distribution<float> normal(0, 0.2f);
        for (float& number : numbers) number = normal(rng);
        return make(std::move(sizes), {2, 32, 1}, numbers);
    }
};

void end_at_once(Watch& watch) { watch.stopped.store(true); }

void run(const Case& c, unsigned seed) {
    std::mt19937 rng(seed);
    Tensors tensors;
    const bool with_c = has_c(static_cast<Kind>(c.kind));
    const int64_t rows = gates_of(static_cast<Kind>(c.kind)) * c.H;
    View call[c_count] = {};
    call[c_x] = tensors.floats(rng, {c.T, c.B, c.I});
    call[c_h] = tensors.floats(rng, {c.B, c.H});
    call[c_ih] = tensors.floats(rng, {rows, c.I});
    call[c_hh] = tensors.floats(rng, {rows, c.H});
    call[c_b_ih] = tensors.floats(rng, {rows});
    call[c_b_hh] = tensors.floats(rng, {rows});
    call[c_h_initial] = tensors.floats(rng, {c.H});
    if (with_c) call[c_c] = tensors.floats(rng, {c.B, c.H});
    if (with_c) call[c_c_initial] = tensors.floats(rng, {c.H});
    if (c.ragged) {
        std::vector<int64_t> lengths(c.B);
        for (int64_t& length : lengths) length = rng() % (c.T + 1);
        call[c_lengths] = tensors.make({c.B}, {0, 64, 1}, lengths);
        std::vector<uint8_t> resets(c.T * c.B);
        for (uint8_t& reset : resets) reset = rng() % 5 == 0;
        call[c_resets] = tensors.make({c.T, c.B}, {6, 8, 1}, resets);
    }
    const Shape shape = shape_of(c.kind, 0, call[c_ih], call[c_hh]);
    const View y = tensors.floats(rng, {c.T, c.B, c.H}), hn = tensors.floats(rng, {c.B, c.H});
    const View cn = with_c ? tensors.floats(rng, {c.B, c.H}) : nullptr;
    const View saved = tensors.floats(rng, {c.T * c.B, engine<float>().saved_width(shape)});
    Watch watch;
    watch.look = end_at_once;
    watch.spent = 1'900'000;  // so that the first look is soon
    Watch* const ended = c.ended ? &watch : nullptr;
    ForwardRun<float>(nullptr, shape, call, c.reverse, c.threads, {y, hn, cn, saved}, ended).run();
    const View weights[4] = {call[c_ih], call[c_hh], call[c_b_ih], call[c_b_hh]};
    const Packed packed = Packing(c.kind, 0, weights, c.threads).run();
    if (!packed.matches(weights, false, c.threads)) std::abort();
    ForwardRun<float>(&packed, shape, call, c.reverse, c.threads, {y, hn, cn, nullptr}, nullptr).run();
    ForwardRun<float>(nullptr, shape, call, c.reverse, c.threads, {y, hn, cn, saved}, nullptr).run();
    View made[kMade] = {};
    for (size_t i = 0; i < kMade; ++i)
        if (call[i]) made[i] = tensors.floats(rng, std::vector<int64_t>(call[i]->shape, call[i]->shape + call[i]->ndim));
    const View given[g_count] = {tensors.floats(rng, {c.T, c.B, c.H}), tensors.floats(rng, {c.B, c.H}), nullptr};
    if (c.ended && !watch.stopped.load()) std::abort();
    watch.stopped.store(false);
    watch.spent = 1'900'000;
    BackwardRun<float>(shape, call, c.reverse, c.threads, saved, given, made, nullptr).run();
    if (!c.ended) return;
    BackwardRun<float>(shape, call, c.reverse, c.threads, saved, given, made, ended).run();
    if (!watch.stopped.load()) std::abort();
}

// The output layer: chunks of rows, blocks of symbols, more threads than panels, and a call that is ended.
void run_output(int64_t N, int64_t H, int64_t V, int threads, bool ended, unsigned seed) {
    std::mt19937 rng(seed);
    Tensors tensors;
    std::vector<int64_t> targets(N);
    for (int64_t& target : targets) target = rng() % V;
    View call[o_count] = {};
    call[o_s] = tensors.floats(rng, {N, H});
    call[o_weight] = tensors.floats(rng, {V, H});
    call[o_bias] = tensors.floats(rng, {V});
    call[o_target] = tensors.make({N}, {0, 64, 1}, targets);
    call[o_loss] = tensors.floats(rng, {N});
    OutputRun<float>(call, 0, 0.0, 0.0, threads, nullptr).run();
    call[o_scale] = tensors.floats(rng, {N});
    call[o_d_s] = tensors.floats(rng, {N, H});
    call[o_d_weight] = tensors.floats(rng, {V, H});
    call[o_d_bias] = tensors.floats(rng, {V});
    Watch watch;
    watch.look = end_at_once;
    watch.spent = 1'900'000;
    OutputRun<float>(call, 0, 0.1, 0.1, threads, ended ? &watch : nullptr).run();
    if (ended && !watch.stopped.load()) std::abort();
}

}  // namespace

int main() {
    engines = &portable_engines();
    std::vector<Case> cases;
    for (int kind = 0; kind < kKinds; ++kind)
        for (bool ragged : {false, true}) {
            cases.push_back({kind, 36, 12, 5, 33, 2, ragged, ragged, false});    // groups of rows, apart
            cases.push_back({kind, 12, 12, 70, 96, 2, ragged, !ragged, false});  // groups that share the weights' gradients
            cases.push_back({kind, 20, 2, 20, 180, 2, ragged, ragged, false});   // members of one group
            cases.push_back({kind, 12, 12, 20, 110, 4, ragged, ragged, false});  // two members in each of two groups
            cases.push_back({kind, 220, 4, 1, 64, 2, ragged, ragged, false});    // several chunks, few inputs
            cases.push_back({kind, 60, 2, 20, 180, 2, ragged, ragged, true});    // ended by a signal
        }
    for (const Case& c : cases) run(c, 1);
    std::printf("%zu cases\n", cases.size());
    std::fflush(stdout);
    for (int threads : {2, 5}) {
        run_output(330, 40, 300, threads, false, 1);
        run_output(60, 90, 300, threads, false, 1);
        run_output(330, 40, 300, threads, true, 1);
    }
    // What two calls share, the pool of memory and OpenMP, does not depend on the cell.
    std::vector<Case> shared;
    for (const Case& c : cases)
        if (c.kind == static_cast<int>(Kind::lstm) && c.T < 50) shared.push_back(c);
    std::thread first([&] { for (const Case& c : shared) run(c, 2); });
    std::thread second([&] { for (const Case& c : shared) run(c, 3); });
    first.join();
    second.join();
    std::printf("%zu cases on two threads at once\n", shared.size());
}
