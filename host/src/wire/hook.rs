//! Questions to scripts that decide about access (mod_wsgi semantics g), or about where a request runs
//! (e.7).
//!
//! A question is a REQUEST without a body whose callable is one of the functions below, or
//! [`DISPATCH`]. Its arguments stand among the environ entries, under names that no environ has. The
//! answer is a RESPONSE whose status is the verdict and whose headers are the values that came with
//! it; END with [`super::Outcome::Failed`] says that there is none.

/// `allow_access(environ, host)`.
pub const ALLOW_ACCESS: &str = "allow_access";
/// `check_password(environ, user, password)`.
pub const CHECK_PASSWORD: &str = "check_password";
/// `get_realm_hash(environ, user, realm)`.
pub const GET_REALM_HASH: &str = "get_realm_hash";
/// `groups_for_user(environ, user)`.
pub const GROUPS_FOR_USER: &str = "groups_for_user";

/// All of [`OVERRIDES`] that the script has. The answer is [`YES`], with the names that they have
/// returned under their own; or [`UNKNOWN`], when the script cannot be loaded.
pub const DISPATCH: &str = "dispatch";
/// `process_group(environ)`.
pub const PROCESS_GROUP: &str = "process_group";
/// `application_group(environ)`.
pub const APPLICATION_GROUP: &str = "application_group";
/// `callable_object(environ)`.
pub const CALLABLE_OBJECT: &str = "callable_object";
/// The functions of a dispatch script, in the order in which they are called.
pub const OVERRIDES: [&str; 3] = [PROCESS_GROUP, APPLICATION_GROUP, CALLABLE_OBJECT];

/// What the name of an argument begins with.
pub const ARGUMENT: &str = "mod_wsgi.x-";
/// The client's address.
pub const HOST: &str = "mod_wsgi.x-host";
pub const USER: &str = "mod_wsgi.x-user";
pub const PASSWORD: &str = "mod_wsgi.x-password";
pub const REALM: &str = "mod_wsgi.x-realm";

/// The function has returned True, or what was asked for.
pub const YES: u16 = 200;
/// It has returned False.
pub const NO: u16 = 403;
/// It has returned None, or has no opinion.
pub const UNKNOWN: u16 = 404;

/// Header of an answer: a user name, the hash of a password, or one of several groups.
pub const VALUE: &[u8] = b"value";
