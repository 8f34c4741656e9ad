//! The committed corpora of the fuzz targets, replayed.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sekisho_tests::fuzzing::{TARGETS, Target};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The files of a folder, in order.
fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn replay(name: &str, target: Target) {
    let corpus = entries(&fuzz().join("corpus").join(name));
    assert!(!corpus.is_empty(), "there is no corpus of {name}");
    for path in corpus {
        // Where a target panics, the last line says at what.
        println!("{}", path.display());
        target(&fs::read(&path).unwrap());
    }
}

macro_rules! corpora {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name), sekisho_tests::fuzzing::$name);
        })+

        #[test]
        fn every_target_is_replayed() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($name)),+]);
        }
    };
}

corpora! {
    agent_lines base_url browser_request configuration cursor frame runtime_reply scrubber watch_and_feed
}

#[test]
fn every_corpus_has_a_target_and_every_target_a_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for folder in ["corpus", "fuzz_targets"] {
        let found: BTreeSet<String> = entries(&fuzz().join(folder))
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, names, "in fuzz/{folder}");
    }
}
