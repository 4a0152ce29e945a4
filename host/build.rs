//! Which Python this is built for: its version's cfgs, and its executable.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    // Python finds its library by the place of its executable.
    let executable = pyo3_build_config::get().executable().unwrap_or_default();
    println!("cargo::rustc-env=NGX_WSGI_PYTHON={executable}");
    println!("cargo::rustc-env=NGX_WSGI_PYTHON_VERSION={}", pyo3_build_config::get().version());
}
