//! A queue of one ring in a model's memory: who uses it, how they die, and what must hold at the
//! end.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicUsize;
use loom::thread::{self, JoinHandle};

use super::death::{Life, live};
use super::race;
use crate::raw::memory::Cursor;
use crate::raw::participants::Participant;
use crate::raw::swap::handle::{self, Ends, HandleTable};
use crate::raw::swap::recover::{self, Policy, Rings};
use crate::raw::swap::{Hand, Hints, Popped, Pushed, Ring, Shape, SwapMemory};
use crate::shim::{AtomicU32, AtomicU64, Ordering::*, mutant};

/// The words of the queue, and its participants with their leases.
pub(super) struct Shared {
    shape: Shape,
    policy: Policy,
    hints: Hints,
    slots: Vec<AtomicU64>,
    owners: Vec<AtomicU32>,
    payloads: Vec<UnsafeCell<u64>>,
    notes: Vec<Notes>,
    words: Vec<AtomicU64>,
    taken_ever: AtomicU64,
    orphans: AtomicU64,
    participants: Vec<Participant>,
    leases: Vec<AtomicU32>,
    /// The position of the first pop.
    first_pop: Cell<u64>,
    /// See [`race`].
    common: AtomicUsize,
}

/// What one handle says of itself.
struct Notes {
    intent: AtomicU64,
    want: AtomicU32,
    scratch: AtomicU64,
}

impl Shared {
    fn new(slots: u32, handles: u32, policy: Policy) -> Rc<Self> {
        let shape = Shape::new(slots, handles).unwrap();
        let cursor = || Cursor { position: AtomicU64::new(0) };
        let notes = |_| Notes {
            intent: AtomicU64::new(0),
            scratch: AtomicU64::new(0),
            want: AtomicU32::new(0),
        };
        Rc::new(Self {
            shape,
            policy,
            hints: Hints { tail: cursor(), head: cursor() },
            slots: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            owners: (0..shape.blocks()).map(|_| AtomicU32::new(0)).collect(),
            payloads: (0..shape.blocks()).map(|_| UnsafeCell::new(0)).collect(),
            notes: (0..handles).map(notes).collect(),
            words: (0..handles).map(|_| AtomicU64::new(0)).collect(),
            taken_ever: AtomicU64::new(0),
            orphans: AtomicU64::new(0),
            participants: (0..handles).map(|_| Participant::new()).collect(),
            leases: (0..handles).map(|_| AtomicU32::new(0)).collect(),
            first_pop: Cell::new(0),
            common: AtomicUsize::new(0),
        })
    }

    /// All words that a death could leave different.
    fn words(&self) -> Vec<u64> {
        let notes = self.notes.iter().flat_map(|notes| [&notes.intent, &notes.scratch]);
        let rest = [&self.orphans, &self.hints.tail.position, &self.hints.head.position];
        let long = self.slots.iter().chain(&self.words).chain(notes).chain(rest);
        let short = self.owners.iter().chain(self.notes.iter().map(|notes| &notes.want));
        long.map(|word| word.load(Relaxed))
            .chain(short.map(|word| word.load(Relaxed).into()))
            .collect()
    }
}

/// One participant's way to them, and what happened to its messages.
#[derive(Clone)]
pub(super) struct View {
    shared: Rc<Shared>,
    me: Rc<Me>,
}

struct Me {
    life: Life,
    /// The message that an exchange is about to send.
    sending: Cell<Option<u64>>,
    /// The message of an orphan that was read.
    read: Cell<Option<u64>>,
    accepted: RefCell<Vec<u64>>,
    delivered: RefCell<Vec<u64>>,
}

impl View {
    fn new(shared: &Rc<Shared>) -> Self {
        let me = Me {
            life: Life::new(Life::ENDLESS),
            sending: Cell::new(None),
            read: Cell::new(None),
            accepted: RefCell::default(),
            delivered: RefCell::default(),
        };
        Self { shared: Rc::clone(shared), me: Rc::new(me) }
    }

    /// Comes before every access.
    fn step(&self) {
        self.me.life.step();
    }

    /// Comes before every access to a word that one thread both loads and exchanges.
    fn race(&self) {
        self.me.life.step();
        race(&self.shared.common);
    }

    fn fill(&self, block: u32, value: u64) {
        self.step();
        // SAFETY: loom checks that nobody else is at this block.
        self.shared.payloads[block as usize].with_mut(|payload| unsafe { *payload = value });
    }

