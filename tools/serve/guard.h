/* Which requests a server on somebody's own machine answers at all. A web page of another site may
 * not use it through the visitor's browser: not by sending forms to it (same origin only), and not
 * by DNS rebinding, where the attacker's name resolves to this machine (known names only). */
#ifndef ZVIT_SERVE_GUARD_H
#define ZVIT_SERVE_GUARD_H

#include <stdbool.h>

/* host: the Host header, with or without port. True for IP addresses (a rebinding attack needs a
 * name), localhost and names under it, the machine's own name (may be NULL), and the names of
 * allowed ("a.org,b.org"; "*" allows any). Case does not count. */
bool serve_host_allowed(const char *host, const char *allowed, const char *machine);

/* For requests that make work. fetch_site, origin: the headers Sec-Fetch-Site and Origin, NULL when
 * absent, as with anything but a browser. True when they say that the page is ours, or say nothing.
 * Without Sec-Fetch-Site, which browsers leave out where the connection is not trustworthy, the
 * Origin must name host, or a name of allowed, as behind a proxy that sends another Host. */
bool serve_origin_allowed(const char *fetch_site, const char *origin, const char *host,
                          const char *allowed);

#endif
