// tanh and sigmoid on vectors, from one exponential of a reduced argument.
//
//     e^y = 2^n e^r,  n = round(y / ln 2),  |r| <= ln 2 / 2,  e^r - 1 = r + r^2 (1/2! + r/3! + r^2/4! + ...)
//     tanh x    = m / (m + 2)      with m = e^(2|x|) - 1, and the sign of x
//     sigmoid x = 1 / (1 + e^-x)
//
// The series is Taylor's, cut where its error falls below the last bit. Bounds over every float32, held by tests: a
// relative error of 2^-22 for tanh, and for sigmoid where x >= -87; left of it sigmoid is below 2e-38. NaN stays NaN.
#pragma once

#include "engine.h"
#include "simd.h"

namespace elman::ELMAN_ISA {

template <class T>
struct Exponential;

template <>
struct Exponential<float> {
    static constexpr int kMantissa = 23;
    static constexpr int32_t kOne = 0x3F800000;           // the bits of 1.0
    static constexpr float kRound = 12582912.0f;          // 1.5 * 2^23: adding it rounds to an integer
    static constexpr float kLn2High = 0.693359375f;       // ln 2 in two parts, the first with trailing zeros
    static constexpr float kLn2Low = -2.12194440e-4f;
    static constexpr float kLimit = 87.3f;                // e^-kLimit is still a normal number
    static constexpr float kTanhLimit = 9.1f;             // tanh rounds to 1 from here on
    static constexpr int kTerms = 6;                      // 1/2! .. 1/7!
};

template <>
struct Exponential<double> {
    static constexpr int kMantissa = 52;
    static constexpr int64_t kOne = 0x3FF0000000000000;
    static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double kLn2High = 0.693147180369123816490;
    static constexpr double kLn2Low = 1.90821492927058770002e-10;
    static constexpr double kLimit = 708.0;
    static constexpr double kTanhLimit = 20.0;
    static constexpr int kTerms = 12;                     // 1/2! .. 1/13!
};

template <class T>
inline constexpr T kOneOverFactorial[] = {
    T(1.0L / 2),         T(1.0L / 6),          T(1.0L / 24),          T(1.0L / 120),
    T(1.0L / 720),       T(1.0L / 5040),       T(1.0L / 40320),       T(1.0L / 362880),
    T(1.0L / 3628800),   T(1.0L / 39916800),   T(1.0L / 479001600),   T(1.0L / 6227020800),
};

// Splits e^y into scale * (1 + part), for |y| <= kLimit.
template <class T>
inline void exponential(typename Simd<T>::V y, typename Simd<T>::V& scale, typename Simd<T>::V& part) {
    using S = Simd<T>;
    using E = Exponential<T>;
    const auto round = S::broadcast(E::kRound);
    const auto shifted = S::fused(y, S::broadcast(T(1.44269504088896340735992L)), round);
    const auto n = shifted - round;
    auto r = S::fused(n, S::broadcast(-E::kLn2High), y);
    r = S::fused(n, S::broadcast(-E::kLn2Low), r);
    auto series = S::broadcast(kOneOverFactorial<T>[E::kTerms - 1]);
#pragma GCC unroll 16
    for (int i = E::kTerms - 2; i >= 0; --i) series = S::fused(series, r, S::broadcast(kOneOverFactorial<T>[i]));
    part = S::fused(r * r, series, r);
    scale = S::from_bits((S::bits(shifted) << E::kMantissa) + E::kOne);  // the low bits of `shifted` are n
}

template <class T>
inline typename Simd<T>::V sigmoid(typename Simd<T>::V x) {
    using S = Simd<T>;
    const auto limit = S::broadcast(Exponential<T>::kLimit);
    auto y = -x;
    y = S::select(y > limit, limit, y);  // in this order a NaN passes through
    y = S::select(y < -limit, -limit, y);
    typename S::V scale, part;
    exponential<T>(y, scale, part);
    const auto one = S::broadcast(T(1));
    return one / (one + S::fused(scale, part, scale));
}

template <class T>
inline typename Simd<T>::V tanh(typename Simd<T>::V x) {
    using S = Simd<T>;
    const auto sign = S::bits(S::broadcast(T(-0.0)));
    const auto limit = S::broadcast(Exponential<T>::kTanhLimit);
    auto size = S::from_bits(S::bits(x) & ~sign);
    size = S::select(size > limit, limit, size);
    typename S::V scale, part;
    exponential<T>(size + size, scale, part);
    const auto m = S::fused(scale, part, scale - S::broadcast(T(1)));
    const auto t = m / (m + S::broadcast(T(2)));
    return S::from_bits(S::bits(t) | (S::bits(x) & sign));
}

// f of the plain recurrent network, and f' written in terms of its value.
template <class T>
inline typename Simd<T>::V activate(Activation f, typename Simd<T>::V x) {
    using S = Simd<T>;
    switch (f) {
        case Activation::tanh: return tanh<T>(x);
        case Activation::relu: return S::select(x < S::broadcast(T(0)), S::broadcast(T(0)), x);
        case Activation::sigmoid: return sigmoid<T>(x);
        case Activation::identity: break;
    }
    return x;
}

template <class T>
inline typename Simd<T>::V slope(Activation f, typename Simd<T>::V y) {
    using S = Simd<T>;
    const auto one = S::broadcast(T(1));
    switch (f) {
        case Activation::tanh: return S::fused(-y, y, one);
        case Activation::relu: return S::select(y <= S::broadcast(T(0)), S::broadcast(T(0)), one);  // as torch, 1 for NaN
        case Activation::sigmoid: return S::fused(-y, y, y);
        case Activation::identity: break;
    }
    return one;
}

}  // namespace elman::ELMAN_ISA