    fn read(&self, block: u32) -> u64 {
        self.step();
        // SAFETY: loom checks that nobody writes this block.
        self.shared.payloads[block as usize].with(|payload| unsafe { *payload })
    }
}

impl HandleTable for View {
    fn handles(&self) -> u32 {
        self.shared.shape.handles()
    }

    fn word(&self, handle: u32) -> &AtomicU64 {
        self.race();
        &self.shared.words[handle as usize]
    }

    fn taken_ever(&self) -> &AtomicU64 {
        self.race();
        &self.shared.taken_ever
    }
}

impl SwapMemory for View {
    fn shape(&self) -> Shape {
        self.shared.shape
    }

    fn number(&self) -> u32 {
        0
    }

    fn hints(&self) -> &Hints {
        self.race();
        &self.shared.hints
    }

    fn slot(&self, slot: u32) -> &AtomicU64 {
        self.race();
        &self.shared.slots[slot as usize]
    }

    fn owner(&self, block: u32) -> &AtomicU32 {
        // Whoever comes here while he sends has made the exchange, alive or not.
        self.me.accepted.borrow_mut().extend(self.me.sending.take());
        self.step();
        &self.shared.owners[block as usize]
    }

    fn intent(&self, handle: u32) -> &AtomicU64 {
        self.step();
        &self.shared.notes[handle as usize].intent
    }

    fn want(&self, handle: u32) -> &AtomicU32 {
        self.step();
        &self.shared.notes[handle as usize].want
    }

    fn scratch(&self, handle: u32) -> &AtomicU64 {
        self.step();
        &self.shared.notes[handle as usize].scratch
    }
}

impl Rings for View {
    type Memory = Self;

    fn ring(&self, number: u32) -> Option<Ring<Self>> {
        (number == 0).then(|| Ring::new(self.clone()))
    }

    fn rings(&self) -> u32 {
        1
    }

    fn orphans(&self, _handle: u32) -> &AtomicU64 {
        self.race();
        &self.shared.orphans
    }

    fn strike(&self, _handle: u32) {}

    fn clear(&self, _ring: u32, _block: u32) {
        // Whoever comes here for an orphan has acknowledged its message, alive or not.
        self.me.delivered.borrow_mut().extend(self.me.read.take());
    }
}

/// A participant with a handle of the same number, in the beginning.
pub(super) struct Peer {
    pub(super) view: View,
    pub(super) ring: Ring<View>,
    pub(super) hand: Hand,
    pub(super) handle: u32,
    pub(super) participant: u32,
}

/// What a participant does with its life.
pub(super) trait Work: FnOnce(&mut Peer) + 'static {}
impl<F: FnOnce(&mut Peer) + 'static> Work for F {}

impl Peer {
    fn new(shared: &Rc<Shared>, participant: u32, handle: u32) -> Self {
        let view = View::new(shared);
        let ring = Ring::new(view.clone());
        let hand = ring.hand(handle).unwrap();
        Self { view, ring, hand, handle, participant }
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.view.shared
    }

    /// A new process in the place of a dead one, if it was recovered.
    pub(super) fn next(&self) -> Option<Self> {
        let Shared { leases, participants, common, .. } = &**self.shared();
        let place = self.participant as usize;
        race(common);
        if leases[place].compare_exchange(0, 1, AcqRel, Relaxed).is_err() {
            return None;
        }
        race(common);
        if !participants[place].join(0) {
            leases[place].store(0, Release);
            return None;
        }
        self.enter(self.participant)
    }

    /// A participant with a handle that was free.
    pub(super) fn enter(&self, participant: u32) -> Option<Self> {
        let handle = handle::attach(&View::new(self.shared()), participant, Ends::BOTH)?;
        Some(Self::new(self.shared(), participant, handle))
    }

    /// What this participant does with a handle that is its own now.
    pub(super) fn seat(&self, handle: u32) -> Self {
        Self::new(self.shared(), self.participant, handle)
    }

    /// Sends `value`, if it can be.
    pub(super) fn push(&mut self, value: u64) -> Pushed {
        self.fill(value);
        self.view.me.sending.set(Some(value));
        let pushed = self.ring.push(&mut self.hand).expect("the ring is corrupt");
        assert_eq!(pushed == Pushed::Done, self.view.me.sending.take().is_none());
        pushed
    }

    /// Writes `value` where the next message to be sent is.
    pub(super) fn fill(&self, value: u64) {
        self.view.fill(self.hand.block(), value);
    }

