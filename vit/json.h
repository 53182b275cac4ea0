/* JSON values; the only file that includes cJSON is json.c. A vit_json * is a node of a tree that
 * its root owns. */
#ifndef VIT_JSON_H
#define VIT_JSON_H

#include "vit/status.h"

#include <stdbool.h>

typedef struct vit_json vit_json;

/* Parses text of the given length (need not end in zero). what names the source in messages.
 * Rejects trailing garbage. Depth is bounded. */
vit_status vit_json_parse(const char *text, size_t length, const char *what, vit_json **out);
void vit_json_free(vit_json *root);

/* New values; NULL when memory ran out (adding NULL is remembered: vit_json_print then fails). */
vit_json *vit_json_object(void);
vit_json *vit_json_array(void);

/* Adding to an object (key given) or to an array (key NULL). Added trees are owned by the parent. A
 * number that is not finite becomes null. */
void vit_json_add(vit_json *parent, const char *key, vit_json *child);
void vit_json_add_string(vit_json *parent, const char *key, const char *value);
void vit_json_add_number(vit_json *parent, const char *key, double value);
void vit_json_add_bool(vit_json *parent, const char *key, bool value);
void vit_json_add_null(vit_json *parent, const char *key);

/* Reading. Getters return NULL or the fallback when the node is absent or of another type. Nodes
 * may be NULL. */
const vit_json *vit_json_get(const vit_json *object, const char *key);
const vit_json *vit_json_at(const vit_json *array, size_t index);
size_t vit_json_count(const vit_json *node);
const char *vit_json_key(const vit_json *node); /* NULL in an array */
bool vit_json_is_object(const vit_json *node);
bool vit_json_is_array(const vit_json *node);
bool vit_json_is_number(const vit_json *node);
bool vit_json_is_bool(const vit_json *node);
const char *vit_json_string(const vit_json *node, const char *fallback);
double vit_json_number(const vit_json *node, double fallback);
bool vit_json_bool(const vit_json *node, bool fallback);

/* The text, indented when pretty; *out is released with free(). Numbers print so that they read
 * back the same. */
vit_status vit_json_print(const vit_json *root, bool pretty, char **out);

#endif
