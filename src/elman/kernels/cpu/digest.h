// A digest of memory, to notice whatever changes in it, at about the speed at which it can be read.
//
// The memory is read as rows of 32 words of 64 bits. Each of the 32 lanes goes from a state s and a word w to
// rotate(s xor w) * odd, which is one to one in s and in w: two memories that differ in one word of a lane give different
// states for certain. Words that differ in several places of a lane may meet again, by chance, with 2^-64. The states are
// compared as they are, not put together.
#pragma once

#include <cstring>

#include "engine.h"
#include "simd.h"

namespace elman::ELMAN_ISA {

inline void digest(const void* data, int64_t bytes, Digest& out) {
    typedef uint64_t V __attribute__((vector_size(kVectorBytes)));
    constexpr int kVectors = sizeof(Digest) / kVectorBytes, kLanes = kVectorBytes / 8;
    constexpr uint64_t kOdd = 0x9E3779B185EBCA87u;
    V state[kVectors];
    for (int v = 0; v < kVectors; ++v)
        for (int lane = 0; lane < kLanes; ++lane) state[v][lane] = kOdd * static_cast<uint64_t>(v * kLanes + lane + 1);
    const auto row = [&](const char* from) {
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) {
            V word;
            std::memcpy(&word, from + v * kVectorBytes, sizeof word);
            const V mixed = state[v] ^ word;
            state[v] = (mixed << 31 | mixed >> 33) * kOdd;
        }
    };
    const char* at = static_cast<const char*>(data);
    constexpr int64_t kRow = sizeof(Digest);
    for (; bytes >= kRow; bytes -= kRow, at += kRow) row(at);
    if (bytes > 0) {
        char last[kRow] = {};
        std::memcpy(last, at, static_cast<size_t>(bytes));
        row(last);
    }
    std::memcpy(&out, state, sizeof out);
}

}  // namespace elman::ELMAN_ISA
