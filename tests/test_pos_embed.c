/* Class token and position embedding against a naive double-precision reference. */
#include "support/support.h"

#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>

typedef struct reference {
    size_t B, N, D;
    bool with_cls;
    const double *tokens, *cls, *pos, *cotangent;
} reference;

static double output(const reference *r, size_t b, size_t i, size_t j) {
    bool is_cls = r->with_cls && i == 0;
    double x = is_cls ? r->cls[j] : r->tokens[(b * r->N + i) * r->D + j];
    return x + r->pos[i * r->D + j];
}

static double loss(const void *context) {
    const reference *r = context;
    double sum = 0;
    for (size_t i = 0; i < r->B * r->N * r->D; i++) {
        size_t token = i / r->D;
        sum += r->cotangent[i] * output(r, token / r->N, token % r->N, i % r->D);
    }
    return sum;
}

static void check_backward(reference *r, const float *dtokens) {
    size_t N = r->N, D = r->D;
    float *dpos0 = random_new(10, N * D, 1), *dpos = random_new(10, N * D, 1);
    float *dcls0 = random_new(11, D, 1), *dcls = random_new(11, D, 1);
    vit_pos_embed_backward(r->B, N, D, dtokens, r->with_cls ? dcls : NULL, dpos);
    take_out(N * D, dpos, dpos0);
    take_out(D, dcls, dcls0);
    check_gradient_of("dpos_embed", loss, r, &r->pos, N * D, dpos, 60, 1e-5);
    if (r->with_cls) {
        check_gradient_of("dcls_token", loss, r, &r->cls, D, dcls, 60, 1e-5);
    }
    free(dpos0);
    free(dpos);
    free(dcls0);
    free(dcls);
}

static void check_shape(size_t B, size_t N, size_t D, bool with_cls) {
    size_t n = B * N * D;
    float *tokens = random_new(1, n, 1), *cls = random_new(2, D, 1), *pos = random_new(3, N * D, 1);
    float *dtokens = random_new(4, n, 1);
    double *tokens64 = to_double(tokens, n), *cls64 = to_double(cls, D);
    double *pos64 = to_double(pos, N * D), *dtokens64 = to_double(dtokens, n);
    double *expected = to_double(tokens, n);
    reference r = {B, N, D, with_cls, tokens64, cls64, pos64, dtokens64};
    for (size_t b = 0; with_cls && b < B; b++) { /* whatever the rows of the class token held */
        tokens[b * N * D] = NAN;
    }
    vit_pos_embed_forward(B, N, D, with_cls ? cls : NULL, pos, tokens);
    for (size_t i = 0; i < n; i++) {
        expected[i] = output(&r, i / D / N, i / D % N, i % D);
    }
    check_close("tokens", n, tokens, expected, 1e-7);
    check_backward(&r, dtokens);
    free(tokens);
    free(cls);
    free(pos);
    free(dtokens);
    free(tokens64);
    free(cls64);
    free(pos64);
    free(dtokens64);
    free(expected);
}

START_TEST(odd_shapes) {
    const size_t shapes[][3] = {{1, 1, 1}, {3, 2, 5}, {2, 5, 16}, {3, 17, 33}, {1, 50, 192}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(shapes[i][0], shapes[i][1], shapes[i][2], true);
        check_shape(shapes[i][0], shapes[i][1], shapes[i][2], false);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("pos_embed");
    TCase *c = tcase_create("pos_embed");
    tcase_add_test(c, odd_shapes);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
