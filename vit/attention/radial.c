#include "vit/attention/radial.h"

#include "vit/attention/kernels.h"
#include "vit/attention/zero_sum.h"

size_t vit_radial_scratch(const vit_attention *attention) {
    return 6 * attention->config.tokens;
}

vit_radial vit_radial_make(const vit_attention *attention, const vit_core_weights_args *args) {
    size_t N = attention->config.tokens;
    vit_radial radial = {attention, args->scratch, args->scratch + 3 * N};
    vit_gates_forward(N, args->packed.gate, attention->columns, attention->config.zero_order,
                      radial.gates);
    return radial;
}

void vit_radial_logits(const vit_radial *radial, size_t count, const float *s) {
    size_t N = radial->attention->config.tokens;
    vit_zero_sum_forward(count, s, radial->parts, radial->parts + N, radial->parts + 2 * N);
}

float vit_radial_weight(const vit_radial *radial, size_t t, size_t count, size_t i) {
    const float *gates = radial->gates, *parts = radial->parts;
    size_t N = radial->attention->config.tokens;
    float r = gates[t] * parts[i] + gates[N + t] * parts[N + i];
    return radial->attention->config.zero_order ? r + gates[2 * N + t] / (float)count : r;
}
