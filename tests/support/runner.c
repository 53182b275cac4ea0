#include "support.h"

#include <stdio.h>
#include <stdlib.h>

int test_run(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV); /* CK_FORK and CK_VERBOSITY are honoured */
    int run = srunner_ntests_run(runner);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (run == 0) {
        fprintf(stderr, "no test ran\n");
    }
    return run == 0 || failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
