// LSTM inference in float32 by vector instructions, with one lane per pixel.
//
// The gates of one hidden unit over VECTORS vectors of pixels are summed in registers over all inputs,
//
//     gate[g][pixel] = Σ_k W[g][k] · x[k][pixel] + Σ_k U[g][k] · h[k][pixel],
//
// where every weight is read once and broadcast, and every input is loaded once for four gates. The cell of the unit is
// updated while the sums are still in registers, so gates are never written to memory. A block of BLOCK pixels passes
// through all steps of a layer and direction before the next: the inputs of a step stay in the first-level cache, while
// the weights stream through it.
#include <algorithm>
#include <memory>
#include <vector>

#include "buffer.hpp"
#include "ends.hpp"

namespace mlc {
namespace {

constexpr int BLOCK = VECTORS * WIDTH;

// Inputs of a step, (count, BLOCK).
struct Operand {
    const float* rows;
    int count;
};

class SimdEngine final : public Engine {
public:
    explicit SimdEngine(const Network& network) : n_(network), ends_(network) {
        for (int layer = 0; layer < n_.layers; layer++)
            for (int d = 0; d < n_.directions; d++) weights_.push_back(packed(network, layer, d));
    }

    const char* name() const override { return LEVEL; }

    void classify(const uint16_t* dn, size_t pixels, const Answers& to) const override {
        const size_t plane = size_t(n_.directions) * n_.hidden * BLOCK;
        Work w{buffer<float>(size_t(n_.steps) * n_.bands * BLOCK),
               {buffer<float>(n_.steps * plane), buffer<float>(n_.steps * plane)},
               buffer<float>(size_t(n_.states()) * BLOCK)};
        for (size_t start = 0; start < pixels; start += BLOCK) {
            const int count = int(std::min<size_t>(BLOCK, pixels - start));
            ends_.normalise<BLOCK>(dn + start, pixels, count, w.input.get());
            for (int layer = 0; layer < n_.layers; layer++)
                for (int d = 0; d < n_.directions; d++) run(layer, d, w);
            for (int p = 0; p < count; p += WIDTH)
                ends_.answer<BLOCK>(w.cells.get() + p, count - p, to.from(start + p));
        }
    }

private:
    struct Work {
        Buffer<float> input, output[2], cells;
    };

    // Weights (units / UNITS, inputs + hidden, UNITS, 4), scaled to make gates exponents of two: see `update`.
    Buffer<float> packed(const Network& n, int layer, int d) const {
        const int inputs = n.inputs(layer), at = layer * n.directions + d, rows = inputs + n.hidden;
        const int units = (n.hidden + UNITS - 1) / UNITS * UNITS;
        Buffer<float> made = buffer<float>(size_t(units) * rows * 4);
        for (int u = 0; u < n.hidden; u++)
            for (int g = 0; g < 4; g++)
                for (int k = 0; k < rows; k++) {
                    const size_t row = size_t(g) * n.hidden + u;
                    const float weight = k < inputs ? n.input_weights[at][row * inputs + k]
                                                    : n.hidden_weights[at][row * n.hidden + k - inputs];
                    made[((size_t(u / UNITS) * rows + k) * UNITS + u % UNITS) * 4 + g] =
                        weight * (g == 2 ? -2 * LOG2E : -LOG2E);
                }
        return made;
    }

    // Runs one layer in one direction over all steps. The outputs of layer l are in output[l % 2].
    void run(int layer, int d, const Work& w) const {
        const int inputs = n_.inputs(layer), wide = n_.directions * n_.hidden;
        const size_t plane = size_t(wide) * BLOCK, in_plane = size_t(inputs) * BLOCK;
        const float* in = layer ? w.output[(layer + 1) % 2].get() : w.input.get();
        float* out = w.output[layer % 2].get() + size_t(d) * n_.hidden * BLOCK;
        const size_t at = size_t(layer) * n_.directions + d;
        float* cells = w.cells.get() + at * n_.hidden * BLOCK;
        std::fill_n(cells, size_t(n_.hidden) * BLOCK, 0.f);
        for (int i = 0; i < n_.steps; i++) {
            const int t = d ? n_.steps - 1 - i : i, before = d ? t + 1 : t - 1;
            const Operand x{in + t * in_plane, inputs}, h{out + before * plane, i ? n_.hidden : 0};
            step(weights_[at].get(), inputs + n_.hidden, x, h, cells, out + t * plane);
        }
    }

    // Not inlined: in a larger function GCC loads the inputs again for every gate, which costs 4 to 8 %.
    __attribute__((noinline)) void step(const float* weights, int rows, Operand x, Operand h, float* cells,
                                        float* out) const {
        for (int u = 0; u < n_.hidden; u += UNITS, weights += size_t(rows) * UNITS * 4) {
            Floats gates[UNITS][4][VECTORS] = {};
            add(gates, weights, x);
            add(gates, weights + size_t(x.count) * UNITS * 4, h);
            for (int i = 0; i < UNITS && u + i < n_.hidden; i++)
                for (int v = 0; v < VECTORS; v++) {
                    const size_t to = size_t(u + i) * BLOCK + v * WIDTH;
                    update(gates[i][0][v], gates[i][1][v], gates[i][2][v], gates[i][3][v], cells + to, out + to);
                }
        }
    }

    static inline __attribute__((always_inline)) void add(
        Floats (&gates)[UNITS][4][VECTORS], const float* weights, Operand operand) {
        for (int k = 0; k < operand.count; k++, weights += UNITS * 4) {
            Floats in[VECTORS];
            for (int v = 0; v < VECTORS; v++) in[v] = load(operand.rows + k * BLOCK + v * WIDTH);
            for (int u = 0; u < UNITS; u++)
                for (int g = 0; g < 4; g++) {
                    const Floats weight = all(weights[u * 4 + g]);
                    for (int v = 0; v < VECTORS; v++) gates[u][g][v] += weight * in[v];
                }
        }
    }

    // Let I = 2^i for a gate i that was scaled by -log2 e (the cell gate by twice that). Then σ(i) = 1 / (1 + I) and
    // tanh(g) = (1 - G) / (1 + G), so a product of both needs only one division.
    static inline void update(Floats i, Floats f, Floats g, Floats o, float* cell, float* out) {
        const Floats I = power_of_two(i), F = power_of_two(f), G = power_of_two(g), O = power_of_two(o);
        const Floats c = load(cell) / (1.f + F) + (1.f - G) / ((1.f + I) * (1.f + G));
        const Floats C = power_of_two(c * (-2 * LOG2E));
        store(cell, c);
        store(out, (1.f - C) / ((1.f + O) * (1.f + C)));
    }

    Shape n_;
    std::vector<Buffer<float>> weights_;
    Ends ends_;
};

}  // namespace

std::unique_ptr<Engine> simd_engine(const Network& network) { return std::make_unique<SimdEngine>(network); }

}  // namespace mlc
