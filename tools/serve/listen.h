/* The socket that the server accepts on. */
#ifndef ZVIT_SERVE_LISTEN_H
#define ZVIT_SERVE_LISTEN_H

#include "vit/status.h"

#include <stdbool.h>

typedef struct serve_listener {
    int fd;        /* bound, not yet listening; -1: none */
    char url[320]; /* "http://127.0.0.1:8080/", with the port that was chosen */
    int port;
    bool loopback; /* only this machine reaches it */
} serve_listener;

/* host: an address or a name of this machine. The errors name both, and what to do about a port
 * that is taken. */
vit_status serve_listen(const char *host, int port, serve_listener *out);
void serve_listener_close(serve_listener *listener);

/* Makes room for so many descriptors, as far as the system allows; an error says how many. */
vit_status serve_reserve_descriptors(size_t count);

#endif
