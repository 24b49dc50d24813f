//! What libFuzzer says about a run, in the words of people who have to do something about it.
//!
//! One idea: figures when all went well; the broken promise, the input and the next two commands otherwise. Must never hide
//! the log: what is not understood here is in it.

use std::{fmt, path::Path};

/// Figures of a run, as far as they were said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    executions: Option<u64>,
    /// Edges that were taken.
    covered: Option<u64>,
    /// Inputs that differ in what they cover, and their size.
    corpus: Option<String>,
    /// The file with the input that broke a promise.
    found: Option<String>,
    /// The broken promise.
    said: Vec<String>,
}

impl Outcome {
    /// From the log.
    pub fn read(log: &str) -> Self {
        let mut outcome = Self::default();
        for line in log.lines() {
            let word = |name: &str| {
                let mut words = line.split_whitespace().skip_while(|word| *word != name);
                words.nth(1)
            };
            if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
                outcome.executions = count.trim().parse().ok();
            } else if line.starts_with('#') {
                outcome.covered = word("cov:").and_then(|count| count.parse().ok()).or(outcome.covered);
                outcome.corpus = word("corp:").map(str::to_owned).or(outcome.corpus);
            } else if let Some((_, file)) = line.split_once("Test unit written to ") {
                outcome.found = Some(file.to_owned());
            } else if line.starts_with("panicked at ") || line.contains("ERROR: libFuzzer:") {
                outcome.said.push(line.to_owned());
            }
        }
        let behind = log.split_once("panicked at ").map(|(_, behind)| behind);
        let words = behind.into_iter().flat_map(|behind| behind.lines().skip(1));
        outcome.said.extend(
            words
                .take_while(|line| !line.starts_with("=="))
                .take(6)
                .map(str::to_owned),
        );
        outcome
    }

    /// What to do about a finding.
    pub fn finding(&self, target: &str, log: &Path) -> String {
        let said = self.said.join("\n    ");
        let log = log.display();
        let Some(found) = &self.found else {
            return format!("    {said}\n    It ended early without an input: see {log}");
        };
        format!(
            "    {said}\n    input: {found} (log: {log})\n    again: cargo xtask fuzz {target} --input {found}\n    \
             remedy: mend the product, then keep the input: cp {found} tests/fuzz/corpus/{target}/<what it shows>\n    \
             from then on `cargo nextest run --workspace -E 'package(palladium-fuzz)'` tries it"
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let corpus = self.corpus.as_deref().unwrap_or("?");
        let (executions, covered) = (number(self.executions), number(self.covered));
        write!(f, "{executions} executions, {covered} edges covered, corpus {corpus}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_findings_are_read() {
        let log = "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n#99\tNEW    cov: 20 ft: 30 corp: 5/9b lim: 4\n\
                   stat::number_of_executed_units: 99\n";
        let outcome = Outcome::read(log);
        assert_eq!(outcome.to_string(), "99 executions, 20 edges covered, corpus 5/9b");
        let log = "panicked at src/cel.rs:1:2:\nthe same event has two answers\n==7== ERROR: libFuzzer: deadly signal\n\
                   artifact_prefix='/c/found/'; Test unit written to /c/found/crash-1\n";
        let text = Outcome::read(log).finding("cel", Path::new("/c/log"));
        assert!(
            text.contains("two answers") && text.contains("--input /c/found/crash-1"),
            "{text}"
        );
    }
}
