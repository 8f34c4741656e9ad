//! From a world that breaks a rule to the smallest one that still does.

use super::invariants::Invariant;
use super::plan::{Plan, Weather, What};

/// How often a world is tried again at most.
const MAX_TRIES: usize = 2_000;

/// The smallest plan found that breaks the same rule, `breaks` being whether a plan does.
pub(super) fn shrink(plan: Plan, broken: Invariant, breaks: impl Fn(&Plan) -> Option<Invariant>) -> Plan {
    let mut shrinker = Shrinker { plan, broken, breaks, tries: MAX_TRIES };
    while shrinker.leave_out_steps() | shrinker.simplify() && shrinker.tries > 0 {}
    shrinker.plan
}

struct Shrinker<B> {
    plan: Plan,
    broken: Invariant,
    breaks: B,
    tries: usize,
}

impl<B: Fn(&Plan) -> Option<Invariant>> Shrinker<B> {
    /// Takes a plan for the present one if it breaks the same rule. Whether it does.
    fn offer(&mut self, plan: Plan) -> bool {
        if self.tries == 0 || plan == self.plan {
            return false;
        }
        self.tries -= 1;
        let breaks = (self.breaks)(&plan) == Some(self.broken);
        if breaks {
            self.plan = plan;
        }
        breaks
    }

    /// Leaves out as many steps at once as it can.
    fn leave_out_steps(&mut self) -> bool {
        let mut shrunk = false;
        let mut length = self.plan.steps.len().next_power_of_two();
        while length > 0 {
            let mut from = 0;
            while from < self.plan.steps.len() {
                let mut plan = self.plan.clone();
                plan.steps.drain(from..(from + length).min(plan.steps.len()));
                match self.offer(plan) {
                    true => shrunk = true,
                    false => from += length,
                }
            }
            length /= 2;
        }
        shrunk
    }

    /// Makes what is left plainer.
    fn simplify(&mut self) -> bool {
        let mut shrunk = false;
        let offer = |shrinker: &mut Self, change: &dyn Fn(&mut Plan)| {
            let mut plan = shrinker.plan.clone();
            change(&mut plan);
            shrinker.offer(plan)
        };
        for runtime in 0..self.plan.runtimes.len() {
            shrunk |= offer(self, &|plan| plan.runtimes[runtime].latency = 1);
            shrunk |= offer(self, &|plan| plan.runtimes[runtime].unevenness = 1);
            shrunk |= offer(self, &|plan| plan.runtimes[runtime].has_token = false);
            shrunk |= offer(self, &|plan| plan.runtimes[runtime].sync.micros = 4);
        }
        for gateway in 0..self.plan.gateways.len() {
            shrunk |= offer(self, &|plan| plan.gateways[gateway].loops = 1);
        }
        for viewer in 0..self.plan.viewers.len() {
            shrunk |= offer(self, &|plan| plan.viewers[viewer].pace = 1);
            shrunk |= offer(self, &|plan| plan.viewers[viewer].returns = 0);
        }
        for step in 0..self.plan.steps.len() {
            match self.plan.steps[step].what {
                What::Publish { runtime, worker, count, size } if count > 1 || size > 0 => {
                    let plainer = |count, size| What::Publish { runtime, worker, count, size };
                    shrunk |= offer(self, &|plan| plan.steps[step].what = plainer(1, 0))
                        || offer(self, &|plan| plan.steps[step].what = plainer(count / 2, size / 2));
                }
                What::Weather(runtime, Weather::Changeable) => {
                    let plainer = What::Weather(runtime, Weather::LosesResponses);
                    shrunk |= offer(self, &|plan| plan.steps[step].what = plainer);
                }
                _ => {}
            }
        }
        for part in [Part::Viewer, Part::Gateway, Part::Runtime] {
            for number in (0..part.count(&self.plan)).rev() {
                if let Some(plan) = part.left_out(number, &self.plan) {
                    shrunk |= self.offer(plan);
                }
            }
        }
        shrunk
    }
}

/// What there are several of in a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Viewer,
    Gateway,
    Runtime,
}

impl Part {
    fn count(self, plan: &Plan) -> usize {
        match self {
            Self::Viewer => plan.viewers.len(),
            Self::Gateway => plan.gateways.len(),
            Self::Runtime => plan.runtimes.len(),
        }
    }

    /// The plan without the part of this number, where nothing speaks of it and it is not the only one. Those after it
    /// move up.
    fn left_out(self, number: usize, plan: &Plan) -> Option<Plan> {
        let mut plan = plan.clone();
        let mut is_needed = false;
        plan.each_number(|part, of| {
            if part == self {
                is_needed |= *of == number;
                *of -= usize::from(*of > number);
            }
        });
        match self {
            _ if is_needed => return None,
            Self::Viewer => drop(plan.viewers.remove(number)),
            Self::Gateway if plan.gateways.len() > 1 => drop(plan.gateways.remove(number)),
            Self::Runtime if plan.runtimes.len() > 1 => drop(plan.runtimes.remove(number)),
            Self::Gateway | Self::Runtime => return None,
        }
        Some(plan)
    }
}

impl Plan {
    /// Every number by which something is spoken of.
    fn each_number(&mut self, mut see: impl FnMut(Part, &mut usize)) {
        for viewer in &mut self.viewers {
            see(Part::Runtime, &mut viewer.runtime);
        }
        for step in &mut self.steps {
            match &mut step.what {
                What::Ask { gateway, runtime, .. } => {
                    see(Part::Gateway, gateway);
                    see(Part::Runtime, runtime);
                }
                What::Come { viewer, gateway, .. } => {
                    see(Part::Viewer, viewer);
                    see(Part::Gateway, gateway);
                }
                What::Leave(viewer) | What::Pace(viewer, _) => see(Part::Viewer, viewer),
                What::Crash(gateway) => see(Part::Gateway, gateway),
                What::Swap(one, other) => [one, other].into_iter().for_each(|it| see(Part::Runtime, it)),
                What::Publish { runtime, .. }
                | What::Weather(runtime, _)
                | What::Break(runtime, _)
                | What::EndStreams(runtime, _)
                | What::Ail(runtime, _)
                | What::Repeat(runtime, _)
                | What::Busy(runtime, _)
                | What::Restart { runtime, .. }
                | What::Stop(runtime)
                | What::Rotate(runtime)
                | What::WriteToken(runtime)
                | What::Disk(runtime, _) => see(Part::Runtime, runtime),
            }
        }
    }
}
