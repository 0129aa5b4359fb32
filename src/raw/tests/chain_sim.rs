//! A chain whose participants stop anywhere while the others go on, and go on later, or die.
//!
//! All of it happens in one thread, by the dice: who is stopped goes on when those are done, or
//! stopped or dead, who acted meanwhile. What it does not show, the models of two threads do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

#[cfg(multiproc_loom)]
use super::death::live;
use super::estate::{Actor, Arc, Estate, Sight};
#[cfg(not(multiproc_loom))]
use crate::raw::death::live;
use crate::raw::swap::Popped;
use crate::raw::swap::chain::Sent;

/// Participants; the first one is never stopped and never dies.
const PEOPLE: u32 = 4;

/// More than the accesses of anything that they do.
const STEPS: u64 = 150;

struct World {
    estate: Arc<Estate>,
    dice: Cell<u64>,
    people: RefCell<Vec<Person>>,
    log: RefCell<Log>,
    /// Whether it may be sealed, and how many are about to do that.
    has_end: bool,
    sealing: Cell<u32>,
}

enum Person {
    Idle(Box<Actor>, u64),
    Busy,
    Dead,
    Buried,
}

#[derive(Default)]
struct Log {
    /// How many senders there ever were; each numbers its messages.
    senders: u64,
    messages: u64,
    sent: BTreeSet<u64>,
    /// Their senders died with them.
    perhaps_sent: BTreeSet<u64>,
    taken: Vec<u64>,
    /// How many died while they received.
    losses: u64,
    /// How many sealed the chain, and how many died while they did.
    seals: (u64, u64),
}

const MESSAGES_EACH: u64 = 1000;

impl World {
    fn new(seed: u64) -> Rc<Self> {
        let dice = Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (slots, rings) = (1 + roll(&dice, 2) as u32, 2 + roll(&dice, 3) as u32);
        let estate = Estate::new(Sight::Full, slots, PEOPLE, rings, rings as usize);
        let people =
            (0..PEOPLE).map(|me| Person::Idle(Box::new(Actor::new(&estate, me)), u64::from(me)));
        let people = RefCell::new(people.collect());
        let log = Log { senders: u64::from(PEOPLE), ..Log::default() };
        let has_end = roll(&dice, 4) == 0;
        let (log, sealing) = (RefCell::new(log), Cell::new(0));
        Rc::new(Self { estate, dice, people, log, has_end, sealing })
    }

    fn roll(&self, sides: u64) -> u64 {
        roll(&self.dice, sides)
    }

    /// Lets somebody do something.
    fn act(self: &Rc<Self>, depth: u32) {
        let who = self.roll(u64::from(PEOPLE)) as usize;
        let idle = match &mut self.people.borrow_mut()[who] {
            person @ Person::Idle(..) => std::mem::replace(person, Person::Busy),
            person @ Person::Buried => {
                let number = self.log.borrow().senders;
                self.log.borrow_mut().senders += 1;
                *person = Person::Idle(Box::new(Actor::joining(&self.estate, who as u32)), number);
                return;
            }
            _ => return,
        };
        let Person::Idle(mut actor, number) = idle else { return };
        if who != 0 && depth < 4 && self.roll(2) == 0 {
            let (this, count) = (Rc::clone(self), 1 + self.roll(8));
            let meanwhile = move || (0..count).for_each(|_| this.act(depth + 1));
            actor.path().stop_at(1 + self.roll(STEPS) as u32, meanwhile);
        }
        if who != 0 && self.roll(8) == 0 {
            actor.path().die_at(self.roll(STEPS) as u32);
        }
        // Nobody acts while this one does.
        let is_alone = depth == 0 && who == 0;
        let is_dead = match self.roll(100) {
            0 if self.has_end => self.seal(&actor),
            1..12 => self.bury(&actor),
            12..56 => self.send(&mut actor, number, is_alone),
            _ => self.receive(&mut actor, is_alone),
        };
        actor.path().go_on();
        self.people.borrow_mut()[who] =
            if is_dead { Person::Dead } else { Person::Idle(actor, number) };
    }

