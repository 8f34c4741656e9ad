//! What has to outlast a crash, and whether it does.

use bytes::Bytes;
use http::{Request, Response};
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Command, EndReason, Intent, Reply};
use sekisho_core::secret::Access;

use super::super::census::Census;
use super::super::clock::Time;
use super::super::ledger::{Ledger, named};
use super::super::plan;
use super::super::scripted::{worker_name, worker_number};
use super::waiting::Waiting;
use super::{Embedded, Line, Worker, is_snapshot};

/// How many answers are asked for again after a crash.
const ASKED_AGAIN: usize = 4;

/// How often a runtime is looked after until it has nothing left to do.
const MAX_TURNS: usize = 1_000;

/// What a runtime has come to by now.
pub(in crate::simulator) struct Tended {
    /// Answers that have become certain, by their numbers.
    pub(in crate::simulator) answered: Vec<(u64, Response<Bytes>)>,
    /// When there is more to do.
    pub(in crate::simulator) until: Option<Time>,
    pub(in crate::simulator) broken: Option<String>,
}

impl Embedded {
    pub(in crate::simulator) fn set_disk(&mut self, state: plan::Disk) {
        self.disk.set(state);
    }

    /// Lets go of an answer that nobody waits for any more.
    pub(in crate::simulator) fn abandon(&mut self, number: u64) {
        self.waiting.retain(|waiting| waiting.number != Some(number));
    }

    /// Lets disk and writer go on, and sees which answers have become certain.
    pub(in crate::simulator) fn tend(
        &mut self,
        now: Time,
        ledger: &mut Ledger,
        census: &mut Census,
    ) -> Tended {
        let (answered, until) = self.go_on(now, ledger);
        for what in self.disk.happened().into_iter().chain(self.counted.drain(..)) {
            census.count("disk", what);
        }
        Tended { answered, until, broken: self.broken.take().or_else(|| self.disk.broken()) }
    }

    pub(super) fn go_on(
        &mut self,
        now: Time,
        ledger: &mut Ledger,
    ) -> (Vec<(u64, Response<Bytes>)>, Option<Time>) {
        let mut answered = Vec::new();
        loop {
            let until = self.disk.advance(&self.writing, now);
            let mut ready = Vec::new();
            for mut waiting in std::mem::take(&mut self.waiting) {
                match waiting.poll() {
                    Some(response) => ready.push((waiting, response)),
                    None => self.waiting.push(waiting),
                }
            }
            if ready.is_empty() {
                self.listen(Some(ledger));
                return (answered, until);
            }
            for (it, response) in ready {
                self.settle(&it, &response, ledger);
                answered.extend(it.number.map(|number| (number, response)));
            }
        }
    }

    /// Whether nothing is left to be done.
    pub(in crate::simulator) fn come_to_rest(&self) -> Result<(), String> {
        match (self.waiting.len(), self.writing.written(), self.writing.noted()) {
            (0, written, noted) if written == noted => Ok(()),
            (waiting, written, noted) => {
                Err(format!("{waiting} answers wait, and {written:?} of {noted:?} is on the disk"))
            }
        }
    }

    /// The power goes once more, when everything has come to rest.
    pub(in crate::simulator) fn end(
        &mut self,
        now: Time,
        ledger: &mut Ledger,
        census: &mut Census,
    ) -> Result<(), String> {
        self.crash(now, ledger)?;
        let mut now = now;
        for _ in 0..MAX_TURNS {
            let Tended { until, broken, .. } = self.tend(now, ledger, census);
            match (broken, until) {
                (Some(facts), _) => return Err(facts),
                (None, Some(until)) if self.come_to_rest().is_err() => now = until,
                (None, _) => break,
            }
        }
        self.come_to_rest()
    }

    /// A request is answered.
    pub(super) fn settle(&mut self, waiting: &Waiting, response: &Response<Bytes>, ledger: &mut Ledger) {
        if let Some(expected) = &waiting.expects {
            return self.compare(waiting, expected, response);
        }
        match &waiting.command {
            Some(command) if response.status().is_success() => {
                self.acknowledge(command, response, ledger);
                if let Some(key) = waiting.key() {
                    self.answered.retain(|(known, ..)| *known != key);
                    self.answered.push((key, waiting.request.clone(), response.body().clone()));
                }
            }
            _ => {
                if let Some(number) = waiting.created
                    && !self.is_there(number)
                {
                    self.counted.push("a worker was taken back");
                    let worker = &mut self.workers[number];
                    worker.created_by.take().into_iter().for_each(|command| ledger.take_back(command));
                    worker.subscription = None;
                    worker.begin_life(None);
                }
            }
        }
    }

