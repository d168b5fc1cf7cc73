//! Lets the benchmark `kernels` answer a question that MKL asks: see `src/bin/kernels/mkl.rs`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["mkl_serv_intel_cpu_true", "mkl_serv_get_cpu_true"] {
        println!("cargo::rustc-link-arg-bin=kernels=-Wl,--export-dynamic-symbol={name}");
    }
}
