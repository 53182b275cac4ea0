#include "vit/memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define PATH_ROOM 4096

/* The number after `name` at the start of a line of the file; false when there is none. */
static bool read_value(const char *path, const char *name, uint64_t *out) {
    char line[512];
    size_t length = strlen(name);
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        char *end = line;
        if (strncmp(line, name, length) == 0) {
            *out = strtoull(line + length, &end, 10);
        }
        found = end > line + length;
    }
    if (file) {
        fclose(file);
    }
    return found;
}

/* What the control group in this folder leaves, when that is less. Files are those of version 2, or
 * of version 1. */
static uint64_t group_leaves(const char *folder, bool version1, uint64_t available) {
    char path[PATH_ROOM + 64];
    uint64_t limit, used, cache = 0;
    snprintf(path, sizeof path, "%s/%s", folder,
             version1 ? "memory.limit_in_bytes" : "memory.max"); /* "max" is no number */
    if (!read_value(path, "", &limit)) {
        return available;
    }
    snprintf(path, sizeof path, "%s/%s", folder,
             version1 ? "memory.usage_in_bytes" : "memory.current");
    if (!read_value(path, "", &used)) {
        return available;
    }
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (read_value(path, version1 ? "total_inactive_file " : "inactive_file ", &cache)) {
        used -= cache < used ? cache : used;
    }
    uint64_t left = limit > used ? limit - used : 0;
    return left < available ? left : available;
}

/* The group and all that it lies in, up to the mount. */
static uint64_t groups_leave(const char *mount, const char *group, bool version1,
                             uint64_t available) {
    char folder[PATH_ROOM];
    size_t root = strlen(mount);
    int length = snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (length < 0 || (size_t)length >= sizeof folder) {
        return available;
    }
    for (;;) {
        available = group_leaves(folder, version1, available);
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= root || !slash) {
            return available;
        }
        *slash = 0;
    }
}

uint64_t vit_memory_available(void) {
    uint64_t available;
    char line[PATH_ROOM];
    if (!read_value("/proc/meminfo", "MemAvailable:", &available)) {
        return 0;
    }
    available *= 1024;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *group = strstr(line, ":memory:");
        if (strncmp(line, "0::", 3) == 0) {
            available = groups_leave("/sys/fs/cgroup", line + 3, false, available);
        } else if (group) {
            available = groups_leave("/sys/fs/cgroup/memory", group + 8, true, available);
        }
    }
    if (file) {
        fclose(file);
    }
    return available;
}

uint64_t vit_memory_used(void) {
    uint64_t kilobytes;
    return read_value("/proc/self/status", "VmRSS:", &kilobytes) ? kilobytes * 1024 : 0;
}

uint64_t vit_memory_limit(void) {
    uint64_t available = vit_memory_available();
    uint64_t limit = available > 0 ? available + vit_memory_used() : 0;
    struct rlimit space;
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY &&
        (limit == 0 || space.rlim_cur < limit)) {
        limit = space.rlim_cur;
    }
    return limit;
}