    /// Receives a message, of a dead one's first, or why there is none.
    pub(super) fn pop(&mut self) -> Result<u64, Popped> {
        if self.shared().policy == Policy::Redeliver
            && let Some(handle) = recover::adopt(&self.view, self.participant)
        {
            return Ok(self.inherit(handle));
        }
        let popped = self.ring.pop(&mut self.hand, || true).expect("the ring is corrupt");
        if popped != Popped::Done {
            return Err(popped);
        }
        if mutant("acknowledge-before-read") {
            self.ring.acknowledge(&self.hand);
        }
        let value = self.view.read(self.hand.block());
        self.ring.acknowledge(&self.hand);
        self.view.me.delivered.borrow_mut().push(value);
        self.view.step();
        Ok(value)
    }

    /// Delivers the message of an orphan.
    fn inherit(&self, handle: u32) -> u64 {
        let (ring, block) = recover::legacy(&self.view, handle).expect("an orphan has a message");
        let value = self.view.read(block);
        self.view.me.read.set(Some(value));
        recover::deliver(&self.view, handle, ring, self.participant);
        value
    }

    /// Recovers participant `dead`, if it is dead and nobody else is at it.
    pub(super) fn reap(&self, dead: u32) {
        let Shared { participants, leases, common, policy, .. } = &**self.shared();
        let is_dead = |id: u32| {
            race(common);
            leases[id as usize].load(Acquire) == 0
        };
        self.view.step();
        let reap = participants[dead as usize].claim(dead, self.participant, is_dead);
        if reap.is_some() || mutant("recover-unclaimed") && is_dead(dead) {
            recover::recover(&self.view, dead, *policy);
        }
        if let Some(reap) = reap {
            self.view.step();
            participants[dead as usize].finish(&reap);
        }
    }

    /// Makes it look as if this handle had been about to take the block of `other` long ago.
    pub(super) fn has_announced(&self, other: &Self) {
        let Notes { intent, want, .. } = &self.shared().notes[self.handle as usize];
        want.store(other.hand.block(), Relaxed);
        intent.store(self.shared().first_pop.get(), Relaxed);
    }

    /// Works until it is done or, after `steps` accesses, killed; whether it was killed.
    pub(super) fn live(&mut self, steps: u32, work: impl FnOnce(&mut Self)) -> bool {
        self.view.me.life.renew(steps);
        let is_killed = live(|| work(self));
        if is_killed {
            // The kernel's edge: whoever finds the lease gone sees all stores of the dead.
            self.shared().leases[self.participant as usize].store(0, Release);
        }
        is_killed
    }

    /// The same on a thread of its own.
    pub(super) fn spawn(mut self, steps: u32, work: impl Work) -> JoinHandle<Self> {
        thread::spawn(move || {
            self.live(steps, work);
            self
        })
    }
}

/// How many slots a model's ring has: up to `usual`, and more in a deeper look.
pub(super) fn slots(usual: u32) -> std::ops::RangeInclusive<u32> {
    1..=if std::env::var_os("MULTIPROC_PREEMPTIONS").is_some() { 3 } else { usual }
}

/// The work of sending these, what of them can be sent.
pub(super) fn send(values: &'static [u64]) -> impl Fn(&mut Peer) + Send + Sync {
    |peer| values.iter().for_each(|&value| _ = peer.push(value))
}

/// The work of receiving as many messages, if they are there.
pub(super) fn receive(count: u32) -> impl Fn(&mut Peer) + Send + Sync {
    move |peer| (0..count).for_each(|_| _ = peer.pop())
}

/// `N` participants of a queue that has been used for a lap, so that the cursors of all but the
/// last of them are stale.
pub(super) fn peers<const N: usize>(slots: u32, policy: Policy) -> [Peer; N] {
    let shared = Shared::new(slots, N as u32, policy);
    let view = View::new(&shared);
    Ring::new(view.clone()).prepare(false);
    shared.first_pop.set(shared.hints.head.position.load(Relaxed));
    let mut peers = std::array::from_fn(|id| {
        shared.leases[id].store(1, Relaxed);
        assert!(shared.participants[id].join(0));
        let handle = handle::attach(&view, id as u32, Ends::BOTH).unwrap();
        Peer::new(&shared, id as u32, handle)
    });
    let last = &mut peers[N - 1];
    for _ in 0..slots {
        assert_eq!(last.push(0), Pushed::Done);
        assert_eq!(last.pop(), Ok(0));
    }
    last.view.me.accepted.borrow_mut().clear();
    last.view.me.delivered.borrow_mut().clear();
    peers
}

