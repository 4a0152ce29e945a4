//! Which process is ready, and how many of its slots are taken.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{fence, AtomicU64, AtomicUsize, Ordering};

use super::history::{Life, Restarts};
use crate::memory::{Mapping, MappingError};

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ProcessState {
    /// There is none.
    Gone = 0,
    /// Forked, not yet able to serve.
    Starting = 1,
    /// Takes leases.
    Ready = 2,
    /// Finishes what it has.
    Draining = 3,
    /// Takes leases, although it was to be replaced: its successor did not become ready.
    Overdue = 4,
}

impl ProcessState {
    fn from_bits(bits: u64) -> Self {
        match bits {
            1 => ProcessState::Starting,
            2 => ProcessState::Ready,
            3 => ProcessState::Draining,
            4 => ProcessState::Overdue,
            _ => ProcessState::Gone,
        }
    }

    /// Whether requests are sent to such a process.
    pub fn takes_leases(self) -> bool {
        matches!(self, ProcessState::Ready | ProcessState::Overdue)
    }
}

/// One group's part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupShape {
    /// Seats of the group's processes, see [`super::seats`].
    pub processes: u16,
    /// Slots (request threads) of each process.
    pub threads: u16,
}

/// Takes the lowest bit of those that are set.
pub(super) fn take_lowest(bits: &mut u64) -> Option<usize> {
    let lowest = (*bits != 0).then(|| bits.trailing_zeros() as usize)?;
    *bits &= *bits - 1;
    Some(lowest)
}

/// What the table's layout follows from; both sides compute it from the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    groups: Vec<GroupShape>,
    first: Vec<usize>,
    first_offers: Vec<usize>,
    processes: usize,
    offers: usize,
    workers: usize,
}

/// How many words have a bit for each of so many.
pub(super) const fn words(bits: usize) -> usize {
    bits.div_ceil(u64::BITS as usize)
}

/// The word that a bit is in, and the bit there.
pub(super) const fn place(bit: usize) -> (usize, u64) {
    (bit / u64::BITS as usize, 1 << (bit % u64::BITS as usize))
}

impl Shape {
    /// A table for these groups, used by `workers` nginx workers.
    pub fn new(groups: Vec<GroupShape>, workers: usize) -> Self {
        let (mut first, mut first_offers) = (Vec::new(), Vec::new());
        let (mut processes, mut offers) = (0, 0);
        for group in &groups {
            first.push(processes);
            first_offers.push(offers);
            processes += usize::from(group.processes);
            offers += words(usize::from(group.processes).max(1));
        }
        Shape { groups, first, first_offers, processes, offers, workers: workers.max(1) }
    }

    /// The groups in order.
    pub fn groups(&self) -> &[GroupShape] {
        &self.groups
    }

    /// The table-wide numbers of a group's processes.
    pub fn processes_of(&self, group: usize) -> std::ops::Range<usize> {
        let first = self.first[group];
        first..first + usize::from(self.groups[group].processes)
    }

    // The table: a word per process, a cursor per group, offers, waiting workers, calls, held counts,
    // the processes' and the groups' histories, lengths of queues.
    fn cursor_at(&self, group: usize) -> usize {
        8 * (self.processes + group)
    }

    pub(super) fn offers_at(&self, group: usize) -> usize {
        let before = self.first_offers.get(group).copied().unwrap_or(self.offers);
        self.cursor_at(self.groups.len()) + 8 * before
    }

    fn waiting_at(&self, group: usize) -> usize {
        self.offers_at(self.groups.len()) + 8 * group * words(self.workers)
    }

    fn called_at(&self, worker: usize) -> usize {
        self.waiting_at(self.groups.len()) + 8 * worker * words(self.groups.len())
    }

    fn held_at(&self, process: usize, worker: usize) -> usize {
        self.called_at(self.workers) + 8 * (process * self.workers + worker)
    }

    pub(super) fn life_at(&self, process: usize) -> usize {
        self.held_at(self.processes, 0) + process * size_of::<Life>()
    }

    pub(super) fn restarts_at(&self, group: usize) -> usize {
        self.life_at(self.processes) + group * size_of::<Restarts>()
    }

    pub(super) fn queue_at(&self, group: usize, worker: usize) -> usize {
        self.restarts_at(self.groups.len()) + 4 * (group * self.workers + worker)
    }

