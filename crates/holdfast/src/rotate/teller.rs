//! Tells a person how a rotation goes: one line that changes on a terminal, lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::lifecycle::Phase;

/// Where progress goes: standard error.
pub(crate) struct Teller {
    bar: ProgressBar,
}

impl Teller {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    /// What is begun.
    pub(crate) fn phase(&self, phase: Phase, text: &str) {
        let line = format!("{}: {text}", phase.name());
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.set_message(line);
        }
    }

    /// What is waited for. On a terminal alone: it changes often.
    pub(crate) fn waiting(&self, phase: Phase, why: &str) {
        self.bar.set_message(format!("{}: {why}", phase.name()));
    }

    /// Something that stays on the screen.
    pub(crate) fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// There is no more to tell.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
