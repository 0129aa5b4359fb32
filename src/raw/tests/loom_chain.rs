//! Models of the chain: growth, order, rings that live again, and a death at every step.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use loom::sync::Arc;
use loom::thread;

use super::death::live;
use super::estate::{Actor, Estate, Sight};
use super::{chain_sim, expect_caught, model};
use crate::raw::swap::Popped;
use crate::raw::swap::chain::Sent;

/// An estate with rings of one slot, and messages from 0 in its first rings. Nobody is in the last
/// handle any more.
fn filled(sight: Sight, handles: u32, rings: u32, messages: u64) -> Arc<Estate> {
    let estate = Estate::new(sight, 1, handles, rings, rings as usize);
    let mut actor = Actor::new(&estate, handles - 1);
    (0..messages).for_each(|message| assert!(actor.send(message)));
    estate
}

/// The chain is as good as new: it takes messages over all its rings, and gives them and the memory
/// back.
fn works(estate: &Arc<Estate>, me: u32, messages: u64) {
    let mut actor = Actor::new(estate, me);
    estate.is_sound();
    assert!(actor.drain().is_empty(), "a message that nobody knows of");
    for message in 0..messages {
        assert!(actor.send(message), "no room in an empty chain");
    }
    assert_eq!(actor.len(), messages);
    assert!(actor.drain().into_iter().eq(0..messages));
    estate.is_sound();
    assert_eq!(estate.in_use(), 1, "a ring that nobody uses was not retired");
}

#[test]
fn a_chain_grows_and_shrinks() {
    for (sight, preemptions) in [(Sight::Weak, 2), (Sight::Full, 2)] {
        model(&format!("chain, 1P1C, {sight:?}"), preemptions, move || {
            let estate = filled(sight, 2, 3, 1);
            let theirs = Arc::clone(&estate);
            let sender = thread::spawn(move || {
                assert!(Actor::new(&theirs, 0).send(1));
            });
            let mut receiver = Actor::new(&estate, 1);
            let mut taken: Vec<u64> = (0..2).filter_map(|_| receiver.receive()).collect();
            sender.join().unwrap();
            taken.extend(receiver.drain());
            assert_eq!(taken, [0, 1]);
            assert_eq!(receiver.totals(), (2, 2));
            works(&estate, 0, 3);
        });
    }
}

#[test]
fn two_switch_at_once() {
    // With two rings, the slower one has none left to claim, and helps or gives up.
    for (sight, rings, preemptions) in
        [(Sight::Weak, 2, 1), (Sight::Full, 2, 2), (Sight::Full, 3, 2)]
    {
        model(&format!("chain, 2P, {sight:?}, {rings} rings"), preemptions, move || {
            let estate = filled(sight, 3, rings, 1);
            let theirs = Arc::clone(&estate);
            let sender = thread::spawn(move || Actor::new(&theirs, 0).send(1).then_some(1));
            let mine = Actor::new(&estate, 1).send(2).then_some(2);
            let sent: Vec<u64> =
                [Some(0), sender.join().unwrap(), mine].into_iter().flatten().collect();
            assert_eq!(sent.len() as u32, rings);
            let mut taken = Actor::new(&estate, 2).drain();
            taken[1..].sort_unstable();
            assert_eq!(taken, sent);
            works(&estate, 2, u64::from(rings));
        });
    }
}

/// Whoever looks at all rings finds those right that are new.
#[test]
fn a_new_ring_is_right() {
    model("chain, a new ring", 2, || {
        let estate = filled(Sight::Weak, 3, 2, 1);
        let theirs = Arc::clone(&estate);
        let sender = thread::spawn(move || assert!(Actor::new(&theirs, 0).send(1)));
        let (pushed, popped) = Actor::new(&estate, 1).totals();
        assert!((1..=2).contains(&pushed) && popped == 0);
        sender.join().unwrap();
    });
}

