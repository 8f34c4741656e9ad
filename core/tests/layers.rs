//! The modules of this crate stand in the order of the table in `lib.rs`, and none uses one below it.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]
#![allow(clippy::disallowed_methods, reason = "core has no files; this reads its source")]

use std::fs;
use std::path::{Path, PathBuf};

/// The table's order, with the private modules before those that use them.
const ORDER: &[&str] = &[
    "id",
    "memory",
    "error",
    "trace",
    "diagnostic",
    "problem",
    "backoff",
    "json",
    "query",
    "secret",
    "cursor",
    "heartbeat",
    "runtime_api",
    "frame",
    "policy",
    "transport",
    "call",
    "watch",
    "registry",
    "feed",
    "browser_api",
    "viewer",
    "fleet",
    "gateway_client",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The files of a module that are no tests.
fn files(module: &Path, found: &mut Vec<PathBuf>) {
    found.push(module.with_extension("rs"));
    for entry in fs::read_dir(module).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_owned();
        if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
            files(&path.with_extension(""), found);
        }
    }
}

/// The modules that a text uses: its code, and not its comments or its tests.
fn used(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = code.flat_map(|line| line.split("crate::").skip(1));
    paths
        .map(|path| path.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap())
        .collect()
}

#[test]
fn no_module_uses_one_below_it() {
    for (place, module) in ORDER.iter().enumerate() {
        let mut found = Vec::new();
        files(&source().join(module), &mut found);
        for file in found {
            let text = fs::read_to_string(&file).unwrap();
            for name in used(&text) {
                let above = ORDER[..=place].contains(&name);
                let is_module = ORDER.contains(&name);
                assert!(above || !is_module, "{} uses {name}, which stands below {module}", file.display());
            }
        }
    }
}

#[test]
fn every_module_has_its_place() {
    let mut modules: Vec<String> = fs::read_dir(source())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "lib")
        .collect();
    modules.sort_unstable();
    let mut order = ORDER.to_vec();
    order.sort_unstable();
    assert_eq!(modules, order);
}
