//! Learns what the nginx that the module is built for can do, and makes the bindings that
//! nginx-sys lacks.

use std::env;
use std::path::PathBuf;
use std::process::exit;

/// Oldest nginx that nginx-sys supports.
const OLDEST: u64 = 1_022_000;

fn main() {
    println!("cargo::rerun-if-changed=src/ffi/wrapper.h");
    check_nginx();
    declare_cfgs();
    make_bindings();
    add_rpath();
    // The threads of the embedded host may not outlive the code they run.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}

/// nginx-sys passes its findings on as DEP_NGINX_*.
fn nginx_fact(name: &str) -> String {
    let name = format!("DEP_NGINX_{name}");
    println!("cargo::rerun-if-env-changed={name}");
    env::var(&name).unwrap_or_default()
}

fn refuse(problem: &str, remedy: &str) -> ! {
    println!("cargo::error={problem}");
    println!("cargo::error={remedy}");
    exit(1)
}

/// A Python that isn't the distribution's has its library where the dynamic linker doesn't look.
fn add_rpath() {
    println!("cargo::rerun-if-env-changed=DEP_NGX_WSGI_HOST_RPATH");
    if let Ok(directory) = env::var("DEP_NGX_WSGI_HOST_RPATH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
    }
}

fn check_nginx() {
    let version = nginx_fact("VERSION");
    let number: u64 = nginx_fact("VERSION_NUMBER").parse().unwrap_or(0);
    if number < OLDEST {
        refuse(
            &format!("nginx {version} is older than the oldest supported release, 1.22.0"),
            "point NGINX_SOURCE_DIR and NGINX_BUILD_DIR at a newer nginx",
        );
    }
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        refuse(
            "ngx-wsgi needs Linux: it uses memfd, eventfd, signalfd and epoll",
            "build for a *-linux-* target",
        );
    }
    let features = nginx_fact("FEATURES");
    if !features.split(',').any(|feature| feature == "http") {
        refuse(
            &format!("nginx {version} is configured without its HTTP modules"),
            "configure it without --without-http",
        );
    }
}

fn declare_cfgs() {
    let known = nginx_fact("FEATURES_CHECK");
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values({}))", list(&known));
    for feature in nginx_fact("FEATURES").split(',').filter(|feature| !feature.is_empty()) {
        println!("cargo::rustc-cfg=ngx_feature=\"{feature}\"");
    }
    let number: u64 = nginx_fact("VERSION_NUMBER").parse().unwrap_or(0);
    // Since 1.23.0 repeated headers are linked through ngx_table_elt_t.next.
    version_cfg("ngx_linked_headers", number >= 1_023_000);
    // Since 1.27.0 limit_rate of an upstream is a complex value.
    version_cfg("ngx_complex_limit_rate", number >= 1_027_000);
}

/// nginx-sys quotes the list as a whole; each value needs its own quotes.
fn list(values: &str) -> String {
    let values = values.trim_matches('"').replace("\",\"", ",");
    values
        .split(',')
        .map(|value| format!("\"{}\"", value.trim_matches('"')))
        .collect::<Vec<_>>()
        .join(",")
}

fn version_cfg(name: &str, on: bool) {
    println!("cargo::rustc-check-cfg=cfg({name})");
    if on {
        println!("cargo::rustc-cfg={name}");
    }
}

/// bindgen before 0.73, which nginx-sys 0.5 uses, reads the flags of ngx_http_request_t two bits
/// off on nginx 1.29.3 and later (rust-bindgen #3384). The flags go through these bindings.
fn make_bindings() {
    let includes = nginx_fact("INCLUDE");
    let flags = nginx_fact("CFLAGS");
    let bindings = bindgen::builder()
        .header("src/ffi/wrapper.h")
        .allowlist_type("ngx_http_request_s")
        .allowlist_var("NGX_WSGI_.*")
        .layout_tests(false)
        .derive_copy(false)
        .derive_debug(false)
        .generate_comments(false)
        .clang_args(flags.split_whitespace().filter(|flag| !flag.starts_with("-W")))
        .clang_args(env::split_paths(&includes).map(|path| format!("-I{}", path.display())))
        .generate();
    let bindings = match bindings {
        Ok(bindings) => bindings,
        Err(error) => refuse(
            &format!("cannot read nginx's headers: {error}"),
            "install libclang, and point NGINX_BUILD_DIR at a configured build directory",
        ),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    if let Err(error) = bindings.write_to_file(out.join("bindings.rs")) {
        refuse(&format!("cannot write bindings: {error}"), "check the target directory");
    }
}