#[test]
fn two_leave_at_once() {
    for (sight, preemptions) in [(Sight::Weak, 1), (Sight::Full, 2)] {
        model(&format!("chain, 2C, {sight:?}"), preemptions, move || {
            let estate = filled(sight, 3, 3, 2);
            let theirs = Arc::clone(&estate);
            let receiver = thread::spawn(move || {
                let mut receiver = Actor::new(&theirs, 0);
                [receiver.receive(), receiver.receive()]
            });
            let mut actor = Actor::new(&estate, 1);
            let mine = [actor.receive(), actor.receive()];
            let theirs = receiver.join().unwrap();
            assert!(mine.is_sorted_by_key(|message| message.is_none()));
            let mut taken: Vec<u64> = mine.into_iter().chain(theirs).flatten().collect();
            taken.sort_unstable();
            assert_eq!(taken, [0, 1]);
            works(&estate, 2, 3);
        });
    }
}

#[test]
fn three_meet() {
    model("chain, 2P1C", 1, || {
        let estate = filled(Sight::Full, 4, 3, 1);
        let senders = [0, 1].map(|me| {
            let estate = Arc::clone(&estate);
            thread::spawn(move || assert!(Actor::new(&estate, me).send(u64::from(me) + 1)))
        });
        let mut receiver = Actor::new(&estate, 2);
        let mut taken: Vec<u64> = (0..2).filter_map(|_| receiver.receive()).collect();
        for sender in senders {
            sender.join().unwrap();
        }
        taken.extend(receiver.drain());
        taken[1..].sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
        works(&estate, 3, 3);
    });
}

/// A receiver whose ring lives again finds the older messages first.
#[test]
fn a_receiver_that_was_away_takes_the_oldest() {
    for (sight, preemptions) in [(Sight::Weak, 1), (Sight::Full, 2)] {
        model(&format!("chain, stale receiver, {sight:?}"), preemptions, move || {
            let estate = Estate::new(sight, 1, 3, 2, 2);
            let mut away = Actor::new(&estate, 0);
            let mut actor = Actor::new(&estate, 1);
            assert!(actor.send(0) && actor.send(1));
            let mover = thread::spawn(move || {
                let taken: Vec<u64> = (0..2).filter_map(|_| actor.receive()).collect();
                let sent = (2..4).take_while(|&message| actor.send(message)).count() as u64;
                (taken, 2 + sent)
            });
            let mut taken: Vec<u64> = (0..2).filter_map(|_| away.receive()).collect();
            let (theirs, sent) = mover.join().unwrap();
            taken.extend(away.drain());
            assert!(taken.is_sorted() && theirs.is_sorted(), "out of order");
            taken.extend(theirs);
            taken.sort_unstable();
            assert!(taken.into_iter().eq(0..sent));
            works(&estate, 2, 2);
        });
    }
}

/// Whoever sent a message finds one, also if its ring is open and not yet the tail.
#[test]
fn a_message_that_was_sent_is_found() {
    model("chain, exact", 2, || {
        let estate = Estate::new(Sight::Full, 1, 3, 2, 2);
        let mut actor = Actor::new(&estate, 1);
        assert!(actor.send(0) && actor.send(1));
        // Its hand is in ring 1, which is free in the end.
        let mut early = Actor::new(&estate, 0);
        assert_eq!(actor.drain(), [0, 1]);
        assert!(actor.send(2) && actor.send(2));
        assert_eq!(actor.drain(), [2, 2]);
        assert!(actor.send(3));
        // There is no room where the other one has the ring, or has filled it.
        let sender = thread::spawn(move || actor.send(4).then_some(4));
        let mut sent = vec![3];
        if early.push(5) || early.send(5) {
            sent.push(5);
        }
        let mut taken: Vec<u64> = sent.iter().map(|_| early.receive().unwrap()).collect();
        sent.extend(sender.join().unwrap());
        taken.extend(early.drain());
        taken.sort_unstable();
        sent.sort_unstable();
        assert_eq!(taken, sent);
        works(&estate, 2, 2);
    });
}

