/* In place of libFuzzer: runs the target on files, and on all files of folders. Built with any
 * compiler, so that seeds and earlier findings are part of the tests. */
#define _DEFAULT_SOURCE
#include "tests/fuzz/fuzz.h"

#include "vit/file.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Of an input of a few kilobytes, in KiB; as tools/fuzz.sh has it for libFuzzer. */
#define MOST_MEMORY (256L << 10)

static size_t replayed;

/* The most address space that this process ever had, in KiB; 0 where that is not known. */
static long peak_memory(void) {
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    long peak = 0;
    while (file && peak == 0 && fgets(line, sizeof line, file)) {
        if (sscanf(line, "VmPeak: %ld", &peak) != 1) {
            peak = 0;
        }
    }
    if (file) {
        fclose(file);
    }
    return peak;
}

static bool replay_file(const char *path) {
    vit_bytes bytes = {0};
    if (vit_file_read(path, (size_t)1 << 28, &bytes) != VIT_OK) {
        fprintf(stderr, "%s\n", vit_last_error());
        return false;
    }
    long before = peak_memory();
    LLVMFuzzerTestOneInput(bytes.data, bytes.size);
    bool well = peak_memory() - before <= MOST_MEMORY;
    if (!well) {
        fprintf(stderr, "%s: takes %ld MiB (expected at most %ld)\n", path,
                (peak_memory() - before) >> 10, MOST_MEMORY >> 10);
    }
    vit_bytes_free(&bytes);
    replayed++;
    return well;
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
