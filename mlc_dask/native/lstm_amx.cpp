// LSTM inference on matrix tiles (AMX): products in bfloat16, sums in float32, the cells in float16.
//
// Pixels stay side by side, as in the cube: gates (units, pixels) = W (units, k) · x (k, pixels), where k runs over the
// outputs of the previous step and the inputs of this step. A tile has 16 rows of 64 bytes:
//
//     weights   16 units × 32 k
//     x         16 pairs of k × 16 pixels, with the two values of a pair side by side
//     sums      16 units × 16 pixels, float32
//
// The outputs of a step are written as tiles of x, ready for the next step and layer. Four sums are in registers at a
// time: two gates of 16 units, for 32 pixels. Over all k this takes one load per product, which the processor can
// sustain. Pass 0 sums the input gate and the cell gate and computes σ(i)·tanh(g). Pass 1 sums the forget gate and the
// output gate and computes cells and outputs.
//
// Different units of the processor compute tiles and vectors, so the vector work on the previous block of sums is done
// between the products of the current block, a few rows at a time (`Pending`). Two streams of 64 pixels alternate at
// every step, so no step waits for its own last outputs. Within a stream, two groups of 32 pixels share the weights
// while these are in the first-level cache.
//
// The bands of the first layer need more than eight bits: in bfloat16, x ≈ x' + x'' and W ≈ W' + W'', and the sum is
// W'x' + W'x'' + W''x', as if there were three times as many bands.
#ifdef MLC_EMULATED
#include "emulated.hpp"
#else
#include <immintrin.h>
#endif

#include <cstring>
#include <vector>

#include "buffer.hpp"
#include "ends.hpp"

namespace mlc {
namespace {

constexpr int SIDE = 16, DEPTH = 2 * SIDE;                // units or pixels of a tile; k of a tile
constexpr int PAIR = 2 * SIDE, GROUPS = 2, STREAMS = 2;   // pixels of a block of sums; see the head of the file
constexpr int COLUMNS = 2 * GROUPS, STREAM = GROUPS * PAIR, BLOCK = STREAMS * STREAM;  // tiles and pixels of a stream

typedef _Float16 Halfs __attribute__((vector_size(2 * PAIR)));

struct alignas(64) Tile {
    uint16_t values[SIDE * DEPTH];
};

uint16_t bfloat(float value) {
    uint32_t u;
    std::memcpy(&u, &value, sizeof u);
    return uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);  // to the nearest, ties to even
}

float widened(uint16_t value) {
    const uint32_t u = uint32_t(value) << 16;
    float made;
    std::memcpy(&made, &u, sizeof made);
    return made;
}

inline Ints rounded(Floats value) { return bits(value) + 0x8000; }  // the upper half is the nearest bfloat16

// Packs rows 2i and 2i + 1 of 16 pixels into row i of a tile of x.
inline Ints pairs(Floats even, Floats odd) {
    typedef uint32_t Words __attribute__((vector_size(sizeof(Ints))));
    return Ints((Words(rounded(even)) >> 16) | (Words(rounded(odd)) & 0xffff0000u));
}

inline Halfs narrowed(const float* left, const float* right) {
    const auto a = __m256i(_mm512_cvtxps_ph(__m512(load(left)))), b = __m256i(_mm512_cvtxps_ph(__m512(load(right))));
    return Halfs(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1));
}

template <int HALF>
inline Floats widened(Halfs value) {
    return Floats(_mm512_cvtxph_ps(__m256h(_mm512_extracti64x4_epi64(__m512i(value), HALF))));
}

// 1 / (1 + 2^y) in float16: 2^y is a polynomial of the fraction of y, scaled by its integer part.
inline Halfs sigmoid(Halfs y) {
    constexpr int FLOOR = 0x09;
    const Halfs part = Halfs(_mm512_reduce_ph(__m512h(y), FLOOR));
    Halfs p = part * _Float16(0.0773f) + _Float16(0.2276f);
    p = p * part + _Float16(0.69518f);
    p = p * part + _Float16(1.f);
    return Halfs(_mm512_rcp_ph(__m512h(Halfs(_mm512_scalef_ph(__m512h(p), __m512h(y))) + _Float16(1.f))));
}

// A block of sums that waits for its vector work: two gates and two tiles of pixels, [gate][tile][unit][pixel].
struct Pending {
    const float* sums;
    Halfs* gated;      // (units): σ(i)·tanh(g), from pass 0 for pass 1
    Halfs* cells;      // (units, GROUPS)
    uint16_t* out[2];  // rows of the tiles of outputs
};