/// Whoever retires a ring finds those gone who were in it.
#[test]
fn an_empty_ring_is_left_in_peace() {
    model("chain, retired by another", 2, || {
        let estate = Estate::new(Sight::Weak, 2, 3, 2, 2);
        let mut actor = Actor::new(&estate, 0);
        (0..3).for_each(|message| assert!(actor.send(message)));
        let receiver = thread::spawn(move || actor.drain());
        Actor::new(&estate, 1).bury(2);
        assert_eq!(receiver.join().unwrap(), [0, 1, 2]);
        estate.is_sound();
        assert_eq!(estate.in_use(), 1);
    });
}

/// What slow receivers have in their hands stays.
#[test]
fn a_block_in_hands_is_left_in_peace() {
    model("chain, slow receivers", 1, || {
        let estate = Estate::new(Sight::Weak, 2, 3, 2, 2);
        let mut actor = Actor::new(&estate, 2);
        (0..3).for_each(|message| assert!(actor.send(message)));
        let receivers = [0, 1].map(|me| {
            let estate = Arc::clone(&estate);
            thread::spawn(move || {
                let mut receiver = Actor::new(&estate, me);
                [receiver.receive(), receiver.receive()]
            })
        });
        let taken = receivers.map(|receiver| receiver.join().unwrap());
        let mut taken: Vec<u64> = taken.into_iter().flatten().flatten().collect();
        taken.extend(Actor::new(&estate, 2).drain());
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
        estate.is_sound();
    });
}

/// A ring is made use of again after its memory was given back.
#[test]
fn a_retired_ring_is_furnished_again() {
    model("chain, furnished again", 2, || {
        let estate = filled(Sight::Weak, 3, 2, 2);
        let theirs = Arc::clone(&estate);
        let receiver = thread::spawn(move || {
            let mut receiver = Actor::new(&theirs, 0);
            (0..2).filter_map(|_| receiver.receive()).collect::<Vec<_>>()
        });
        let sent = Actor::new(&estate, 1).send(2);
        let mut taken = receiver.join().unwrap();
        taken.extend(Actor::new(&estate, 2).drain());
        assert!(taken.into_iter().eq(0..2 + u64::from(sent)));
        estate.is_sound();
    });
}

/// Nothing is sent after the end, and what was sent before arrives.
#[test]
fn a_sealed_chain_takes_nothing() {
    for (sight, preemptions) in [(Sight::Weak, 1), (Sight::Full, 2)] {
        model(&format!("chain, sealed, {sight:?}"), preemptions, move || {
            let estate = filled(sight, 4, 3, 1);
            let theirs = Arc::clone(&estate);
            let sender = thread::spawn(move || Actor::new(&theirs, 0).try_send(1));
            let mut actor = Actor::new(&estate, 1);
            actor.seal();
            assert_eq!(actor.try_send(2), Sent::Closed);
            let (mut taken, end) = all_of(&mut actor);
            assert_eq!(end, Popped::Closed);
            let sent = sender.join().unwrap();
            taken.extend(Actor::new(&estate, 2).drain());
            let expected = if sent == Sent::Done { vec![0, 1] } else { vec![0] };
            assert!(taken == expected && sent != Sent::Full, "{taken:?} {sent:?}");
            estate.is_sound();
            assert_eq!(estate.in_use(), 1);
        });
    }
}

/// What can be received, and why there is no more.
fn all_of(actor: &mut Actor) -> (Vec<u64>, Popped) {
    let mut taken = Vec::new();
    loop {
        match actor.try_receive() {
            Ok(message) => taken.push(message),
            Err(end) => return (taken, end),
        }
    }
}

/// What one does who may die meanwhile, after so many accesses; whether it did.
fn mortal(estate: &Arc<Estate>, steps: u32, what: impl FnOnce(&mut Actor)) -> bool {
    let mut actor = Actor::new(estate, 0);
    actor.path().die_at(steps);
    live(|| what(&mut actor))
}

