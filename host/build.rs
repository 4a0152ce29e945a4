//! Tells pyo3's facts to this crate: which Python version's cfgs apply.
fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
