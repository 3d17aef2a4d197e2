/* The simulation: thousands of seeds, each a different schedule of crashes, losses and duplicates;
 * and proof that it bites. */
#include "tests/simulation/world.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct world world; /* large: not on the stack */

static bool run_seed(uint64_t seed, enum mistake mistake, bool verbose)
{
    world_init(&world, seed, mistake, verbose);
    world_run(&world);
    world_fini(&world);
    return world.failure[0] == '\0';
}

/* Runs `count` seeds from `first`. Returns the first that fails, or 0. */
static uint64_t find_failure(uint64_t first, uint64_t count, enum mistake mistake, uint64_t *steps)
{
    for (uint64_t seed = first; seed < first + count; seed++) {
        bool held = run_seed(seed, mistake, false);
        *steps += world.steps;
        if (!held)
            return seed;
    }
    return 0;
}

static int prove_it_bites(uint64_t limit)
{
    int missed = 0;

    for (enum mistake m = MISTAKE_NONE + 1; m < MISTAKES; m++) {
        uint64_t steps = 0, seed = find_failure(1, limit, m, &steps);
        if (seed != 0)
            printf("mistake %-24s found at seed %llu: %s\n", mistake_name(m),
                   (unsigned long long)seed, world.failure);
        else
            printf("mistake %-24s NOT FOUND in %llu seeds\n", mistake_name(m),
                   (unsigned long long)limit);
        missed += seed == 0;
    }
    return missed;
}

static void usage(void)
{
    puts("simulation [--seeds N] [--first S]   run seeds S .. S+N-1 (10000 from 1), then every "
         "deliberate mistake\n"
         "simulation --seed S [--mistake NAME] run one seed and tell its schedule");
    for (enum mistake m = MISTAKE_NONE; m < MISTAKES; m++)
        printf("    %s\n", mistake_name(m));
}

static enum mistake parse_mistake(const char *name)
{
    for (enum mistake m = MISTAKE_NONE; m < MISTAKES; m++)
        if (strcmp(name, mistake_name(m)) == 0)
            return m;
    usage();
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                            {"first", required_argument, NULL, 'f'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"mistake", required_argument, NULL, 'm'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    uint64_t seeds = 10000, first = 1, one = 0, steps = 0, failed;
    enum mistake mistake = MISTAKE_NONE;
    int option, missed;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'n')
            seeds = strtoull(optarg, NULL, 10);
        else if (option == 'f')
            first = strtoull(optarg, NULL, 10);
        else if (option == 's')
            one = strtoull(optarg, NULL, 10);
        else if (option == 'm')
            mistake = parse_mistake(optarg);
        else
            return usage(), option == 'h' ? 0 : 2;
    }
    if (one != 0) {
        bool held = run_seed(one, mistake, true);
        printf("seed %llu: %s\n", (unsigned long long)one,
               held ? "every promise held" : world.failure);
        return held ? 0 : 1;
    }
    failed = find_failure(first, seeds, mistake, &steps);
    if (failed != 0) {
        printf("seed %llu: %s\nagain, with its schedule: simulation --seed %llu\n",
               (unsigned long long)failed, world.failure, (unsigned long long)failed);
        return 1;
    }
    printf("%llu seeds, %llu steps: every promise held\n", (unsigned long long)seeds,
           (unsigned long long)steps);
    fflush(stdout);
    missed = prove_it_bites(5000);
    return missed == 0 ? 0 : 1;
}
