/*
 * Finds out which kernels a BLAS computes with, from what is loaded into the process. Chooses none.
 */
#define _GNU_SOURCE
#include "kernels.h"

#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* MKL's libraries of kernels, as it loads one of them when it first computes. */
static const char *const MKL_KERNELS[] = {"libmkl_def.",    "libmkl_mc3.",   "libmkl_avx2.",
                                          "libmkl_avx512.", "libmkl_avx10.", NULL};

static int find(struct dl_phdr_info *library, size_t size, void *found)
{
    (void)size;
    const char *file = strrchr(library->dlpi_name, '/');
    file = file == NULL ? library->dlpi_name : file + 1;
    for (const char *const *name = MKL_KERNELS; *name != NULL; name++) {
        if (strncmp(file, *name, strlen(*name)) == 0) {
            /* Without "lib" and the dot. */
            snprintf(found, 32, "%.*s", (int)strlen(*name) - 4, *name + 3);
            return 1;
        }
    }
    return 0;
}

const char *kernels_name(void)
{
    void *symbol = dlsym(RTLD_DEFAULT, "openblas_get_corename");
    if (symbol != NULL) {
        const char *(*name)(void) = NULL;
        memcpy(&name, &symbol, sizeof name);
        return name();
    }
    static char loaded[32] = "none";
    dl_iterate_phdr(find, loaded);
    return loaded;
}
