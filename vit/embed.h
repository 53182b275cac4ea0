/* Files of the source tree that the build puts into the program: cmake/ZvitEmbed.cmake makes one of
 * these of each, to be declared where it is used:
 *   extern const vit_embedded vit_embedded_tools_serve_page_css; */
#ifndef VIT_EMBED_H
#define VIT_EMBED_H

#include <stddef.h>

typedef struct vit_embedded {
    const unsigned char *data; /* (size), and a zero behind them */
    size_t size;
    const char *sha256; /* 64 hexadecimal digits, for the page's Content-Security-Policy */
} vit_embedded;

#endif
