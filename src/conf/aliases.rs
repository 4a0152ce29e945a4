//! wsgi_script_alias and wsgi_script_alias_match.

use std::rc::Rc;

use nginx_sys::{ngx_http_core_loc_conf_t, ngx_str_t};

use super::script_options::ScriptOptions;
use crate::ffi::{bytes, code, conf_warn, text, Conf, ConfigError, Regex};
use crate::route::{covers, Template, GROUPS};

/// One `wsgi_script_alias` or `wsgi_script_alias_match`.
#[derive(Clone, Debug)]
pub struct Alias {
    pub mapping: Mapping,
    pub options: ScriptOptions,
    /// `file:line`.
    pub place: String,
}

/// What an alias takes, and where it leads: to a file or a directory.
#[derive(Clone, Debug)]
pub enum Mapping {
    /// URLs below a path.
    Path { path: Vec<u8>, target: Vec<u8> },
    /// URLs that match.
    Regex { regex: Regex, target: Template },
}

/// The aliases that apply at one level of the configuration, in the order they are tried.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    /// Declared at this very level.
    pub own: Vec<Rc<Alias>>,
    /// From the levels around it, innermost first.
    pub inherited: Vec<Inherited>,
    /// `wsgi_script_alias off`: none of the inherited ones.
    pub off: bool,
}

/// An alias of a level around the location.
#[derive(Clone, Debug)]
pub struct Inherited {
    pub alias: Rc<Alias>,
    /// Where files were at the alias's level: nginx's own string, compared by address. A location
    /// where they are elsewhere has said so itself, or a location between.
    root: *const u8,
}

impl Inherited {
    /// Whether files of `location` are where they were at the alias's level.
    pub fn shares_root(&self, location: &ngx_http_core_loc_conf_t) -> bool {
        std::ptr::eq(self.root, location.root.data)
    }
}

impl Aliases {
    /// Takes over what the level around this one has. `outer_root` and `root` are where files are
    /// at the two levels; an alias of the `http` level counts as one of the server's.
    pub fn merge(&mut self, outer: &Aliases, outer_root: *const u8, root: *const u8) {
        if self.off {
            return;
        }
        let root = if outer_root.is_null() { root } else { outer_root };
        let own = outer.own.iter().map(|alias| Inherited { alias: Rc::clone(alias), root });
        self.inherited = own.chain(outer.inherited.iter().cloned()).collect();
    }

    /// Adds a directive's alias, unless it is `off`; warns when an earlier one of the level takes all its requests.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn add(&mut self, cf: Conf) -> Result<Option<Rc<Alias>>, ConfigError> {
        if cf.words().len() == 2 && cf.word(1)? == "off" {
            if self.off {
                return Err(cf.error("is duplicate"));
            }
            if cf.get().cmd_type & nginx_sys::NGX_HTTP_MAIN_CONF as usize != 0 {
                return Err(cf.error("has nothing to switch \"off\" at this level"));
            }
            self.off = true;
            return Ok(None);
        }
        let path = cf.word(1)?;
        if !path.starts_with('/') {
            return Err(cf.error(format_args!("has invalid URL-path \"{path}\": no leading slash")));
        }
        let path = path.as_bytes().to_vec();
        self.push(cf, |target| Ok(Mapping::Path { path, target })).map(Some)
    }

    /// Adds the alias of a `wsgi_script_alias_match`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], logged.
    pub fn add_match(&mut self, cf: Conf) -> Result<Rc<Alias>, ConfigError> {
        self.push(cf, |target| {
            let regex = Regex::compile(cf, cf.words()[1])?;
            let template = Template::parse(&target, regex.groups().min(GROUPS));
            let invalid =
                |error| cf.error(format_args!("has invalid target \"{}\": {error}", text(&target)));
            Ok(Mapping::Regex { regex, target: template.map_err(invalid)? })
        })
    }

    fn push(
        &mut self,
        cf: Conf,
        mapping: impl FnOnce(Vec<u8>) -> Result<Mapping, ConfigError>,
    ) -> Result<Rc<Alias>, ConfigError> {
        let words = cf.words();
        if words.len() < 3 {
            return Err(cf.error("requires at least two arguments"));
        }
        let mapping = mapping(full_name(cf, words[2])?)?;
        let alias =
            Rc::new(Alias { mapping, options: ScriptOptions::read(cf)?, place: cf.place() });
        let hides = |own: &&Rc<Alias>| own.mapping.covers(&alias.mapping);
        if let Some((Mapping::Path { path, .. }, earlier)) =
            self.own.iter().find(hides).map(|own| (&own.mapping, own))
        {
            conf_warn(
                cf.as_ptr(),
                format_args!(
                    "\"{}\" \"{}\" can never match: \"{}\" in {} comes first",
                    cf.word(0)?,
                    cf.word(1)?,
                    text(path),
                    earlier.place
                ),
            );
        }
        self.own.push(Rc::clone(&alias));
        Ok(alias)
    }
}

impl Mapping {
    /// Whether everything that `later` takes is taken by this one already, as far as that can be
    /// told: of a regular expression only the root's alias is known to take all.
    fn covers(&self, later: &Mapping) -> bool {
        match (self, later) {
            (Mapping::Path { path, .. }, Mapping::Path { path: later, .. }) => covers(path, later),
            (Mapping::Path { path, .. }, Mapping::Regex { .. }) => covers(path, b"/"),
            (Mapping::Regex { .. }, _) => false,
        }
    }

    /// The file or directory that every URL leads to, if it is the same one.
    pub fn fixed_target(&self) -> Option<&[u8]> {
        match self {
            Mapping::Path { target, .. } => Some(target),
            Mapping::Regex { target, .. } => target.fixed(),
        }
    }
}

/// A file name relative to nginx's prefix made absolute.
pub fn full_name(cf: Conf, mut word: ngx_str_t) -> Result<Vec<u8>, ConfigError> {
    // SAFETY: word is one of the directive's words; nginx allocates the result in the cycle's pool.
    unsafe {
        if nginx_sys::ngx_conf_full_name(cf.get().cycle, &mut word, 0) != code::OK {
            return Err(ConfigError);
        }
        Ok(bytes(&word).to_vec())
    }
}