// Gates are scaled by -log2 e, and the cell gate by twice that: tanh(g) = 2 σ(2g) - 1.
inline void gate(const Pending& block, int unit) {
    const float* row = block.sums + unit * SIDE;
    const Halfs i = sigmoid(narrowed(row, row + 256)), g = sigmoid(narrowed(row + 512, row + 768));
    block.gated[unit] = (i + i) * g - i;
}

inline Halfs output(const Pending& block, int unit) {
    const float* row = block.sums + unit * SIDE;
    const Halfs f = sigmoid(narrowed(row, row + 256)), o = sigmoid(narrowed(row + 512, row + 768));
    Halfs& cell = block.cells[unit * GROUPS];
    cell = f * cell + block.gated[unit];
    const Halfs c = sigmoid(cell * _Float16(-2 * LOG2E));
    return (o + o) * c - o;
}

inline void put(const Pending& block, int unit, Halfs even, Halfs odd) {
    const Ints left = pairs(widened<0>(even), widened<0>(odd)), right = pairs(widened<1>(even), widened<1>(odd));
    std::memcpy(block.out[0] + unit * SIDE, &left, sizeof left);
    std::memcpy(block.out[1] + unit * SIDE, &right, sizeof right);
}

// Does the vector work on one unit; outputs are written two units at a time.
enum { NOTHING = -1, GATES, OUTPUTS };
template <int PASS>
inline __attribute__((always_inline)) void work(const Pending& block, int unit, Halfs& even) {
    if (PASS == GATES) gate(block, unit);
    if (PASS != OUTPUTS) return;
    const Halfs found = output(block, unit);
    if (unit % 2) put(block, unit - 1, even, found);
    else even = found;
}

// Tiles of x for two columns of pixels, (k / DEPTH) each.
struct Operand {
    const Tile* columns[2];
    int count;
};

template <int PASS, int ROWS>
inline __attribute__((always_inline)) void product(
    const Tile* weights, const Tile* left, const Tile* right, const Pending& before, int unit, Halfs& even) {
    _tile_loadd(4, weights, 64);
    _tile_loadd(6, left, 64);
    _tile_dpbf16ps(0, 4, 6);
    for (int i = 0; i < ROWS / 2; i++) work<PASS>(before, unit + i, even);
    _tile_loadd(7, right, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, weights + 1, 64);
    _tile_dpbf16ps(2, 5, 6);
    for (int i = ROWS / 2; i < ROWS; i++) work<PASS>(before, unit + i, even);
    _tile_dpbf16ps(3, 5, 7);
}

// Sums two gates for 32 pixels, and meanwhile does the vector work on the previous block, ROWS units for every k.
template <int PASS, int ROWS>
__attribute__((noinline)) void multiply(const Tile* weights, Operand h, Operand x, float* sums, Pending before) {
    Halfs even{};
    const auto left = [&](int k) { return k < h.count ? h.columns[0] + k : x.columns[0] + (k - h.count); };
    const auto right = [&](int k) { return k < h.count ? h.columns[1] + k : x.columns[1] + (k - h.count); };
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
#pragma GCC unroll 8
    for (int k = 0; k < SIDE / ROWS; k++)
        product<PASS, ROWS>(weights + 2 * k, left(k), right(k), before, k * ROWS, even);
    for (int k = SIDE / ROWS; k < h.count + x.count; k++)
        product<NOTHING, 0>(weights + 2 * k, left(k), right(k), before, 0, even);
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
    _tile_stored(2, sums + 512, 64);
    _tile_stored(3, sums + 768, 64);
}

using Multiply = void (*)(const Tile*, Operand, Operand, float*, Pending);

// One per pass of the previous block; ROWS is the least power of two that finishes its units within `depth` steps.
const Multiply* multipliers(int depth) {
    static const Multiply table[4][3] = {
        {multiply<NOTHING, 2>, multiply<GATES, 2>, multiply<OUTPUTS, 2>},
        {multiply<NOTHING, 4>, multiply<GATES, 4>, multiply<OUTPUTS, 4>},
        {multiply<NOTHING, 8>, multiply<GATES, 8>, multiply<OUTPUTS, 8>},
        {multiply<NOTHING, 16>, multiply<GATES, 16>, multiply<OUTPUTS, 16>},
    };
    return table[depth >= 8 ? 0 : depth >= 4 ? 1 : depth >= 2 ? 2 : 3];
}

