#include "tools/serve/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_loopback(const struct sockaddr *address) {
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *ip =
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(ip);
    }
    const struct sockaddr_in *ip = (const void *)address;
    return ntohl(ip->sin_addr.s_addr) >> 24 == 127;
}

static vit_status fail_bind(const char *host, int port, int error) {
    char text[128];
    const char *reason = strerror_r(error, text, sizeof text);
    if (error == EADDRINUSE) {
        return vit_fail(VIT_ERROR_IO,
                        "port %d of %s: taken by another program (expected a free one: --port N, "
                        "or --port 0)",
                        port, host);
    }
    if (error == EACCES) {
        return vit_fail(VIT_ERROR_IO, "port %d of %s: %s (expected one from 1024 on)", port, host,
                        reason);
    }
    if (error == EADDRNOTAVAIL) {
        return vit_fail(VIT_ERROR_IO, "host %s: no address of this machine", host);
    }
    return vit_fail(VIT_ERROR_IO, "port %d of %s: cannot listen: %s", port, host, reason);
}

/* Returns 0, or errno. */
static int bind_to(const struct addrinfo *address, int *out) {
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    /* Connections of an earlier server that linger do not keep its port. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, 512) != 0) {
        int error = errno;
        close(fd);
        return error;
    }
    *out = fd;
    return 0;
}

static vit_status describe(const char *host, serve_listener *out) {
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    memset(&bound, 0, sizeof bound);
    if (getsockname(out->fd, (struct sockaddr *)&bound, &size) != 0) {
        return fail_bind(host, 0, errno);
    }
    bool v6 = bound.ss_family == AF_INET6;
    out->port = ntohs(v6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                         : ((struct sockaddr_in *)&bound)->sin_port);
    out->loopback = is_loopback((struct sockaddr *)&bound);
    bool bracket = strchr(host, ':') != NULL;
    snprintf(out->url, sizeof out->url, "http://%s%s%s:%d/", bracket ? "[" : "", host,
             bracket ? "]" : "", out->port);
    return VIT_OK;
}

vit_status serve_listen(const char *host, int port, serve_listener *out) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[16];
    int error = EADDRNOTAVAIL;
    *out = (serve_listener){.fd = -1};
    snprintf(service, sizeof service, "%d", port);
    int unknown = getaddrinfo(host, service, &hints, &found);
    if (unknown != 0) {
        return vit_fail(VIT_ERROR_ARGUMENT, "host %s: %s (expected an address of this machine)",
                        host, gai_strerror(unknown));
    }
    for (const struct addrinfo *a = found; a && out->fd < 0; a = a->ai_next) {
        error = bind_to(a, &out->fd);
    }
    freeaddrinfo(found);
    if (out->fd < 0) {
        return fail_bind(host, port, error);
    }
    vit_status status = describe(host, out);
    if (status != VIT_OK) {
        serve_listener_close(out);
    }
    return status;
}

void serve_listener_close(serve_listener *listener) {
    if (listener->fd >= 0) {
        close(listener->fd);
        listener->fd = -1;
    }
}

vit_status serve_reserve_descriptors(size_t count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count) {
        return VIT_OK;
    }
    if (limit.rlim_max < count) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "max-connections: needs %zu descriptors, and this process may have %llu "
                        "(ulimit -n)",
                        count, (unsigned long long)limit.rlim_max);
    }
    limit.rlim_cur = count;
    setrlimit(RLIMIT_NOFILE, &limit);
    return VIT_OK;
}
