//! Directives and what they configure.

mod aliases;
#[cfg(ngx_feature = "http_cache")]
mod cache;
mod commands;
mod common;
mod daemon;
mod directive;
mod handlers;
mod imports;
mod inline;
mod interpreters;
mod location;
mod main;
mod next_upstream;
mod obsolete;
mod params;
mod processes;
mod proxies;
mod python;
mod reporting;
mod script_options;
mod scripts;
mod store;
mod token;
mod upstream;
mod value;
mod warning_filter;

pub use aliases::{Alias, Inherited, Mapping};
pub use commands::COMMANDS;
pub use common::{full_name, main_conf, set_once};
pub use daemon::DaemonOptions;
pub use handlers::{Handler, HandlerScript};
pub use inline::warn as warn_inline;
pub use location::{LocationConf, MapHead};
pub use main::{GroupDefinition, MainConf};
pub use params::Param;
pub use script_options::ScriptOptions;
pub use token::{with_port, Token};
pub use upstream::merge_upstream;
pub use value::{Setting, Value};