    /// What was answered before has to be answered again.
    fn compare(&mut self, waiting: &Waiting, expected: &Bytes, response: &Response<Bytes>) {
        if response.status().is_success() && response.body() == expected {
            return self.counted.push("answer was the same after a crash");
        }
        let text = String::from_utf8_lossy(response.body()).into_owned();
        // While the disk fails nothing can be said for certain.
        if !text.contains("store_io") {
            self.broken = Some(format!("{:?} is answered {text} after a crash", waiting.key()));
        }
    }

    /// Takes note of what a client was told.
    fn acknowledge(&mut self, command: &Command, response: &Response<Bytes>, ledger: &mut Ledger) {
        let index = self.index;
        let reply =
            Reply::from_response(command, &self.runtime_id, Access::in_process().scrubber(), response);
        let worker_id = match (command, &reply) {
            (Command::Create { .. }, Ok(Reply::Worker(detail))) => detail.worker_id.to_string(),
            (
                Command::Input { worker_id, .. }
                | Command::Stop { worker_id, .. }
                | Command::Cancel { worker_id, .. },
                _,
            ) => worker_id.to_string(),
            _ => return,
        };
        let Some(worker) = worker_number(&worker_id).and_then(|number| self.workers.get_mut(number)) else {
            return;
        };
        worker.is_promised = true;
        match command {
            Command::Input { input, .. } => worker.acknowledged.push(input.content.clone()),
            Command::Stop { reason, .. } | Command::Cancel { reason, .. } => {
                let command = reason.reason.as_ref().and_then(|text| named(text));
                command.into_iter().for_each(|command| ledger.applied(index, command));
            }
            _ => {}
        }
    }

    /// Hears the worker that a create has made, if it has made one.
    pub(super) fn note_new(&mut self, command: Option<&Command>, ledger: &mut Ledger) -> Option<usize> {
        let Some(Command::Create { worker: spec, .. }) = command else { return None };
        let is_heard = |worker: &Worker| worker.subscription.is_some();
        let mut unheard = (0..=self.workers.len()).filter(|it| !self.workers.get(*it).is_some_and(is_heard));
        let (number, subscription) = unheard.find_map(|it| Some((it, self.subscribe(it, None)?)))?;
        if number == self.workers.len() {
            self.workers.push(Worker::new(self.life));
        }
        let worker = &mut self.workers[number];
        worker.subscription = Some(subscription);
        worker.is_promised = false;
        worker.created_by = match &spec.intent {
            Intent::Task { objective } => named(objective),
            _ => None,
        };
        let created_by = worker.created_by;
        created_by.into_iter().for_each(|command| ledger.applied(self.index, command));
        self.listen(Some(ledger));
        Some(number)
    }

    /// The power goes, and it starts from what its disk has kept. What was acknowledged and is not there, or stands there
    /// otherwise than it was written.
    pub(in crate::simulator) fn crash(&mut self, now: Time, ledger: &mut Ledger) -> Result<(), String> {
        self.disk.set_now(now);
        let before: Vec<Vec<Line>> = (0..self.workers.len()).map(|worker| self.transcript(worker)).collect();
        self.subscriptions.clear();
        self.waiting.clear();
        self.disk.crash();
        self.start();
        for (number, before) in before.iter().enumerate() {
            if self.workers[number].subscription.take().is_none() {
                continue;
            }
            let is_there = self.is_there(number);
            if is_there {
                self.check_end(number)?;
                self.take_up(number);
                self.check(number, before)?;
            } else {
                self.lose(number, ledger)?;
            }
            self.undo(&before[self.same_lines(number, before)..], ledger);
        }
        self.listen(None);
        self.ask_again()?;
        self.broken.take().or_else(|| self.disk.broken()).map_or(Ok(()), Err)
    }

    pub(super) fn is_there(&self, number: usize) -> bool {
        self.subscribe(number, None).is_some()
    }

    /// A worker went with the power: nobody was told that it is there.
    fn lose(&mut self, number: usize, ledger: &mut Ledger) -> Result<(), String> {
        let worker = &mut self.workers[number];
        if worker.is_promised {
            return Err(format!("worker {number} was created and is not there"));
        }
        worker.created_by.take().into_iter().for_each(|command| ledger.undo(command));
        worker.begin_life(None);
        self.counted.push("lost a worker");
        Ok(())
    }

    /// These lines were lost.
    fn undo(&mut self, lines: &[Line], ledger: &mut Ledger) {
        for line in lines.iter().filter(|line| line.role == "user") {
            self.counted.push("lost what was said");
            named(&line.content).into_iter().for_each(|command| ledger.undo(command));
        }
    }

    /// How many lines of a transcript are as they were.
    fn same_lines(&self, number: usize, before: &[Line]) -> usize {
        self.transcript(number).iter().zip(before).take_while(|(now, before)| now == before).count()
    }

