//! Lets the benchmark `kernels` answer a question that Intel's library asks: see `src/bin/kernels/mkl.rs`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!(
        "cargo::rustc-link-arg-bin=kernels=-Wl,--export-dynamic-symbol=mkl_serv_intel_cpu_true"
    );
}