void configure() {
    struct alignas(64) {
        uint8_t palette = 1, start = 0, reserved[14] = {};
        uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    _tile_loadconfig(&shape);
}

class AmxEngine final : public Engine {
public:
    explicit AmxEngine(const Network& network)
        : n_(network), ends_(network), bands_((3 * n_.bands + DEPTH - 1) / DEPTH), hidden_(n_.hidden / DEPTH) {
        for (int layer = 0; layer < n_.layers; layer++)
            for (int d = 0; d < n_.directions; d++) weights_.push_back(packed(network, layer, d));
    }

    const char* name() const override { return "amx"; }

    void classify(const uint16_t* dn, size_t pixels, const Answers& to) const override {
        Work w(*this);
        configure();
        for (size_t start = 0; start < pixels; start += BLOCK) {
            for (int s = 0; s < STREAMS; s++) take_in(dn, pixels, start + s * STREAM, w, w.streams[s]);
            for (int layer = 0; layer < n_.layers; layer++)
                for (int d = 0; d < n_.directions; d++) run(layer, d, w);
            finish(w);
            for (size_t p = start; p < std::min(pixels, start + BLOCK); p += SIDE)
                answer(w, int(p - start), int(std::min<size_t>(SIDE, pixels - p)), to.from(p));
        }
        _tile_release();
    }

private:
    // Memory of 64 pixels: inputs (steps, COLUMNS, bands_), outputs of two layers (steps, COLUMNS, directions,
    // hidden_), and cells (states, GROUPS).
    struct Stream {
        Buffer<Tile> input, output[2];
        Buffer<Halfs> cells;
    };

    struct Work {
        explicit Work(const AmxEngine& e)
            : bands(buffer<float>(size_t(e.n_.steps) * e.n_.bands * STREAM)),
              states(buffer<float>(size_t(e.n_.states()) * SIDE)),
              sums(buffer<float>(2 * 4 * SIDE * SIDE)),
              gated(buffer<Halfs>(GROUPS * SIDE)),
              zero(buffer<Tile>(e.hidden_)) {
            const size_t tiles = size_t(e.n_.steps) * COLUMNS;
            for (auto& s : streams)
                s = {buffer<Tile>(tiles * e.bands_),
                     {buffer<Tile>(tiles * e.wide()), buffer<Tile>(tiles * e.wide())},
                     buffer<Halfs>(size_t(e.n_.states()) * GROUPS)};
        }

        Stream streams[STREAMS];
        Buffer<float> bands, states, sums;
        Buffer<Halfs> gated;
        Buffer<Tile> zero;
        Pending before{};
        int pass = NOTHING, turn = 0;
    };

    size_t wide() const { return size_t(n_.directions) * hidden_; }
    int depth(int layer) const { return hidden_ + (layer ? int(wide()) : bands_); }

    // Weights (units / SIDE, pass, k / DEPTH, gate), hidden weights first.
    Buffer<Tile> packed(const Network& n, int layer, int d) const {
        static const int gates[2][2] = {{0, 2}, {1, 3}};
        const int depth = this->depth(layer);
        Buffer<Tile> made = buffer<Tile>(size_t(n.hidden / SIDE) * 4 * depth);
        Tile* tile = made.get();
        for (int group = 0; group < n.hidden / SIDE; group++)
            for (const auto& pass : gates)
                for (int k = 0; k < depth; k++)
                    for (const int gate : pass) fill(*tile++, n, layer, d, gate, group * SIDE, k);
        return made;
    }

    void fill(Tile& tile, const Network& n, int layer, int d, int gate, int unit, int block) const {
        const int at = layer * n.directions + d, inputs = n.inputs(layer);
        const float scale = gate == 2 ? -2 * LOG2E : -LOG2E;
        for (int u = 0; u < SIDE; u++) {
            const size_t row = size_t(gate) * n.hidden + unit + u;
            for (int i = 0; i < DEPTH; i++) {
                uint16_t& value = tile.values[u * DEPTH + i];
                const int k = block * DEPTH + i - n.hidden;  // of the inputs
                const float* weights = n.input_weights[at] + row * inputs;
                if (k < 0) value = bfloat(scale * n.hidden_weights[at][row * n.hidden + k + n.hidden]);
                else if (layer) value = bfloat(scale * weights[k]);
                else if (k < 2 * inputs) value = bfloat(scale * weights[k % inputs]);
                else if (k < 3 * inputs) {
                    const float exact = scale * weights[k % inputs];
                    value = bfloat(exact - widened(bfloat(exact)));
                }
            }
        }
    }

    // Packs pixels from `start` on into tiles of x: bands in bfloat16, the remainders of the rounding, bands again.
    void take_in(const uint16_t* dn, size_t pixels, size_t start, Work& w, Stream& stream) const {
        const int count = int(std::min<size_t>(STREAM, pixels - std::min(start, pixels)));
        ends_.normalise<STREAM>(dn + std::min(start, pixels), pixels, count, w.bands.get());
        std::fill_n(stream.cells.get(), size_t(n_.states()) * GROUPS, Halfs{});
        Tile* tile = stream.input.get();
        for (int t = 0; t < n_.steps; t++)
            for (int column = 0; column < COLUMNS; column++)
                for (int block = 0; block < bands_; block++, tile++)
                    for (int i = 0; i < SIDE; i++) {
                        const float* rows = w.bands.get() + size_t(t) * n_.bands * STREAM + column * SIDE;
                        const int k = block * DEPTH + 2 * i;
                        const Ints row = pairs(band(rows, k), band(rows, k + 1));
                        std::memcpy(tile->values + i * DEPTH, &row, sizeof row);
                    }
    }

    Floats band(const float* rows, int k) const {
        if (k >= 3 * n_.bands) return Floats{};
        const Floats exact = load(rows + k % n_.bands * STREAM), near = floats(rounded(exact) & int(0xffff0000));
        return k / n_.bands == 1 ? exact - near : near;
    }

    // Runs one layer in one direction over all steps. The outputs of layer l are in output[l % 2].
    void run(int layer, int d, Work& w) const {
        const size_t at = size_t(layer) * n_.directions + d, step = COLUMNS * wide();
        for (int i = 0; i < n_.steps; i++)
            for (Stream& s : w.streams) {
                const int t = d ? n_.steps - 1 - i : i, before = d ? t + 1 : t - 1;
                Tile* out = s.output[layer % 2].get() + size_t(d) * hidden_;
                const Matrix h = i ? Matrix{out + before * step, wide(), hidden_} : Matrix{w.zero.get(), 0, hidden_};
                const Matrix x = layer ? Matrix{s.output[(layer + 1) % 2].get() + t * step, wide(), int(wide())}
                                       : Matrix{s.input.get() + size_t(t) * COLUMNS * bands_, size_t(bands_), bands_};
                advance(weights_[at].get(), h, x, s.cells.get() + at * n_.hidden * GROUPS, out + t * step, w);
            }
    }

    // Tiles of x for the pixels of a stream; columns are `stride` tiles apart.
    struct Matrix {
        const Tile* tiles;
        size_t stride;
        int count;

        Operand of(int group) const { return {{tiles + 2 * group * stride, tiles + (2 * group + 1) * stride}, count}; }
    };

    void advance(const Tile* weights, Matrix h, Matrix x, Halfs* cells, Tile* out, Work& w) const {
        const int depth = h.count + x.count;
        const Multiply* multiply = multipliers(depth);
        for (int units = 0; units < n_.hidden / SIDE; units++)
            for (int pass = GATES; pass <= OUTPUTS; pass++, weights += 2 * depth)
                for (int group = 0; group < GROUPS; group++) {
                    float* sums = w.sums.get() + w.turn * 4 * SIDE * SIDE;
                    multiply[w.pass + 1](weights, h.of(group), x.of(group), sums, w.before);
                    Tile* to = out + 2 * group * wide() + units / 2;
                    const size_t half = units % 2 * SIDE * SIDE;
                    w.before = {sums,
                                w.gated.get() + group * SIDE,
                                cells + size_t(units) * SIDE * GROUPS + group,
                                {to->values + half, to[wide()].values + half}};
                    w.pass = pass, w.turn ^= 1;
                }
    }

    // Does the vector work on the last block, which is always a block of outputs.
    static void finish(Work& w) {
        Halfs even{};
        for (int unit = 0; unit < SIDE; unit++) work<OUTPUTS>(w.before, unit, even);
        w.pass = NOTHING;
    }

    void answer(Work& w, int pixel, int count, const Answers& to) const {
        const Halfs* cells = w.streams[pixel / STREAM].cells.get() + pixel % STREAM / PAIR;
        for (int s = 0; s < n_.states(); s++)
            store(w.states.get() + size_t(s) * SIDE,
                  pixel / SIDE % 2 ? widened<1>(cells[size_t(s) * GROUPS]) : widened<0>(cells[size_t(s) * GROUPS]));
        ends_.answer<SIDE>(w.states.get(), count, to);
    }

    Shape n_;
    Ends ends_;
    int bands_, hidden_;  // in tiles
    std::vector<Buffer<Tile>> weights_;
};

}  // namespace

std::unique_ptr<Engine> amx_engine(const Network& network) { return std::make_unique<AmxEngine>(network); }

}  // namespace mlc
