//! What was said to a worker and what it said.

use std::io::IsTerminal;
use std::time::Instant;

use sekisho_core::gateway_client::end_detector::QUIET;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::WorkerEnd;

use crate::args::Time;
use crate::backend::Backend;
use crate::failure::Failure;
use crate::show::Show;
use crate::streaming::{Moment, reader_is_gone, until_the_end};
use crate::text::{FAINT, WARNING, painted, safe, safe_line};
use crate::transcript::{Found, Item, TIMES_UNKNOWN, first_after, pages, total};

/// Which part of a transcript, and how to show it.
#[derive(Clone, Debug)]
pub(crate) struct TranscriptOptions {
    /// The first item, counted from one.
    pub(crate) from: Option<u64>,
    /// So many items at the end.
    pub(crate) tail: Option<u64>,
    /// What was said since then.
    pub(crate) since: Option<Time>,
    /// With the time of each item.
    pub(crate) times: bool,
    /// The contents alone.
    pub(crate) raw: bool,
}

/// Shows the part of a transcript that the options name.
pub(crate) fn print(
    backend: &dyn Backend,
    worker: &WorkerRef,
    options: &TranscriptOptions,
    show: Show,
) -> Result<(), Failure> {
    let start = start(backend, worker, options)?;
    let mut printer = Printer::new(options, show);
    printer.pages(backend, worker, start)?;
    printer.finish()
}

/// Shows the part that the options name, and what is added to it until the worker ends.
pub(crate) fn follow(
    backend: &dyn Backend,
    worker: &WorkerRef,
    options: &TranscriptOptions,
    show: Show,
) -> Result<Option<WorkerEnd>, Failure> {
    let mut printer = Printer::new(options, show);
    let mut next = printer.pages(backend, worker, start(backend, worker, options)?)?;
    let mut asked = Instant::now();
    let mut stale = true;
    let end = until_the_end(backend, worker, None, |moment| {
        let quiet = matches!(moment, Moment::Quiet);
        match moment {
            Moment::Event(_) => stale = true,
            Moment::Note(style, text) => show.note(style, &text),
            Moment::Quiet if reader_is_gone() => return Err(Failure::ReaderGone),
            _ => {}
        }
        // Not for each event: while there are many, one answer has what several told of.
        if stale && (quiet || asked.elapsed() >= QUIET) {
            next = printer.pages(backend, worker, next)?;
            asked = Instant::now();
            stale = false;
        }
        Ok(())
    })?;
    printer.pages(backend, worker, next)?;
    printer.finish()?;
    Ok(end)
}

/// The offset of the first item to show.
fn start(backend: &dyn Backend, worker: &WorkerRef, options: &TranscriptOptions) -> Result<u64, Failure> {
    if let Some(tail) = options.tail {
        return Ok(total(backend, worker)?.saturating_sub(tail));
    }
    let Some(since) = &options.since else {
        return Ok(options.from.map_or(0, |from| from.saturating_sub(1)));
    };
    let total = total(backend, worker)?;
    let start = first_after(backend, worker, total, |at| since.is_after(at))?;
    start.ok_or_else(|| Failure::Usage(format!("--since: {TIMES_UNKNOWN}")))
}

/// Prints items one after the other.
struct Printer {
    times: bool,
    raw: bool,
    /// Whether raw contents go to a terminal, which they must not control.
    terminal: bool,
    show: Show,
    /// Whether the last item, printed raw, has no line end yet: the next one may continue it.
    open: bool,
}

impl Printer {
    fn new(options: &TranscriptOptions, show: Show) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { times: options.times, raw: options.raw, terminal, show, open: false }
    }

    /// Prints all items from an offset on; where it would go on.
    fn pages(&mut self, backend: &dyn Backend, worker: &WorkerRef, start: u64) -> Result<u64, Failure> {
        pages(backend, worker, start, |found| self.print(&found))
    }

    fn print(&mut self, found: &Found<'_>) -> Result<(), Failure> {
        let (item, json) = match found {
            Found::Item { item, json } => (item, json),
            Found::TooLarge(number) => {
                self.show.note(WARNING, &format!("item {number} is too large to be shown"));
                return Ok(());
            }
            Found::Dropped(count) => {
                self.show.note(WARNING, &format!("{count} items before these are no longer kept"));
                return Ok(());
            }
        };
        if self.show.json {
            return self.show.json_text(json.as_bytes());
        }
        if self.raw {
            return self.print_raw(item);
        }
        let at = if self.times { format!("{}  ", item.at.as_deref().unwrap_or("-")) } else { String::new() };
        let head = safe_line(&format!("{at}{}{}", item.role, if item.cont { "…" } else { "" }));
        // Further rows of an item must not look like another item.
        let indent = format!("\n{}", " ".repeat(head.chars().count() + 2));
        let content = safe(item.content.strip_suffix('\n').unwrap_or(&item.content)).replace('\n', &indent);
        self.show.line(format!("{}  {content}", painted(self.show.color, FAINT, &head)))
    }

    fn print_raw(&mut self, item: &Item) -> Result<(), Failure> {
        if self.open && !item.cont {
            self.show.text("\n")?;
        }
        let content = if self.terminal { safe(&item.content) } else { item.content.clone() };
        self.open = !content.ends_with('\n');
        self.show.text(&content)
    }

    /// Ends the last line.
    fn finish(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.open) { self.show.text("\n") } else { Ok(()) }
    }
}
