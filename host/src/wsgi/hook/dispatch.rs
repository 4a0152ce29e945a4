//! Where a request runs, as a dispatch script wants it (mod_wsgi semantics e.7).

use super::{text_or_bytes, Answer, Failure, Question};
use crate::python::object::Object;
use crate::wire::hook;
use crate::wsgi::environ;

impl Question<'_> {
    /// Calls the functions that the script has. The first one that fails is the last one called.
    pub(super) fn dispatch(&self, namespace: &Object, errors: &Object) -> Result<Answer, Failure> {
        let (py, config) = (self.py, self.runtime.config());
        let environ =
            environ::build_for_dispatch(py, self.interpreter, config, self.request, errors)?;
        let mut values = Vec::new();
        for name in hook::OVERRIDES {
            let question = Question { function: name.to_owned(), ..*self };
            let value = question.override_of(namespace, &environ).map_err(|failure| {
                question.log(failure);
                Failure::Logged
            })?;
            values.extend(value.map(|value| (name.as_bytes(), value)));
        }
        Ok(Answer { verdict: hook::YES, values })
    }

    /// What one function returns; `None` when there is none, or it keeps what is configured.
    fn override_of(
        &self,
        namespace: &Object,
        environ: &Object,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let Some(function) = namespace.get_item(&self.py.interned(&self.function)?)? else {
            return Ok(None);
        };
        let result = function.call(&[environ])?;
        if result.is_none() {
            return Ok(None);
        }
        let name = match text_or_bytes(&result) {
            Ok(Some(name)) => name,
            Ok(None) => return Err(self.bad_result(&result, "str, bytes or None")),
            Err(raised) => {
                self.py.clear(raised);
                let shown = result.repr()?;
                return Err(self.bad(&format!("returned a name that is not latin-1: {shown}")));
            }
        };
        let name = name.as_bytes().unwrap_or_default();
        if name.iter().any(u8::is_ascii_control) {
            let shown = result.repr()?;
            return Err(self.bad(&format!("returned a name with control characters: {shown}")));
        }
        Ok(Some(name.to_vec()))
    }
}
