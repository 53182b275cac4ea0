#include "support.h"

#include <stdio.h>
#include <stdlib.h>

/* Read by the address sanitizer: a block that cannot be had is NULL, as tests of the message want.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

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
