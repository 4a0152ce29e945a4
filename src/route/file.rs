//! Files that a location's handler runs or handles.

use super::{alias, script, Handled, NoScript, Route};
use crate::conf::HandlerScript;
use crate::ffi::{bytes, file_name, text, Request};

/// The file that nginx maps the URL of `r` to is a script, or one in front of it on the way: the rest
/// is PATH_INFO.
///
/// # Errors
///
/// [`NoScript`] when there is no file to run.
pub fn script(r: Request) -> Result<Route, NoScript> {
    let (path, root) = file_name(r).ok_or(NoScript::Memory)?;
    let (found, info) = walk(&path, root)?;
    Ok(Route::new(found.into(), alias::before(uri(r), info), info.to_vec().into()))
}

/// The file is handled by a script. It need not be there: then it is what all of the URL is mapped to.
///
/// # Errors
///
/// [`NoScript`] without memory.
pub fn handled(r: Request, handler: &'static HandlerScript) -> Result<Route, NoScript> {
    let (path, root) = file_name(r).ok_or(NoScript::Memory)?;
    let (resource, info) = match walk(&path, root) {
        Ok(found) => found,
        // Where an alias and its location do not end alike, the URL could lead out of it.
        Err(_) if path[root..].split(|byte| *byte == b'/').any(|segment| segment == b"..") => {
            return Err(NoScript::Missing(text(&path).into_owned()));
        }
        Err(_) => (path.clone(), &b""[..]),
    };
    let name = alias::before(uri(r), info);
    let mut route = Route::new((&*handler.path).into(), name, info.to_vec().into());
    route.handled = Some(Handled { handler: handler.name.clone(), resource });
    Ok(route)
}

/// The first file on the way along `path` from its first `root` bytes on, and what comes after it.
fn walk(path: &[u8], root: usize) -> Result<(Vec<u8>, &[u8]), NoScript> {
    let (root, below) = path.split_at(root);
    let found = script::find(root, below)?;
    Ok((found.path.into_owned(), &below[found.taken..]))
}

fn uri<'a>(r: Request) -> &'a [u8] {
    // SAFETY: lives as long as the request.
    unsafe { bytes(&r.get().uri) }
}
