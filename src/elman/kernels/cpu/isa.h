// The instruction set in use: the engines that this machine can run, and the one that runs.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "engine.h"

namespace elman {

inline std::vector<const Engines*> engines_of_machine() {
    std::vector<const Engines*> available;
#if defined(ELMAN_X86)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        available.push_back(&avx512_engines());
    if (avx2) available.push_back(&avx2_engines());
#endif
    available.push_back(&portable_engines());
    return available;
}

// The one that ELMAN_CPU_ISA names, or the fastest where it names none; whether it names one of these is Python's to say.
inline const Engines& choose_engines() {
    const auto available = engines_of_machine();
    const char* name = std::getenv("ELMAN_CPU_ISA");
    for (const Engines* e : available)
        if (name && std::string(e->name) == name) return *e;
    return *available.front();
}

inline const Engines* engines = nullptr;
inline bool forked = false;

template <class T>
const Engine<T>& engine();
template <>
inline const Engine<float>& engine() {
    return engines->float32;
}
template <>
inline const Engine<double>& engine() {
    return engines->float64;
}

// OpenMP's pool does not survive a fork: a child works alone.
inline int allowed(int threads) { return forked || threads < 1 ? 1 : threads; }

}  // namespace elman
