// The engine on tiles as a plain C function, for tests that cannot load the module.
#include <vector>

#include "../../mlc_dask/native/lstm.hpp"

// shape: steps, bands, layers, hidden, directions, classes. ends: mean, std, the input's gain and bias, the states' gain
// and bias, the head and its bias.
extern "C" void run(const int* shape, const float* const* ends, const float* const* input_weights,
                    const float* const* hidden_weights, const uint16_t* dn, size_t pixels, uint8_t* position,
                    float* probability, float* probabilities) {
    mlc::Network n{};
    n.steps = shape[0], n.bands = shape[1], n.layers = shape[2], n.hidden = shape[3];
    n.directions = shape[4], n.classes = shape[5];
    n.mean = ends[0], n.std = ends[1], n.norm_gain = ends[2], n.norm_bias = ends[3];
    n.state_gain = ends[4], n.state_bias = ends[5], n.head = ends[6], n.head_bias = ends[7];
    n.input_weights = input_weights, n.hidden_weights = hidden_weights;
    mlc::amx_engine(n)->classify(dn, pixels, {position, probability, probabilities, pixels});
}
