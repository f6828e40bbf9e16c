// The vector type that all kernels are written in: one register of the instruction set that the file is compiled for.
//
// This header is compiled once per instruction set, each time in its own namespace (ELMAN_ISA), so that code for one
// machine can never be merged by the linker with code for another. Only `fused` and the partial loads and stores need
// intrinsics; everything else is GCC's and Clang's vector extension, which gives the portable version for free.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace elman::ELMAN_ISA {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
inline constexpr int kRegisters = 32;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
inline constexpr int kRegisters = 16;
#else
inline constexpr int kVectorBytes = 16;
inline constexpr int kRegisters = 16;
#endif

template <class T>
struct Bits;
template <>
struct Bits<float> {
    using type = int32_t;
};
template <>
struct Bits<double> {
    using type = int64_t;
};

// A vector of W numbers of type T. V and I are plain registers; they are passed by value and never own memory.
template <class T>
struct Simd {
    typedef T V __attribute__((vector_size(kVectorBytes)));
    typedef typename Bits<T>::type I __attribute__((vector_size(kVectorBytes)));
    static constexpr int W = kVectorBytes / sizeof(T);

    static inline V load(const T* p) {
        V v;
        std::memcpy(&v, p, sizeof v);
        return v;
    }
    static inline void store(T* p, V v) { std::memcpy(p, &v, sizeof v); }
    static inline V broadcast(T s) { return s - V{}; }  // not V{} + s, which turns -0 into 0
    static inline V select(I mask, V yes, V no) { return mask ? yes : no; }
    static inline I bits(V v) { return reinterpret_cast<I>(v); }
    static inline V from_bits(I i) { return reinterpret_cast<V>(i); }

    static inline V fused(V a, V b, V c);               // a * b + c, rounded once where the machine can
    static inline V load_first(const T* p, int n);      // the first n of W numbers, zeros behind them
    static inline void store_first(T* p, V v, int n);   // writes the first n numbers and touches no other memory

    // What a caller at the ragged right edge of a row uses: n >= W means the whole vector.
    static inline V load(const T* p, int n) { return n >= W ? load(p) : load_first(p, n); }
    static inline void store(T* p, V v, int n) {
        if (n >= W)
            store(p, v);
        else
            store_first(p, v, n);
    }
};

#if defined(__AVX512F__)

template <>
inline Simd<float>::V Simd<float>::fused(V a, V b, V c) {
    return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
template <>
inline Simd<double>::V Simd<double>::fused(V a, V b, V c) {
    return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
template <>
inline Simd<float>::V Simd<float>::load_first(const float* p, int n) {
    return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
template <>
inline Simd<double>::V Simd<double>::load_first(const double* p, int n) {
    return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
}
template <>
inline void Simd<float>::store_first(float* p, V v, int n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
template <>
inline void Simd<double>::store_first(double* p, V v, int n) {
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
}

#elif defined(__AVX2__)

template <>
inline Simd<float>::V Simd<float>::fused(V a, V b, V c) {
    return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
template <>
inline Simd<double>::V Simd<double>::fused(V a, V b, V c) {
    return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
inline __m256i first_lanes32(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first_lanes64(int n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
template <>
inline Simd<float>::V Simd<float>::load_first(const float* p, int n) {
    return (V)_mm256_maskload_ps(p, first_lanes32(n));
}
template <>
inline Simd<double>::V Simd<double>::load_first(const double* p, int n) {
    return (V)_mm256_maskload_pd(p, first_lanes64(n));
}
template <>
inline void Simd<float>::store_first(float* p, V v, int n) {
    _mm256_maskstore_ps(p, first_lanes32(n), (__m256)v);
}
template <>
inline void Simd<double>::store_first(double* p, V v, int n) {
    _mm256_maskstore_pd(p, first_lanes64(n), (__m256d)v);
}

#else

template <class T>
inline typename Simd<T>::V Simd<T>::fused(V a, V b, V c) {
    return a * b + c;
}
template <class T>
inline typename Simd<T>::V Simd<T>::load_first(const T* p, int n) {
    V v{};
    for (int i = 0; i < n; ++i) v[i] = p[i];
    return v;
}
template <class T>
inline void Simd<T>::store_first(T* p, V v, int n) {
    for (int i = 0; i < n; ++i) p[i] = v[i];
}

#endif

// The numbers of two vectors, a's numbered from 0 and b's from W, in the order that is asked for.
template <class T, int... Lane>
inline typename Simd<T>::V pick(typename Simd<T>::V a, typename Simd<T>::V b, std::integer_sequence<int, Lane...>) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, Lane...);
#else
    return __builtin_shuffle(a, b, typename Simd<T>::I{Lane...});
#endif
}

// Exchanges, in pairs of rows `Distance` apart, the blocks off the diagonal.
template <class T, int Distance, int... Lane>
inline void exchange_blocks(typename Simd<T>::V* rows, std::integer_sequence<int, Lane...>) {
    constexpr int W = Simd<T>::W;
    using Upper = std::integer_sequence<int, (Lane & Distance ? W + Lane - Distance : Lane)...>;
    using Lower = std::integer_sequence<int, (Lane & Distance ? W + Lane : Lane + Distance)...>;
#pragma GCC unroll 16
    for (int r = 0; r < W; ++r) {
        if (r & Distance) continue;
        const auto a = rows[r], b = rows[r + Distance];
        rows[r] = pick<T>(a, b, Upper{});
        rows[r + Distance] = pick<T>(a, b, Lower{});
    }
}

// Makes columns of the rows of W vectors.
template <class T, int Distance = Simd<T>::W / 2>
inline void transpose(typename Simd<T>::V* rows) {
    exchange_blocks<T, Distance>(rows, std::make_integer_sequence<int, Simd<T>::W>{});
    if constexpr (Distance > 1) transpose<T, Distance / 2>(rows);
}

// Tiny numbers that fall below the normal range cost hundreds of cycles each; while one of these lives they are zero.
class FlushDenormals {
#if defined(__SSE2__)
    unsigned before_ = __builtin_ia32_stmxcsr();

public:
    FlushDenormals() { __builtin_ia32_ldmxcsr(before_ | 0x8040u); }
    ~FlushDenormals() { __builtin_ia32_ldmxcsr(before_); }
#else
public:
    FlushDenormals() {}
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace elman::ELMAN_ISA
