//! Upstream's integration suite as a judge: `cargo xtask upstream --peers DIR [--daprd PATH] --list FILE`.
//!
//! One idea: the suite starts whatever programs the environment names; we name ours under the name of the original and
//! count what ran. A case that was asked for and did not run is a failure, never silence.

mod mixed;
mod output;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use mixed::First;
use output::{Output, Verdict};

/// Where the committed lists lie.
pub const LISTS: &str = "tests/upstream/lists";

/// Cases that take any open port for that of the program which they started, and end it at once. What another case starts at
/// that moment holds ports that were just given back until it runs its own program: beside others, chance would be judged,
/// as it ends programs that have not even begun.
const SINGLE: &str = "ports/";

/// Lines of a failed case's output that are printed, too: where CI runs, nobody can look into the folder.
const SHOWN: usize = 40;

/// Programs the suite starts, by the name it knows them.
const ROLES: [&str; 4] = ["daprd", "sentry", "placement", "scheduler"];
/// Programs the suite insists on finding, but that no case here starts.
const UNUSED: [&str; 5] = [
    "operator",
    "injector",
    "helmtemplate",
    "mcpstdioserver",
    "controllergen",
];
/// A case has 45 s in the suite; start and stop of processes come on top.
const CASE: Duration = Duration::from_secs(60);
/// How often a case is begun alone after the suite fell over itself.
const ALONE: u32 = 3;
/// More cases that were not announced are a list that is wrong.
const FEW: usize = 3;

/// Command line of the runner.
#[derive(Args)]
pub struct Options {
    /// Folder with the originals and the suite (last line of `./dev peers`)
    #[arg(long)]
    peers: PathBuf,
    /// Program to judge as daprd; default: the original
    #[arg(long)]
    daprd: Option<PathBuf>,
    /// Every second daprd that a case starts is the original, the first one in one run and the second one in another; each
    /// case runs alone
    #[arg(long, requires_all = ["daprd", "list"])]
    mixed: bool,
    /// Program to judge as sentry; default: the original
    #[arg(long)]
    sentry: Option<PathBuf>,
    /// Program to judge as placement; default: the original
    #[arg(long)]
    placement: Option<PathBuf>,
    /// Program to judge as scheduler; default: the original
    #[arg(long)]
    scheduler: Option<PathBuf>,
    /// Files with one case per line (# starts a comment): exactly these must run and pass
    #[arg(long)]
    list: Vec<PathBuf>,
    /// Regular expression over case names, instead of lists: whatever fits runs
    #[arg(long, conflicts_with = "list", required_unless_present = "list")]
    focus: Option<String>,
    /// Cases at the same time; the suite reserves ports for all of them in one process
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Folder for the output of failed cases
    #[arg(long, default_value_os_t = std::env::temp_dir().join("palladium-upstream-logs"))]
    logs: PathBuf,
    /// Add the cases that passed to this list
    #[arg(long)]
    record: Option<PathBuf>,
}

/// Runs the cases, prints one line for each and `N passed, N failed`; fails unless all asked for passed.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let mut wanted = BTreeSet::new();
    for list in &options.list {
        let text = fs::read_to_string(list).with_context(|| list.display().to_string())?;
        wanted.extend(cases(&text).map(str::to_owned));
    }
    if options.focus.is_none() && wanted.is_empty() {
        println!("no case on the list");
        return Ok(());
    }
    let started = Instant::now();
    let output = if options.mixed {
        both_ways(options, &wanted)?
    } else {
        together(options, &wanted)?
    };
    report(root, options, &wanted, &output, started)
}

/// All cases in one run of the suite, and again alone those that it took along when it fell. Some are only ever alone.
fn together(options: &Options, wanted: &BTreeSet<String>) -> Result<Output> {
    let (single, many): (BTreeSet<String>, _) = wanted.iter().cloned().partition(|case| case.starts_with(SINGLE));
    let mut output = Output::default();
    if options.focus.is_some() || !many.is_empty() {
        let focus = options.focus.clone().unwrap_or_else(|| exactly(&many));
        output = judge(options, &focus, many.len(), None)?;
    }
    if options.focus.is_none() {
        for case in &single {
            output.cases.extend(alone(options, case, None)?.cases);
        }
    }
    // A case that was not even announced: its line came together with what some program wrote, and nobody saw it.
    let unseen = many.iter().filter(|case| !output.cases.contains_key(*case)).count();
    if output.fell || (1..=FEW).contains(&unseen) {
        // Each in a process of its own, so that none takes another along.
        let left: Vec<String> = output.unjudged(&many).cloned().collect();
        for case in left {
            output.cases.extend(alone(options, &case, None)?.cases);
        }
    }
    Ok(output)
}

