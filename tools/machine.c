#include "tools/machine.h"

#include "vit/gemm.h"
#include "vit/memory.h"
#include "vit/vmath.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Finds "key ... : value" in a file of such lines, as /proc has them. */
static bool read_field(const char *path, const char *key, char *buffer, size_t size) {
    FILE *file = fopen(path, "re");
    char line[512];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) == 0 && colon != NULL) {
            colon += 1 + strspn(colon + 1, " \t");
            snprintf(buffer, size, "%.*s", (int)strcspn(colon, "\n"), colon);
            found = true;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* Of a /proc/meminfo line, which counts in kB. */
static double read_memory(const char *key) {
    char value[64];
    return read_field("/proc/meminfo", key, value, sizeof value) ? strtod(value, NULL) * 1024 : 0;
}

/* OpenBLAS's SkylakeX kernels want more of AVX-512 than its foundation. */
static const char *processor_offers(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        return "avx512";
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return "avx2";
    }
    return __builtin_cpu_supports("avx") ? "avx" : "sse2";
#else
    return "";
#endif
}

/* The library's line is long: "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ... USE_OPENMP ...". */
static void name_blas(char *buffer, size_t size) {
    const char *line = vit_blas_name();
    if (strchr(line, '(') != NULL) {
        snprintf(buffer, size, "%s", line);
        return;
    }
    size_t word = strcspn(line, " ");
    size_t length = word + (line[word] != 0 ? 1 + strcspn(line + word + 1, " ") : 0);
    const char *threads = strstr(line, "USE_OPENMP") != NULL        ? " (openmp)"
                          : strstr(line, "SINGLE_THREADED") != NULL ? " (one thread)"
                                                                    : "";
    snprintf(buffer, size, "%.*s%s", (int)length, line, threads);
}

cli_machine cli_machine_look(void) {
    cli_machine machine = {
        .processors = omp_get_num_procs(),
        .threads = omp_get_max_threads(),
        .isa = vit_vmath_isa(),
        .offers = processor_offers(),
        .kernel = vit_blas_kernel(),
        .memory_bytes = read_memory("MemTotal"),
        .available_bytes = (double)vit_memory_available(),
    };
    name_blas(machine.blas, sizeof machine.blas);
    if (!read_field("/proc/cpuinfo", "model name", machine.cpu, sizeof machine.cpu)) {
        snprintf(machine.cpu, sizeof machine.cpu, "unknown");
    }
    return machine;
}

vit_json *cli_machine_json(const cli_machine *machine) {
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "zvit", vit_version());
    vit_json_add_string(root, "cpu", machine->cpu);
    vit_json_add_number(root, "cores", machine->processors);
    vit_json_add_number(root, "threads", machine->threads);
    vit_json_add_string(root, "isa", machine->isa);
    vit_json_add_string(root, "blas", machine->blas);
    vit_json_add_string(root, "blas_kernel", machine->kernel);
    vit_json_add_number(root, "memory_bytes", machine->memory_bytes);
    return root;
}

/* OpenBLAS's x86-64 kernels by the registers that they use; the names are its own. */
static const struct {
    const char *name;
    int width; /* bits; 0 in the list's other entries never occurs */
} kernels[] = {
    {"SkylakeX", 512},   {"Cooperlake", 512},  {"SapphireRapids", 512}, {"Haswell", 256},
    {"Zen", 256},        {"Excavator", 256},   {"Sandybridge", 255},    {"Bulldozer", 255},
    {"Piledriver", 255}, {"Steamroller", 255}, {"Prescott", 128},       {"Core2", 128},
    {"Penryn", 128},     {"Dunnington", 128},  {"Nehalem", 128},        {"Atom", 128},
    {"Athlon", 128},     {"Opteron", 128},     {"Opteron_SSE3", 128},   {"Barcelona", 128},
    {"Bobcat", 128},     {"Nano", 128},        {"Katmai", 128},         {"Coppermine", 128},
    {"Northwood", 128},  {"Banias", 128},
};

static const struct {
    const char *offers, *kernel;
    int width;
} best[] = {{"avx512", "SkylakeX", 512}, {"avx2", "Haswell", 256}, {"avx", "Sandybridge", 255}};

bool cli_machine_blas_warning(const cli_machine *machine, char *buffer, size_t size) {
    int width = 0;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (strcasecmp(kernels[i].name, machine->kernel) == 0) {
            width = kernels[i].width;
        }
    }
    for (size_t i = 0; width > 0 && i < sizeof best / sizeof *best; i++) {
        if (strcmp(best[i].offers, machine->offers) == 0 && width < best[i].width) {
            const char *forced = getenv("OPENBLAS_CORETYPE");
            snprintf(buffer, size,
                     "BLAS uses its %s kernel%s%s%s, this processor has %s: OPENBLAS_CORETYPE=%s "
                     "may be faster (compare with zvit bench gemm)",
                     machine->kernel, forced != NULL ? " (OPENBLAS_CORETYPE=" : "",
                     forced != NULL ? forced : "", forced != NULL ? ")" : "", machine->offers,
                     best[i].kernel);
            return true;
        }
    }
    return false;
}
