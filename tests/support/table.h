/* CSV read by code that has nothing in common with the library's. */
#ifndef VIT_TEST_TABLE_H
#define VIT_TEST_TABLE_H

#include <stddef.h>

typedef struct table {
    size_t rows, columns; /* rows without the header */
    char **cells;         /* (1 + rows, columns) */
} table;

/* Fails the test unless every line has as many fields as the first. */
table table_read(const char *path);
void table_free(table *t);
/* Column by its header; fails the test when it is not there. */
const char *table_text(const table *t, size_t row, const char *column);
/* NaN for an empty field; fails the test when it is no number. */
double table_number(const table *t, size_t row, const char *column);

#endif
