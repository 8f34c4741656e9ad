//! `workers --watch` and `top`: all workers as they change.

mod follow;
mod lines;
mod screen;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anstyle::Style;
use sekisho_core::browser_api::{FleetRuntime, RequestView, WorkerView};
use sekisho_core::error::TimeoutPhase;
use sekisho_core::gateway_client::{Attention, FIRST_STATE_WITHIN, FleetView, Problem};
use sekisho_core::id::RuntimeId;
use sekisho_core::runtime_api::WorkerFilter;
use sekisho_core::transport::{self, FailureCause};

use super::list;
use crate::args::SortKey;
use crate::backend::Backend;
use crate::failure::Failure;
use crate::show::{Show, Table};
use crate::streaming::{CHECK_READER_EVERY, reader_is_gone};
use crate::text::{BAD, FAINT, STRONG, WARNING, painted, safe_line};
use follow::{Moment, follow};
use lines::Lines;
use screen::Screen;

/// How often a screen is drawn anew at most, and keys are looked at.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// How many times as long as it takes to draw a list the pause after it is at least: a long one does not keep the machine busy.
const PAUSE_PER_DRAWING: u32 = 4;

/// How often it is drawn anew although nothing has changed, for the ages that it shows.
const AGE_EVERY: Duration = Duration::from_secs(1);

/// How long a note that all is well again stands on a screen. That something is wrong stands there until it is over.
const GOOD_NOTE_FOR: Duration = Duration::from_secs(10);

/// How many runtimes that are not reached are named above a list; of others it is said how many there are.
const MAX_UNREACHED: usize = 5;

/// Which workers are shown.
struct Scope<'a> {
    runtime_id: Option<&'a RuntimeId>,
    filter: &'a WorkerFilter,
}

impl Scope<'_> {
    fn has_runtime(&self, runtime_id: &RuntimeId) -> bool {
        self.runtime_id.is_none_or(|wanted| wanted == runtime_id)
    }

    fn has(&self, worker: &WorkerView) -> bool {
        self.has_runtime(&worker.runtime_id) && self.filter.admits_state(worker.status, &worker.facts)
    }

    fn by_attention<'v>(&self, view: &'v FleetView, now: SystemTime) -> Vec<(&'v WorkerView, Attention)> {
        view.by_attention(now).into_iter().filter(|(worker, _)| self.has(worker)).collect()
    }

    fn unreached<'v>(&self, view: &'v FleetView) -> impl Iterator<Item = &'v FleetRuntime> {
        view.unreached().filter(|runtime| self.has_runtime(&runtime.runtime_id))
    }
}

/// Shows the workers that the filter lets through, and goes on with what changes.
pub(super) fn workers(
    backend: &Arc<dyn Backend>,
    runtime_id: Option<&RuntimeId>,
    filter: &WorkerFilter,
    sort: Option<SortKey>,
    show: Show,
) -> Result<(), Failure> {
    let scope = Scope { runtime_id, filter };
    if show.json || !Screen::is_there() {
        let mut lines = Lines::new(&scope, show);
        return follow(backend, CHECK_READER_EVERY, |view, moment| {
            if let Moment::Quiet = moment
                && reader_is_gone()
            {
                return Err(Failure::ReaderGone);
            }
            view.map_or(Ok(()), |view| lines.tell(view, moment)).map(|()| true)
        });
    }
    on_screen(backend, show, |view, now| {
        let mut shown: Vec<WorkerView> = view.workers().filter(|worker| scope.has(worker)).cloned().collect();
        list::sorted(&mut shown, sort.unwrap_or(SortKey::Created));
        (head(view, &scope, &scope.by_attention(view, now), show), list::table(&shown, now))
    })
}

/// Shows the workers that need attention first.
pub(super) fn top(
    backend: &Arc<dyn Backend>,
    runtime_id: Option<&RuntimeId>,
    show: Show,
) -> Result<(), Failure> {
    let filter = WorkerFilter::default();
    let scope = Scope { runtime_id, filter: &filter };
    let draw = |view: &FleetView, now| {
        let rows = scope.by_attention(view, now);
        (head(view, &scope, &rows, show), table_of(view, &rows, now))
    };
    if show.json || !Screen::is_there() {
        return once(backend, |view| {
            if show.json {
                return told_as_json(view, &scope, show);
            }
            let (head, table) = draw(view, SystemTime::now());
            head.into_iter().try_for_each(|line| show.line(line))?;
            show.table(&table)
        });
    }
    on_screen(backend, show, draw)
}

/// What needs attention, as JSON: a runtime that is not reached, or a worker.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Told<'a> {
    Runtime {
        attention: &'static str,
        #[serde(flatten)]
        runtime: &'a FleetRuntime,
    },
    Worker {
        attention: &'static str,
        #[serde(flatten)]
        worker: &'a WorkerView,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        open_requests: Vec<&'a RequestView>,
    },
}

/// What is needed of a runtime that is not reached, in the place of [`Attention::name`].
const UNREACHED: &str = "unreached";

fn told_as_json(view: &FleetView, scope: &Scope<'_>, show: Show) -> Result<(), Failure> {
    for runtime in scope.unreached(view) {
        show.json_line(&Told::Runtime { attention: UNREACHED, runtime })?;
    }
    for (worker, attention) in scope.by_attention(view, SystemTime::now()) {
        let open_requests = view.requests_of(&worker.runtime_id, &worker.worker_id);
        show.json_line(&Told::Worker { attention: attention.name(), worker, open_requests })?;
    }
    Ok(())
}

