//! Generates `docs/generated/cli.md`: what `palladium --help` says, command by command.
//!
//! One idea: the finished executable is asked, in an empty environment, so the document is what a person reads on a
//! terminal; the list of commands comes from the same texts. Must never link the command line, nor write outside its
//! output file.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::program;

/// The section that is the same on every page, and therefore shown on the first only.
const EVERYWHERE: &str = "Global options:";

/// Generates the document for the workspace at `root` into the same place below `made`.
pub fn run(root: &Path, made: &Path) -> Result<()> {
    let program = program::build(root, "bin", "palladium")?;
    let mut document = String::from(
        "# Command line\n\n\
         What the executable says of itself. Made by `cargo xtask generate`; do not edit. The global options, shown once, go with every\n\
         command; `palladium COMMAND --help` says the same.\n",
    );
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let text = help(&program, &path)?;
        let name = [&["palladium".to_owned()], path.as_slice()].concat().join(" ");
        let shown = if path.is_empty() {
            text.clone()
        } else {
            without(EVERYWHERE, &text)
        };
        document.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", shown.trim_end()));
        // The last one put in is the first one taken out.
        todo.extend(
            commands(&text)
                .into_iter()
                .rev()
                .map(|command| [&path[..], &[command]].concat()),
        );
    }
    let folder = made.join("docs/generated");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("cli.md"), document).context("cannot write cli.md")
}

/// What `path --help` says. Without a terminal and variables, so that width and defaults are the same everywhere.
fn help(program: &Path, path: &[String]) -> Result<String> {
    let output = Command::new(program)
        .args(path)
        .arg("--help")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .with_context(|| program.display().to_string())?;
    ensure!(output.status.success(), "`palladium {} --help` failed", path.join(" "));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// The commands that a page names, but the one that only shows pages.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .take_while(|line| line.starts_with(' '))
        .filter(|line| !line.starts_with("   ")) // a description's second line
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// `text` without the section of this heading.
fn without(heading: &str, text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        if !line.is_empty() && !line.starts_with(' ') {
            inside = *line == heading;
        }
        !inside
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "A tool\n\nUsage: tool <COMMAND>\n\nCommands:\n  up       Start\n           everything\n  appid    App IDs\n  \
                        help     Print this message\n\nOptions:\n  -h, --help  Print help\n\nGlobal options:\n      --api <URL>\n          \
                        Where\n\n      --key <KEY>\n\nExamples:\n  tool up";

    #[test]
    fn commands_are_the_names_alone() {
        assert_eq!(commands(PAGE), ["up", "appid"]);
        assert!(commands("Usage: tool\n\nOptions:\n  -h, --help  Print help").is_empty());
    }

    #[test]
    fn a_section_goes_whole_and_alone() {
        let rest = without(EVERYWHERE, PAGE);
        assert!(
            rest.contains("--help") && rest.ends_with("Examples:\n  tool up"),
            "{rest}"
        );
        assert!(!rest.contains("--api") && !rest.contains("--key"), "{rest}");
    }
}
