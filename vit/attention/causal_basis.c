#include "vit/attention/causal_basis.h"

#include "vit/attention/zero_sum.h"
#include "vit/simd.h"
#include "vit/vmath.h"

#include <math.h>

/* Logits that lie farther apart than this make the basis wide. */
#define NARROW_SPREAD 4.0

/* exp(x) - 1 - x; below 0.01 a series, whose first term left out is x^6/720. */
static double exp_remainder(double x) {
    if (fabs(x) < 0.01) {
        return x * x * (0.5 + x * (1.0 / 6 + x * (1.0 / 24 + x / 120)));
    }
    return expm1(x) - x;
}

/* ---- sums over the tokens so far ---- */

static void move_reference(vit_causal_prefix *p, double reference) {
    double shift = p->basis.reference - reference;
    p->Y = exp(shift) * p->Y + expm1(shift) * p->P + exp_remainder(shift) * p->n;
    p->P += shift * p->n;
    p->basis.reference = reference;
}

bool vit_causal_add(vit_causal_prefix *p, double s) {
    vit_causal_basis before = p->basis;
    bool first = p->n == 0;
    if (first) {
        p->basis.reference = p->lowest = s;
    } else if (s > p->basis.reference) {
        move_reference(p, s);
    }
    p->lowest = s < p->lowest ? s : p->lowest;
    p->basis.wide = p->basis.wide || p->basis.reference - p->lowest > NARROW_SPREAD;
    double delta = s - p->basis.reference;
    p->n += 1;
    p->P += delta;
    p->Y += exp_remainder(delta);
    return first || p->basis.reference != before.reference || p->basis.wide != before.wide;
}

/* ---- coefficients ---- */

vit_causal_row vit_causal_coefficients(const vit_causal_prefix *p, double first, double higher,
                                       double zero) {
    double n = p->n, P = p->P, Y = p->Y, E = n + P + Y;
    if (p->basis.wide) {
        double B = (first - higher) / n;
        return (vit_causal_row){higher / E, B, (zero - higher - B * P) / n};
    }
    return (vit_causal_row){
        .f = higher / E,
        .delta = first / n - higher * (P + Y) / (n * E),
        .one = (zero - first * P / n + higher * (P * (P + Y) / n - Y) / E) / n,
    };
}

void vit_causal_functions(size_t count, const float *s, const vit_causal_basis *basis, float *f,
                          float *delta) {
    for (size_t i = 0; i < count; i++) {
        delta[i] = (float)(s[i] - basis->reference);
    }
    if (basis->wide) {
        vit_vexp(count, delta, f);
    } else {
        vit_exp_remainder(count, delta, f);
    }
}

static double inner(vit_causal_row a, vit_causal_row b) {
    return a.f * b.f + a.delta * b.delta + a.one * b.one;
}

/* The encoder's gradient (zero_sum.c) over the n tokens so far. With p the softmax,
 * M = mean(dr) and W = sum (p - 1/n) dr:
 *     ds_i = dr_i (first/n + higher (p_i - 1/n)) - higher (M + W) (p_i - 1/n)
 *            - (first M + higher W) / n,
 * where p_i - 1/n = g_i / E - rest / n with rest = (P + Y) / E, or 1 when wide. */
vit_causal_row_gradients vit_causal_gradients(const vit_causal_prefix *p, double first,
                                              double higher, vit_causal_row sums) {
    double n = p->n, E = n + p->P + p->Y;
    bool wide = p->basis.wide;
    double rest = wide ? 1 : (p->P + p->Y) / E;
    double M = sums.one / n;
    double W = (sums.f + (wide ? 0 : sums.delta)) / E - rest * M;
    return (vit_causal_row_gradients){
        .first = inner(sums, vit_causal_coefficients(p, 1, 0, 0)),
        .higher = inner(sums, vit_causal_coefficients(p, 0, 1, 0)),
        .zero = M,
        .X = higher * (M + W) / E,
        .Z = (higher * (M + W) * rest - first * M - higher * W) / n,
    };
}

/* ---- from one basis to another ---- */

vit_causal_step vit_causal_between(const vit_causal_basis *earlier, const vit_causal_basis *later) {
    double shift = earlier->reference - later->reference;
    double e = exp(shift);
    if (!later->wide) {
        return (vit_causal_step){e, expm1(shift), exp_remainder(shift), shift};
    }
    /* Narrow to wide: exp(delta) = f + delta + 1. */
    double rest = earlier->wide ? 0 : e;
    return (vit_causal_step){e, rest, rest, shift};
}

vit_causal_row vit_causal_sums_later(const vit_causal_step *step, vit_causal_row sums) {
    return (vit_causal_row){
        .f = step->ff * sums.f + step->fd * sums.delta + step->f1 * sums.one,
        .delta = sums.delta + step->shift * sums.one,
        .one = sums.one,
    };
}

vit_causal_row vit_causal_coefficients_earlier(const vit_causal_step *step, vit_causal_row c) {
    return (vit_causal_row){
        .f = step->ff * c.f,
        .delta = step->fd * c.f + c.delta,
        .one = step->f1 * c.f + step->shift * c.delta + c.one,
    };
}

VIT_CLONES static void sums_later(float ff, float fd, float f1, float shift, size_t n, float *f,
                                  float *delta, const float *one) {
    for (size_t i = 0; i < n; i++) {
        f[i] = ff * f[i] + fd * delta[i] + f1 * one[i];
        delta[i] += shift * one[i];
    }
}

void vit_causal_states_later(const vit_causal_step *step, size_t n, float *sums) {
    sums_later((float)step->ff, (float)step->fd, (float)step->f1, (float)step->shift, n, sums,
               sums + n, sums + 2 * n);
}

VIT_CLONES static void coefficients_earlier(float ff, float fd, float f1, float shift, size_t n,
                                            float *f, float *delta, float *one) {
    for (size_t i = 0; i < n; i++) {
        one[i] += f1 * f[i] + shift * delta[i];
        delta[i] += fd * f[i];
        f[i] *= ff;
    }
}

void vit_causal_states_earlier(const vit_causal_step *step, size_t n, float *c) {
    coefficients_earlier((float)step->ff, (float)step->fd, (float)step->f1, (float)step->shift, n,
                         c, c + n, c + 2 * n);
}
