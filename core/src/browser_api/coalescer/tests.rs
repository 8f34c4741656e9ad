use proptest::prelude::*;

use super::*;
use crate::browser_api::AllWorkers;
use crate::runtime_api::Command;

fn read(name: usize) -> Read {
    let runtime_id = format!("rt-{name}").parse().unwrap();
    Read::of(Action::Command { runtime_id, command: Command::workers() }).unwrap()
}

/// Clients and exchanges as a driver has them, and the rules that hold for them.
#[derive(Default)]
struct World {
    coalescer: Coalescer<usize>,
    clients: Vec<Client>,
    under_way: Vec<Exchange>,
    /// Counts what happens.
    time: usize,
}

struct Client {
    name: usize,
    asked: usize,
    has_left: bool,
    told: usize,
}

struct Exchange {
    read: Arc<Read>,
    name: usize,
    began: usize,
    clients: Vec<usize>,
}

impl World {
    fn ask(&mut self, name: usize) {
        self.time += 1;
        let client = self.clients.len();
        self.clients.push(Client { name, asked: self.time, has_left: false, told: 0 });
        if let Turn::Begins(read) = self.coalescer.ask(read(name), || (client, ())) {
            self.begin(read, name, vec![client]);
        }
    }

    fn begin(&mut self, read: Arc<Read>, name: usize, clients: Vec<usize>) {
        self.time += 1;
        assert!(clients.iter().all(|client| self.clients[*client].name == name), "another's exchange");
        assert!(clients.iter().all(|client| !self.clients[*client].has_left), "nobody asks any more");
        self.under_way.push(Exchange { read, name, began: self.time, clients });
        let equal = self.under_way.iter().filter(|exchange| exchange.name == name).count();
        assert!(equal <= MAX_EQUAL_READS, "{equal} exchanges at a time");
    }

    /// One exchange is over, or given up by the client that has it alone.
    fn end(&mut self, exchange: usize) {
        let Exchange { read, name, began, clients } = self.under_way.remove(exchange);
        for client in clients {
            let client = &mut self.clients[client];
            assert!(client.asked < began, "a reply older than its question");
            client.told += 1;
        }
        let clients = &self.clients;
        if let Some(waiters) = self.coalescer.ended(&read, |client| !clients[*client].has_left) {
            self.begin(read, name, waiters);
        }
    }

    fn leave(&mut self, client: usize) {
        self.clients[client].has_left = true;
        let alone = self.under_way.iter().position(|exchange| exchange.clients == [client]);
        alone.into_iter().for_each(|exchange| self.end(exchange));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask(usize),
    End(prop::sample::Index),
    Leave(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2usize).prop_map(Step::Ask),
        2 => any::<prop::sample::Index>().prop_map(Step::End),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
    ]
}

proptest! {
    #[test]
    fn reads_share_and_none_is_forgotten_or_stale(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Ask(name) => world.ask(name),
                Step::End(index) if !world.under_way.is_empty() => world.end(index.index(world.under_way.len())),
                Step::Leave(index) if !world.clients.is_empty() => world.leave(index.index(world.clients.len())),
                Step::End(_) | Step::Leave(_) => {}
            }
        }
        while !world.under_way.is_empty() {
            world.end(0);
        }
        prop_assert!(world.clients.iter().all(|client| client.told == 1 || (client.has_left && client.told == 0)));
        prop_assert!(world.coalescer.reads.is_empty());
    }
}

#[test]
fn a_thousand_equal_reads_are_three_exchanges() {
    let mut world = World::default();
    (0..1000).for_each(|_| world.ask(0));
    let shapes = |world: &World| -> Vec<usize> {
        world.under_way.iter().map(|exchange| exchange.clients.len()).collect()
    };
    assert_eq!(shapes(&world), [1, 1]);
    world.end(0);
    assert_eq!(shapes(&world), [1, 998]);
    world.end(1);
    world.end(0);
    assert!(world.clients.iter().all(|client| client.told == 1) && world.under_way.is_empty());
}

#[test]
fn only_what_asks_one_runtime_and_changes_nothing_is_shared() {
    let runtime_id = || "rt".parse().unwrap();
    let of = |command| Action::Command { runtime_id: runtime_id(), command };
    for action in [Action::Runtime(runtime_id()), of(Command::Profiles), of(Command::workers())] {
        assert_eq!(Read::of(action.clone()).map(|read| read.action().clone()), Ok(action));
    }
    let worker_id = || "w".parse().unwrap();
    let all = [Action::Runtimes, Action::AllWorkers(AllWorkers::default()), Action::AllRequests];
    for action in all.into_iter().chain([Action::Health, Action::Metrics, of(Command::Remove(worker_id()))]) {
        assert_eq!(Read::of(action.clone()), Err(action));
    }
}

#[test]
fn what_differs_in_anything_is_not_equal() {
    let page = |start| Command::Transcript {
        worker_id: "w".parse().unwrap(),
        start: Some(start),
        limit: None,
        contains: None,
    };
    let read = |start| {
        Read::of(Action::Command { runtime_id: "rt".parse().unwrap(), command: page(start) }).unwrap()
    };
    let mut coalescer = Coalescer::<()>::default();
    for start in 0..10 {
        assert!(matches!(coalescer.ask(read(start), || ((), ())), Turn::Begins(_)));
    }
}
