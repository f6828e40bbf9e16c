"""`check.cpp`: a program that lets RTNeural load a model, and compares what it computes with the test vectors."""

from __future__ import annotations

from elman.exporters.chain import Chain

_PROGRAM = """\
// Loads model.json by RTNeural, runs input.csv, a line a step, and compares the outputs with output.csv.
//
//   c++ -std=c++17 -O3 -DRTNEURAL_USE_EIGEN=1 -DRTNEURAL_DEFAULT_ALIGNMENT=16 \\
//       -I RTNeural -I RTNeural/modules/Eigen check.cpp -o check && ./check
//
// A model whose layers are known at compile time is quicker; this one is
//
//   RTNeural::ModelT<float, {inputs}, {outputs},
//       {layers}> model;
//   std::ifstream file("model.json");
//   model.parseJson(file);
//   model.reset();
#include <RTNeural/RTNeural.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

static std::vector<std::vector<float>> read(const char* name)
{{
    std::vector<std::vector<float>> rows;
    std::ifstream file(name);
    for (std::string line; std::getline(file, line);) {{
        rows.emplace_back();
        std::istringstream words(line);
        for (std::string word; std::getline(words, word, ',');)
            rows.back().push_back(std::stof(word));
    }}
    return rows;
}}

int main()
{{
    std::ifstream file("model.json");
    auto model = RTNeural::json_parser::parseJson<float>(file);
    const auto inputs = read("input.csv"), outputs = read("output.csv");
    if (!model || inputs.empty() || inputs.size() != outputs.size()) {{
        std::puts("model.json, input.csv and output.csv of one export are needed here");
        return 2;
    }}
    model->reset();
    double largest = 0.0;
    for (size_t t = 0; t < inputs.size(); t++) {{
        alignas(RTNEURAL_DEFAULT_ALIGNMENT) float x[{padded}] = {{}};
        std::copy(inputs[t].begin(), inputs[t].end(), x);
        model->forward(x);
        for (size_t j = 0; j < outputs[t].size(); j++)
            largest = std::fmax(largest, std::fabs((double)model->getOutputs()[j] - (double)outputs[t][j]));
    }}
    std::printf("largest difference: %.2g\\n", largest);
    return largest < 1e-4 ? 0 : 1;
}}
"""

_ACTIVATIONS = {"tanh": "TanhActivationT", "relu": "ReLuActivationT", "sigmoid": "SigmoidActivationT"}


def check_program(chain: Chain) -> str:
    """Return the text of the program."""
    stack, width = chain.stack, chain.stack.input_size
    layers = []
    for _ in stack.layers:
        layers.append(f"RTNeural::{stack.cell.upper()}LayerT<float, {width}, {stack.hidden_size}>")
        width = stack.hidden_size
    for dense in chain.dense:
        layers.append(f"RTNeural::DenseT<float, {width}, {len(dense.A)}>")
        width = len(dense.A)
        if dense.activation in _ACTIVATIONS:
            layers.append(f"RTNeural::{_ACTIVATIONS[dense.activation]}<float, {width}>")
    padded = -(-stack.input_size // 16) * 16
    joined = ",\n//       ".join(layers)
    return _PROGRAM.format(inputs=stack.input_size, outputs=chain.output_size, layers=joined, padded=padded)
