//! The table: medians over the rounds with their spread, ratios, and whether they are what is required.
//!
//! One idea: a ratio is printed beside the numbers that it comes from. It must never drop a round.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, bail};

use crate::load::Outcome;

/// Name and value of everything measured in one visit, in the order of the table.
#[derive(Default)]
pub struct Measures(Vec<(String, f64)>);

impl Measures {
    /// One more.
    pub fn add(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), value));
    }

    /// What a load did, and how many seconds of CPU time the servers spent on it.
    pub fn add_load(&mut self, name: &str, result: &mut Outcome, cpu: f64) {
        let requests = result.requests() as f64;
        self.add(format!("{name}, per CPU-second"), requests / cpu);
        self.add(format!("{name}, per second"), requests / result.seconds);
        self.add(format!("{name}, p50 µs"), result.microseconds(0.50));
        self.add(format!("{name}, p99 µs"), result.microseconds(0.99));
    }
}

/// What a ratio first target : second target must be.
enum Required {
    AtLeast(f64),
    AtMost(f64),
}

/// By the end of the measure's name.
const REQUIRED: &[(&str, Required)] = &[
    ("HTTP get, per CPU-second", Required::AtLeast(2.0)),
    ("HTTP save, per CPU-second", Required::AtLeast(2.0)),
    ("idle memory, MB", Required::AtMost(1.0 / 8.0)),
    ("cold start, ms", Required::AtMost(1.0 / 3.0)),
];

/// All rounds of all targets.
pub struct Report {
    targets: Vec<&'static str>,
    /// In the order of the first visit.
    names: Vec<String>,
    values: BTreeMap<(String, usize), Vec<f64>>,
}

impl Report {
    /// For these targets; the first one is compared with the second.
    pub fn new(targets: impl Iterator<Item = &'static str>) -> Self {
        Self {
            targets: targets.collect(),
            names: Vec::new(),
            values: BTreeMap::new(),
        }
    }

    /// Adds a visit.
    pub fn add(&mut self, target: usize, measures: Measures) {
        for (name, value) in measures.0 {
            if !self.names.contains(&name) {
                self.names.push(name.clone());
            }
            self.values.entry((name, target)).or_default().push(value);
        }
    }

    fn of(&self, name: &str, target: usize) -> Option<Spread> {
        Spread::of(self.values.get(&(name.to_owned(), target))?)
    }

    fn ratio(&self, name: &str) -> Option<f64> {
        Some(self.of(name, 0)?.median / self.of(name, 1)?.median)
    }

    /// Fails when a required ratio is missed, naming each.
    pub fn verdict(&self) -> Result<()> {
        let missed: Vec<_> = REQUIRED
            .iter()
            .filter(|(name, required)| self.ratio(name).is_some_and(|ratio| !required.holds(ratio)))
            .map(|(name, _)| *name)
            .collect();
        if !missed.is_empty() {
            bail!("below what is required: {}", missed.join("; "));
        }
        Ok(())
    }
}

impl Required {
    fn holds(&self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= *least,
            Self::AtMost(most) => ratio <= *most,
        }
    }
}

impl fmt::Display for Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least:.2}"),
            Self::AtMost(most) => write!(f, "≤ {most:.2}"),
        }
    }
}

/// Median, least and most.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = *sorted.get(sorted.len() / 2)?;
        Some(Self {
            median,
            least: *sorted.first()?,
            most: *sorted.last()?,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 100.0 { 1 } else { 0 };
        write!(
            f,
            "{:.digits$} ({:.digits$}–{:.digits$})",
            self.median, self.least, self.most
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| median (least–most) | {} | ratio | required |",
            self.targets.join(" | ")
        )?;
        writeln!(f, "|---|{}---|---|", "---|".repeat(self.targets.len()))?;
        for name in &self.names {
            write!(f, "| {name} |")?;
            for target in 0..self.targets.len() {
                match self.of(name, target) {
                    Some(spread) => write!(f, " {spread} |")?,
                    None => write!(f, " – |")?,
                }
            }
            let ratio = self.ratio(name).map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
            let required = REQUIRED
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, r)| r.to_string());
            writeln!(f, " {ratio} | {} |", required.unwrap_or_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_of_medians() {
        let mut report = Report::new(["a", "b"].into_iter());
        for (a, b) in [(30.0, 10.0), (9.0, 11.0), (31.0, 9.0)] {
            for (target, value) in [(0, a), (1, b)] {
                let mut measures = Measures::default();
                measures.add("HTTP get, per CPU-second", value);
                measures.add("idle memory, MB", value);
                report.add(target, measures);
            }
        }
        assert_eq!(report.ratio("HTTP get, per CPU-second"), Some(3.0));
        let missed = report.verdict().expect_err("memory is worse").to_string();
        assert_eq!(missed, "below what is required: idle memory, MB");
        assert!(
            report
                .to_string()
                .contains("| 30.0 (9.0–31.0) | 10.0 (9.0–11.0) | 3.00 | ≥ 2.00 |"),
            "{report}"
        );
    }
}
