/*
 * Answers MKL's question whether the CPU is Intel's with yes, where this is loaded before MKL: on other CPUs MKL
 * takes its slowest kernels whatever instructions they have, and a comparison with those would say little. It
 * goes on to ask the CPU itself for its instructions.
 */

/* MKL up to 2024 calls the first, later ones call what the second returns. */
int mkl_serv_intel_cpu_true(void);
int (*mkl_serv_get_cpu_true(void))(void);

int mkl_serv_intel_cpu_true(void)
{
    return 1;
}

int (*mkl_serv_get_cpu_true(void))(void)
{
    return mkl_serv_intel_cpu_true;
}