    /// nginx's workers.
    pub fn workers(&self) -> usize {
        self.workers
    }

    fn bytes(&self) -> usize {
        self.queue_at(self.groups.len(), 0).max(8)
    }
}

/// The right to send one request to one process.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is not released takes a slot for ever"]
pub struct Lease {
    /// Group in the table.
    pub group: usize,
    /// Process, counted within its group.
    pub process: usize,
    /// Which life of that process slot.
    pub incarnation: u32,
}

/// state (8 bits) | busy (24 bits) | incarnation (32 bits): one word, so that a late release can
/// never hit a successor.
#[derive(Clone, Copy)]
pub(super) struct Word(pub u64);

impl Word {
    fn new(state: ProcessState, busy: u32, incarnation: u32) -> Self {
        Word(state as u64 | u64::from(busy & 0xff_ffff) << 8 | u64::from(incarnation) << 32)
    }

    pub(super) fn state(self) -> ProcessState {
        ProcessState::from_bits(self.0 & 0xff)
    }

    pub(super) fn busy(self) -> u32 {
        (self.0 >> 8) as u32 & 0xff_ffff
    }

    fn incarnation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The lease table. Every method is lock-free and safe from any process that maps it.
///
/// What a request needs of it costs the same however many groups there are, and, but for a word to
/// look at for every 64 seats, processes.
pub struct Leases {
    pub(super) memory: Mapping,
    pub(super) shape: Shape,
    /// Where the next second comparison begins, see `offers`.
    pub(super) turn: AtomicUsize,
}

impl Leases {
    /// A new table in a memfd, to be inherited by fork and handed to the supervisor.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the memory cannot be had.
    pub fn create(shape: Shape) -> Result<(Self, OwnedFd), MappingError> {
        let (memory, fd) = Mapping::create(c"ngx-wsgi-leases", shape.bytes())?;
        Ok((Leases::with(memory, shape), fd))
    }

    /// The table behind `fd`, made with the same shape.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when it cannot be mapped.
    pub fn open(fd: BorrowedFd<'_>, shape: Shape) -> Result<Self, MappingError> {
        let memory = Mapping::open(fd, shape.bytes())?;
        memory.hide_from_children()?;
        Ok(Leases::with(memory, shape))
    }

    /// A table of this process and of those it forks.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the memory cannot be had.
    pub fn inherited(shape: Shape) -> Result<Self, MappingError> {
        Ok(Leases::with(Mapping::inherited(shape.bytes())?, shape))
    }

    fn with(memory: Mapping, shape: Shape) -> Self {
        Leases { memory, shape, turn: AtomicUsize::new(0) }
    }

    /// The table's shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn word(&self, group: usize, process: usize) -> &AtomicU64 {
        let range = self.shape.processes_of(group);
        assert!(process < range.len(), "process {process} is not in group {group}");
        self.memory.at(8 * (range.start + process))
    }

    pub(super) fn load(&self, group: usize, process: usize) -> Word {
        Word(self.word(group, process).load(Ordering::Acquire))
    }

    fn held(&self, group: usize, process: usize, worker: usize) -> &AtomicU64 {
        let worker = worker % self.shape.workers;
        self.memory.at(self.shape.held_at(self.shape.processes_of(group).start + process, worker))
    }

    /// Bits of the workers that wait for a group.
    fn waiting(&self, group: usize, word: usize) -> &AtomicU64 {
        self.memory.at(self.shape.waiting_at(group) + 8 * word)
    }

    /// Bits of the groups for which a worker has been called.
    fn called(&self, worker: usize, word: usize) -> &AtomicU64 {
        self.memory.at(self.shape.called_at(worker % self.shape.workers) + 8 * word)
    }

    /// State of a process.
    pub fn state(&self, group: usize, process: usize) -> ProcessState {
        self.load(group, process).state()
    }

    /// Slots of a process that are taken.
    pub fn busy(&self, group: usize, process: usize) -> u32 {
        self.load(group, process).busy()
    }

    /// Which life of the process slot this is; 0 before the first.
    pub fn incarnation(&self, group: usize, process: usize) -> u32 {
        self.load(group, process).incarnation()
    }

