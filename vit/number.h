/* Numbers to text and back, whatever the process's locale, without loss. */
#ifndef VIT_NUMBER_H
#define VIT_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

/* strtod with the C locale's '.'. Returns the first character that is no part of the number; text
 * itself when there is none. Overflow gives an infinity, as strtod. */
const char *vit_number_parse(const char *text, double *value);

#define VIT_NUMBER_MAX 32 /* bytes that any formatted double fits in, with the zero */

/* The shortest text that reads back as the same double; whole numbers below 1e15 without an
 * exponent ("50000", "0.1", "1e-08"). */
void vit_number_format(double value, char *buffer, size_t size);

/* The same, but rounded to that many significant digits; whole numbers are still whole. */
void vit_number_round(double value, int digits, char *buffer, size_t size);

#endif
