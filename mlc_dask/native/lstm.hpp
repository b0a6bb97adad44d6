// The recurrent network of the paper, from digital numbers to classes (method section 7).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace mlc {

constexpr float LOG2E = 1.44269504088896340736f;
constexpr float EPSILON = 1e-5f;  // of PyTorch's LayerNorm

struct Shape {
    int steps, bands, layers, hidden, directions, classes;

    int inputs(int layer) const { return layer ? hidden * directions : bands; }
    int states() const { return layers * directions * hidden; }
};

// A network in PyTorch's layout, row-major float32. The gates are in the order input, forget, cell, output.
struct Network : Shape {
    const float *mean, *std;               // (bands) of the digital numbers
    const float *norm_gain, *norm_bias;    // (bands) of the LayerNorm before the first layer
    const float* const* input_weights;     // per layer and direction (4 hidden, inputs)
    const float* const* hidden_weights;    // per layer and direction (4 hidden, hidden)
    const float *state_gain, *state_bias;  // (states) of the LayerNorm over all cell states
    const float *head, *head_bias;         // (classes, states), (classes)
};

// Memory for answers: position of the best class (pixels), the first one in a tie, and its probability (pixels); unless
// null, the probabilities of all classes (classes, stride).
struct Answers {
    uint8_t* position;
    float* probability;
    float* probabilities;
    size_t stride;

    Answers from(size_t pixel) const {
        return {position + pixel, probability + pixel, probabilities ? probabilities + pixel : nullptr, stride};
    }
};

// A network laid out for one kind of processor. Calls from several threads at once are safe.
struct Engine {
    virtual ~Engine() = default;
    virtual const char* name() const = 0;
    // dn: (steps, bands, pixels). The answer for a pixel does not depend on the other pixels.
    virtual void classify(const uint16_t* dn, size_t pixels, const Answers& to) const = 0;
};

// On vectors of whole numbers: any shape.
std::unique_ptr<Engine> int16_engine(const Network& network);

// On matrix tiles: only for processors that have them, and for hidden layers that are multiples of a tile.
std::unique_ptr<Engine> amx_engine(const Network& network);
inline bool amx_fits(const Shape& shape) { return shape.hidden % 32 == 0; }

}  // namespace mlc
