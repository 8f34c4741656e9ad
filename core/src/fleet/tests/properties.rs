//! Whatever happens to runtimes and viewers, each change reaches each viewer once and in order, and in the end each of
//! them believes what is so, and so does its client. The viewers of [`super::world`] check the first half with each frame.

use proptest::prelude::*;

use super::world::{Viewer, World};
use super::*;

const HOSTS: usize = 3;
const VIEWERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Create(usize, u32),
    Change(usize, u32),
    Remove(usize, u32),
    Open(usize, u32, u32),
    Resolve(usize, u32, u32),
    Down(usize, bool),
    Hide(usize),
    Pass(u64),
    /// A viewer reads so many frames.
    Read(usize, usize),
    /// A viewer is replaced by a new one.
    Replace(usize),
    /// All leave, and as many others come.
    Deserted,
}

fn step() -> impl Strategy<Value = Step> {
    let (host, worker, request) = (0..HOSTS, 0..4u32, 0..3u32);
    prop_oneof![
        3 => (host.clone(), worker.clone()).prop_map(|(host, worker)| Step::Create(host, worker)),
        4 => (host.clone(), worker.clone()).prop_map(|(host, worker)| Step::Change(host, worker)),
        1 => (host.clone(), worker.clone()).prop_map(|(host, worker)| Step::Remove(host, worker)),
        2 => (host.clone(), worker.clone(), request.clone()).prop_map(|(host, worker, request)| Step::Open(host, worker, request)),
        2 => (host.clone(), worker, request).prop_map(|(host, worker, request)| Step::Resolve(host, worker, request)),
        1 => (host.clone(), any::<bool>()).prop_map(|(host, down)| Step::Down(host, down)),
        1 => host.prop_map(Step::Hide),
        6 => (0..1500u64).prop_map(Step::Pass),
        4 => (0..VIEWERS, 0..6usize).prop_map(|(viewer, frames)| Step::Read(viewer, frames)),
        1 => (0..VIEWERS).prop_map(Step::Replace),
        1 => Just(Step::Deserted),
    ]
}

fn take(world: &mut World, viewers: &mut [Viewer], step: Step) {
    match step {
        Step::Create(host, worker) => world.create(host, worker),
        Step::Change(host, worker) => world.change(host, worker),
        Step::Remove(host, worker) => world.remove(host, worker),
        Step::Open(host, worker, request) => world.open_request(host, worker, request),
        Step::Resolve(host, worker, request) => world.resolve(host, worker, request),
        Step::Down(host, down) => world.hosts[host].is_down = down,
        // One of them is always there to be seen.
        Step::Hide(host) => {
            if host > 0 {
                world.hide(host);
                world.hosts[host] = world::Host::default();
            }
        }
        Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Step::Read(viewer, frames) => {
            (0..frames).for_each(|_| drop(viewers[viewer].read_one(world)));
        }
        Step::Replace(viewer) => viewers[viewer] = Viewer::open(world),
        Step::Deserted => {
            world.leave();
            viewers.iter_mut().for_each(|viewer| *viewer = Viewer::open(world));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn viewers_believe_what_is_so(steps in prop::collection::vec(step(), 1..120), max_changes in 1..12usize) {
        let mut world = World::new(HOSTS, max_changes);
        let mut viewers: Vec<Viewer> = (0..VIEWERS).map(|_| Viewer::open(&mut world)).collect();
        let mut hidden = [false; HOSTS];
        for step in steps {
            match step {
                Step::Hide(host) if host > 0 => hidden[host] = true,
                // Nothing can be seen of it any more.
                Step::Create(host, _) if hidden[host] => continue,
                _ => {}
            }
            take(&mut world, &mut viewers, step);
        }
        world.hosts.iter_mut().for_each(|host| host.is_down = false);
        for _ in 0..40 {
            world.pass(Duration::from_secs(1));
        }
        for viewer in &mut viewers {
            viewer.read(&world);
            prop_assert_eq!(viewer.workers(), world.workers());
            prop_assert_eq!(viewer.requests(), world.requests());
            prop_assert_eq!(viewer.client.workers(), world.workers());
            prop_assert_eq!(viewer.client.requests(), world.requests());
            prop_assert_eq!(viewer.client.runtimes(), viewer.runtimes.len());
            prop_assert_eq!(viewer.runtimes.len(), hidden.iter().filter(|hidden| !**hidden).count());
            let failing = viewer.runtimes.values().filter(|runtime| runtime.failing_since.is_some()).count();
            prop_assert_eq!(failing, 0);
        }
    }
}
