#include "tools/ranks.h"

#include "data/share.h"
#include "vit/arena.h"

#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What each rank tells the others of where it is. */
typedef struct place {
    char host[64];
    int threads, processors;
    bool spread; /* by us */
    char list[64];
} place;

/* ---- processors ---- */

/* A processor and where it lies: cores of a socket together, threads of a core together. */
typedef struct processor {
    size_t number;
    int package, core;
} processor;

static int topology(size_t number, const char *what) {
    char path[128], line[32];
    long value = 0;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/topology/%s", number, what);
    FILE *file = fopen(path, "r");
    if (file) {
        value = fgets(line, sizeof line, file) ? strtol(line, NULL, 10) : 0;
        fclose(file);
    }
    return (int)value;
}

static int by_place(const void *a, const void *b) {
    const processor *x = a, *y = b;
    return x->package != y->package ? x->package - y->package
           : x->core != y->core     ? x->core - y->core
           : x->number < y->number  ? -1
                                    : 1;
}

/* mpirun of Open MPI ties each of two ranks to one core, and each of more to a socket, when it is
 * not told what to do: that is no choice of anybody's. */
static bool is_bound_by_choice(void) {
    const char *map = getenv("OMPI_MCA_rmaps_base_mapping_policy");
    return !getenv("OMPI_COMM_WORLD_SIZE") || getenv("OMPI_MCA_hwloc_base_binding_policy") ||
           (map && strcasestr(map, "pe="));
}

/* The share of local rank `index` of `count` in the processors of the machine that this process may
 * have. False: it stays as it is. */
static bool spread(size_t index, size_t count) {
    processor list[CPU_SETSIZE];
    size_t n = 0;
    cpu_set_t all, before, mine;
    CPU_ZERO(&all);
    CPU_ZERO(&mine);
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        CPU_SET(i, &all);
    }
    if (sched_getaffinity(0, sizeof before, &before) != 0 ||
        sched_setaffinity(0, sizeof all, &all) != 0) {
        return false;
    }
    sched_getaffinity(0, sizeof all, &all); /* less those that the kernel withholds */
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all)) {
            list[n++] = (processor){i, topology(i, "physical_package_id"), topology(i, "core_id")};
        }
    }
    if (n < count) { /* more ranks than processors: none can be had for itself */
        return true;
    }
    qsort(list, n, sizeof *list, by_place);
    vit_range own = vit_slot_range(count, index, n);
    for (size_t i = own.first; i < own.end; i++) {
        CPU_SET(list[i].number, &mine);
    }
    if (sched_setaffinity(0, sizeof mine, &mine) != 0) {
        sched_setaffinity(0, sizeof before, &before);
        return false;
    }
    return true;
}

/* "0-3,8" into a place's list, cut when there is more. */
static void list_processors(place *p) {
    cpu_set_t set;
    size_t at = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return;
    }
    p->processors = CPU_COUNT(&set);
    for (size_t i = 0; i < CPU_SETSIZE && at + 12 < sizeof p->list; i++) {
        if (!CPU_ISSET(i, &set)) {
            continue;
        }
        size_t last = i;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) {
            last++;
        }
        at += (size_t)snprintf(p->list + at, sizeof p->list - at, at ? ",%zu" : "%zu", i);
        if (last > i) {
            at += (size_t)snprintf(p->list + at, sizeof p->list - at, "-%zu", last);
        }
        i = last;
    }
}

/* ---- places ---- */

/* Ranks of a machine need not follow each other: mpirun --map-by node deals them in turn. */
static bool first_on_host(const place *places, size_t rank) {
    for (size_t r = 0; r < rank; r++) {
        if (strcmp(places[r].host, places[rank].host) == 0) {
            return false;
        }
    }
    return true;
}

