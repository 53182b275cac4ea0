#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fuzz_expect(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

void fuzz_expect_message(vit_status status) {
    fuzz_expect(status == VIT_OK || *vit_last_error() != 0, "a failure has a message");
    fuzz_expect(strchr(vit_last_error(), '\n') == NULL, "a message is one line");
}

const char *fuzz_file(const uint8_t *data, size_t size, const char *suffix) {
    static char path[64];
    const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, sizeof path, "%s/zvit-fuzz-%ld%s", folder, (long)getpid(), suffix);
    int file = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    fuzz_expect(file >= 0, "the file can be made");
    for (size_t done = 0; done < size;) {
        ssize_t written = write(file, data + done, size - done);
        fuzz_expect(written > 0, "the file can be written");
        done += (size_t)written;
    }
    close(file);
    return path;
}
