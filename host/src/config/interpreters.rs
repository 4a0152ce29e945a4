//! What holds for one interpreter, and where that is configured.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::RuntimeConfig;

/// One `wsgi_interpreter_options`; what is `None` it leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterpreterOptions {
    /// `process-group=`, empty for nginx's workers; `None`: whatever the process.
    pub process_group: Option<String>,
    /// `application-group=`, empty for the main interpreter; `None`: whatever the interpreter.
    pub application_group: Option<String>,
    /// `wsgi_per_interpreter_gil`
    pub per_interpreter_gil: Option<bool>,
    /// `wsgi_free_threading`: holds for whole processes, whatever the application group.
    pub free_threading: Option<bool>,
    /// `wsgi_switch_interval` in seconds.
    pub switch_interval: Option<f64>,
    /// `wsgi_python_path`: in front of what is there.
    pub python_path: Option<Vec<PathBuf>>,
    /// `wsgi_restrict_stdin`
    pub restrict_stdin: Option<bool>,
    /// `wsgi_restrict_stdout`
    pub restrict_stdout: Option<bool>,
    /// `wsgi_restrict_signal`
    pub restrict_signal: Option<bool>,
}

/// What holds for one interpreter of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct InterpreterSettings {
    /// The interpreter has a GIL of its own. The main one's is the process's.
    pub own_gil: bool,
    /// How long a thread keeps the GIL while others wait for it, in seconds; `None` leaves it.
    pub switch_interval: Option<f64>,
    /// Directories for `site.addsitedir`, as they were configured together, the most specific first;
    /// new entries go to the front of `sys.path`.
    pub python_path: Vec<Vec<PathBuf>>,
    /// Applications may not use `sys.stdin`.
    pub restrict_stdin: bool,
    /// Applications may not use `sys.stdout`.
    pub restrict_stdout: bool,
    /// Applications cannot register signal handlers.
    pub restrict_signal: bool,
}

impl InterpreterOptions {
    /// How many selectors fit; `None` when one does not.
    fn specificity(&self, process_group: &str, application_group: &str) -> Option<u8> {
        let fits = |selector: &Option<String>, name: &str| match selector {
            None => Some(0),
            Some(selector) => (selector == name).then_some(1),
        };
        Some(
            fits(&self.process_group, process_group)?
                + fits(&self.application_group, application_group)?,
        )
    }
}

impl RuntimeConfig {
    /// What holds for an application group's interpreter: the process's own settings, and then the
    /// blocks that fit, the more specific and among equals the later one last (mod_wsgi semantics
    /// a.5).
    pub fn settings(&self, application_group: &str) -> InterpreterSettings {
        let mut settings = InterpreterSettings {
            own_gil: self.python.per_interpreter_gil,
            switch_interval: self.switch_interval,
            python_path: vec![self.python_path.clone()],
            restrict_stdin: self.python.restrict_stdin,
            restrict_stdout: self.python.restrict_stdout,
            restrict_signal: self.python.restrict_signal,
        };
        for options in self.fitting(application_group) {
            settings.apply(options);
        }
        settings.own_gil &= !application_group.is_empty();
        settings
    }

    /// Whether a Python that can do without a GIL is to do without it.
    pub fn free_threading(&self) -> bool {
        let on =
            self.python.interpreters.iter().filter(|options| options.application_group.is_none());
        let fitting = on.filter_map(|options| {
            Some((options.specificity(&self.process_group, "")?, options.free_threading?))
        });
        let last = fitting.max_by_key(|(specificity, _)| *specificity);
        last.map_or(self.python.free_threading, |(_, on)| on)
    }

    /// Whether any interpreter may be asked to have a GIL of its own.
    pub fn uses_own_gils(&self) -> bool {
        let blocks = self.python.interpreters.iter().filter(|options| {
            options.process_group.as_ref().is_none_or(|group| *group == self.process_group)
        });
        self.python.per_interpreter_gil
            || blocks.filter_map(|options| options.per_interpreter_gil).any(|on| on)
    }

    /// The blocks that fit an interpreter, in the order in which they apply.
    fn fitting(&self, application_group: &str) -> impl Iterator<Item = &InterpreterOptions> {
        let fitting = self.python.interpreters.iter().filter_map(|options| {
            Some((options.specificity(&self.process_group, application_group)?, options))
        });
        let mut fitting: Vec<_> = fitting.collect();
        fitting.sort_by_key(|(specificity, _)| *specificity);
        fitting.into_iter().map(|(_, options)| options)
    }
}