    /// Says again what was answered under a key. Nothing may come of it but the same answer.
    fn ask_again(&mut self) -> Result<(), String> {
        let from = self.answered.len().saturating_sub(ASKED_AGAIN);
        let before = self.extent();
        let again = self.answered.clone();
        for (key, request, body) in again.into_iter().skip(from) {
            let mut waiting = Waiting::new(&request, self.runtime.respond(&request));
            waiting.expects = Some(body);
            if self.extent() != before {
                return Err(format!("{key} takes effect again after a crash"));
            }
            match waiting.poll() {
                Some(response) => self.settle(&waiting, &response, &mut Ledger::default()),
                None => self.waiting.push(waiting),
            }
        }
        Ok(())
    }

    /// How many workers there are, and how much was said in all of them.
    fn extent(&self) -> (usize, usize) {
        let there = (0..=self.workers.len()).filter(|number| self.is_there(*number)).count();
        (there, (0..self.workers.len()).map(|number| self.transcript(number).len()).sum())
    }

    /// Whether a worker, whose creation was acknowledged, is there, and does not seem to run without a process.
    fn check_end(&self, number: usize) -> Result<(), String> {
        let worker_id: WorkerId = worker_name(number).parse().map_err(|error| format!("{error}"))?;
        let command = Command::Worker(worker_id);
        let access = Access::in_process();
        let response = self.answer_at_once(&command.request(&access));
        match Reply::from_response(&command, &self.runtime_id, access.scrubber(), &response) {
            Ok(Reply::Worker(detail)) => match detail.facts.end.map(|end| end.reason) {
                Some(EndReason::RuntimeLost | EndReason::Stopped | EndReason::Cancelled) => Ok(()),
                other => Err(format!("worker {number} has {other:?} for its end after a crash")),
            },
            other => Err(format!("worker {number} was created and is not there: {other:?}")),
        }
    }

    /// The answer to what changes nothing, which waits for nothing.
    pub(super) fn answer_at_once(&self, request: &Request<Bytes>) -> Response<Bytes> {
        Waiting::new(request, self.runtime.respond(request)).poll().unwrap_or_default()
    }

    /// Whether the transcript is as it was, up to where it was lost, and has all that was acknowledged.
    fn check(&mut self, number: usize, before: &[Line]) -> Result<(), String> {
        let now = self.transcript(number);
        let same = now.iter().zip(before).take_while(|(now, before)| now == before).count();
        // How the worker ended follows, and nothing else.
        if let Some(other) = now.get(same).filter(|line| line.role != "system") {
            return Err(format!("worker {number} has {other:?} in place of {:?}", before.get(same)));
        }
        let count = |lines: &[Line], text: &str| lines.iter().filter(|line| line.content == text).count();
        for text in &self.workers[number].acknowledged {
            let (was, is) = (count(before, text), count(&now, text));
            if was != is {
                return Err(format!("worker {number} was told {text:?} {was} times, and knows of {is}"));
            }
        }
        let items = now.iter().filter(|line| line.role != "system" || self.is_input(number, line)).count();
        let events = self.said_since_the_beginning(number);
        match items == events {
            true => Ok(()),
            false => Err(format!("worker {number} has {items} items and {events} events of them")),
        }
    }

    /// Whether an item was said to a worker, and is not what its runtime said of it.
    fn is_input(&self, number: usize, line: &Line) -> bool {
        self.workers[number].said.contains(&line.content)
    }

    /// How many events of a worker, of those that its runtime can repeat, tell what stands in its transcript.
    fn said_since_the_beginning(&mut self, number: usize) -> usize {
        let worker = &self.workers[number];
        let lost = worker.joints.iter().rposition(|joint| joint.is_none());
        let first = worker.lives.get(lost.map_or(0, |life| life + 1)).and_then(|life| life.first());
        let Some(mut subscription) = first.and_then(|told| self.subscribe(number, Some(&told.cursor))) else {
            return 0;
        };
        let is_said = |payload: &Bytes| {
            [&br#"{"event":"user_message""#[..], br#"{"event":"text_delta""#]
                .iter()
                .any(|it| payload.starts_with(it))
        };
        let mut count = 0;
        while let Some((cursor, payload)) = super::next(&mut subscription) {
            count += usize::from(is_said(&payload));
            self.place(number, &cursor, &payload);
        }
        count
    }

    /// Takes note of what a place means: never two things.
    pub(super) fn place(&mut self, number: usize, cursor: &str, payload: &Bytes) {
        if is_snapshot(payload) {
            return;
        }
        match self.places.get(cursor) {
            Some((of, means)) if (*of, means) != (number, payload) => {
                self.broken = Some(format!("the place {cursor} means two events"));
            }
            Some(_) => {}
            None => drop(self.places.insert(cursor.to_owned(), (number, payload.clone()))),
        }
    }
}