/// A model for a death after each access, until nobody dies any more.
fn at_each_access(name: &str, body: impl Fn(u32) -> bool + Send + Sync + Copy + 'static) {
    for steps in 0.. {
        let died = std::sync::Arc::new(AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&died);
        model(&format!("chain, {name} dies at {steps}"), 1, move || {
            if body(steps) {
                died.store(true, Relaxed);
            }
        });
        if !seen.load(Relaxed) {
            return;
        }
    }
}

/// A sender dies in the middle of a switch; who is alive goes on, before it is buried and after.
#[test]
fn a_dead_sender_stalls_nobody() {
    at_each_access("sender beside a receiver", |steps| {
        let estate = filled(Sight::Full, 3, 3, 1);
        let theirs = Arc::clone(&estate);
        let sender = thread::spawn(move || {
            mortal(&theirs, steps, |sender| {
                let _ = sender.send(1);
            })
        });
        let mut actor = Actor::new(&estate, 1);
        let mut taken: Vec<u64> = (0..2).filter_map(|_| actor.receive()).collect();
        let is_dead = sender.join().unwrap();
        assert!(actor.send(2));
        taken.extend(actor.drain());
        assert!(taken == [0, 1, 2] || is_dead && taken == [0, 2], "{taken:?}");
        actor.bury(0);
        works(&estate, 2, 3);
        is_dead
    });
}

/// A receiver dies while it leaves a ring.
#[test]
fn a_dead_receiver_stalls_nobody() {
    at_each_access("receiver beside a receiver", |steps| {
        let estate = filled(Sight::Full, 3, 3, 2);
        let theirs = Arc::clone(&estate);
        let receiver = thread::spawn(move || {
            let mut taken = Vec::new();
            let is_dead = mortal(&theirs, steps, |receiver| {
                for _ in 0..2 {
                    taken.extend(receiver.receive());
                }
            });
            (taken, is_dead)
        });
        let mut actor = Actor::new(&estate, 1);
        let mut taken: Vec<u64> = actor.receive().into_iter().collect();
        let (theirs, is_dead) = receiver.join().unwrap();
        taken.extend(actor.drain());
        actor.bury(0);
        taken.extend(theirs);
        assert_eq!(taken.len() as u64 + estate.casualties(), 2);
        works(&estate, 2, 3);
        is_dead
    });
}

/// Whoever buries goes on where the dead stopped, while the others are there as well.
#[test]
fn a_burial_disturbs_nobody() {
    at_each_access("buried", |steps| {
        let estate = filled(Sight::Full, 3, 3, 1);
        let is_dead = mortal(&estate, steps, |sender| assert!(sender.send(1)));
        let theirs = Arc::clone(&estate);
        let sender = thread::spawn(move || assert!(Actor::new(&theirs, 1).send(2)));
        let mut actor = Actor::new(&estate, 2);
        if is_dead {
            actor.bury(0);
        }
        sender.join().unwrap();
        let taken = actor.drain();
        assert!(taken == [0, 1, 2] || is_dead && taken == [0, 2], "{taken:?}");
        works(&estate, 2, 3);
        is_dead
    });
}

/// Many scenes of one thread each: see there.
#[test]
fn who_stops_or_dies_anywhere_disturbs_nobody() {
    let start = std::time::Instant::now();
    for seed in 0..1000 {
        scene(move || chain_sim::run(seed));
    }
    println!("chain, 1000 scenes, {:.1?}", start.elapsed());
}