    fn send(&self, actor: &mut Actor, number: u64, is_alone: bool) -> bool {
        let message = {
            let mut log = self.log.borrow_mut();
            log.messages += 1;
            number * MESSAGES_EACH + log.messages
        };
        let was_sealed = self.log.borrow().seals.0 > 0;
        let must_fit = is_alone && actor.len() == 0;
        let mut sent = None;
        let is_dead = live(|| sent = Some(actor.try_send(message)));
        let mut log = self.log.borrow_mut();
        match sent {
            Some(Sent::Done) => drop(log.sent.insert(message)),
            Some(Sent::Closed) => {
                assert!(log.seals != (0, 0) || self.sealing.get() > 0, "never sealed")
            }
            Some(_) => assert!(!must_fit, "no room in an empty chain"),
            None => drop(log.perhaps_sent.insert(message)),
        }
        assert!(!was_sealed || sent.is_none_or(|sent| sent == Sent::Closed), "sent beyond the end");
        is_dead
    }

    fn receive(&self, actor: &mut Actor, is_alone: bool) -> bool {
        let is_known = {
            let log = self.log.borrow();
            let is_known = is_alone && log.perhaps_sent.is_empty() && log.losses == 0;
            is_known.then(|| log.sent.len() - log.taken.len())
        };
        let was_sealed = self.log.borrow().seals.0 > 0;
        let mut taken = None;
        let is_dead = live(|| taken = Some(actor.try_receive()));
        let mut log = self.log.borrow_mut();
        match taken {
            Some(message) => {
                assert!(is_known.is_none_or(|count| (count > 0) == message.is_ok()));
                assert!(!was_sealed || message != Err(Popped::Empty), "the end is not seen");
                log.taken.extend(message);
            }
            None => log.losses += 1,
        }
        is_dead
    }

    fn seal(&self, actor: &Actor) -> bool {
        self.sealing.set(self.sealing.get() + 1);
        let is_dead = live(|| actor.seal());
        self.sealing.set(self.sealing.get() - 1);
        let (sealed, perhaps) = &mut self.log.borrow_mut().seals;
        *(if is_dead { perhaps } else { sealed }) += 1;
        is_dead
    }

    /// Buries somebody who is dead, if there is one whom nobody else buries.
    fn bury(&self, actor: &Actor) -> bool {
        let dead = {
            let mut people = self.people.borrow_mut();
            let dead = people.iter().position(|person| matches!(person, Person::Dead));
            let Some(dead) = dead else { return false };
            people[dead] = Person::Busy;
            dead
        };
        let is_dead = live(|| actor.bury(dead as u32));
        self.people.borrow_mut()[dead] = if is_dead { Person::Dead } else { Person::Buried };
        is_dead
    }

    /// Nothing is lost but what died in hands, nothing comes twice, and all of it in order.
    fn is_right(&self) {
        let mut people = self.people.borrow_mut();
        let Person::Idle(actor, _) = &mut people[0] else { panic!("nobody is busy now") };
        let mut actor = std::mem::replace(actor, Box::new(Actor::new(&self.estate, 0)));
        for (dead, _) in
            people.iter().enumerate().filter(|(_, person)| matches!(person, Person::Dead))
        {
            actor.bury(dead as u32);
        }
        let log = self.log.borrow();
        let left = actor.len();
        let drained = actor.drain();
        assert!(log.seals.0 == 0 || actor.try_receive() == Err(Popped::Closed));
        assert_eq!(left, drained.len() as u64);
        for &message in &drained {
            let earlier = |&&other: &&u64| other / MESSAGES_EACH == message / MESSAGES_EACH;
            let latest = log.taken.iter().filter(earlier).max();
            assert!(latest.is_none_or(|&latest| latest < message), "out of order");
        }
        let all: Vec<u64> = log.taken.iter().chain(&drained).copied().collect();
        let known: BTreeSet<u64> = all.iter().copied().collect();
        assert_eq!(known.len(), all.len(), "a message came twice");
        assert!(known.iter().all(|it| log.sent.contains(it) || log.perhaps_sent.contains(it)));
        let (lost, casualties) = (log.sent.difference(&known).count(), self.estate.casualties());
        assert!(lost as u64 <= casualties && casualties <= log.losses, "messages are gone");
        let popped = all.len() as u64 + casualties;
        assert_eq!(actor.totals(), (popped, popped));
        self.estate.is_sound();
        assert_eq!(self.estate.in_use(), 1, "a ring that nobody uses was not retired");
    }
}

fn roll(dice: &Cell<u64>, sides: u64) -> u64 {
    let mut next = dice.get();
    next ^= next << 13;
    next ^= next >> 7;
    next ^= next << 17;
    dice.set(next);
    (next >> 20) % sides
}

/// Lets them live for a while.
pub(super) fn run(seed: u64) {
    let world = World::new(seed);
    for _ in 0..40 {
        world.act(0);
    }
    world.is_right();
}
