//! What worker runtimes remember: sekisho's own durable store, and readers of the stores that are on this machine
//! (`docs/stores.md`).
//!
//! | module | what it is |
//! |---|---|
//! | [`journal`] | the store that a runtime of sekisho keeps, on SQLite; and the reader of one that another process owns |
//! | [`maintain`] | checking, exporting and compacting a store of ours |
//! | [`source`] | /v1 over either, for a gateway |
//! | [`deployed`] | the reader of the file store of deployed runtimes, schema 1 |
//!
//! A reader implements [`archive::Archive`]: a runtime's record, its workers, their transcripts. It may read while the
//! store's owner writes, changes nothing, takes no lock that its owner could notice, and shows no path in anything that
//! it says.
//!
//! ```
//! use sekisho_store::archive::{Archive, Window};
//! use sekisho_store::deployed::DeployedStore;
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/deployed-schema1");
//! let store = DeployedStore::new(folder, "archive".parse()?);
//! let listed = store.workers()?;
//! assert_eq!(listed.workers.len(), 3);
//!
//! let window = Window { start: 0, limit: 1, max_bytes: 1 << 20 };
//! let page = store.transcript(&"worker-00000001".parse()?, window)?.expect("there is such a worker");
//! assert_eq!((page.total, page.next), (3, Some(1)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod archive;
pub mod deployed;
pub mod journal;
pub mod maintain;
pub mod problem;
mod request;
pub mod source;