/* "4 ranks on 2 machines: a: ranks 0-1, 8 threads each, processors 0-7 | 8-15 (...)" */
static void describe(const place *places, size_t size, char *text, size_t room) {
    size_t hosts = 0, at;
    for (size_t r = 0; r < size; r++) {
        hosts += first_on_host(places, r);
    }
    at = (size_t)snprintf(text, room, "ranks: %zu on %zu machine%s", size, hosts,
                          hosts == 1 ? "" : "s");
    for (size_t r = 0; r < size && at + 1 < room; r++) {
        const place *p = &places[r];
        bool new_host = r == 0 || strcmp(p->host, places[r - 1].host) != 0;
        if (new_host) {
            at += (size_t)snprintf(text + at, room - at, "; %s:", p->host);
        }
        if (at + 1 < room) {
            at += (size_t)snprintf(text + at, room - at, "%s %d thread%s on processors %s",
                                   new_host ? "" : ",", p->threads, p->threads == 1 ? "" : "s",
                                   p->list);
        }
    }
    if (at + 1 < room) {
        snprintf(text + at, room - at, " (%s)", places[0].spread ? "dealt by zvit" : "as bound");
    }
}

static vit_status settle(const cli_common *common, cli_ranks *ranks) {
    size_t size = vit_comm_size(ranks->comm), rank = vit_comm_rank(ranks->comm);
    size_t index = 0;
    place *places = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_alloc((void **)&places, size, sizeof *places, "ranks"));
    place *own = &places[rank];
    gethostname(own->host, sizeof own->host - 1);
    VIT_TRY(vit_comm_gather_equal(ranks->comm, places, sizeof *places));
    ranks->local_ranks = 0;
    for (size_t r = 0; r < size; r++) {
        bool here = strcmp(places[r].host, own->host) == 0;
        index += here && r < rank;
        ranks->local_ranks += here;
    }
    bool bound = is_bound_by_choice();
    own->spread = !bound && spread(index, ranks->local_ranks);
    list_processors(own);
    cpu_set_t set;
    size_t share = (size_t)own->processors;
    if (ranks->local_ranks > 1 && sched_getaffinity(0, sizeof set, &set) == 0 &&
        sysconf(_SC_NPROCESSORS_ONLN) == own->processors) {
        share /= ranks->local_ranks; /* nobody is bound: they share all of them */
    }
    if (common->threads > 0) {
        omp_set_num_threads(common->threads);
    } else if (!getenv("OMP_NUM_THREADS")) {
        omp_set_num_threads(share > 1 ? (int)share : 1);
    }
    own->threads = omp_get_max_threads();
    VIT_TRY(vit_comm_gather_equal(ranks->comm, places, sizeof *places));
    describe(places, size, ranks->placement, sizeof ranks->placement);
cleanup:
    vit_free(places);
    return status;
}

vit_status cli_ranks_join(const cli_common *common, vit_status status, cli_ranks *ranks) {
    vit_status own = status;
    char message[VIT_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s", vit_last_error());
    *ranks = (cli_ranks){.local_ranks = 1};
    cli_apply_threads(common);
    VIT_TRY(vit_comm_open(&ranks->comm));
    if (ranks->comm) {
        VIT_TRY(settle(common, ranks));
    }
    VIT_TRY(vit_comm_agree(ranks->comm, own == VIT_OK ? own : vit_fail(own, "%s", message)));
cleanup:
    return status;
}

int cli_ranks_fail(const cli_verb *verb, const cli_ranks *ranks, vit_status status, bool usage) {
    usage = usage && status == VIT_ERROR_ARGUMENT;
    if (!cli_ranks_speaks(ranks)) {
        return usage ? CLI_USAGE : CLI_FAILED;
    }
    return usage ? cli_fail_usage(verb) : cli_fail(verb);
}

bool cli_ranks_speaks(const cli_ranks *ranks) {
    if (!ranks->comm) { /* also where joining failed: then the launcher's word has to do */
        return vit_comm_look().rank == 0;
    }
    return vit_comm_rank(ranks->comm) == 0 || vit_comm_is_broken(ranks->comm);
}

void cli_ranks_leave(cli_ranks *ranks) {
    vit_comm_free(ranks->comm);
    ranks->comm = NULL;
}
