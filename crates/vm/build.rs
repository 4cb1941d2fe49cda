//! Tells the fast interpreter whether the compiler turns calls in tail position into jumps.
//!
//! It does when it optimises, on the two architectures where that was looked at. Elsewhere a
//! chain of handlers would use up the stack, and handlers return to a loop instead.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(threaded)");
    println!("cargo::rerun-if-changed=build.rs");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let opt_level = std::env::var("OPT_LEVEL").unwrap_or_default();
    if opt_level != "0" && (arch == "x86_64" || arch == "aarch64") {
        println!("cargo::rustc-cfg=threaded");
    }
}
