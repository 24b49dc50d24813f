//! The part of WASI (`wasi_snapshot_preview1`) that modules of ordinary compilers need to start.
//!
//! One idea: a module has two streams to write to, one that is at its end, a clock and chance, no arguments, no environment
//! and no files; whatever asks for a file is told that there is none. Must never wait, nor touch the machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmi::{Caller, Error, FuncType, Linker, Val, ValType};

use super::guest::State;
use super::memory::{broken, charge, get, put, size};

const MODULE: &str = "wasi_snapshot_preview1";
const SUCCESS: i32 = 0;
const BAD_FILE: i32 = 8;
const INVALID: i32 = 28;
const NOT_SUPPORTED: i32 = 58;
/// What is kept of a call's output.
const MAX_OUTPUT: usize = 8 << 10;
/// Most pieces of one write, and events of one wait.
const MAX_PIECES: i32 = 1024;
const MAX_EVENTS: i32 = 256;
/// Most bytes of chance at a time.
const MAX_CHANCE: i32 = 64 << 10;

/// What there is of files, each answered as by a process that has opened none: `i` is a number, `I` a long one.
const FILES: [(&str, &str); 29] = [
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("sock_accept", "iii"),
];

/// A module's time and chance.
pub(super) struct Sources {
    /// `Some` = each look is a millisecond later than the one before, counted from a whole second.
    steps: Option<(u64, u64)>,
    start: Instant,
    seed: u64,
}

impl Sources {
    pub(super) fn new(is_strict: bool) -> Self {
        Self {
            steps: is_strict.then(|| (since_epoch() / 1_000_000_000 * 1_000_000_000, 0)),
            start: Instant::now(),
            seed: 42,
        }
    }

    /// In nanoseconds; `None` = there is no such clock.
    fn time(&mut self, clock: i32) -> Option<u64> {
        const MILLISECOND: u64 = 1_000_000;
        match (clock, &mut self.steps) {
            (0, Some((wall, _))) => {
                *wall += MILLISECOND;
                Some(*wall)
            }
            (1, Some((_, steady))) => {
                *steady += MILLISECOND;
                Some(*steady)
            }
            (0, None) => Some(since_epoch()),
            (1, None) => u64::try_from(self.start.elapsed().as_nanos()).ok(),
            _ => None,
        }
    }

    fn fill(&mut self, place: &mut [u8]) -> Result<(), Error> {
        if self.steps.is_none() {
            return aws_lc_rs::rand::fill(place).map_err(|_| broken("there is no chance"));
        }
        for byte in place {
            // Marsaglia's xorshift: the same each time, which is all that is asked of it.
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            *byte = self.seed.to_le_bytes()[3];
        }
        Ok(())
    }
}

fn since_epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

type Call<'a> = Caller<'a, State>;

