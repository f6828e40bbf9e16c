// Softmax and cross-entropy of a block of logits, symbol by row, in place, while they lie in the L1 cache.
//
// A block is a few symbols for all rows of a chunk. It is left as e^(logit - m), m its own largest logit of the row, so that
// no block waits for another one; `Reduction` puts the blocks together, and `probabilities` scales each one.
#pragma once

#include <cmath>
#include <limits>

#include "activations.h"

namespace elman::ELMAN_ISA {

// Statistics of one block: for each row of the chunk, `stride` apart those of the next block.
template <class T>
struct BlockStatistics {
    T* largest;   // after the reduction the factor that makes probabilities, times the scale of the row
    T* sum;       // of e^(logit - largest)
    T* weighted;  // of class weight * logit; null where there is no label smoothing
};

// e^y for y <= 0 or NaN, 0 from where it is no longer a normal number.
template <class T>
inline typename Simd<T>::V exponential_below_zero(typename Simd<T>::V y) {
    using S = Simd<T>;
    const auto least = S::broadcast(-Exponential<T>::kLimit);
    typename S::V scale, part;
    exponential<T>(S::select(y < least, least, y), scale, part);
    return S::select(y < least, typename S::V{}, S::fused(scale, part, scale));
}

// One vector of rows over the `symbols` of a block, whose logits are `stride` apart; the bias is added here.
template <class T>
inline void exponentials(T* logits, int64_t stride, int64_t symbols, const T* bias, const T* class_weight,
                         const BlockStatistics<T>& block, int64_t at) {
    using S = Simd<T>;
    auto largest = S::broadcast(std::numeric_limits<T>::lowest());
    typename S::V weighted{};
    for (int64_t v = 0; v < symbols; ++v) {
        auto x = S::load(logits + v * stride);
        if (bias) {
            x += S::broadcast(bias[v]);
            S::store(logits + v * stride, x);
        }
        largest = S::select(x > largest, x, largest);
        if (block.weighted) weighted = class_weight ? S::fused(x, S::broadcast(class_weight[v]), weighted) : weighted + x;
    }
    typename S::V sum{};
    for (int64_t v = 0; v < symbols; ++v) {
        const auto e = exponential_below_zero<T>(S::load(logits + v * stride) - largest);
        S::store(logits + v * stride, e);
        sum += e;
    }
    S::store(block.largest + at, largest);
    S::store(block.sum + at, sum);
    if (block.weighted) S::store(block.weighted + at, weighted);
}

// What a row needs beside its blocks.
struct RowLoss {
    double loss, factor, of_target, of_others;
};

// Puts the blocks of one row together: the loss, and the parts of the gradient of its logits,
//
//     factor * p_v - of_target [v is the target] - of_others w_v
template <class T>
inline RowLoss reduce_row(const OutputCall<T>& call, const OutputRow<T>& row, const BlockStatistics<T>& first, int64_t stride,
                          int64_t blocks, int64_t at, double target_logit, double sum_of_weights) {
    double largest = std::numeric_limits<T>::lowest(), sum = 0, weighted = 0;
    for (int64_t b = 0; b < blocks; ++b) largest = std::fmax(largest, first.largest[b * stride + at]);
    for (int64_t b = 0; b < blocks; ++b) {
        sum += first.sum[b * stride + at] * std::exp(first.largest[b * stride + at] - largest);
        if (first.weighted) weighted += first.weighted[b * stride + at];
    }
    const double log_sum = largest + std::log(sum), of_all = call.smoothing / static_cast<double>(call.V);
    const double w = call.class_weight ? call.class_weight[row.target] : 1.0, of_target = (1 - call.smoothing) * w;
    RowLoss made;
    made.loss = of_target * (log_sum - target_logit) + call.z * log_sum * log_sum;
    if (of_all != 0) made.loss += of_all * (sum_of_weights * log_sum - weighted);
    made.factor = row.scale * (of_target + of_all * sum_of_weights + 2 * call.z * log_sum);
    made.of_target = row.scale * of_target;
    made.of_others = row.scale * of_all;
    for (int64_t b = 0; b < blocks; ++b)
        first.largest[b * stride + at] = static_cast<T>(made.factor * (std::exp(first.largest[b * stride + at] - largest) / sum));
    return made;
}

}  // namespace elman::ELMAN_ISA