impl InterpreterSettings {
    fn apply(&mut self, options: &InterpreterOptions) {
        self.switch_interval = options.switch_interval.or(self.switch_interval);
        self.python_path.splice(..0, options.python_path.clone());
        let switches = [
            (&mut self.own_gil, options.per_interpreter_gil),
            (&mut self.restrict_stdin, options.restrict_stdin),
            (&mut self.restrict_stdout, options.restrict_stdout),
            (&mut self.restrict_signal, options.restrict_signal),
        ];
        for (setting, option) in switches {
            *setting = option.unwrap_or(*setting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(
        process: Option<&str>,
        application: Option<&str>,
        interval: f64,
    ) -> InterpreterOptions {
        InterpreterOptions {
            process_group: process.map(str::to_owned),
            application_group: application.map(str::to_owned),
            switch_interval: Some(interval),
            python_path: Some(vec![format!("/{interval}").into()]),
            restrict_stdout: Some(interval > 2.0),
            ..InterpreterOptions::default()
        }
    }

    fn settings(blocks: &[InterpreterOptions], application: &str) -> (Option<f64>, String, bool) {
        let mut config = RuntimeConfig { process_group: "p".into(), ..RuntimeConfig::default() };
        config.switch_interval = Some(9.0);
        config.python_path = vec!["/9".into()];
        config.python.interpreters = blocks.to_vec();
        let settings = config.settings(application);
        let path: Vec<_> =
            settings.python_path.iter().flatten().map(|p| p.to_str().unwrap()).collect();
        (settings.switch_interval, path.concat(), settings.restrict_stdout)
    }

    #[test]
    fn without_a_block_the_process_s_settings_hold() {
        assert_eq!(settings(&[], "a"), (Some(9.0), "/9".into(), false));
        let others = [
            block(Some(""), None, 1.0),
            block(None, Some("b"), 2.0),
            block(Some("q"), Some("a"), 3.0),
        ];
        assert_eq!(settings(&others, "a"), (Some(9.0), "/9".into(), false));
    }

    #[test]
    fn the_most_specific_block_counts_and_among_equals_the_last() {
        let both = block(Some("p"), Some("a"), 4.0);
        let one = [block(Some("p"), None, 3.0), block(None, Some("a"), 2.0)];
        let all = [both.clone(), one[0].clone(), one[1].clone(), block(None, None, 1.0)];
        assert_eq!(settings(&all, "a"), (Some(4.0), "/4/2/3/1/9".into(), true));
        assert_eq!(settings(&all, "b"), (Some(3.0), "/3/1/9".into(), true));
        assert_eq!(settings(&all[2..], "a"), (Some(2.0), "/2/1/9".into(), false));
        assert_eq!(settings(&[both.clone(), block(Some("p"), Some("a"), 1.0)], "a").0, Some(1.0));
    }

    #[test]
    fn the_main_interpreter_has_no_gil_of_its_own() {
        let mut config = RuntimeConfig { process_group: "p".into(), ..RuntimeConfig::default() };
        assert!(!config.settings("a").own_gil);
        config.python.per_interpreter_gil = true;
        assert!(config.settings("a").own_gil && !config.settings("").own_gil);
        let off = InterpreterOptions {
            application_group: Some("a".into()),
            per_interpreter_gil: Some(false),
            ..InterpreterOptions::default()
        };
        config.python.interpreters = vec![off];
        assert!(config.settings("b").own_gil && !config.settings("a").own_gil);
    }

    #[test]
    fn free_threading_is_the_process_s() {
        let free = |process: Option<&str>, on| InterpreterOptions {
            process_group: process.map(str::to_owned),
            free_threading: Some(on),
            ..InterpreterOptions::default()
        };
        let mut config = RuntimeConfig { process_group: "p".into(), ..RuntimeConfig::default() };
        assert!(!config.free_threading());
        config.python.interpreters = vec![free(Some("p"), true), free(None, false)];
        assert!(config.free_threading());
        config.python.interpreters.push(free(Some("p"), false));
        assert!(!config.free_threading());
        config.python.interpreters =
            vec![InterpreterOptions { application_group: Some("a".into()), ..free(None, true) }];
        assert!(!config.free_threading());
    }

    #[test]
    fn a_block_leaves_what_it_does_not_set() {
        let rest =
            InterpreterOptions { restrict_stdin: Some(true), ..InterpreterOptions::default() };
        let mut config = RuntimeConfig::default();
        config.python.restrict_signal = true;
        config.python.interpreters = vec![rest];
        let settings = config.settings("");
        assert!(settings.restrict_stdin && settings.restrict_signal && !settings.restrict_stdout);
    }
}