/// Two rings are never open at once: whoever sends later is received later. Whether somebody was
/// stopped.
fn an_early_message(stopped: u32) -> bool {
    let estate = Estate::new(Sight::Full, 1, 4, 2, 2);
    let mut actor = Actor::new(&estate, 1);
    assert!(actor.send(0) && actor.send(1));
    // Its hand is in ring 1, which is free in the end.
    let mut early = Actor::new(&estate, 0);
    assert_eq!(actor.drain(), [0, 1]);
    assert!(actor.send(2) && actor.send(2));
    assert_eq!(actor.drain(), [2, 2]);
    assert!(actor.send(3));
    let later = Rc::new(RefCell::new(Vec::new()));
    let (seen, mut other) = (Rc::clone(&later), Actor::new(&estate, 2));
    actor.path().stop_at(stopped, move || {
        seen.borrow_mut().extend(early.push(5).then_some(5));
        seen.borrow_mut().extend(other.receive());
        seen.borrow_mut().extend(other.push(6).then_some(6));
    });
    actor.send(4);
    actor.path().go_on();
    let mut sent = later.take();
    let was_stopped = !sent.is_empty();
    sent.retain(|&message| message != 3);
    let mut taken = Actor::new(&estate, 3).drain();
    taken.retain(|message| sent.contains(message));
    assert_eq!(taken, sent, "out of order");
    was_stopped
}

#[test]
fn who_sends_later_is_received_later() {
    let scenes = (1..).take_while(|&stopped| scene(move || an_early_message(stopped))).count();
    println!("chain, early message: {scenes} scenes");
    assert!(scenes > 10);
}

/// Something that happens in one way. Who is stopped keeps its frames, and those who act meanwhile
/// have theirs on top. What it returns.
fn scene<R: Copy + Default + Send + 'static>(
    body: impl Fn() -> R + Copy + Send + Sync + 'static,
) -> R {
    let result = std::sync::Arc::new(Mutex::new(R::default()));
    let seen = std::sync::Arc::clone(&result);
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 1_000_000;
    builder.check(move || {
        let thread = thread::Builder::new().stack_size(1 << 16);
        *seen.lock().unwrap() = thread.spawn(body).unwrap().join().unwrap();
    });
    let result = *result.lock().unwrap();
    result
}

/// Somebody is about to close an empty ring when others close it, leave it, and open it again. How
/// often it was stopped.
fn a_late_mark(appended: u32, first: u32, second: u32) -> u32 {
    let estate = filled(Sight::Full, 4, 2, 1);
    assert!(mortal(&estate, appended, |dying| assert!(dying.send(1))));
    let mut late = Actor::new(&estate, 1);
    let others = Rc::new(RefCell::new((Actor::new(&estate, 2), vec![0], Vec::new())));
    let (theirs, life, again) = (Rc::clone(&others), late.path(), Rc::clone(&others));
    let stops = Rc::new(Cell::new(0));
    let counted = Rc::clone(&stops);
    late.path().stop_at(first, move || {
        let (other, _, taken) = &mut *theirs.borrow_mut();
        taken.extend(other.receive());
        counted.set(1);
        life.stop_at(second, move || {
            let (other, sent, taken) = &mut *again.borrow_mut();
            counted.set(2);
            other.bury(0);
            sent.extend(other.send(20).then_some(20));
            taken.extend(other.receive());
            sent.extend(other.send(21).then_some(21));
            // This one only makes the switch: no message moves the tail on.
            sent.extend(other.push(22).then_some(22));
        });
    });
    let is_sent = late.send(10).then_some(10);
    late.path().go_on();
    let (other, sent, taken) = &mut *others.borrow_mut();
    if stops.get() < 2 {
        other.bury(0);
    }
    sent.extend(is_sent);
    taken.extend(other.drain());
    sent.sort_unstable();
    taken.sort_unstable();
    assert_eq!(sent, taken);
    works(&estate, 3, 2);
    stops.get()
}

#[test]
fn a_mark_that_comes_late_is_not_set() {
    let followed = |steps| {
        let estate = filled(Sight::Full, 4, 2, 1);
        mortal(&estate, steps, |dying| assert!(dying.send(1)));
        estate.is_followed(0)
    };
    let appended = (0..).find(|&steps| scene(move || followed(steps))).unwrap();
    let (mut scenes, start) = (0, std::time::Instant::now());
    for first in 1.. {
        let mut seconds = (1..).map(|second| scene(move || a_late_mark(appended, first, second)));
        let stops = seconds.by_ref().inspect(|_| scenes += 1).find(|&stops| stops < 2);
        if stops == Some(0) {
            break;
        }
    }
    println!("chain, late mark: {scenes} scenes, {:.1?}", start.elapsed());
}

