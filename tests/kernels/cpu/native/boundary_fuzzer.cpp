// Descriptions of tensors made from bytes, for libFuzzer: `make fuzz-engine`.
//
// A description is mostly what the call needs, and now and then has another size, stride, type, device or no memory. Its memory is
// exactly what the description reaches, so that the address sanitizer sees whatever reads beyond it. What the engine
// refuses ends in `Wrong`; there is nothing else that may happen.
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "calls.h"
#include "output_call.h"

using namespace elman;

namespace {

class Bytes {
    const uint8_t* at_;
    const uint8_t* end_;

public:
    Bytes(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
    uint8_t next() { return at_ < end_ ? *at_++ : 0; }
    int64_t below(int64_t limit) { return next() % limit; }
    bool rarely() { return next() > 244; }
    int64_t strange() {
        static constexpr int64_t kSizes[] = {0, 1, 2, 3, 17, int64_t{1} << 31, int64_t{1} << 40, int64_t{1} << 60, INT64_MAX};
        return kSizes[below(9)];
    }
};

struct Tensor {
    DlTensor t{};
    std::vector<int64_t> sizes, strides;
    std::unique_ptr<char, decltype(&std::free)> memory{nullptr, &std::free};
};

class Maker {
    Bytes& bytes_;
    std::vector<std::unique_ptr<Tensor>> tensors_;

public:
    explicit Maker(Bytes& bytes) : bytes_(bytes) {}

