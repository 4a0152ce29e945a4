//! wsgi_trusted_proxy_headers and wsgi_trusted_proxies.

use std::rc::Rc;

use super::LocationConf;
use crate::exchange::{Network, ProxyHeader};
use crate::ffi::{conf_warn, Conf, ConfigError};

/// `wsgi_trusted_proxy_headers header …`; lines of one level add up.
pub fn headers(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let headers = Rc::make_mut(conf.trusted_proxy_headers.get_or_insert_default());
    for index in 1..cf.words().len() {
        let name = cf.word(index)?;
        match ProxyHeader::named(name) {
            Some(header) => headers.push(header),
            None => conf_warn(
                cf.as_ptr(),
                format_args!(
                    "\"wsgi_trusted_proxy_headers\" names \"{name}\", which has no meaning to it"
                ),
            ),
        }
    }
    Ok(())
}

/// `wsgi_trusted_proxies address-or-network …`; lines of one level add up.
pub fn proxies(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let proxies = Rc::make_mut(conf.trusted_proxies.get_or_insert_default());
    for index in 1..cf.words().len() {
        let word = cf.word(index)?;
        let invalid = |error| cf.error(format_args!("has invalid value \"{word}\": {error}"));
        proxies.push(Network::parse(word).map_err(invalid)?);
    }
    Ok(())
}
