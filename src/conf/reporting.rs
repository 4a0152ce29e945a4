//! Handlers of the directives that tell what goes on.

use super::common::set_once;
use super::{LocationConf, MainConf};
use crate::ffi::{parse_msec, set_content_handler, Conf, ConfigError};
use crate::status::{self, Format};

pub fn cmd_slow_requests(cf: Conf, conf: &mut MainConf) -> Result<(), ConfigError> {
    let value = cf.word(1)?;
    let fraction = value.parse().ok().filter(|_| value.starts_with(|c: char| c.is_ascii_digit()));
    let fraction = fraction.filter(|seconds: &f64| *seconds <= f64::from(i32::MAX));
    let msec = fraction.map(|seconds| (seconds * 1e3).round() as usize);
    let msec = msec.or_else(|| parse_msec(cf.words()[1])).ok_or_else(|| {
        let time = "must be a number of seconds, or a time as nginx writes it";
        cf.error(format_args!("has invalid value \"{value}\": {time}"))
    })?;
    set_once(cf, &mut conf.slow_requests_ms, (msec > 0).then_some(msec))
}

pub fn cmd_status(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let format = match cf.words().get(1) {
        None => None,
        Some(_) => {
            let name = cf.word(1)?;
            Some(Format::named(name).ok_or_else(|| {
                let formats = "must be \"html\", \"json\" or \"prometheus\"";
                cf.error(format_args!("has invalid format \"{name}\": {formats}"))
            })?)
        }
    };
    set_once(cf, &mut conf.status, format)?;
    set_content_handler(cf, Some(status::content_handler));
    Ok(())
}
