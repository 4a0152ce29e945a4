//! Environ entries in the making.

/// Entries whose names are unique without regard to case, as in Apache's table.
#[derive(Default)]
pub struct Entries(pub Vec<(Vec<u8>, Vec<u8>)>);

impl Entries {
    /// Adds an entry whose name is new.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push((name.as_bytes().to_vec(), value.into()));
    }

    /// The value of a name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }

    /// Adds an entry unless there is one of that name.
    pub fn set_default(&mut self, name: &[u8], value: &[u8]) {
        if self.get(name).is_none() {
            self.0.push((name.to_vec(), value.to_vec()));
        }
    }

    /// Sets the value of a name, whether there is one or not.
    pub fn replace(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.remove(name.as_bytes());
        self.set(name, value);
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }
}
