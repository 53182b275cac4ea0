/* A contact sheet: rows of pictures with a label below each. */
#ifndef ZVIT_SHEET_H
#define ZVIT_SHEET_H

#include "data/image.h"

typedef struct sheet {
    vit_image image;
    size_t columns, rows;
    size_t width, height; /* of a picture */
    size_t zoom;          /* pixels of the sheet for each of a picture's, across and down */
    size_t text;          /* scale of the labels */
} sheet;

/* An empty sheet for pictures of width x height; small ones are shown larger. Released with
 * sheet_free. */
vit_status sheet_init(sheet *s, size_t columns, size_t rows, size_t width, size_t height);
void sheet_free(sheet *s);

/* Puts a picture of at most the sheet's width x height in the middle of its place, and the label
 * below. */
void sheet_put(sheet *s, size_t column, size_t row, const vit_image *picture, const char *label);

#endif
