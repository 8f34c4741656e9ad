//! What is made of samples, and the bars that it is held to.

use std::process::ExitCode;

/// The value that this share of the samples does not exceed; not a number where there are none.
pub(crate) fn percentile(mut samples: Vec<f64>, share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let index = (samples.len() as f64 * share) as usize;
    samples.get(index.min(samples.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The value in the middle.
pub(crate) fn median(samples: impl IntoIterator<Item = f64>) -> f64 {
    percentile(samples.into_iter().collect(), 0.5)
}

/// Compares figures with their bounds.
///
/// Time depends on the machine and on what else it does, so that a bar which is missed fails the run only where
/// `--check` asks for it.
pub(crate) struct Bars {
    check: bool,
    missed: bool,
}

impl Bars {
    /// The bars of a run by `cargo bench`; none where `cargo test --all-targets` started it, which is after
    /// whether it builds.
    pub(crate) fn of_this_run() -> Option<Self> {
        let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
        has("--bench").then(|| Self { check: has("--check"), missed: false })
    }

    /// Prints the middle of the figures, their range, and whether it is at most the bar.
    pub(crate) fn hold(&mut self, what: &str, figures: &[f64], at_most: f64) {
        let middle = median(figures.iter().copied());
        let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Where nothing was measured, nothing was kept.
        let kept = middle <= at_most;
        self.missed |= !kept;
        let verdict = if kept { "kept" } else { "MISSED" };
        println!("{what:<44} {middle:>8.2}   ({least:.2} to {most:.2}; bar {at_most}: {verdict})");
    }

    /// What the process says in the end.
    pub(crate) fn verdict(self) -> ExitCode {
        match self.check && self.missed {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}
