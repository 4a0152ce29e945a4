//! Environ entries in the making.

use ngx_wsgi_host::wire::RequestEncoder;

use super::decimal::Decimal;

/// Entries whose names are unique without regard to case, as in Apache's table. They are written to
/// the frame at once.
pub struct Entries<'a>(pub &'a mut RequestEncoder);

impl Entries<'_> {
    /// Adds an entry whose name is new.
    #[inline]
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.0.entry(name.as_bytes(), value.as_ref());
    }

    /// Adds an entry whose name is new and whose value is a number.
    #[inline]
    pub fn set_number(&mut self, name: &str, number: impl Into<u64>) {
        self.set(name, Decimal::of(number.into()));
    }

    /// The value of a name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.get(name)
    }

    /// Adds an entry unless there is one of that name.
    pub fn set_default(&mut self, name: &[u8], value: &[u8]) {
        if self.get(name).is_none() {
            self.0.entry(name, value);
        }
    }

    /// Sets the value of a name, whether there is one or not.
    pub fn replace(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name.as_bytes());
        self.set(name, value);
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &[u8]) {
        self.0.remove(name);
    }
}
