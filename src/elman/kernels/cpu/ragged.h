// Sequences of different lengths and with resets, as the engine walks over them.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "arguments.h"

namespace elman {

// Sorts the rows by length, longest first, and counts the tokens before every step; keeps what Sequence points to.
struct Ranks {
    std::vector<int64_t> order, length, of_row, offset;

    Sequence sequence(int64_t T, int64_t B, nb::handle lengths, nb::handle resets, bool reverse) {
        Sequence seq;
        seq.T = T;
        seq.B = B;
        seq.reverse = reverse;
        if (!lengths.is_none()) sort(T, B, lengths, seq);
        if (!resets.is_none()) {
            const DlTensor t = exchange->describe(resets, "resets");
            if (number_of(t) != Number::boolean || t.ndim != 2 || t.shape[0] != T || t.shape[1] != B)
                wrong("resets", "a (T, B) tensor of booleans");
            if (t.strides && T > 0 && B > 0 && ((B > 1 && t.strides[1] != 1) || (T > 1 && t.strides[0] != B)))
                wrong("resets", "contiguous");
            seq.resets = data_of<const uint8_t>(t);
        }
        return seq;
    }

private:
    void sort(int64_t T, int64_t B, nb::handle lengths, Sequence& seq) {
        const DlTensor t = exchange->describe(lengths, "lengths");
        if (number_of(t) != Number::int64 || t.ndim != 1 || t.shape[0] != B) wrong("lengths", "a (B,) tensor of int64");
        const int64_t* given = data_of<const int64_t>(t);
        const int64_t step = t.strides ? t.strides[0] : 1;
        of_row.resize(B);
        for (int64_t b = 0; b < B; ++b) {
            of_row[b] = given[b * step];
            if (of_row[b] < 0 || of_row[b] > T) wrong("lengths", "between 0 and the number of steps");
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
