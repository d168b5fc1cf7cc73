//! What `--version` says: version, commit, and the instruction set that kernels can use here.

use std::sync::LazyLock;

/// Version, commit and CPU level, such as `0.1.0 (commit 0123456789ab, x86-64-v4)`.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        format!(
            "{} (commit {}, {})",
            env!("CARGO_PKG_VERSION"),
            env!("PEERWREN_COMMIT"),
            cpu_level()
        )
    });
    &TEXT
}

/// The level of the x86-64 psABI that this CPU and system reach.
#[cfg(target_arch = "x86_64")]
fn cpu_level() -> &'static str {
    macro_rules! all {
        ($($feature:tt),+) => { $(std::arch::is_x86_feature_detected!($feature))&&+ };
    }
    let v2 = all!("sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cmpxchg16b");
    let v3 = v2
        && all!(
            "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe"
        );
    let v4 = v3 && all!("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl");
    match (v2, v3, v4) {
        (_, _, true) => "x86-64-v4",
        (_, true, _) => "x86-64-v3",
        (true, _, _) => "x86-64-v2",
        _ => "x86-64-v1",
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_level() -> &'static str {
    std::env::consts::ARCH
}