    /// Whether any process of the group takes leases.
    pub fn any_ready(&self, group: usize) -> bool {
        (0..self.shape.processes_of(group).len())
            .any(|process| self.state(group, process).takes_leases())
    }

    /// Takes a slot of the ready process with most free ones; of more than 8 processes, one that has
    /// most of those that were compared, and of equal ones the first. `None`: all are taken, or none is
    /// ready.
    pub fn lease(&self, group: usize, worker: usize) -> Option<Lease> {
        loop {
            let (process, word) = self.freest(group)?;
            if let Some(lease) = self.take(group, process, word, worker) {
                return Some(lease);
            }
        }
    }

    /// Takes a slot for a request that was sent to `process`, did not come to its end there, and has to
    /// be sent again: of the newest other process that is ready and has one. When none has, `surplus`
    /// waits for a thread of the newest, or of one that is starting. `None`: there is no such process.
    pub fn lease_again(
        &self,
        group: usize,
        process: usize,
        worker: usize,
        surplus: bool,
    ) -> Option<Lease> {
        let threads = u32::from(self.shape.groups[group].threads);
        loop {
            let (process, word) = (0..self.shape.processes_of(group).len())
                .map(|process| (process, self.load(group, process)))
                .filter(|(other, _)| *other != process)
                .filter(|(_, word)| match word.state() {
                    ProcessState::Starting => surplus,
                    state => state.takes_leases() && (surplus || word.busy() < threads),
                })
                .max_by_key(|(_, word)| {
                    let ready = word.state().takes_leases();
                    (ready, word.busy() < threads, word.incarnation())
                })?;
            if let Some(lease) = self.take(group, process, word, worker) {
                return Some(lease);
            }
        }
    }