/// One case in a process of its own, begun again when the suite falls over itself.
fn alone(options: &Options, case: &str, first: Option<First>) -> Result<Output> {
    let mut output = Output::default();
    for _ in 0..ALONE {
        output = judge(options, &exactly(&[case.to_owned()].into()), 1, first)?;
        if !output.fell {
            break;
        }
    }
    Ok(output)
}

/// Each case twice, once with ours and once with the original started first; it passes when both do.
fn both_ways(options: &Options, wanted: &BTreeSet<String>) -> Result<Output> {
    let mut all = Output::default();
    for case in wanted {
        for first in First::BOTH {
            println!("{}:", first.text());
            let mut output = alone(options, case, Some(first))?;
            let Some(told) = output.cases.remove(case) else {
                all.outside = output.outside;
                all.cases.remove(case);
                break;
            };
            let passed = told.verdict == Verdict::Passed;
            all.cases.insert(case.clone(), told);
            if !passed {
                break;
            }
        }
    }
    Ok(all)
}

/// Prints what came of the cases, keeps the output of failed ones, and fails unless all passed.
fn report(root: &Path, options: &Options, wanted: &BTreeSet<String>, output: &Output, started: Instant) -> Result<()> {
    let logs = root.join(&options.logs);
    let (mut passed, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for case in output.cases.keys().chain(wanted) {
        match output.cases.get(case).map(|c| c.verdict) {
            Some(Verdict::Passed) => passed.insert(case.clone()),
            _ => failed.insert(case.clone()),
        };
    }
    for case in &failed {
        let told = output.cases.get(case);
        let why = told.map_or("did not run", |c| c.verdict.text());
        let lines = told
            .map(|c| c.lines.join("\n"))
            .filter(|l| !l.is_empty())
            .unwrap_or_else(|| output.outside.join("\n"));
        fs::create_dir_all(&logs)?;
        let log = logs.join(format!("{}.log", case.replace('/', "_")));
        fs::write(&log, &lines)?;
        let end = lines.lines().count().saturating_sub(SHOWN);
        for line in lines.lines().skip(end) {
            println!("    {line}");
        }
        println!("FAILED {case}: {why}; output in {}", log.display());
    }
    if let Some(record) = &options.record {
        let old = fs::read_to_string(record).unwrap_or_default();
        let known: BTreeSet<_> = cases(&old).collect();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(record)?;
        for case in passed.iter().filter(|c| !known.contains(c.as_str())) {
            writeln!(file, "{case}")?;
        }
    }
    println!("upstream cases in {:.0} s:", started.elapsed().as_secs_f64());
    println!("{} passed, {} failed", passed.len(), failed.len());
    if !failed.is_empty() || passed.is_empty() {
        bail!("upstream's suite: {} failed, {} passed", failed.len(), passed.len());
    }
    Ok(())
}

/// Starts the suite and reads it to its end, printing each verdict as it comes.
fn judge(options: &Options, focus: &str, expected: usize, first: Option<First>) -> Result<Output> {
    let peers = options
        .peers
        .canonicalize()
        .with_context(|| options.peers.display().to_string())?;
    let bin = tempfile::tempdir()?;
    let turns = bin.path().join("turns");
    fs::create_dir(&turns)?;
    let mut suite = fenced(&peers.join("integration.test"));
    suite.args(["-test.v", "-test.count=1", "-test.timeout=0", "-focus", focus]);
    suite.arg(format!("-integration-parallel={}", options.jobs > 1));
    suite.arg(format!("-test.parallel={}", options.jobs.max(1)));
    suite
        .current_dir(peers.join("suite"))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let judged = [&options.daprd, &options.sentry, &options.placement, &options.scheduler];
    for (role, program) in ROLES.into_iter().zip(judged) {
        // The name by which it is called decides which program's flags ours takes.
        let link = bin.path().join(role);
        let program = program.clone().unwrap_or_else(|| peers.join(role));
        let program = program
            .canonicalize()
            .with_context(|| format!("{role}: {}", program.display()))?;
        // Into the page cache. A program that has to come from the disk first keeps what the suite has open until it runs,
        // the ports of other cases included; these then find their ports open before their own program has begun, and end
        // it before it can hear of that.
        std::io::copy(&mut fs::File::open(&program)?, &mut std::io::sink())?;
        match first {
            Some(first) if role == ROLES[0] => {
                let original = peers.join(role);
                let script = mixed::script(&turns, first, &program, &original)?;
                symlink(script, &link)?;
            }
            _ => symlink(program, &link)?,
        }
        suite.env(variable(role), link);
    }
    for role in UNUSED {
        suite.env(variable(role), "/bin/false");
    }
    let mut child = suite.spawn().context("start the suite")?;
    let over = Arc::new(AtomicBool::new(false));
    // With a regular expression the number of cases is unknown: then the longest run that is ever useful.
    let cases = if expected == 0 { 1500 } else { u32::try_from(expected)? };
    let deadline = CASE * cases / u32::try_from(options.jobs.max(1))? + CASE;
    let watchdog = watch(&child, over.clone(), deadline)?;

    let mut output = Output::default();
    let pipe = child.stdout.take().context("output of the suite")?;
    for line in BufReader::new(pipe).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if let Some((case, verdict, seconds)) = output.line(&line) {
            println!("{:<7} {case} {seconds}", verdict.text());
        }
    }
    let status = child.wait()?;
    over.store(true, Ordering::Release);
    let late = watchdog.join().unwrap_or(true);
    if first.is_some() && mixed::starts(&turns)? < 2 {
        for (case, told) in &mut output.cases {
            if told.verdict == Verdict::Passed {
                told.verdict = Verdict::Failed;
                let why = "there was nothing to mix: it started fewer than two daprd";
                println!("{:<7} {case} {why}", told.verdict.text());
                told.lines.push(why.to_owned());
            }
        }
    }
    if late {
        println!("the suite was ended after {} s", deadline.as_secs());
    } else if !status.success() && output.cases.values().all(|c| c.verdict == Verdict::Passed) {
        println!("the suite ended with {status}:\n{}", output.outside.join("\n"));
        bail!("the suite failed outside of its cases");
    }
    Ok(output)
}

