/* JSON values; the only file that includes cJSON is json.c. A vit_json * is a node of a tree that
 * its root owns. Strings are UTF-8 and hold no zero byte. */
#ifndef VIT_JSON_H
#define VIT_JSON_H

#include "vit/status.h"
#include "vit/utf8.h"

#include <stdbool.h>

typedef struct vit_json vit_json;

#define VIT_JSON_MAX_DEPTH 64
#define VIT_JSON_MAX_VALUES 4000000 /* a node takes about 100 bytes */
/* Numbers are doubles, which hold whole numbers exactly up to here: 2^53. */
#define VIT_JSON_MAX_WHOLE 0x1p53

/* Parses text of the given length (need not end in zero). what names the source in messages, which
 * give line and column. Strict: trailing garbage, control characters in strings, invalid UTF-8,
 * "\u0000", numbers that overflow or have over 63 characters, and an object with the same key twice
 * are refused, as are more levels or values than the limits above. */
vit_status vit_json_parse(const char *text, size_t length, const char *what, vit_json **out);
/* Reads and parses a file of at most limit bytes. */
vit_status vit_json_read(const char *path, size_t limit, vit_json **out);
void vit_json_free(vit_json *root);

/* New values; NULL when memory ran out (adding NULL is remembered: vit_json_print then fails). */
vit_json *vit_json_object(void);
vit_json *vit_json_array(void);
vit_json *vit_json_copy(const vit_json *node); /* the whole tree under node */

/* Adding to an object (key given) or to an array (key NULL). Added trees are owned by the parent. A
 * number that is not finite becomes null; a byte of a string that is not UTF-8 becomes U+FFFD. The
 * key must not be there yet. */
void vit_json_add(vit_json *parent, const char *key, vit_json *child);
void vit_json_add_string(vit_json *parent, const char *key, const char *value);
void vit_json_add_number(vit_json *parent, const char *key, double value);
void vit_json_add_bool(vit_json *parent, const char *key, bool value);
/* Takes a key out of an object, if it is there. */
void vit_json_remove(vit_json *object, const char *key);

/* Reading. Getters return NULL or the fallback when the node is absent or of another type. Nodes
 * may be NULL. */
const vit_json *vit_json_get(const vit_json *object, const char *key);
const vit_json *vit_json_at(const vit_json *array, size_t index); /* walks; see next */
size_t vit_json_count(const vit_json *node);                      /* walks */
const char *vit_json_key(const vit_json *node);                   /* NULL in an array */
/* for (child = vit_json_first(node); child; child = vit_json_next(child)) */
const vit_json *vit_json_first(const vit_json *node);
const vit_json *vit_json_next(const vit_json *child);
bool vit_json_is_object(const vit_json *node);
bool vit_json_is_array(const vit_json *node);
bool vit_json_is_number(const vit_json *node);
bool vit_json_is_bool(const vit_json *node);
const char *vit_json_string(const vit_json *node, const char *fallback);
double vit_json_number(const vit_json *node, double fallback);
bool vit_json_bool(const vit_json *node, bool fallback);

/* The text, indented when pretty; *out is released with vit_free (by free, in a program that sets
 * no allocator). Numbers print so that they read back the same. */
vit_status vit_json_print(const vit_json *root, bool pretty, char **out);
/* The indented text and a newline, as a file (vit_file_replace). */
vit_status vit_json_save(const vit_json *root, const char *path);

#endif
