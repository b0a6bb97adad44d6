// The sums of mlc_dask/native/int16.hpp as plain C functions, compiled by the tests for one instruction set.
#include "../../mlc_dask/native/int16.hpp"

extern "C" {

int block() { return mlc::BLOCK; }

double step_of(const float* weights, int count, double start) { return mlc::step_of(weights, count, start); }

void whole(const float* weights, int count, double step, int16_t* to) {
    for (int k = 0; k < count; k++) to[k] = mlc::whole(weights[k], step);
}

// Adds to sums (4, BLOCK) the products of weights (x_count + h_count, 4, 2) and of inputs (count, BLOCK, 2).
void products(int32_t* sums, const int16_t* weights, const int16_t* x, int x_count, const int16_t* h, int h_count) {
    mlc::Gates gates;
    std::memcpy(gates.sums, sums, sizeof gates.sums);
    const auto pairs = [](const int16_t* from) { return reinterpret_cast<const int32_t*>(from); };
    mlc::products(gates, pairs(weights), {pairs(x), x_count}, {pairs(h), h_count});
    std::memcpy(sums, gates.sums, sizeof gates.sums);
}
}
