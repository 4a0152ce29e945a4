//! Which processes of a group may have a slot to give, and which of them a request gets.

use std::sync::atomic::{AtomicU64, Ordering};

use super::leases::{place, take_lowest, words, Leases, Word};

/// Processes that are compared for a request, twice.
const LOOKS: usize = 8;

impl Leases {
    /// A process for a request.
    pub(super) fn freest(&self, group: usize) -> Option<(usize, Word)> {
        let first = self.least_busy(group, 0)?;
        // So many seats have at most LOOKS processes that take leases.
        if first.1.busy() == 0 || self.shape.processes_of(group).len() <= 2 * LOOKS {
            return Some(first);
        }
        let other = self.least_busy_in_turn(group);
        Some(other.filter(|other| other.1.busy() < first.1.busy()).unwrap_or(first))
    }

    /// Whether a ready process of the group has a slot to give.
    pub fn has_free(&self, group: usize) -> bool {
        self.least_busy(group, 0).is_some()
    }

    /// Bits of a group's processes that may have a slot to give. Whoever frees one sets the bit when it
    /// is not set; whoever finds none clears it and looks again. All this is in one order (SeqCst), so
    /// that no slot stays hidden.
    fn offers(&self, group: usize, word: usize) -> &AtomicU64 {
        self.memory.at(self.shape.offers_at(group) + 8 * word)
    }

