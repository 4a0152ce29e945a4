//! Unit tests of the module's parts that need no nginx. A test binary cannot link what refers to
//! nginx's symbols, so these parts are compiled here by themselves, with the tests they contain.

#![allow(dead_code)]

#[path = "../src/route/alias.rs"]
mod alias;
#[path = "../src/status/choice.rs"]
mod choice;
#[path = "../src/conf/daemon.rs"]
mod daemon;
#[path = "../src/exchange/decimal.rs"]
mod decimal;
#[path = "../src/access/digest.rs"]
mod digest;
#[path = "../src/exchange/entries.rs"]
mod entries;
#[path = "../src/exchange/tls/format.rs"]
mod format;
#[path = "../src/exchange/frames.rs"]
mod frames;
#[path = "../src/exchange/header_names.rs"]
mod header_names;
#[path = "../src/route/jail.rs"]
mod jail;
#[path = "../src/access/nonces.rs"]
mod nonces;
#[path = "../src/route/owner.rs"]
mod owner;
#[path = "../src/dispatch/patience.rs"]
mod patience;
#[path = "../src/route/prefixes.rs"]
mod prefixes;
#[path = "../src/exchange/proxies.rs"]
mod proxies;
#[path = "../src/exchange/request_id.rs"]
mod request_id;
#[path = "../src/master/rights.rs"]
mod rights;
#[path = "../src/route/script.rs"]
mod script;
#[path = "../src/master/sockets.rs"]
mod sockets;
#[path = "../src/exchange/inline/spool.rs"]
mod spool;
#[path = "../src/route/template.rs"]
mod template;
#[path = "../src/conf/token.rs"]
mod token;
#[path = "../src/conf/warning_filter.rs"]
mod warning_filter;
#[path = "../src/status/words.rs"]
mod words;