/// Somebody is about to say that a ring is in use when it was left, and is claimed again.
#[test]
fn a_claim_is_not_taken_for_an_older_one() {
    let dies = |steps| {
        let estate = filled(Sight::Full, 4, 2, 1);
        mortal(&estate, steps, |dying| assert!(dying.send(1)))
    };
    let accesses = (1..).take_while(|&steps| scene(move || dies(steps)));
    for stopped in accesses {
        model(&format!("chain, claimed again, stopped at {stopped}"), 1, move || {
            let estate = filled(Sight::Full, 4, 2, 1);
            let mut late = Actor::new(&estate, 0);
            let claiming = Rc::new(RefCell::new(None));
            let (theirs, spawned) = (Arc::clone(&estate), Rc::clone(&claiming));
            late.path().stop_at(stopped, move || {
                let mut other = Actor::new(&theirs, 1);
                // To ring 1, and back to ring 0, which is full in the end; where there is room.
                other.send(20);
                other.drain();
                let _ = other.send(21) && other.send(22);
                other.drain();
                other.send(23);
                let mut claiming = Actor::new(&theirs, 2);
                *spawned.borrow_mut() = Some(thread::spawn(move || claiming.send(30)));
                thread::yield_now();
            });
            late.send(10);
            late.path().go_on();
            if let Some(claiming) = claiming.take() {
                claiming.join().unwrap();
            }
            Actor::new(&estate, 3).drain();
            works(&estate, 3, 2);
        });
    }
}

#[test]
fn mutants_are_caught() {
    macro_rules! caught {
        ($($mutant:literal by $test:ident,)*) => {
            let path = |test: &str| format!("raw::tests::loom_chain::{test}");
            let rows = [$(($mutant, path(stringify!($test)))),*];
            expect_caught(&rows.each_ref().map(|(mutant, test)| (*mutant, test.as_str())));
        };
    }
    caught! {
        "head/Acquire" by an_empty_ring_is_left_in_peace,
        "head/Release" by an_empty_ring_is_left_in_peace,
        "want/Acquire" by a_block_in_hands_is_left_in_peace,
        "claim-live" by a_new_ring_is_right,
        "close-before-append" by a_claim_is_not_taken_for_an_older_one,
        "close-unasked" by a_claim_is_not_taken_for_an_older_one,
        "discard-wanted" by a_block_in_hands_is_left_in_peace,
        "enliven-any" by a_claim_is_not_taken_for_an_older_one,
        "head-before-tail" by a_receiver_that_was_away_takes_the_oldest,
        "next/Acquire" by a_sealed_chain_takes_nothing,
        "next/Release" by a_sealed_chain_takes_nothing,
        "open-before-close" by who_sends_later_is_received_later,
        "open-same-era" by a_mark_that_comes_late_is_not_set,
        "open-unasked" by a_mark_that_comes_late_is_not_set,
        "place/Acquire" by a_new_ring_is_right,
        "place/Release" by a_new_ring_is_right,
        "pop-anywhere" by a_receiver_that_was_away_takes_the_oldest,
        "retire-before-head" by who_stops_or_dies_anywhere_disturbs_nobody,
        "retire-followers" by a_mark_that_comes_late_is_not_set,
        "ring-freed/Acquire" by a_receiver_that_was_away_takes_the_oldest,
        "ring-freed/Release" by a_receiver_that_was_away_takes_the_oldest,
        "slot/Release" by a_sealed_chain_takes_nothing,
        "tail-before-open" by a_new_ring_is_right,
        "tail/Acquire" by a_new_ring_is_right,
        "tail/Release" by a_new_ring_is_right,
    }
}
