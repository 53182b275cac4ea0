/* In place of libFuzzer: runs the target on files, and on all files of folders. Built with any
 * compiler, so that seeds and earlier findings are part of the tests. */
#define _DEFAULT_SOURCE
#include "tests/fuzz/fuzz.h"

#include "vit/file.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static size_t replayed;

static bool replay_file(const char *path) {
    vit_bytes bytes = {0};
    if (vit_file_read(path, (size_t)1 << 28, &bytes) != VIT_OK) {
        fprintf(stderr, "%s\n", vit_last_error());
        return false;
    }
    LLVMFuzzerTestOneInput(bytes.data, bytes.size);
    vit_bytes_free(&bytes);
    replayed++;
    return true;
}

static bool replay(const char *path) {
    struct stat what;
    if (stat(path, &what) != 0) {
        fprintf(stderr, "%s: no such file or folder\n", path);
        return false;
    }
    if (!S_ISDIR(what.st_mode)) {
        return replay_file(path);
    }
    DIR *folder = opendir(path);
    bool well = folder != NULL;
    for (struct dirent *entry; well && (entry = readdir(folder)) != NULL;) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        well = entry->d_name[0] == '.' || replay(file);
    }
    if (folder) {
        closedir(folder);
    }
    return well;
}

int main(int argc, char **argv) {
    bool well = true;
    for (int i = 1; i < argc; i++) {
        well = replay(argv[i]) && well;
    }
    printf("%zu inputs\n", replayed);
    return well && replayed > 0 ? 0 : 1;
}
