//! `%{...}` tokens (mod_wsgi semantics a.3).

use thiserror::Error;

/// A value that may be one of mod_wsgi's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// `%{GLOBAL}`: embedded, or the main interpreter.
    Global,
    /// `%{SERVER}`: the server's name, with its port unless 80 or 443.
    Server,
    /// `%{HOST}`: as `%{SERVER}` with the name of the Host header.
    Host,
    /// `%{RESOURCE}`: `%{SERVER}`, a bar, SCRIPT_NAME.
    Resource,
    /// `%{ENV:name}`: a wsgi_param, an nginx variable or an environment variable.
    Env(String),
    /// The text itself.
    Text(String),
}

/// The value looks like a token and is none.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown token \"{0}\"")]
pub struct UnknownToken(String);

impl Token {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// [`UnknownToken`] when it starts with `%{` and is none of the five.
    pub fn parse(value: &str) -> Result<Self, UnknownToken> {
        Ok(match value {
            "%{GLOBAL}" => Token::Global,
            "%{SERVER}" => Token::Server,
            "%{HOST}" => Token::Host,
            "%{RESOURCE}" => Token::Resource,
            _ if value.starts_with("%{") => {
                let name = value.strip_prefix("%{ENV:").and_then(|v| v.strip_suffix('}'));
                match name {
                    Some(name) if !name.is_empty() => Token::Env(name.to_owned()),
                    _ => return Err(UnknownToken(value.to_owned())),
                }
            }
            _ => Token::Text(value.to_owned()),
        })
    }
}

/// A server or host name with its port, unless it is one of the two that everybody knows.
pub fn with_port(name: &[u8], port: u16) -> Vec<u8> {
    let mut label = name.to_vec();
    if port != 80 && port != 443 {
        label.extend_from_slice(format!(":{port}").as_bytes());
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_and_text_stays() {
        assert_eq!(Token::parse("%{GLOBAL}"), Ok(Token::Global));
        assert_eq!(Token::parse("%{ENV:GROUP}"), Ok(Token::Env("GROUP".into())));
        assert_eq!(Token::parse("50%"), Ok(Token::Text("50%".into())));
        assert!(Token::parse("%{ENV:}").is_err());
        assert!(Token::parse("%{NONE}").is_err());
    }

    #[test]
    fn well_known_ports_are_left_out() {
        assert_eq!(with_port(b"a", 443), b"a");
        assert_eq!(with_port(b"a", 8080), b"a:8080");
    }
}
