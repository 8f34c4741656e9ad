//! `workers --watch` and `top`: all workers as they change.

mod lines;
mod screen;

use std::time::{Duration, Instant, SystemTime};

use anstyle::Style;
use sekisho_core::browser_api::{FleetChange, FleetFrame, FleetRuntime, WorkerView};
use sekisho_core::gateway_client::{Attention, FleetView, GatewayEvent};
use sekisho_core::id::RuntimeId;
use sekisho_core::runtime_api::WorkerFilter;

use super::list;
use crate::args::SortKey;
use crate::backend::Backend;
use crate::failure::Failure;
use crate::show::{Show, Table};
use crate::streaming::{Outage, reader_is_gone};
use crate::text::{BAD, FAINT, STRONG, WARNING, painted, safe_line};
use lines::Lines;
use screen::Screen;

/// How often a screen is drawn anew at most, and keys are looked at.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// How often it is drawn anew although nothing has changed, for the ages that it shows.
const AGE_EVERY: Duration = Duration::from_secs(1);

/// How often it is checked whether the output is still read.
const CHECK_READER_EVERY: Duration = Duration::from_millis(500);

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
}

/// Shows the workers that the filter lets through, and goes on with what changes.
pub(super) fn workers(
    backend: &dyn Backend,
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
            lines.tell(view, moment).map(|()| true)
        });
    }
    on_screen(backend, show, |view, now| {
        let mut shown: Vec<WorkerView> = view.workers().filter(|worker| scope.has(worker)).cloned().collect();
        list::sorted(&mut shown, sort.unwrap_or(SortKey::Created));
        (head(view, &scope, show), list::table(&shown, now))
    })
}

/// Shows the workers that need attention first.
pub(super) fn top(backend: &dyn Backend, runtime_id: Option<&RuntimeId>, show: Show) -> Result<(), Failure> {
    let filter = WorkerFilter::default();
    let scope = Scope { runtime_id, filter: &filter };
    let draw = |view: &FleetView, now| (head(view, &scope, show), by_attention(view, &scope, now));
    if show.json || !Screen::is_there() {
        return once(backend, |view| {
            if show.json {
                return view.by_attention().into_iter().filter(|(worker, _)| scope.has(worker)).try_for_each(
                    |(worker, attention)| show.json_line(&Told { attention: word(attention), worker }),
                );
            }
            let (head, table) = draw(view, SystemTime::now());
            head.into_iter().try_for_each(|line| show.line(line))?;
            show.table(&table)
        });
    }
    on_screen(backend, show, draw)
}

/// A worker and what it needs, as JSON.
#[derive(serde::Serialize)]
struct Told<'a> {
    attention: &'static str,
    #[serde(flatten)]
    worker: &'a WorkerView,
}

fn word(attention: Attention) -> &'static str {
    match attention {
        Attention::Asks => "asks",
        Attention::Failed => "failed",
        Attention::Runs => "runs",
        Attention::Ended => "ended",
    }
}