    pub(super) fn offer(&self, group: usize, process: usize) {
        let (word, bit) = place(process);
        let offers = self.offers(group, word);
        if offers.load(Ordering::SeqCst) & bit == 0 {
            offers.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// A process was found without a slot to give. Its word when it has one meanwhile.
    fn withdraw(&self, group: usize, process: usize) -> Option<Word> {
        let (word, bit) = place(process);
        self.offers(group, word).fetch_and(!bit, Ordering::SeqCst);
        let now = Word(self.word(group, process).load(Ordering::SeqCst));
        self.gives(group, now).then(|| {
            // Who has looked in between and waits is woken when what is taken now is given back.
            self.offer(group, process);
            now
        })
    }

    /// Whether a process in this state has a slot to give.
    fn gives(&self, group: usize, word: Word) -> bool {
        word.state().takes_leases() && word.busy() < u32::from(self.shape.groups()[group].threads)
    }

    /// The least busy of the first [`LOOKS`] processes that have a slot to give, from one on and round to
    /// it.
    fn least_busy(&self, group: usize, from: usize) -> Option<(usize, Word)> {
        let words = words(self.shape.processes_of(group).len());
        let (first, start) = place(from);
        let below = start - 1;
        let mut best: Option<(usize, Word)> = None;
        let mut looks = 0;
        // The word that it begins in comes again at the end, with what is before `from`.
        for step in 0..=words {
            let (word, mask) = match step {
                0 => (first, !below),
                step if step == words => (first, below),
                step => ((first + step) % words, u64::MAX),
            };
            if mask == 0 {
                continue;
            }
            let mut bits = self.offers(group, word).load(Ordering::SeqCst) & mask;
            while let Some(bit) = take_lowest(&mut bits) {
                let process = word * u64::BITS as usize + bit;
                let word = Some(self.load(group, process)).filter(|word| self.gives(group, *word));
                let Some(word) = word.or_else(|| self.withdraw(group, process)) else { continue };
                if best.is_none_or(|(_, least)| word.busy() < least.busy()) {
                    best = Some((process, word));
                }
                looks += 1;
                if word.busy() == 0 || looks == LOOKS {
                    return best;
                }
            }
        }
        best
    }

    /// The same from any one on, each in turn.
    fn least_busy_in_turn(&self, group: usize) -> Option<(usize, Word)> {
        let words = 0..words(self.shape.processes_of(group).len());
        let all = words.map(|word| self.offers(group, word).load(Ordering::SeqCst));
        let count: usize = all.clone().map(|bits| bits.count_ones() as usize).sum();
        let mut before = self.turn.fetch_add(LOOKS, Ordering::Relaxed) % count.max(1);
        for (word, mut bits) in all.enumerate() {
            let ones = bits.count_ones() as usize;
            if before < ones {
                (0..before).for_each(|_| bits &= bits - 1);
                let from = word * u64::BITS as usize + bits.trailing_zeros() as usize;
                return self.least_busy(group, from);
            }
            before -= ones;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::leases::{GroupShape, Lease, ProcessState, Shape};
    use super::*;

    fn table(processes: u16, threads: u16, workers: usize) -> Leases {
        Leases::inherited(Shape::new(vec![GroupShape { processes, threads }], workers)).unwrap()
    }

    fn ready(leases: &Leases, process: usize) {
        leases.begin(0, process);
        leases.set_state(0, process, ProcessState::Ready);
    }

    /// The process that the rule names: the first of those with most free slots.
    fn freest(leases: &Leases, seats: u16, threads: u32) -> Option<usize> {
        (0..usize::from(seats))
            .filter(|seat| leases.state(0, *seat).takes_leases() && leases.busy(0, *seat) < threads)
            .min_by_key(|seat| leases.busy(0, *seat))
    }

    #[test]
    fn of_up_to_eight_processes_the_one_with_most_free_slots_is_chosen() {
        let mut random = 1u32;
        let mut below = |limit: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % limit
        };
        for processes in 1..=8u16 {
            let seats = crate::scoreboard::seats(processes);
            let leases = table(seats, 3, 1);
            let mut ready_ones: Vec<_> = (0..usize::from(processes)).collect();
            ready_ones.iter().for_each(|seat| ready(&leases, *seat));
            let mut held: Vec<Lease> = Vec::new();
            for _ in 0..2000 {
                match below(8) {
                    0..=3 => {
                        let expected = freest(&leases, seats, 3);
                        let lease = leases.lease(0, 0);
                        assert_eq!(lease.as_ref().map(|lease| lease.process), expected);
                        held.extend(lease);
                    }
                    4..=6 if !held.is_empty() => {
                        let lease = held.swap_remove(below(held.len() as u32) as usize);
                        leases.release(lease, 0);
                    }
                    _ => {
                        // A process is replaced by one on another seat.
                        let old = ready_ones.swap_remove(below(ready_ones.len() as u32) as usize);
                        let free = |seat: &usize| leases.busy(0, *seat) == 0 && *seat != old;
                        let vacant = |seat: &usize| !leases.state(0, *seat).takes_leases();
                        let new = (0..usize::from(seats)).filter(vacant).find(free).unwrap_or(old);
                        leases.set_state(0, old, ProcessState::Draining);
                        ready(&leases, new);
                        ready_ones.push(new);
                    }
                }
                assert_eq!(leases.has_free(0), freest(&leases, seats, 3).is_some());
            }
        }
    }

    #[test]
    fn many_processes_are_all_used_and_alike() {
        let leases = table(crate::scoreboard::seats(100), 4, 1);
        // Their seats are not all at the beginning.
        (0..100).for_each(|process| ready(&leases, process + process / 4));
        let busy = |leases: &Leases| (0..132).map(|p| leases.busy(0, p)).collect::<Vec<_>>();
        let held: Vec<_> = (0..200).map(|_| leases.lease(0, 0).unwrap()).collect();
        assert!(*busy(&leases).iter().max().unwrap() <= 3);
        assert!(busy(&leases).iter().filter(|busy| **busy > 0).count() >= 95);
        let more: Vec<_> = (0..200).map(|_| leases.lease(0, 0).unwrap()).collect();
        assert_eq!(leases.lease(0, 0), None);
        held.into_iter().chain(more).for_each(|lease| leases.release(lease, 0));
        assert!(busy(&leases).iter().all(|busy| *busy == 0) && leases.has_free(0));
    }

    #[test]
    fn a_slot_hidden_by_a_worker_that_died_is_found_again() {
        let leases = table(3, 1, 2);
        ready(&leases, 1);
        // It has withdrawn the offer and has not looked again.
        leases.offers(0, 0).store(0, Ordering::SeqCst);
        assert_eq!(leases.lease(0, 0), None);
        leases.reclaim(1);
        assert_eq!(leases.lease(0, 0).map(|lease| lease.process), Some(1));
    }

    #[test]
    fn a_slot_freed_while_its_offer_is_withdrawn_is_not_hidden() {
        let leases = table(1, 1, 1);
        ready(&leases, 0);
        let lease = leases.lease(0, 0).unwrap();
        assert!(leases.withdraw(0, 0).is_none());
        leases.release(lease, 0);
        // Found taken before the release, withdrawn after it.
        assert!(leases.withdraw(0, 0).is_some());
        assert!(leases.has_free(0) && leases.lease(0, 0).is_some());
    }
}
