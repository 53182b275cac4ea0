/* A running zvit serve and what is asked of it. */
#ifndef VIT_TEST_SERVE_CASE_H
#define VIT_TEST_SERVE_CASE_H

#include "http_client.h"

#include "vit/file.h"
#include "vit/json.h"

#include <sys/types.h>

/* The model's classes and the side of its pictures; golden pictures that it is asked about. */
enum { SERVED_CLASSES = 4, SERVED_SIDE = 16, SERVED_PICTURES = 5 };
extern const char *const served_classes[SERVED_CLASSES];
extern const char *const served_pictures[SERVED_PICTURES];

typedef struct server {
    pid_t process;
    int port;
} server;

void nap(int milliseconds);

/* FOLDER/model, unless serve_model makes it. */
void serve_make_model(void);

/* zvit serve FOLDER/model --port 0 with further flags, which may be NULL; ready when it has printed
 * its address. */
server serve_model(const char *const *flags);
/* Ends it; it has to go well, and to have said nothing but its greeting. */
void serve_stop(const server *s);
void check_served(const server *s); /* it still answers */
double serve_metric(const server *s, const char *name);

vit_bytes golden_bytes(const char *name);
reply post_golden(const server *s, const char *path, const char *name);
/* Sends the picture and reads no answer; the connection. */
int post_without_reading(const server *s, const vit_bytes *picture);
/* Until so many pictures wait. */
void wait_for_queue(const server *s, double count);
/* The code, a part of the body, JSON with "error" where it is one; frees the reply. */
void check_reply(reply r, int code, const char *part);

/* What zvit classify says of the picture. */
vit_json *classify_picture(const char *name);
void check_top(const vit_json *result, const vit_json *expected, size_t count, double tolerance);

/* A form of several pictures, whatever they are called. */
#define BOUNDARY "----zvit42"
#define FORM "multipart/form-data; boundary=" BOUNDARY
typedef struct form {
    char bytes[1 << 18];
    size_t size;
} form;
void form_part(form *f, const char *disposition, const void *bytes, size_t size);
void form_end(form *f);
form *form_of_all(void); /* the served pictures, without its end; free */

#endif
