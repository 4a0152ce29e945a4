//! Handlers of the directives that say which script a request runs, where, and what it is told.

use std::rc::Rc;

use super::common::{main_conf, set_once};
use super::imports::{self, fixed_name};
use super::main::GroupReference;
use super::token::Token;
use super::value::Setting;
use super::{Alias, LocationConf, MapHead, Param};
use crate::ffi::{Conf, ConfigError};
use crate::hook::Hook;

pub fn cmd_script_alias(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let Some(alias) = conf.aliases.add(cf)? else { return Ok(()) };
    announce(cf, &alias)
}

pub fn cmd_script_alias_match(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let alias = conf.aliases.add_match(cf)?;
    announce(cf, &alias)
}

/// What a new alias means for the whole configuration.
fn announce(cf: Conf, alias: &Alias) -> Result<(), ConfigError> {
    refer_to(cf, alias.options.process_group.as_ref());
    main_conf(cf).map_or(Ok(()), |main| imports::preload(cf, main, alias))
}

pub fn cmd_handler_script(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let script = conf.handler_scripts.add(cf)?;
    refer_to(cf, script.options.process_group.as_ref());
    Ok(())
}

/// Remembers the name of a group, to be looked up when all groups are known.
fn refer_to(cf: Conf, setting: Option<&Setting>) {
    let Some(name) = setting.and_then(Setting::fixed).filter(|name| !name.is_empty()) else {
        return;
    };
    if let Some(main) = main_conf(cf) {
        main.references.push(GroupReference {
            name: name.to_owned(),
            directive: cf.word(0).unwrap_or_default().to_owned(),
            place: cf.place(),
        });
    }
}

pub fn cmd_process_group(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let setting = Setting::compile(cf, cf.word(1)?)?;
    refer_to(cf, Some(&setting));
    set_once(cf, &mut conf.process_group, setting)
}

pub fn cmd_application_group(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let setting = Setting::compile(cf, cf.word(1)?)?;
    set_once(cf, &mut conf.application_group, setting)
}

pub fn cmd_callable_object(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let setting = Setting::compile(cf, cf.word(1)?)?;
    if matches!(
        setting,
        Setting::Token(Token::Global | Token::Server | Token::Host | Token::Resource)
    ) {
        return Err(cf.error(format_args!("cannot be \"{}\"", cf.word(1)?)));
    }
    set_once(cf, &mut conf.callable, setting)
}

/// `wsgi_dispatch_script path [application-group=...]`, or `off`.
pub fn cmd_dispatch_script(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let hook = Hook::read_or_off(cf)?.map(Rc::new);
    set_once(cf, &mut conf.dispatch_script, hook)
}

pub fn cmd_restrict_process(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let words = 1..cf.words().len();
    let names = words.map(|index| cf.word(index).and_then(|name| fixed_name(cf, name, name)));
    let names = names.collect::<Result<Rc<[String]>, _>>()?;
    set_once(cf, &mut conf.restrict_process, names)
}

pub fn cmd_param(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let param = Param::read(cf)?;
    Rc::make_mut(&mut conf.params).push(param);
    Ok(())
}

pub fn cmd_map_head_to_get(cf: Conf, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let value = cf.word(1)?;
    let map = match &*value.to_ascii_lowercase() {
        "off" => MapHead::Off,
        "on" => MapHead::On,
        "auto" => MapHead::Auto,
        _ => {
            let cause = "must be \"off\", \"on\" or \"auto\"";
            return Err(cf.error(format_args!("has invalid value \"{value}\": {cause}")));
        }
    };
    set_once(cf, &mut conf.map_head_to_get, map)
}
