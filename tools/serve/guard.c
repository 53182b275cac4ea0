#include "tools/serve/guard.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define NAME_ROOM 256

/* "NAME:8080" -> "NAME", "[::1]:8080" -> "::1", a final dot of a name left out; false when it has
 * no such form. */
static bool split_host(const char *host, char name[NAME_ROOM]) {
    const char *start = host, *end = host + strcspn(host, ":"), *rest = end;
    if (*host == '[') {
        start = host + 1;
        end = strchr(start, ']');
        if (!end) {
            return false;
        }
        rest = end + 1;
    }
    size_t length = (size_t)(end - start);
    if (*rest == ':') {
        rest++;
        rest += strspn(rest, "0123456789");
    }
    if (*rest != 0 || length == 0 || length >= NAME_ROOM) {
        return false;
    }
    memcpy(name, start, length);
    name[length] = 0;
    if (length > 1 && name[length - 1] == '.') {
        name[length - 1] = 0;
    }
    return true;
}

static bool is_address(const char *name) {
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

static bool is_listed(const char *name, const char *allowed) {
    size_t length = strlen(name);
    while (*allowed) {
        size_t item = strcspn(allowed, ", ");
        if ((item == 1 && *allowed == '*') ||
            (item == length && strncasecmp(allowed, name, item) == 0)) {
            return true;
        }
        allowed += item;
        allowed += strspn(allowed, ", ");
    }
    return false;
}

static bool is_local_name(const char *name) {
    static const char suffix[] = ".localhost";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    return strcasecmp(name, "localhost") == 0 ||
           (length > tail && strcasecmp(name + length - tail, suffix) == 0);
}

bool serve_host_allowed(const char *host, const char *allowed, const char *machine) {
    char name[NAME_ROOM];
    return split_host(host, name) &&
           (is_address(name) || is_local_name(name) || is_listed(name, allowed) ||
            (machine && *machine && strcasecmp(name, machine) == 0));
}

bool serve_origin_allowed(const char *fetch_site, const char *origin, const char *host,
                          const char *allowed) {
    char name[NAME_ROOM];
    if (fetch_site) {
        return strcmp(fetch_site, "same-origin") == 0 || strcmp(fetch_site, "none") == 0;
    }
    if (!origin) {
        return true;
    }
    const char *authority = strstr(origin, "://");
    if (!authority) {
        return false; /* "null": a sandboxed page or a file */
    }
    authority += 3;
    return (host && strcasecmp(authority, host) == 0) ||
           (split_host(authority, name) && *allowed && is_listed(name, allowed));
}