/// Passes on the first state.
fn once(
    backend: &Arc<dyn Backend>,
    pass_on: impl Fn(&FleetView) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let overdue = Instant::now() + FIRST_STATE_WITHIN;
    follow(backend, CHECK_READER_EVERY, |view, _| match view {
        Some(view) => pass_on(view).map(|()| false),
        None if Instant::now() < overdue => Ok(true),
        None => {
            let late = transport::Failure::sent(FailureCause::Timeout(TimeoutPhase::Body));
            Err(Box::new(Problem::from_transport_failure(late, false)).into())
        }
    })
}

/// Draws the state again and again, until q or Ctrl-C.
fn on_screen(
    backend: &Arc<dyn Backend>,
    show: Show,
    draw: impl Fn(&FleetView, SystemTime) -> (Vec<String>, Table),
) -> Result<(), Failure> {
    let screen = Screen::open(show)?;
    screen.draw(&[painted(show.color, FAINT, "asking the runtimes")], None)?;
    let mut note: Option<(Instant, Style, String)> = None;
    let (mut drawn, mut is_new, mut pause) = (Instant::now(), false, DRAW_EVERY);
    let result = follow(backend, DRAW_EVERY, |view, moment| {
        is_new |= screen.is_stale()?;
        match moment {
            Moment::State(_) | Moment::Change(_) => is_new = true,
            Moment::Note(style, text) => {
                note = Some((Instant::now(), style, text));
                is_new = true;
            }
            Moment::Quiet => {}
        }
        note.take_if(|(said, style, _)| *style != WARNING && said.elapsed() >= GOOD_NOTE_FOR);
        if let Some(view) = view
            && drawn.elapsed() >= if is_new { pause } else { pause.max(AGE_EVERY) }
        {
            let begun = Instant::now();
            let (mut head, table) = draw(view, SystemTime::now());
            head.extend(note.iter().map(|(_, style, text)| painted(show.color, *style, &safe_line(text))));
            screen.draw(&head, Some(&table))?;
            (drawn, is_new) = (Instant::now(), false);
            pause = DRAW_EVERY.max(begun.elapsed() * PAUSE_PER_DRAWING);
        }
        Ok(!screen.is_to_end())
    });
    screen.close();
    result
}

/// What stands above the list: how much there is, and what is not reached.
fn head(view: &FleetView, scope: &Scope<'_>, rows: &[(&WorkerView, Attention)], show: Show) -> Vec<String> {
    let count = |wanted| rows.iter().filter(|(_, attention)| *attention == wanted).count();
    let [ask, failed, run, ended] = Attention::ALL.map(count);
    let runtimes = view.runtimes().filter(|runtime| scope.has_runtime(&runtime.runtime_id)).count();
    let line =
        format!("runtimes {runtimes}   asking {ask}   failed {failed}   running {run}   ended {ended}");
    let mut lines = vec![painted(show.color, FAINT, &line)];
    let unreached: Vec<&FleetRuntime> = scope.unreached(view).collect();
    for runtime in unreached.iter().take(MAX_UNREACHED) {
        let since = runtime.failing_since.as_deref().map(|at| format!(" since {at}")).unwrap_or_default();
        let why = runtime.diagnostics.first().map(|told| format!(": {}", told.message)).unwrap_or_default();
        let text = safe_line(&format!("{} is not reached{since}{why}", runtime.runtime_id));
        lines.push(painted(show.color, WARNING, &text));
    }
    if let Some(more @ 1..) = unreached.len().checked_sub(MAX_UNREACHED) {
        lines.push(painted(show.color, WARNING, &format!("… and {more} more are not reached")));
    }
    lines
}

/// The table of `top`.
fn table_of(view: &FleetView, rows: &[(&WorkerView, Attention)], now: SystemTime) -> Table {
    let mut table = Table::new(&["WORKER", "NAME", "STATUS", "SINCE", "WHAT"], 2);
    for (worker, attention) in rows {
        let facts = &worker.facts;
        let asked = match attention {
            Attention::Asks => view.requests_of(&worker.runtime_id, &worker.worker_id).into_iter().next(),
            _ => None,
        };
        let (style, since, what) = match (attention, asked) {
            (Attention::Asks, Some(asked)) => (WARNING, Some(&asked.opened_at), asked.title.clone()),
            (Attention::Asks, None) => (WARNING, facts.last_output_at.as_ref(), list::intent(&worker.intent)),
            (Attention::Failed, _) => (BAD, facts.ended_at.as_ref(), list::how_it_ended(worker)),
            (Attention::Runs, _) => {
                (Style::new(), facts.last_output_at.as_ref(), list::intent(&worker.intent))
            }
            (Attention::Ended, _) => (FAINT, facts.ended_at.as_ref(), list::how_it_ended(worker)),
        };
        table.row([
            (list::full_name(worker), STRONG),
            (facts.name.clone().unwrap_or_default(), Style::new()),
            (attention.name().to_owned(), style),
            (since.map(|at| crate::age::ago(at, now)).unwrap_or_default(), Style::new()),
            (what, Style::new()),
        ]);
    }
    table
}