/// Puts it where modules find it.
pub(super) fn define(linker: &mut Linker<State>) -> Result<(), Error> {
    for (name, parameters) in
        FILES
            .into_iter()
            .chain([("sock_recv", "iiiiii"), ("sock_send", "iiiii"), ("sock_shutdown", "ii")])
    {
        let parameters = parameters.chars().map(|letter| match letter {
            'I' => ValType::I64,
            _ => ValType::I32,
        });
        let signature = FuncType::new(parameters.collect::<Vec<_>>(), [ValType::I32]);
        linker.func_new(MODULE, name, signature, |mut call: Call<'_>, _, results| {
            charge(&mut call, 0)?;
            if let Some(result) = results.first_mut() {
                *result = Val::I32(BAD_FILE);
            }
            Ok(())
        })?;
    }
    for name in ["args_get", "environ_get"] {
        linker.func_wrap(MODULE, name, |_: i32, _: i32| SUCCESS)?;
    }
    for name in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(MODULE, name, |mut call: Call<'_>, count: i32, bytes: i32| {
            put(&mut call, count, &[0; 4])?;
            put(&mut call, bytes, &[0; 4])?;
            Ok::<_, Error>(SUCCESS)
        })?;
    }
    linker
        .func_wrap(
            MODULE,
            "clock_res_get",
            |mut call: Call<'_>, clock: i32, out: i32| match clock {
                0 | 1 => put(&mut call, out, &1_000_u64.to_le_bytes()).map(|()| SUCCESS),
                _ => Ok(INVALID),
            },
        )?
        .func_wrap(
            MODULE,
            "clock_time_get",
            |mut call: Call<'_>, clock: i32, _: i64, out: i32| match call.data_mut().sources.time(clock) {
                Some(time) => put(&mut call, out, &time.to_le_bytes()).map(|()| SUCCESS),
                None => Ok(INVALID),
            },
        )?
        .func_wrap(MODULE, "fd_fdstat_get", |mut call: Call<'_>, file: i32, out: i32| {
            if !(0..=2).contains(&file) {
                return Ok(BAD_FILE);
            }
            // A terminal's kind, no flags, and nothing that it may not do.
            let mut stat = [0_u8; 24];
            stat[0] = 2;
            put(&mut call, out, &stat).map(|()| SUCCESS)
        })?
        .func_wrap(
            MODULE,
            "fd_read",
            |mut call: Call<'_>, file: i32, _: i32, _: i32, out: i32| {
                if file != 0 {
                    return Ok(BAD_FILE);
                }
                put(&mut call, out, &[0; 4]).map(|()| SUCCESS)
            },
        )?
        .func_wrap(MODULE, "fd_write", write)?
        .func_wrap(MODULE, "poll_oneoff", poll)?
        .func_wrap(MODULE, "proc_exit", |status: i32| Err::<(), _>(Error::i32_exit(status)))?
        .func_wrap(MODULE, "proc_raise", |_: i32| NOT_SUPPORTED)?
        .func_wrap(MODULE, "random_get", |mut call: Call<'_>, at: i32, length: i32| {
            if !(0..=MAX_CHANCE).contains(&length) {
                return Ok(INVALID);
            }
            let mut bytes = vec![0; size(length)];
            call.data_mut().sources.fill(&mut bytes)?;
            put(&mut call, at, &bytes).map(|()| SUCCESS)
        })?
        .func_wrap(MODULE, "sched_yield", || SUCCESS)?;
    Ok(())
}

/// Pieces that lie at an address and a length each.
fn write(mut call: Call<'_>, file: i32, pieces: i32, count: i32, out: i32) -> Result<i32, Error> {
    if ![1, 2].contains(&file) {
        return Ok(BAD_FILE);
    }
    if !(0..=MAX_PIECES).contains(&count) {
        return Ok(INVALID);
    }
    let list = get(&mut call, pieces, count * 8)?;
    let mut written = 0_u32;
    for piece in list.chunks_exact(8) {
        let number = |at: usize| {
            piece
                .get(at..at + 4)
                .and_then(|four| four.try_into().ok())
                .map_or(0, i32::from_le_bytes)
        };
        let text = get(&mut call, number(0), number(4))?;
        let output = &mut call.data_mut().output;
        let room = MAX_OUTPUT.saturating_sub(output.len());
        output.extend_from_slice(&text[..text.len().min(room)]);
        written = written.saturating_add(number(4).cast_unsigned());
    }
    put(&mut call, out, &written.to_le_bytes()).map(|()| SUCCESS)
}

/// Everything that is waited for has happened: a module that sleeps would keep a place from others.
fn poll(mut call: Call<'_>, waits: i32, events: i32, count: i32, out: i32) -> Result<i32, Error> {
    if !(1..=MAX_EVENTS).contains(&count) {
        return Ok(INVALID);
    }
    let list = get(&mut call, waits, count * 48)?;
    let mut told = Vec::new();
    for wait in list.chunks_exact(48) {
        // Whose it is, no error, and what it was.
        told.extend_from_slice(wait.get(..8).unwrap_or_default());
        told.extend_from_slice(&[0, 0, wait.get(8).copied().unwrap_or_default()]);
        told.extend_from_slice(&[0; 21]);
    }
    put(&mut call, events, &told)?;
    put(&mut call, out, &count.to_le_bytes()).map(|()| SUCCESS)
}