/// The program in a network namespace of its own, where the system allows one: the suite, run as root, takes ports out of
/// the range from which the kernel serves outgoing connections, and would meet them. Without one it runs as it is.
fn fenced(program: &Path) -> Command {
    let mut unshare = vec!["unshare", "--net"];
    if !rustix::process::geteuid().is_root() {
        unshare.extend(["--user", "--map-root-user"]);
    }
    // Names between two daprds go by multicast, which the loopback device does only when told; a host without a
    // default route has no address in their eyes.
    let prepare = "ip link set lo up multicast on && ip route add default dev lo src 127.0.0.1 \
                   && echo 20000 39999 >/proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    unshare.extend(["sh", "-c", prepare, "sh"]);
    let build = || {
        let mut command = Command::new(unshare[0]);
        command.args(&unshare[1..]);
        command
    };
    if build()
        .arg("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        let mut command = build();
        command.arg(program);
        return command;
    }
    println!("no network namespace to be had here: ports of the cases may meet others");
    Command::new(program)
}

/// Ends the suite with all that it started when it takes too long; tells whether it had to.
fn watch(child: &Child, over: Arc<AtomicBool>, deadline: Duration) -> Result<thread::JoinHandle<bool>> {
    let group = format!("-{}", child.id());
    let started = Instant::now();
    let watch = move || {
        while !over.load(Ordering::Acquire) {
            if started.elapsed() > deadline {
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
                return true;
            }
            thread::park_timeout(Duration::from_millis(200));
        }
        false
    };
    Ok(thread::Builder::new().name("watchdog".into()).spawn(watch)?)
}

/// The variable by which the suite learns the path of a program.
fn variable(role: &str) -> String {
    format!("DAPR_INTEGRATION_{}_PATH", role.to_uppercase())
}

/// The case names of a list.
fn cases(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .map(|l| l.split('#').next().unwrap_or_default().trim())
        .filter(|l| !l.is_empty())
}

/// A regular expression for exactly these names.
fn exactly(names: &BTreeSet<String>) -> String {
    let escaped = |name: &String| {
        let special = |c: char| {
            if c.is_alphanumeric() || "/_-".contains(c) {
                c.to_string()
            } else {
                format!("\\{c}")
            }
        };
        name.chars().map(special).collect::<String>()
    };
    format!("^({})$", names.iter().map(escaped).collect::<Vec<_>>().join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_expressions() {
        let text = "# head\n a/b \n\na.c # why\n";
        assert_eq!(cases(text).collect::<Vec<_>>(), ["a/b", "a.c"]);
        let names = cases(text).map(str::to_owned).collect();
        assert_eq!(exactly(&names), r"^(a\.c|a/b)$");
    }
}
