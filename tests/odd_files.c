/* Decodes the odd and broken pictures of other programs' test suites: odd_files LIST ROOT. A line
 * of the list is a verdict (whole, broken or huge) and a path below ROOT; '#' begins a comment.
 * Prints what went otherwise, and how much memory it took at most. Run by odd_files.sh. */
#include "data/image.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define MOST_KILOBYTES (300 * 1000)

/* Empty when the decoder does as the verdict says. */
static const char *judge(const char *verdict, vit_status status) {
    if (strcmp(verdict, "whole") == 0) {
        return status == VIT_OK ? "" : "must be decoded";
    }
    if (strcmp(verdict, "huge") == 0) {
        return status == VIT_ERROR_LIMIT ? "" : "must be refused for its size";
    }
    if (strcmp(verdict, "broken") == 0) {
        return status == VIT_OK                                       ? "must be refused"
               : status == VIT_ERROR_IO || status == VIT_ERROR_MEMORY ? "refused for another reason"
                                                                      : "";
    }
    return "unknown verdict";
}

int main(int argc, char **argv) {
    char line[1024], verdict[16], name[512], path[2048];
    size_t files = 0, wrong = 0;
    vit_bytes bytes = {0};
    vit_image image = {0};
    const vit_decode_options options = vit_decode_defaults();
    FILE *list = argc == 3 ? fopen(argv[1], "r") : NULL;
    if (!list) {
        fprintf(stderr, "usage: odd_files LIST ROOT\n");
        return 2;
    }
    while (fgets(line, sizeof line, list)) {
        if (*line == '#' || sscanf(line, "%15s %511s", verdict, name) != 2) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", argv[2], name);
        vit_status status = vit_image_load(path, &options, &bytes, &image);
        const char *why = judge(verdict, status);
        files++;
        if (*why) {
            wrong++;
            printf("%s: %s: %s\n", path, why, status == VIT_OK ? "decoded" : vit_last_error());
        }
    }
    fclose(list);
    vit_bytes_free(&bytes);
    vit_image_free(&image);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%zu files, %zu not as they should be, at most %ld MB of memory (expected 0 and 300)\n",
           files, wrong, usage.ru_maxrss / 1000);
    return files > 0 && wrong == 0 && usage.ru_maxrss < MOST_KILOBYTES ? 0 : 1;
}