    View make(std::vector<int64_t> sizes, DlType type) {
        if (bytes_.rarely()) return nullptr;
        auto tensor = std::make_unique<Tensor>();
        tensor->sizes = std::move(sizes);
        for (int64_t& size : tensor->sizes)
            if (bytes_.rarely()) size = bytes_.strange();
        if (bytes_.rarely()) tensor->sizes.push_back(bytes_.below(3));
        if (bytes_.rarely() && !tensor->sizes.empty()) tensor->sizes.pop_back();
        if (bytes_.rarely()) type = DlType{static_cast<uint8_t>(bytes_.below(8)), static_cast<uint8_t>(8 << bytes_.below(5)), 1};
        int64_t stride = 1;
        tensor->strides.resize(tensor->sizes.size());
        for (size_t d = tensor->sizes.size(); d-- > 0;) {
            tensor->strides[d] = stride;
            if (__builtin_mul_overflow(stride, tensor->sizes[d], &stride)) stride = 0;
        }
        for (int64_t& s : tensor->strides)
            if (bytes_.rarely()) s = bytes_.below(2) * bytes_.below(40);
        int64_t reach = 1;
        bool empty = false, lost = false;
        for (size_t d = 0; d < tensor->sizes.size(); ++d) {
            int64_t far;
            empty = empty || tensor->sizes[d] == 0;
            lost = lost || __builtin_mul_overflow(tensor->sizes[d] - 1, tensor->strides[d], &far) || __builtin_add_overflow(reach, far, &reach);
        }
        const int64_t width = type.bits / 8 > 0 ? type.bits / 8 : 1;
        if (!empty && (lost || reach > 1 << 20)) return nullptr;  // nobody has as much memory
        const int64_t size = empty ? 0 : reach * width;
        if (size > 0 && !bytes_.rarely()) {
            tensor->memory.reset(static_cast<char*>(std::malloc(size)));
            fill(tensor->memory.get(), size, type);
        }
        tensor->t = {tensor->memory.get(), {bytes_.rarely() ? 2 : 1, 0}, static_cast<int32_t>(tensor->sizes.size()), type,
                     tensor->sizes.data(), bytes_.rarely() ? nullptr : tensor->strides.data(), 0};
        if (!tensor->t.strides && !empty && reach != stride) tensor->t.strides = tensor->strides.data();
        tensors_.push_back(std::move(tensor));
        return &tensors_.back()->t;
    }

private:
    void fill(char* memory, int64_t size, DlType type) {
        if (type.code == 0 && type.bits == 64) {
            for (int64_t i = 0; i + 8 <= size; i += 8) {
                const int64_t number = bytes_.rarely() ? bytes_.strange() - 1 : bytes_.below(6);
                std::memcpy(memory + i, &number, 8);
            }
            return;
        }
        for (int64_t i = 0; i < size; ++i) memory[i] = type.code == 6 ? static_cast<char>(i % 3 == 0) : 0;
        const float one = bytes_.rarely() ? INFINITY : 0.5f;
        if (type.code == 2 && type.bits == 32)
            for (int64_t i = 0; i + 4 <= size; i += 4) std::memcpy(memory + i, &one, 4);
    }
};

template <class T>
void calls(Bytes& bytes) {
    Maker maker(bytes);
    constexpr DlType kType{2, 8 * sizeof(T), 1}, kInteger{0, 64, 1}, kBoolean{6, 8, 1};
    const int kind = static_cast<int>(bytes.below(kKinds)), f = static_cast<int>(bytes.below(4));
    const int64_t T_ = bytes.below(6), B = bytes.below(9), I = bytes.below(20), H = bytes.below(36);
    const int64_t rows = gates_of(static_cast<Kind>(kind)) * H;
    const bool with_c = has_c(static_cast<Kind>(kind)), resets = bytes.below(3) == 0;
    View call[c_count] = {};
    call[c_x] = maker.make({T_, B, I}, kType);
    call[c_h] = maker.make({B, H}, kType);
    if (with_c) call[c_c] = maker.make({B, H}, kType);
    call[c_ih] = maker.make({rows, I}, kType);
    call[c_hh] = maker.make({rows, H}, kType);
    if (bytes.below(3)) call[c_b_ih] = maker.make({rows}, kType);
    if (bytes.below(3)) call[c_b_hh] = maker.make({rows}, kType);
    if (resets) call[c_resets] = maker.make({T_, B}, kBoolean);
    if (resets) call[c_h_initial] = maker.make({H}, kType);
    if (resets && with_c) call[c_c_initial] = maker.make({H}, kType);
    if (bytes.below(3) == 0) call[c_lengths] = maker.make({B}, kInteger);
    const bool reverse = bytes.below(2);
    const int odd = bytes.rarely() ? static_cast<int>(bytes.strange()) : kind;
    const Shape shape = shape_of(odd, f, call[c_ih], call[c_hh]);
    const View weights[4] = {call[c_ih], call[c_hh], call[c_b_ih], call[c_b_hh]};
    const int64_t width = engine<T>().saved_width(shape);
    const View y = maker.make({T_, B, H}, kType), hn = maker.make({B, H}, kType);
    const View cn = with_c ? maker.make({B, H}, kType) : nullptr, saved = maker.make({T_ * B, width}, kType);
    const View made[kMade] = {maker.make({T_, B, I}, kType), maker.make({B, H}, kType), with_c ? maker.make({B, H}, kType) : nullptr,
                              maker.make({rows, I}, kType), maker.make({rows, H}, kType), maker.make({rows}, kType),
                              maker.make({rows}, kType), resets ? maker.make({H}, kType) : nullptr,
                              resets && with_c ? maker.make({H}, kType) : nullptr};
    const View given[g_count] = {maker.make({T_, B, H}, kType), maker.make({B, H}, kType), with_c ? maker.make({B, H}, kType) : nullptr};
    const auto attempt = [](auto&& body) {
        try {
            body();
        } catch (const Wrong&) {
        } catch (const std::bad_alloc&) {
        }
    };
    if (number_of_input(call[c_x], "input") != number_type<T>) return;
    attempt([&] { ForwardRun<T>(nullptr, shape, call, reverse, 1, {y, hn, cn, saved}, nullptr).run(); });
    attempt([&] { BackwardRun<T>(shape, call, reverse, 1, saved, given, made, nullptr).run(); });
    attempt([&] {
        const Packed packed = Packing(odd, f, weights, 1).run();
        packed.matches(weights, false, 1);
        if (packed.number != number_type<T>) return;
        ForwardRun<T>(&packed, packed.shape, call, reverse, 1, {y, hn, cn, nullptr}, nullptr).run();
        StepRun<T>(packed, {given[1] ? call[c_h] : nullptr, call[c_h], call[c_c], hn, cn}, 1).run();
    });
}

template <class T>
void output_layer(Bytes& bytes) {
    Maker maker(bytes);
    constexpr DlType kType{2, 8 * sizeof(T), 1}, kInteger{0, 64, 1};
    const int64_t N = bytes.below(90), H = bytes.below(70), V = bytes.below(250);
    View call[o_count] = {};
    call[o_s] = maker.make({N, H}, kType);
    call[o_weight] = maker.make({V, H}, kType);
    if (bytes.below(3)) call[o_bias] = maker.make({V}, kType);
    call[o_target] = maker.make({N}, kInteger);
    if (bytes.below(3) == 0) call[o_class_weight] = maker.make({V}, kType);
    call[o_loss] = maker.make({N}, kType);
    if (bytes.below(3)) {
        call[o_scale] = maker.make({N}, kType);
        if (bytes.below(3)) call[o_d_s] = maker.make({N, H}, kType);
        if (bytes.below(3)) call[o_d_weight] = maker.make({V, H}, kType);
        if (bytes.below(3)) call[o_d_bias] = maker.make({V}, kType);
    }
    const double smoothing = bytes.rarely() ? NAN : bytes.below(3) * 0.1, z = bytes.rarely() ? INFINITY : bytes.below(2) * 0.1;
    try {
        OutputRun<T>(call, bytes.below(3) - 1, smoothing, z, 1, nullptr).run();
    } catch (const OutOfBounds&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    engines = &avx2_engines();
    Bytes bytes(data, size);
    try {
        switch (bytes.below(4)) {
            case 0: calls<float>(bytes); break;
            case 1: calls<double>(bytes); break;
            case 2: output_layer<float>(bytes); break;
            default: output_layer<double>(bytes);
        }
    } catch (const Wrong&) {
    } catch (const std::bad_alloc&) {
    }
    return 0;
}
