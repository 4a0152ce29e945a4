//! Filters of Python's warnings.

/// The actions of a warning filter; Python takes any beginning of one.
const ACTIONS: [&str; 7] = ["default", "always", "ignore", "module", "once", "error", "all"];

/// Checks `action:message:category:module:line`, as `python -W` takes it.
///
/// # Errors
///
/// What is wrong.
pub fn check(filter: &str) -> Result<(), &'static str> {
    let fields: Vec<&str> = filter.split(':').map(str::trim).collect();
    if fields.len() > 5 {
        return Err("more than five fields");
    }
    if filter.is_empty() || !ACTIONS.iter().any(|action| action.starts_with(fields[0])) {
        return Err("the action must be default, always, ignore, module, once or error");
    }
    match fields.get(4) {
        Some(line) if !line.is_empty() && line.parse::<u32>().is_err() => {
            Err("the fifth field must be a line number")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_those_of_python() {
        for filter in
            ["error", "e", "ignore::DeprecationWarning", "default:text:Warning:mod:3", ":::mod"]
        {
            assert_eq!(check(filter), Ok(()), "{filter}");
        }
        for filter in ["", "nonsense", "errors", "error::::x", "error::::-1", "error:::::"] {
            assert!(check(filter).is_err(), "{filter}");
        }
    }
}
