/* A data set as a CSV list of path and label. Private to data/. */
#ifndef VIT_LIST_H
#define VIT_LIST_H

#include "data/walk.h"

/* Reads a list (RFC 4180: fields may be quoted, "" is a quote within them; lines end in LF or
 * CRLF; a byte order mark and empty lines are passed over). The first line may be a header that
 * names the columns: path, file, filename or image, and label or class; other columns are ignored.
 * Without a header a line is path,label. paths[i] is as written, but relative ones are put behind
 * the list's folder; labels[i] is its label. The message names file and line. */
vit_status vit_list_read(const char *path, vit_name_list *paths, vit_name_list *labels);

#endif
