//! Which Python this is built for: its version's cfgs, its executable, and where its library is.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let python = pyo3_build_config::get();
    // Python finds its library by the place of its executable.
    let executable = python.executable().unwrap_or_default();
    println!("cargo::rustc-env=NGX_WSGI_PYTHON={executable}");
    println!("cargo::rustc-env=NGX_WSGI_PYTHON_VERSION={}", python.version());
    if let Some(directory) = python.lib_dir().filter(|directory| !is_searched(directory)) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
        // The module's build script says the same to its linker.
        println!("cargo::metadata=RPATH={directory}");
    }
}

/// Whether the dynamic linker looks there by itself.
fn is_searched(directory: &str) -> bool {
    directory.starts_with("/usr/lib") || directory.starts_with("/lib")
}
