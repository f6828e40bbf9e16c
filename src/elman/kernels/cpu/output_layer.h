// The output layer with its loss, one pass: what engine.cpp takes from output_layer.cpp.
#pragma once

#include "engine.h"

namespace elman::ELMAN_ISA {

template <class T>
int64_t output_bytes(const OutputCall<T>& call);

template <class T>
void output(const OutputCall<T>& call);

}  // namespace elman::ELMAN_ISA