    fn take(&self, group: usize, process: usize, word: Word, worker: usize) -> Option<Lease> {
        let lease = Lease { group, process, incarnation: word.incarnation() };
        // Counted as held first: a worker that dies in between gives back one too many, which
        // overcommits a slot for a moment; the other order would lose the slot for good.
        self.count_held(&lease, worker, 1);
        let next = Word::new(word.state(), word.busy() + 1, word.incarnation());
        let swapped = self.word(group, process).compare_exchange(
            word.0,
            next.0,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if swapped.is_err() {
            self.count_held(&lease, worker, -1);
            return None;
        }
        self.count_request(group, process);
        Some(lease)
    }

    /// Gives a slot back. Without effect when the process has been replaced since.
    pub fn release(&self, lease: Lease, worker: usize) {
        self.give_back(lease.group, lease.process, lease.incarnation, 1);
        self.count_held(&lease, worker, -1);
    }

    fn give_back(&self, group: usize, process: usize, incarnation: u32, count: u32) {
        let freed =
            self.word(group, process).fetch_update(Ordering::SeqCst, Ordering::Acquire, |w| {
                let word = Word(w);
                (word.incarnation() == incarnation).then(|| {
                    Word::new(word.state(), word.busy().saturating_sub(count), incarnation).0
                })
            });
        if freed.is_ok() {
            self.offer(group, process);
        }
    }

    /// Only the worker itself, or its successor, changes its held counts.
    fn count_held(&self, lease: &Lease, worker: usize, change: i32) {
        let cell = self.held(lease.group, lease.process, worker);
        let old = cell.load(Ordering::Relaxed);
        let (incarnation, count) = ((old >> 32) as u32, old as u32);
        let new = if incarnation == lease.incarnation {
            count.saturating_add_signed(change)
        } else if change > 0 {
            change as u32
        } else {
            return;
        };
        cell.store(u64::from(lease.incarnation) << 32 | u64::from(new), Ordering::Release);
    }

    /// Gives back what a worker held when it died; called by its successor before it takes any.
    pub fn reclaim(&self, worker: usize) {
        self.take_calls(worker).for_each(drop);
        for group in 0..self.shape.groups.len() {
            for process in 0..self.shape.processes_of(group).len() {
                let held = self.held(group, process, worker).swap(0, Ordering::AcqRel);
                if held as u32 > 0 {
                    self.give_back(group, process, (held >> 32) as u32, held as u32);
                }
                // It may have died between withdrawing and looking again.
                self.offer(group, process);
            }
            self.stop_waiting(group, worker);
            self.set_queue(group, worker, 0);
        }
    }

    /// Marks the group as waited for by a worker. The worker must try [`Self::lease`] once more
    /// afterwards, or a slot freed in between goes unnoticed.
    pub fn wait(&self, group: usize, worker: usize) {
        let (word, bit) = place(worker % self.shape.workers);
        self.waiting(group, word).fetch_or(bit, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The worker waits no longer. `false`: somebody has taken its mark already and is about to wake
    /// it, so it has to wake another one in its place.
    pub fn stop_waiting(&self, group: usize, worker: usize) -> bool {
        let (word, bit) = place(worker % self.shape.workers);
        self.waiting(group, word).fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Takes the next worker that waits for the group, round robin; it is to be woken. The caller
    /// has just freed a slot.
    pub fn next_waiting(&self, group: usize) -> Option<usize> {
        fence(Ordering::SeqCst);
        let words = words(self.shape.workers);
        let waiting = |word| self.waiting(group, word).load(Ordering::SeqCst);
        if (0..words).all(|word| waiting(word) == 0) {
            return None;
        }
        let cursor: &AtomicU64 = self.memory.at(self.shape.cursor_at(group));
        let start = cursor.load(Ordering::Relaxed) as usize + 1;
        let found = (0..self.shape.workers).map(|step| (start + step) % self.shape.workers).find(
            |worker| {
                waiting(place(*worker).0) & place(*worker).1 != 0
                    && self.stop_waiting(group, *worker)
            },
        )?;
        cursor.store(found as u64, Ordering::Relaxed);
        Some(found)
    }

    /// Notes which group a worker is about to be woken for.
    pub fn call(&self, group: usize, worker: usize) {
        let (word, bit) = place(group);
        self.called(worker, word).fetch_or(bit, Ordering::SeqCst);
    }

    /// The groups that a worker has been woken for since it last asked.
    pub fn take_calls(&self, worker: usize) -> impl Iterator<Item = usize> + '_ {
        (0..words(self.shape.groups.len())).flat_map(move |word| {
            let calls = self.called(worker, word);
            let mut bits = match calls.load(Ordering::SeqCst) {
                0 => 0,
                _ => calls.swap(0, Ordering::SeqCst),
            };
            std::iter::from_fn(move || take_lowest(&mut bits))
                .map(move |bit| word * u64::BITS as usize + bit)
        })
    }

    /// Begins the next life of a seat: starting, nothing taken. Returns the incarnation, the highest
    /// of the group.
    pub fn begin(&self, group: usize, process: usize) -> u32 {
        let seats = 0..self.shape.processes_of(group).len();
        let newest = seats.map(|seat| self.incarnation(group, seat)).max().unwrap_or(0);
        let incarnation = newest.wrapping_add(1);
        self.begin_life(group, process);
        let word = Word::new(ProcessState::Starting, 0, incarnation);
        self.word(group, process).store(word.0, Ordering::Release);
        incarnation
    }

    /// Moves a process to another state of its life; the busy count stays.
    pub fn set_state(&self, group: usize, process: usize, state: ProcessState) {
        let _ = self.word(group, process).fetch_update(Ordering::SeqCst, Ordering::Acquire, |w| {
            let word = Word(w);
            Some(Word::new(state, word.busy(), word.incarnation()).0)
        });
        if state.takes_leases() {
            self.offer(group, process);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32};
    use std::sync::mpsc::{channel, Receiver, Sender};
    use std::sync::Arc;
    use std::time::Duration;

    /// Long after anything here should have happened.
    const FAR: Duration = Duration::from_secs(60);

    fn table(processes: u16, threads: u16, workers: usize) -> Leases {
        Leases::inherited(Shape::new(vec![GroupShape { processes, threads }], workers)).unwrap()
    }

    fn ready(leases: &Leases, process: usize) {
        leases.begin(0, process);
        leases.set_state(0, process, ProcessState::Ready);
    }

    #[test]
    fn only_ready_processes_are_leased() {
        let leases = table(2, 1, 1);
        assert_eq!(leases.lease(0, 0), None);
        leases.begin(0, 1);
        assert_eq!(leases.lease(0, 0), None);
        leases.set_state(0, 1, ProcessState::Ready);
        assert_eq!(leases.lease(0, 0).map(|l| l.process), Some(1));
        assert_eq!(leases.lease(0, 0), None);
    }

    #[test]
    fn a_process_that_could_not_be_replaced_goes_on() {
        let leases = table(1, 1, 1);
        ready(&leases, 0);
        leases.set_state(0, 0, ProcessState::Overdue);
        assert!(leases.any_ready(0) && leases.has_free(0));
        assert_eq!(leases.lease(0, 0).map(|l| l.process), Some(0));
    }

    #[test]
    fn the_least_busy_process_is_chosen() {
        let leases = table(2, 2, 1);
        ready(&leases, 0);
        ready(&leases, 1);
        let order: Vec<_> = (0..4).map(|_| leases.lease(0, 0).unwrap().process).collect();
        assert_eq!(order, [0, 1, 0, 1]);
        assert_eq!(leases.lease(0, 0), None);
    }

    #[test]
    fn a_request_that_is_sent_again_goes_to_the_newest_process() {
        let leases = table(3, 1, 1);
        ready(&leases, 2);
        ready(&leases, 0);
        let other = |surplus| leases.lease_again(0, 1, 0, surplus).map(|lease| lease.process);
        let process = || other(true);
        assert_eq!([process(), other(false)], [Some(0), Some(2)]);
        // All slots are taken: it waits for the newest, or for whatever becomes free.
        assert_eq!([process(), other(false)], [Some(0), None]);
        leases.set_state(0, 0, ProcessState::Gone);
        leases.set_state(0, 2, ProcessState::Draining);
        assert_eq!(process(), None);
        leases.begin(0, 2);
        assert_eq!([process(), other(false)], [Some(2), None]);
        // Not to the one that did not take it, which may still look ready.
        leases.set_state(0, 1, ProcessState::Ready);
        assert_eq!([process(), other(false)], [Some(2), None]);
        leases.begin(0, 2);
        leases.set_state(0, 2, ProcessState::Ready);
        assert_eq!([other(false), process()], [Some(2); 2]);
    }

    #[test]
    fn a_late_release_does_not_hit_the_successor() {
        let leases = table(1, 1, 1);
        ready(&leases, 0);
        let old = leases.lease(0, 0).unwrap();
        ready(&leases, 0);
        let new = leases.lease(0, 0).unwrap();
        leases.release(old, 0);
        assert_eq!(leases.busy(0, 0), 1);
        leases.release(new, 0);
        assert_eq!(leases.busy(0, 0), 0);
    }

    #[test]
    fn a_dead_workers_leases_come_back() {
        let leases = table(2, 3, 2);
        ready(&leases, 0);
        ready(&leases, 1);
        for _ in 0..4 {
            assert!(leases.lease(0, 1).is_some());
        }
        let mine = leases.lease(0, 0).unwrap();
        leases.reclaim(1);
        assert_eq!(leases.busy(0, 0) + leases.busy(0, 1), 1);
        leases.release(mine, 0);
        assert_eq!(leases.busy(0, 0) + leases.busy(0, 1), 0);
    }

    #[test]
    fn draining_keeps_the_count_and_takes_no_more() {
        let leases = table(1, 2, 1);
        ready(&leases, 0);
        let lease = leases.lease(0, 0).unwrap();
        leases.set_state(0, 0, ProcessState::Draining);
        assert_eq!((leases.lease(0, 0), leases.busy(0, 0)), (None, 1));
        leases.release(lease, 0);
        assert_eq!(leases.busy(0, 0), 0);
    }

    #[test]
    fn a_worker_that_stops_waiting_knows_whether_it_is_being_woken() {
        let leases = table(1, 1, 2);
        leases.wait(0, 0);
        assert!(leases.stop_waiting(0, 0));
        leases.wait(0, 0);
        assert_eq!(leases.next_waiting(0), Some(0));
        assert!(!leases.stop_waiting(0, 0));
    }

    #[test]
    fn a_worker_knows_what_it_was_woken_for() {
        let shape = Shape::new(vec![GroupShape { processes: 1, threads: 1 }; 200], 3);
        let leases = Leases::inherited(shape).unwrap();
        let calls = |worker| leases.take_calls(worker).collect::<Vec<_>>();
        [199, 0, 64, 0].iter().for_each(|group| leases.call(*group, 1));
        leases.call(5, 2);
        assert_eq!([calls(0), calls(1), calls(1)], [vec![], vec![0, 64, 199], vec![]]);
        leases.reclaim(2);
        assert!(calls(2).is_empty());
    }

    #[test]
    fn waiting_workers_are_woken_in_turn() {
        let leases = table(1, 1, 3);
        assert_eq!(leases.next_waiting(0), None);
        leases.wait(0, 0);
        leases.wait(0, 2);
        let first = leases.next_waiting(0).unwrap();
        let second = leases.next_waiting(0).unwrap();
        assert_eq!([first, second].iter().sum::<usize>(), 2);
        assert_eq!(leases.next_waiting(0), None);
    }

    #[test]
    fn of_many_workers_each_is_woken() {
        let leases = table(1, 1, 130);
        [3, 64, 129].iter().for_each(|worker| leases.wait(0, *worker));
        let mut woken: Vec<_> = std::iter::from_fn(|| leases.next_waiting(0)).collect();
        woken.sort_unstable();
        assert_eq!(woken, [3, 64, 129]);
    }

    /// What the threads of the model share: they are workers, and can be woken.
    struct Model {
        leases: Leases,
        running: AtomicU32,
        slots: u32,
        wake: Vec<Sender<()>>,
    }

    impl Model {
        fn wake_next(&self) {
            if let Some(worker) = self.leases.next_waiting(0) {
                self.wake[worker].send(()).unwrap();
            }
        }

        /// A slot, waited for as a worker does: without ever looking again by itself.
        fn lease(&self, worker: usize, woken: &Receiver<()>) -> Lease {
            loop {
                if let Some(lease) = self.leases.lease(0, worker) {
                    return lease;
                }
                self.leases.wait(0, worker);
                if let Some(lease) = self.leases.lease(0, worker) {
                    if !self.leases.stop_waiting(0, worker) && self.leases.has_free(0) {
                        self.wake_next();
                    }
                    return lease;
                }
                woken.recv_timeout(FAR).expect("a worker was not woken");
            }
        }

        fn work(&self, worker: usize, rounds: u32, woken: &Receiver<()>) {
            for round in 0..rounds {
                let lease = self.lease(worker, woken);
                assert!(self.running.fetch_add(1, Ordering::SeqCst) < self.slots);
                if round % 7 == 0 {
                    std::thread::yield_now();
                }
                self.running.fetch_sub(1, Ordering::SeqCst);
                self.leases.release(lease, worker);
                self.wake_next();
            }
        }
    }

    /// Threads in the place of workers lease, hold, release, wait and are woken; at no time are there
    /// more leases than slots, nobody waits for ever, and in the end nothing is taken.
    #[test]
    fn no_slot_is_lost_or_doubled_under_threads() {
        for (processes, threads, workers) in [(3, 4, 16), (1, 1, 6), (2, 1, 4), (70, 1, 80)] {
            let (wake, woken): (_, Vec<_>) = (0..workers).map(|_| channel()).unzip();
            let leases = table(processes, threads, workers);
            (0..usize::from(processes)).for_each(|p| ready(&leases, p));
            let slots = u32::from(processes) * u32::from(threads);
            let model = Arc::new(Model { leases, running: AtomicU32::new(0), slots, wake });
            let rounds = 80_000 / workers as u32;
            let over = Arc::new(AtomicBool::new(false));
            // Meanwhile, a process goes in and out of service.
            let unsteady = {
                let (model, over) = (Arc::clone(&model), Arc::clone(&over));
                std::thread::spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        for state in [ProcessState::Draining, ProcessState::Ready] {
                            model.leases.set_state(0, 0, state);
                            std::thread::yield_now();
                        }
                        (0..threads).for_each(|_| model.wake_next());
                    }
                })
            };
            let workers: Vec<_> = woken
                .into_iter()
                .enumerate()
                .map(|(worker, woken)| {
                    let model = Arc::clone(&model);
                    std::thread::spawn(move || model.work(worker, rounds, &woken))
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            over.store(true, Ordering::SeqCst);
            unsteady.join().unwrap();
            assert!((0..usize::from(processes)).all(|p| model.leases.busy(0, p) == 0));
        }
    }
}
