/* What the suites of several attentions ask alike. */
#ifndef VIT_TEST_ATTENTION_PROPERTIES_H
#define VIT_TEST_ATTENTION_PROPERTIES_H

#include "attention_case.h"

/* Against the definition at shape number `shape`: one token, odd widths, both ropes, a class token,
 * several blocks of rows; half of them with the head norm where the kind has it. */
enum { ATTENTION_SHAPES = 6 };
void attention_check_shape(vit_attention_kind kind, int shape);

/* By how much, relatively, y changes when `amount` is added to every value of a parameter. */
double attention_change_of_y(attention_case *c, const char *name, float amount);

/* A fused qkv: a constant added to v comes out as it is, for the weights sum to one. */
void attention_check_sum_of_one(vit_attention_kind kind);
/* A fused qkv: large and very uneven queries and keys. */
void attention_check_large_inputs(vit_attention_kind kind);

/* A plain ZeroS layer with the head norm: no rope, no class token. */
vit_attention_config attention_zeros_config(bool causal, size_t tokens, size_t dim, size_t heads);

/* Gates and an output bias that let nothing but ZeroS's higher orders through, of two heads. */
void attention_leave_higher_orders(const attention_case *c);
/* And logits as of a ZeroS layer that has just begun to learn; 197 tokens of 24. */
void attention_open_small_logits(attention_case *c, bool causal);

/* ZeroS's tau beyond its clip: no gradient there, and the prior's weight is that of the clip. */
void attention_check_clipped_tau(bool causal, double y_bound);

/* ZeroS of 8192 tokens plans hardly more than twice the memory of 4096: a bound that a quadratic
 * form would break. */
void attention_check_memory_grows_with_tokens(bool causal, vit_zeros_form form);

#endif
