//! A simulator of everything around `sekisho-core`: years of failures in seconds.
//!
//! A world is a few gateways, runtimes, clients and viewers, and a network between them that delays, loses, stalls,
//! breaks, holds and lies. It follows from a [`Plan`], which is plain data that follows from a seed. There is one clock,
//! which jumps to whatever is next, no thread, no socket and no chance but the seed's. core is what it is in
//! production; the loops around it obey the same manuals as the server's.
//!
//! What is so in a world is known from the runtimes themselves: they keep account of what took effect and of what
//! happened in their workers. Whatever a client or viewer is shown is held against that account, and not against
//! anything that core says of itself. What must be so is an [`Invariant`].
//!
//! 1. [`check`] runs the world of a seed, and again where only a comparison can tell: the same plan for the same
//!    trace, another [`Guise`] for secrets, and with something left out, a runtime's faults or all that clients and viewers do
//!    with a runtime or a gateway, for the results of the others.
//! 2. A seed that breaks a rule is a [`Failure`], which has the smallest plan found that breaks the same rule, and prints
//!    the command that shows all of it.
//! 3. [`Planted`] faults break the harness's own rules, to see that the simulator finds what it should.
//!
//! ```
//! use sekisho_tests::simulator::check;
//!
//! let census = check(7, None).expect("a world in which everything is as it must be");
//! println!("{census}");
//! ```

mod account;
mod calls;
mod census;
mod chance;
mod clients;
mod clock;
mod disk;
mod embedded;
mod exchanges;
mod gateway;
mod generate;
mod guise;
mod hostile;
mod invariants;
mod ledger;
mod links;
mod machine;
mod plan;
mod planted;
mod scripted;
mod sessions;
mod shrink;
mod streams;
mod trace;
mod viewers;
mod watches;
mod world;

use std::fmt;

pub use census::Census;
pub use guise::Guise;
pub use invariants::{Invariant, Violation};
pub use plan::{
    Ask, Breakage, Disk, GatewayPlan, Kind, Plan, RuntimePlan, Step, SyncTime, ViewerPlan, Weather, What,
    With,
};
pub use planted::Planted;
pub use trace::Detail;
pub use world::{Options, Spared};

use trace::{Shown, To, difference};
use world::{End, World};

/// Of so many worlds one is compared with itself in another guise.
pub const IN_ANOTHER_GUISE: u64 = 8;

/// Of so many worlds one is compared with itself without the faults of a runtime, and without what is done with a runtime
/// or a gateway.
pub const WITHOUT_FAULTS: u64 = 8;

/// Of so many worlds one is compared with itself, which must be the same byte for byte.
pub const REPEATED: u64 = 32;

/// A seed whose world breaks a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The fault that was planted, if one was.
    pub planted: Option<Planted>,
    /// The rule, and how it was broken.
    pub violation: Violation,
    /// The smallest plan found that breaks the same rule.
    pub plan: Plan,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, planted, violation, plan } = self;
        writeln!(f, "seed {seed} breaks a rule: {violation}")?;
        if let Some(planted) = planted {
            writeln!(f, "with a fault planted: {planted:?}")?;
        }
        writeln!(f, "the smallest plan found that breaks the same rule:\n{plan:#?}")?;
        write!(
            f,
            "to see all of it: cargo run --release -p sekisho-tests --bin simulate -- --seed {seed} --trace"
        )
    }
}

/// Runs the world of a seed, and compares it where only that can tell. What happened in it, or the rule it breaks.
pub fn check(seed: u64, planted: Option<Planted>) -> Result<Census, Box<Failure>> {
    let plan = Plan::generate(seed);
    judge(&plan, planted).map_err(|violation| {
        let breaks = |plan: &Plan| judge(plan, planted).err().map(|violation| violation.invariant);
        let plan = shrink::shrink(plan, violation.invariant, breaks);
        Box::new(Failure { seed, planted, violation, plan })
    })
}

/// Every single thing that happens in the world of a seed, and the rule that it breaks, if it does.
pub fn trace(seed: u64, planted: Option<Planted>) -> (String, Option<Violation>) {
    let options = Options { planted, detail: Detail::All, ..Options::default() };
    let end = World::run(&Plan::generate(seed), options);
    (end.trace.text, end.violation)
}

