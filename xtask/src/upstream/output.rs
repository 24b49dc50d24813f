//! Reads what the suite prints (`go test -v`) and sorts it by case.
//!
//! One idea: cases run at the same time and their lines are mixed; a marker line says whose lines follow. Only a
//! verdict at the depth of a case counts: the steps inside it and the suite around it do not. Must never count a case
//! that did not report as passed, nor judge: which cases must pass is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};

/// The test that holds all cases.
const SUITE: &str = "Test_Integration/";
/// A step of the suite itself, not a case.
const BUILD: &str = "build_binaries";
/// How Go ends a program in which an assertion failed after its case was over. The suite looks every few milliseconds
/// whether something holds; a look that is under way when the case ends fails so, and takes all other cases along.
const LATE: [&str; 2] = ["panic: Fail in goroutine after ", "panic: Log in goroutine after "];
/// Of a failed case at most so many lines are kept, the last ones.
const KEPT: usize = 20_000;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// It began and no verdict came.
    #[default]
    Unfinished,
    /// As it should.
    Passed,
    /// It did not hold.
    Failed,
    /// The suite left it out.
    Skipped,
}

impl Verdict {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Unfinished => "did not finish",
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// One case.
#[derive(Debug, Default)]
pub struct Case {
    /// How it ended.
    pub verdict: Verdict,
    /// Its own output.
    pub lines: Vec<String>,
}

/// Everything the suite said.
#[derive(Debug, Default)]
pub struct Output {
    /// By name.
    pub cases: BTreeMap<String, Case>,
    /// Lines that belong to no case.
    pub outside: Vec<String>,
    /// Whether the suite fell over a look of its own that came too late.
    pub fell: bool,
    /// Whose lines follow, with the full name of the test.
    current: String,
}

impl Output {
    /// Takes one line; tells a verdict (case, verdict, duration) when the line is one.
    pub fn line(&mut self, line: &str) -> Option<(String, Verdict, String)> {
        self.fell |= LATE.iter().any(|words| line.starts_with(words));
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix("=== ") {
            self.current = rest.split_whitespace().nth(1).unwrap_or_default().to_owned();
            if let (true, Some(case)) = (rest.starts_with("RUN"), self.current.strip_prefix(SUITE)) {
                // Steps inside a case are announced below its name, after the case itself.
                if case != BUILD && !self.inside(case) {
                    self.cases.entry(case.to_owned()).or_default();
                }
            }
            return None;
        }
        let verdict = match trimmed.split_once(": ") {
            Some(("--- PASS", rest)) => Some((Verdict::Passed, rest)),
            Some(("--- FAIL", rest)) => Some((Verdict::Failed, rest)),
            Some(("--- SKIP", rest)) => Some((Verdict::Skipped, rest)),
            _ => None,
        };
        if let Some((verdict, rest)) = verdict {
            let (name, seconds) = rest.split_once(' ').unwrap_or((rest, ""));
            let case = name.strip_prefix(SUITE)?.to_owned();
            let known = self.cases.get_mut(&case)?;
            known.verdict = verdict;
            if verdict == Verdict::Passed {
                known.lines.clear();
            }
            return Some((case, verdict, seconds.to_owned()));
        }
        let owner = self.current.strip_prefix(SUITE).and_then(|name| self.owner(name));
        let lines = match owner.and_then(|name| self.cases.get_mut(&name)) {
            Some(case) => &mut case.lines,
            None => &mut self.outside,
        };
        lines.push(line.to_owned());
        if lines.len() > 2 * KEPT {
            lines.drain(..KEPT);
        }
        None
    }

    /// The cases without a verdict, of those that should have one.
    pub fn unjudged<'a>(&'a self, wanted: &'a BTreeSet<String>) -> impl Iterator<Item = &'a String> {
        let verdict = |case: &String| self.cases.get(case).map(|case| case.verdict).unwrap_or_default();
        wanted.iter().filter(move |case| verdict(case) == Verdict::Unfinished)
    }

    /// The case that a test's full name belongs to.
    fn owner(&self, name: &str) -> Option<String> {
        let mut end = name.len();
        loop {
            if self.cases.contains_key(&name[..end]) {
                return Some(name[..end].to_owned());
            }
            end = name[..end].rfind('/')?;
        }
    }

    /// `name` is a step inside a known case.
    fn inside(&self, name: &str) -> bool {
        name.rfind('/').and_then(|end| self.owner(&name[..end])).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
=== RUN   Test_Integration
    integration.go:40: running
=== RUN   Test_Integration/build_binaries
=== RUN   Test_Integration/daprd/state/http/basic
=== PAUSE Test_Integration/daprd/state/http/basic
=== RUN   Test_Integration/ports/daprd
=== CONT  Test_Integration/ports/daprd
    exec.go:1: starting
=== CONT  Test_Integration/daprd/state/http/basic
=== RUN   Test_Integration/daprd/state/http/basic/run
=== NAME  Test_Integration/ports/daprd
    ports.go:9: closed
=== NAME  Test_Integration/daprd/state/http/basic/run
    basic.go:9: good
--- FAIL: Test_Integration (2.00s)
    --- PASS: Test_Integration/build_binaries (0.00s)
    --- PASS: Test_Integration/daprd/state/http/basic (1.10s)
        --- PASS: Test_Integration/daprd/state/http/basic/run (1.00s)
    --- FAIL: Test_Integration/ports/daprd (0.90s)
FAIL
";

    #[test]
    fn a_suite_that_fell_over_itself_leaves_cases_unjudged() {
        let mut output = Output::default();
        for line in [
            "=== RUN   Test_Integration/ports/daprd",
            "    --- PASS: Test_Integration/ports/daprd (0.90s)",
            "=== RUN   Test_Integration/daprd/state/http/basic",
        ] {
            output.line(line);
        }
        let wanted = ["ports/daprd", "daprd/state/http/basic", "never/begun"].map(str::to_owned);
        let wanted = BTreeSet::from(wanted);
        let left: Vec<_> = output.unjudged(&wanted).collect();
        assert_eq!(left, ["daprd/state/http/basic", "never/begun"]);
        assert!(!output.fell);
        output.line("panic: Fail in goroutine after Test_Integration/daprd/state/http/basic/run has completed");
        assert!(output.fell);
    }

    #[test]
    fn mixed_lines_are_sorted_by_case() {
        let mut output = Output::default();
        let told: Vec<_> = TEXT
            .lines()
            .filter_map(|l| output.line(l))
            .map(|(case, v, _)| (case, v))
            .collect();
        assert_eq!(
            told,
            [
                ("daprd/state/http/basic".into(), Verdict::Passed),
                ("ports/daprd".into(), Verdict::Failed)
            ]
        );
        assert_eq!(output.cases.len(), 2);
        assert_eq!(
            output.cases["ports/daprd"].lines,
            ["    exec.go:1: starting", "    ports.go:9: closed"]
        );
        assert_eq!(output.outside, ["    integration.go:40: running"]);
    }
}
