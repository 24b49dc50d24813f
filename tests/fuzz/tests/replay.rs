//! Every committed input, and thousands of mutations of them from a fixed seed, without any instrumentation.
//!
//! One idea: what a fuzzer found once is found again by an ordinary test. Must never depend on chance: the same commit tries
//! the same inputs.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use palladium_fuzz::TARGETS;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Mutations of a corpus.
const MUTATIONS: usize = 3000;
/// The longest of them.
const LONGEST: usize = 8 << 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder().join(name)).expect("every target has a corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    let read = |file: PathBuf| (file.display().to_string(), fs::read(&file).expect("readable"));
    files.into_iter().map(read).collect()
}

fn attempt(target: &palladium_fuzz::Target, said: &str, input: &[u8]) {
    if catch_unwind(|| (target.run)(input)).is_ok() {
        return;
    }
    let kept = std::env::temp_dir().join(format!("palladium-fuzz-{}", target.name));
    fs::write(&kept, input).expect("the temporary folder can be written");
    panic!(
        "{}: {said} breaks a promise (above). It is in {}: mend the product, then keep it as tests/fuzz/corpus/{}/<what it shows>",
        target.name,
        kept.display(),
        target.name
    );
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "an empty corpus says nothing");
    for (file, input) in &corpus {
        attempt(target, file, input);
    }
    let inputs: Vec<&[u8]> = corpus.iter().map(|(_, input)| input.as_slice()).collect();
    let mut random = StdRng::seed_from_u64(7);
    for count in 0..MUTATIONS {
        attempt(target, &format!("mutation {count}"), &mutated(&inputs, &mut random));
    }
}

/// One of the inputs, with a few changes.
fn mutated(inputs: &[&[u8]], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = inputs[random.random_range(0..inputs.len())].to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let to = (at + random.random_range(0..16)).min(bytes.len());
        match random.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => bytes.insert(at, random.random()),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let other = inputs[random.random_range(0..inputs.len())];
                let from = random.random_range(0..=other.len());
                let piece = &other[from..(from + random.random_range(0..64)).min(other.len())];
                bytes.splice(at..to, piece.iter().copied());
            }
            _ => {
                const TELLING: &[u8] = b"\0\n\r\t %./:;{}[]\"'\\,-0\xff";
                bytes.insert(at, TELLING[random.random_range(0..TELLING.len())]);
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let entries = fs::read_dir(folder()).expect("there are corpora");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("readable").file_name().display().to_string();
    let found: BTreeSet<String> = entries.map(name).collect();
    let known: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(found, known);
}

macro_rules! replays {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            replay(stringify!($name));
        }
    )*

        #[test]
        fn every_target_is_replayed() {
            let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(known, [$(stringify!($name)),*]);
        }
    };
}

replays! { cel certificate cloudevents component_yaml csr grpc_frames http_head path rabbitmq_frames }