/// What the world of a plan breaks, by itself or beside another.
fn judge(plan: &Plan, planted: Option<Planted>) -> Result<Census, Violation> {
    let due = |every: u64, turn| plan.seed % every == turn;
    // A planted fault is looked for in every way.
    let (guised, spared, repeated) = match planted {
        Some(planted) => {
            let looks_for = |invariant| planted.breaks().contains(&invariant);
            (
                looks_for(Invariant::NonInterference),
                looks_for(Invariant::Isolation),
                looks_for(Invariant::Repeatable),
            )
        }
        None => (due(IN_ANOTHER_GUISE, 0), due(WITHOUT_FAULTS, 1), due(REPEATED, 2)),
    };
    let detail = match (repeated, guised, spared) {
        (true, ..) => Detail::All,
        (_, true, _) => Detail::Logged,
        (_, _, true) => Detail::Shown,
        _ => Detail::None,
    };
    let options = Options { planted, detail, ..Options::default() };
    let end = World::run(plan, options);
    if let Some(violation) = end.violation {
        return Err(violation);
    }
    if repeated {
        repeats(plan, options, &end)?;
    }
    if guised {
        stays_the_same_in_another_guise(plan, options, &end)?;
    }
    if spared {
        keeps_to_itself(plan, options, &end)?;
    }
    Ok(end.census)
}

fn repeats(plan: &Plan, options: Options, end: &End) -> Result<(), Violation> {
    let again = World::run(plan, options);
    if again.trace.text == end.trace.text {
        return Ok(());
    }
    let (at, facts) = difference(&end.trace.shown, &again.trace.shown).unwrap_or_else(|| {
        (Default::default(), "what is shown is the same, how it came about is not".into())
    });
    Err(Violation { invariant: Invariant::Repeatable, at, facts })
}

fn stays_the_same_in_another_guise(plan: &Plan, options: Options, end: &End) -> Result<(), Violation> {
    let other = World::run(plan, Options { guise: Guise::Other, ..options });
    if let Some(violation) = other.violation {
        return Err(violation);
    }
    match difference(&end.trace.shown, &other.trace.shown) {
        None => Ok(()),
        Some((at, facts)) => Err(Violation { invariant: Invariant::NonInterference, at, facts }),
    }
}

/// Leaves something out, and holds what others are shown against what they are shown with it.
fn keeps_to_itself(plan: &Plan, options: Options, end: &End) -> Result<(), Violation> {
    // Where base URLs are swapped, what happens to one machine is seen under another's name.
    if plan.steps.iter().any(|step| matches!(step.what, What::Swap(..))) {
        return Ok(());
    }
    let without = |spared| World::run(plan, Options { spared: Some(spared), ..options });
    let faulty = plan.steps.iter().find_map(|step| step.what.is_fault_of());
    let busy = plan.runtimes.len() - 1;
    for spared in faulty.map(Spared::Faults).into_iter().chain([Spared::Runtime(busy)]) {
        let (Spared::Faults(out) | Spared::Runtime(out) | Spared::Changes(out) | Spared::Gateway(out)) =
            spared;
        let of_others =
            |shown: &Shown| shown.to != To::Log && shown.runtime.is_some_and(|runtime| runtime != out);
        same_to_others(spared, end, &without(spared), of_others)?;
    }
    let gateway = plan.gateways.len() - 1;
    // Of a runtime's next streams some are told apart, whoever they are for.
    let counts_streams = |step: &Step| matches!(step.what, What::Ail(..) | What::Repeat(..));
    if gateway == 0 || plan.steps.iter().any(counts_streams) {
        return Ok(());
    }
    let end = without(Spared::Changes(gateway));
    let at_others = |shown: &Shown| {
        // What a hostile runtime says depends on all that it has heard.
        let is_honest = shown.runtime.is_some_and(|runtime| plan.runtimes[runtime].kind.is_honest());
        is_honest && !is_at(plan, gateway, shown.to)
    };
    same_to_others(Spared::Gateway(gateway), &end, &without(Spared::Gateway(gateway)), at_others)
}

/// Whether a client or viewer has to do with a gateway.
fn is_at(plan: &Plan, gateway: usize, to: To) -> bool {
    let mut asked = plan.steps.iter().filter_map(|step| match step.what {
        What::Ask { gateway, .. } => Some(gateway),
        _ => None,
    });
    match to {
        To::Client(command) => asked.nth(command) == Some(gateway),
        To::Viewer(viewer) => plan.comes(viewer, |at| at == gateway),
        To::Log => true,
    }
}

fn same_to_others(
    spared: Spared,
    end: &End,
    other: &End,
    are_others: impl Fn(&Shown) -> bool,
) -> Result<(), Violation> {
    if let Some(violation) = end.violation.as_ref().or(other.violation.as_ref()) {
        return Err(violation.clone());
    }
    let of_others =
        |end: &End| end.trace.shown.iter().filter(|shown| are_others(shown)).cloned().collect::<Vec<_>>();
    match difference(&of_others(end), &of_others(other)) {
        None => Ok(()),
        Some((at, facts)) => {
            let facts = format!("without {spared:?}: {facts}");
            Err(Violation { invariant: Invariant::Isolation, at, facts })
        }
    }
}
