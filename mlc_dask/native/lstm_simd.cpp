// LSTM inference in float32 by vector instructions: lanes are pixels.
//
// The gates of one hidden unit over VECTORS vectors of pixels are summed in registers over all inputs,
//
//     gate[g][pixel] = Σ_k W[g][k] · x[k][pixel] + Σ_k U[g][k] · h[k][pixel],
//
// every weight read once and broadcast, every input one load for four gates. The unit's cell is updated while the sums
// are still in registers, so that gates never see memory. A block of BLOCK pixels goes through all steps of a layer and
// direction before the next: a step's inputs stay in the first-level cache, while the weights pass by.
#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <vector>

#include "lanes.hpp"
#include "lstm.hpp"

namespace mlc {
namespace {

constexpr int BLOCK = VECTORS * WIDTH;

struct Free {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
};
using Buffer = std::unique_ptr<float[], Free>;

Buffer buffer(size_t count) {
    Buffer made(new (std::align_val_t{64}) float[count]);
    std::fill_n(made.get(), count, 0.f);
    return made;
}

// Inputs of a step, (rows, BLOCK), and the weights that they meet.
struct Operand {
    const float* rows;
    int count;
};

class SimdEngine final : public Engine {
public:
    explicit SimdEngine(const Network& network) : n_(network) {
        for (int layer = 0; layer < n_.layers; layer++)
            for (int d = 0; d < n_.directions; d++) weights_.push_back(packed(network, layer, d));
        copy(network);
    }

    void classify(const uint16_t* dn, size_t pixels, uint8_t* position, float* probability) const override {
        const size_t plane = size_t(n_.directions) * n_.hidden * BLOCK;
        Work w{buffer(size_t(n_.steps) * n_.bands * BLOCK), {buffer(n_.steps * plane), buffer(n_.steps * plane)},
               buffer(size_t(n_.states()) * BLOCK)};
        for (size_t start = 0; start < pixels; start += BLOCK) {
            const int count = int(std::min<size_t>(BLOCK, pixels - start));
            normalise(dn + start, pixels, count, w.input.get());
            for (int layer = 0; layer < n_.layers; layer++)
                for (int d = 0; d < n_.directions; d++) run(layer, d, w);
            answer(w.cells.get(), count, position + start, probability + start);
        }
    }

private:
    struct Work {
        Buffer input, output[2], cells;
    };

    // (units / UNITS, inputs + hidden, UNITS, 4), scaled so that gates are exponents of two: see `update`.
    Buffer packed(const Network& n, int layer, int d) const {
        const int inputs = n.inputs(layer), at = layer * n.directions + d, rows = inputs + n.hidden;
        const int units = (n.hidden + UNITS - 1) / UNITS * UNITS;
        Buffer made = buffer(size_t(units) * rows * 4);
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

    void copy(const Network& n) {
        for (int b = 0; b < n.bands; b++) {
            mean_.push_back(n.mean[b]), over_std_.push_back(1 / n.std[b]);
            gain_.push_back(n.norm_gain[b]), bias_.push_back(n.norm_bias[b]);
        }
        for (int c = 0; c < n.classes; c++) {
            float bias = n.head_bias[c];
            for (int s = 0; s < n.states(); s++) {
                head_.push_back(n.head[size_t(c) * n.states() + s] * n.state_gain[s]);
                bias += n.head[size_t(c) * n.states() + s] * n.state_bias[s];
            }
            head_bias_.push_back(bias);
        }
    }

    // Standardise the bands and normalise them over each other: (steps, bands, BLOCK); lanes past `count` are zero.
    void normalise(const uint16_t* dn, size_t stride, int count, float* to) const {
        for (int t = 0; t < n_.steps; t++) {
            float* rows = to + size_t(t) * n_.bands * BLOCK;
            for (int b = 0; b < n_.bands; b++) {
                const uint16_t* from = dn + (size_t(t) * n_.bands + b) * stride;
                for (int p = 0; p < BLOCK; p++)
                    rows[b * BLOCK + p] = p < count ? (float(from[p]) - mean_[b]) * over_std_[b] : 0.f;
            }
            for (int p = 0; p < BLOCK; p += WIDTH) {
                const auto [mu, scale] = norm(rows + p, n_.bands);
                for (int b = 0; b < n_.bands; b++) {
                    float* at = rows + b * BLOCK + p;
                    store(at, (load(at) - mu) * scale * gain_[b] + bias_[b]);
                }
            }
        }
    }

    // LayerNorm over `count` rows of BLOCK: what to take away, and what to multiply by.
    struct Norm {
        Floats mu, scale;
    };
    static Norm norm(const float* rows, int count) {
        Floats sum{}, squares{};
        for (int r = 0; r < count; r++) sum += load(rows + size_t(r) * BLOCK);
        const Floats mu = sum / float(count);
        for (int r = 0; r < count; r++) {
            const Floats off = load(rows + size_t(r) * BLOCK) - mu;
            squares += off * off;
        }
        Floats scale = squares / float(count) + EPSILON;
        for (int i = 0; i < WIDTH; i++) scale[i] = 1 / std::sqrt(scale[i]);
        return {mu, scale};
    }

    // One layer in one direction over all steps. Outputs of layer l stand in output[l % 2].
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

    void step(const float* weights, int rows, Operand x, Operand h, float* cells, float* out) const {
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

    // With I = 2^i for a gate i that came scaled by -log2 e (the cell gate by twice that): σ(i) = 1 / (1 + I) and
    // tanh(g) = (1 - G) / (1 + G), so that products of the two need one division.
    static inline void update(Floats i, Floats f, Floats g, Floats o, float* cell, float* out) {
        const Floats I = power_of_two(i), F = power_of_two(f), G = power_of_two(g), O = power_of_two(o);
        const Floats c = load(cell) / (1.f + F) + (1.f - G) / ((1.f + I) * (1.f + G));
        const Floats C = power_of_two(c * (-2 * LOG2E));
        store(cell, c);
        store(out, (1.f - C) / ((1.f + O) * (1.f + C)));
    }

    // LayerNorm over all cell states, the linear head, and the most probable class; the first one at a tie.
    void answer(const float* cells, int count, uint8_t* position, float* probability) const {
        const int states = n_.states();
        for (int p = 0; p < count; p += WIDTH) {
            const auto [mu, scale] = norm(cells + p, states);
            Floats best = all(-INFINITY), total{};
            Ints winner{};
            for (int c = 0; c < n_.classes; c++) {
                Floats dot{};
                for (int s = 0; s < states; s++)
                    dot += (load(cells + size_t(s) * BLOCK + p) - mu) * head_[size_t(c) * states + s];
                const Floats logit = (dot * scale + head_bias_[c]) * LOG2E;
                const Ints better = logit > best;
                const Floats top = better ? logit : best;
                total = total * power_of_two(best - top) + power_of_two(logit - top);
                best = top, winner = better ? Ints{} + c : winner;
            }
            for (int i = 0; i < WIDTH && p + i < count; i++)
                position[p + i] = uint8_t(winner[i]), probability[p + i] = 1 / total[i];
        }
    }

    Shape n_;
    std::vector<Buffer> weights_;
    std::vector<float> mean_, over_std_, gain_, bias_, head_, head_bias_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(const Network& network) { return std::make_unique<SimdEngine>(network); }

}  // namespace mlc