/// What happens on the stream, for what shows it.
enum Moment<'a> {
    /// There is a state, for the first time or told anew, and this was the one before.
    State(&'a FleetView),
    /// Something has changed since.
    Change(&'a FleetChange),
    /// A line about the stream.
    Note(Style, String),
    /// Nothing has happened for a moment.
    Quiet,
}

/// Passes on what happens for as long as it is wanted.
fn follow(
    backend: &dyn Backend,
    moment: Duration,
    mut pass_on: impl FnMut(&FleetView, Moment<'_>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut stream = backend.open_fleet_stream()?;
    let (mut before, mut view, mut outage) = (FleetView::default(), FleetView::default(), Outage::default());
    loop {
        let goes_on = match stream.next_until(Instant::now() + moment) {
            None => pass_on(&view, Moment::Quiet)?,
            Some(Ok(GatewayEvent::Fleet(frame))) => {
                if matches!(*frame, FleetFrame::Snapshot { .. }) && view.is_complete() {
                    before = std::mem::take(&mut view);
                }
                match view.apply(*frame) {
                    Some(change) if view.is_complete() => pass_on(&view, Moment::Change(&change))?,
                    None if view.is_complete() => pass_on(&view, Moment::State(&before))?,
                    _ => true,
                }
            }
            Some(Ok(event)) => match outage.note(Instant::now(), &event) {
                Some((style, note)) => pass_on(&view, Moment::Note(style, note))?,
                None => true,
            },
            Some(Err(Ok(()))) => return Ok(()),
            Some(Err(Err(problem))) => return Err(problem.into()),
        };
        if !goes_on {
            return Ok(());
        }
    }
}

/// Passes on the first state.
fn once(backend: &dyn Backend, pass_on: impl Fn(&FleetView) -> Result<(), Failure>) -> Result<(), Failure> {
    follow(backend, CHECK_READER_EVERY, |view, moment| match moment {
        Moment::State(_) => pass_on(view).map(|()| false),
        Moment::Change(..) | Moment::Note(..) | Moment::Quiet => Ok(true),
    })
}

/// Draws the state again and again, until q or Ctrl-C.
fn on_screen(
    backend: &dyn Backend,
    show: Show,
    draw: impl Fn(&FleetView, SystemTime) -> (Vec<String>, Table),
) -> Result<(), Failure> {
    let mut screen = Screen::open(show)?;
    let mut note = None;
    let (mut drawn, mut is_new) = (None::<Instant>, true);
    follow(backend, DRAW_EVERY, |view, moment| {
        match moment {
            Moment::State(_) | Moment::Change(_) => is_new = true,
            Moment::Note(style, text) => {
                note = Some(painted(show.color, style, &safe_line(&text)));
                is_new = true;
            }
            Moment::Quiet => {}
        }
        let since = drawn.map(|drawn| drawn.elapsed());
        let is_due = since.is_none_or(|since| since >= if is_new { DRAW_EVERY } else { AGE_EVERY });
        if is_due && view.is_complete() {
            let (mut head, table) = draw(view, SystemTime::now());
            head.extend(note.clone());
            screen.draw(&head, &table)?;
            (drawn, is_new) = (Some(Instant::now()), false);
        }
        Ok(!screen.is_to_end())
    })
}

/// What stands above the list: how much there is, and what is not reached.
fn head(view: &FleetView, scope: &Scope<'_>, show: Show) -> Vec<String> {
    let wanted = |runtime: &&FleetRuntime| scope.has_runtime(&runtime.runtime_id);
    let shown = view.by_attention();
    let shown = shown.iter().filter(|(worker, _)| scope.has(worker));
    let mut counts = [0; 4];
    shown.for_each(|(_, attention)| counts[*attention as usize] += 1);
    let [ask, failed, run, ended] = counts;
    let runtimes = view.runtimes().filter(wanted).count();
    let line =
        format!("runtimes {runtimes}   asking {ask}   failed {failed}   at work {run}   ended {ended}");
    let mut lines = vec![painted(show.color, FAINT, &line)];
    for runtime in view.unreached().filter(wanted) {
        let since = runtime.failing_since.as_deref().map(|at| format!(" since {at}")).unwrap_or_default();
        let why = runtime.diagnostics.first().map(|told| format!(": {}", told.message)).unwrap_or_default();
        let text = safe_line(&format!("{} is not reached{since}{why}", runtime.runtime_id));
        lines.push(painted(show.color, WARNING, &text));
    }
    lines
}

/// The table of `top`.
fn by_attention(view: &FleetView, scope: &Scope<'_>, now: SystemTime) -> Table {
    let mut table = Table::new(&["WORKER", "NAME", "STATUS", "SINCE", "WHAT"], 2);
    for (worker, attention) in view.by_attention() {
        if !scope.has(worker) {
            continue;
        }
        let facts = &worker.facts;
        let asked = view.requests_of(&worker.runtime_id, &worker.worker_id).next();
        let (style, since, what) = match (attention, asked) {
            (Attention::Asks, Some(asked)) => (WARNING, Some(&asked.opened_at), asked.title.clone()),
            (Attention::Asks, None) => (WARNING, facts.last_output_at.as_ref(), list::intent(&worker.intent)),
            (Attention::Failed, _) => (BAD, facts.ended_at.as_ref(), list::ended(worker, now)),
            (Attention::Runs, _) => {
                (Style::new(), facts.last_output_at.as_ref(), list::intent(&worker.intent))
            }
            (Attention::Ended, _) => (FAINT, facts.ended_at.as_ref(), list::ended(worker, now)),
        };
        table.row([
            (list::full_name(worker), STRONG),
            (facts.name.clone().unwrap_or_default(), Style::new()),
            (word(attention).to_owned(), style),
            (since.map(|at| crate::age::ago(at, now)).unwrap_or_default(), Style::new()),
            (what, Style::new()),
        ]);
    }
    table
}
