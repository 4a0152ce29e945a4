//! wsgi_script_alias and wsgi_script_alias_match.

use std::rc::Rc;

use nginx_sys::ngx_http_core_loc_conf_t;

use super::common::full_name;
use super::script_options::ScriptOptions;
use crate::ffi::{conf_warn, text, Conf, ConfigError, Regex};
use crate::route::{Prefixes, Template, GROUPS};

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

/// The aliases that apply at one level of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    /// Declared at this very level.
    pub own: Rc<Declared>,
    /// From the levels around it, innermost first.
    pub inherited: Vec<Inherited>,
    /// `wsgi_script_alias off`: none of the inherited ones.
    pub off: bool,
}

/// So many aliases are tried sooner than looked up.
const FEW: usize = 4;

/// The aliases that are declared at one level, in the order they are tried.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    aliases: Vec<Rc<Alias>>,
    /// Where those with a path are.
    paths: Prefixes,
    /// Where those with a regular expression are, in order.
    regexes: Vec<usize>,
}

impl Declared {
    fn push(&mut self, alias: Rc<Alias>) {
        let position = self.aliases.len();
        match &alias.mapping {
            Mapping::Path { path, .. } => self.paths.push(path, position),
            Mapping::Regex { .. } => self.regexes.push(position),
        }
        self.aliases.push(alias);
    }

    /// What `take` makes of the first alias that takes `uri`. Regular expressions are tried one after
    /// the other.
    pub fn find<'a, T>(
        &'a self,
        uri: &[u8],
        mut take: impl FnMut(&'a Alias) -> Option<T>,
    ) -> Option<T> {
        if self.aliases.len() <= FEW {
            return self.aliases.iter().find_map(|alias| take(alias));
        }
        let path = self.paths.first(uri);
        let before = self.regexes.iter().take_while(|at| path.is_none_or(|path| **at < path));
        before.chain(&path).find_map(|at| take(&self.aliases[*at]))
    }

    /// An alias that takes everything that a later one would, as far as that can be told: of a regular
    /// expression only the root's alias is known to take all.
    fn hiding(&self, later: &Mapping) -> Option<&Alias> {
        let all = match later {
            Mapping::Path { path, .. } => path.as_slice(),
            Mapping::Regex { .. } => b"/",
        };
        self.paths.first(all).map(|at| &*self.aliases[at])
    }
}

/// The aliases of a level around the location.
#[derive(Clone, Debug)]
pub struct Inherited {
    pub declared: Rc<Declared>,
    /// Where files were at their level: nginx's own string, compared by address. A location where they
    /// are elsewhere has said so itself, or a location between.
    root: *const u8,
}

impl Inherited {
    /// Whether files of `location` are where they were at the aliases' level.
    pub fn shares_root(&self, location: &ngx_http_core_loc_conf_t) -> bool {
        std::ptr::eq(self.root, location.root.data)
    }
}

impl Aliases {
    /// Those of this level and of the levels around it.
    pub fn all(&self) -> impl Iterator<Item = &Alias> {
        let inherited = self.inherited.iter().flat_map(|outer| &outer.declared.aliases);
        self.own.aliases.iter().chain(inherited).map(|alias| &**alias)
    }

    /// Takes over what the level around this one has. `outer_root` and `root` are where files are
    /// at the two levels; an alias of the `http` level counts as one of the server's.
    pub fn merge(&mut self, outer: &Aliases, outer_root: *const u8, root: *const u8) {
        if self.off {
            return;
        }
        let root = if outer_root.is_null() { root } else { outer_root };
        let declared = Some(&outer.own).filter(|own| !own.aliases.is_empty());
        let own = declared.map(|own| Inherited { declared: Rc::clone(own), root });
        self.inherited = own.into_iter().chain(outer.inherited.iter().cloned()).collect();
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
        if let Some((Mapping::Path { path, .. }, earlier)) =
            self.own.hiding(&alias.mapping).map(|own| (&own.mapping, own))
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
        Rc::make_mut(&mut self.own).push(Rc::clone(&alias));
        Ok(alias)
    }
}

impl Mapping {
    /// The file or directory that every URL leads to, if it is the same one.
    pub fn fixed_target(&self) -> Option<&[u8]> {
        match self {
            Mapping::Path { target, .. } => Some(target),
            Mapping::Regex { target, .. } => target.fixed(),
        }
    }
}
