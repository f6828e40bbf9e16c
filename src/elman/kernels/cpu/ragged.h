// Sequences of different lengths and with resets, as the engine walks over them.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "engine.h"
#include "tensor.h"

namespace elman {

// Sorts the rows by length, longest first, and counts the tokens before every step; keeps what Sequence points to.
struct Ranks {
    std::vector<int64_t> order, length, of_row, offset;

    Sequence sequence(int64_t T, int64_t B, View lengths, View resets, bool reverse) {
        Sequence seq;
        seq.T = T;
        seq.B = B;
        seq.reverse = reverse;
        if (lengths) sort(T, B, *lengths, seq);
        if (resets) {
            check_memory(*resets, "resets");
            check_number(*resets, "resets", Number::boolean);
            if (!has_sizes(*resets, {T, B})) throw Wrong("resets", "of shape (T, B)", text_of(resets->shape, resets->ndim));
            if (!is_dense(*resets)) throw Wrong("resets", "contiguous", "strided");
            seq.resets = data_of<const uint8_t>(*resets);
        }
        return seq;
    }

private:
    void sort(int64_t T, int64_t B, const DlTensor& t, Sequence& seq) {
        check_memory(t, "lengths");
        check_number(t, "lengths", Number::int64);
        if (!has_sizes(t, {B})) throw Wrong("lengths", "of shape " + text_of(&B, 1), text_of(t.shape, t.ndim));
        const int64_t* given = data_of<const int64_t>(t);
        const int64_t step = t.strides ? t.strides[0] : 1;
        of_row.resize(B);
        for (int64_t b = 0; b < B; ++b) {
            of_row[b] = given[b * step];
            if (of_row[b] < 0 || of_row[b] > T)
                throw Wrong("lengths", "between 0 and the number of steps, " + std::to_string(T), std::to_string(of_row[b]));
        }
        order.resize(B);
        std::iota(order.begin(), order.end(), int64_t{0});
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return of_row[a] > of_row[b]; });
        length.resize(B);
        for (int64_t rank = 0; rank < B; ++rank) length[rank] = of_row[order[rank]];
        offset.assign(T + 1, 0);
        int64_t running = B;
        for (int64_t s = 0; s < T; ++s) {
            while (running > 0 && length[running - 1] <= s) --running;
            offset[s + 1] = offset[s] + running;
        }
        seq.order = order.data();
        seq.length = length.data();
        seq.of_row = of_row.data();
        seq.offset = offset.data();
    }
};

}  // namespace elman
