#include "vit/number.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The C locale is built into the C library: newlocale hands out the static object and takes no
 * memory. Without it (it cannot fail where that holds) the current locale must do. */
const char *vit_number_parse(const char *text, double *value) {
    char *end;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    *value = c ? strtod_l(text, &end, c) : strtod(text, &end);
    if (c) {
        freelocale(c);
    }
    return end;
}

static bool format_whole(double value, char *buffer, size_t size) {
    bool whole = fabs(value) < 1e15 && value == floor(value);
    if (whole) {
        snprintf(buffer, size, "%.0f", value);
    }
    return whole;
}

static void format_shortest(double value, char *buffer, size_t size) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(buffer, size, "%.*g", digits, value);
        if (strtod(buffer, NULL) == value) {
            return;
        }
    }
}

/* digits 0: as few as read back the same. */
static void format(double value, int digits, char *buffer, size_t size) {
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = c ? uselocale(c) : (locale_t)0;
    bool whole = format_whole(value, buffer, size);
    if (!whole && digits > 0) {
        snprintf(buffer, size, "%.*g", digits, value);
    } else if (!whole) {
        format_shortest(value, buffer, size);
    }
    if (c) {
        uselocale(before);
        freelocale(c);
    }
}

void vit_number_format(double value, char *buffer, size_t size) {
    format(value, 0, buffer, size);
}

void vit_number_round(double value, int digits, char *buffer, size_t size) {
    format(value, digits, buffer, size);
}