/// Recovers every corpse and drains the queue, then checks what holds whenever nothing is going on.
pub(super) fn finish(mut me: Peer, others: impl IntoIterator<Item = Peer>) {
    drain(&mut me, others);
    for value in 0..me.shared().shape.slots() {
        assert_eq!(me.push(value.into()), Pushed::Done, "full of {value}");
    }
    assert_eq!(me.push(9), Pushed::Full, "too many");
    for value in 0..me.shared().shape.slots() {
        assert_eq!(me.pop(), Ok(value.into()));
    }
    assert_eq!(me.pop(), Err(Popped::Empty));
}

/// The first half of [`finish`]: of the messages so far, none is gone, torn, or there twice.
pub(super) fn drain(me: &mut Peer, others: impl IntoIterator<Item = Peer>) {
    let shared = Rc::clone(me.shared());
    (0..shared.shape.handles()).for_each(|id| me.reap(id));
    while me.pop().is_ok() {}
    every_block_has_one_place(&shared);
    let others: Vec<_> = others.into_iter().map(|peer| peer.view.me).collect();
    let all = || others.iter().chain([&me.view.me]);
    all().for_each(|peer| assert!(is_in_order(&shared, &peer.delivered.borrow()), "out of order"));
    let mut accepted: Vec<u64> = all().flat_map(|peer| peer.accepted.borrow().clone()).collect();
    let mut delivered: Vec<u64> = all().flat_map(|peer| peer.delivered.borrow().clone()).collect();
    accepted.sort_unstable();
    delivered.sort_unstable();
    let lost = match shared.policy {
        Policy::AtMostOnce => {
            let casualties = |handle| me.ring.scratch_of(handle).casualties as usize;
            (0..shared.shape.handles()).map(casualties).sum()
        }
        Policy::Redeliver => 0,
    };
    assert!(delivered.windows(2).all(|pair| pair[0] < pair[1]), "twice: {delivered:?}");
    assert!(delivered.iter().all(|value| accepted.contains(value)), "{accepted:?} {delivered:?}");
    assert_eq!(accepted.len(), delivered.len() + lost, "{accepted:?} {delivered:?}");
}

fn every_block_has_one_place(shared: &Shared) {
    // The block is in the low bits of both kinds of words.
    let mask = u64::from(shared.shape.blocks().next_power_of_two() - 1);
    let mut seen = vec![false; shared.payloads.len()];
    let mut place = |word: u64| {
        let block = (word & mask) as usize;
        assert!(!std::mem::replace(&mut seen[block], true), "block {block} twice");
        block
    };
    for slot in &shared.slots {
        place(slot.load(Acquire));
    }
    for (handle, notes) in shared.notes.iter().enumerate() {
        let scratch = notes.scratch.load(Acquire);
        let owner = shared.owners[place(scratch)].load(Acquire);
        assert_eq!(owner, handle as u32 + 1, "not the owner of its block");
        assert_eq!(scratch >> 32 & 1, 0, "a message is stuck");
    }
}

/// Whether messages of one sender, which have the same tens, were received in their order.
fn is_in_order(shared: &Shared, received: &[u64]) -> bool {
    let is_after = |early: &u64, late: &u64| early / 10 != late / 10 || early < late;
    // A message that is delivered again is late.
    shared.policy == Policy::Redeliver
        || (0..received.len()).all(|at| received[..at].iter().all(|e| is_after(e, &received[at])))
}

/// The steps before which a death leaves other memory than a step earlier, when `work` is done
/// alone in a `scene`, by one of those in it.
pub(super) fn deaths(
    scene: impl Fn() -> Peer + Send + Sync + 'static,
    work: impl Fn(&mut Peer) + Send + Sync + 'static,
) -> Vec<u32> {
    let found = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let result = std::sync::Arc::clone(&found);
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 1_000_000;
    builder.check(move || {
        let mut found = result.lock().unwrap();
        let mut last = None;
        for steps in 0.. {
            let mut peer = scene();
            let is_killed = peer.live(steps, &work);
            let words = Some(peer.shared().words());
            if words != last {
                found.push(steps);
                last = words;
            }
            if !is_killed {
                return;
            }
        }
    });
    let found = found.lock().unwrap();
    found.clone()
}
