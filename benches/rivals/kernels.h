/*
 * Which kernels a BLAS computes with, as rivals tell it.
 */
#ifndef KERNELS_H
#define KERNELS_H

/* OpenBLAS's core type, or the name of the library of kernels that MKL has loaded, such as "mkl_avx512"; "none"
 * where BLAS is another. To be asked after BLAS has computed. */
const char *kernels_name(void);

#endif
