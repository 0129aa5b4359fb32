//! Models of the block-swap ring with everybody at work: deaths at any access, exact ends, hints,
//! closing; and of its handles.

use std::cell::Cell;
use std::rc::Rc;

use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::death::Life;
use super::swap_memory::{Peer, deaths, drain, finish, peers, receive, send, slots};
use super::{expect_caught, model};
use crate::raw::swap::handle::{self, Ends, State};
use crate::raw::swap::recover::Policy::{self, *};
use crate::raw::swap::{Popped, Pushed};
use crate::shim::Ordering::*;

/// Whoever dies in the models below.
fn first(slots: u32, policy: Policy) -> Peer {
    let [first, ..] = peers::<3>(slots, policy);
    first
}

/// A producer dies while another one and a consumer work, and is recovered dead or alive.
#[test]
fn a_producer_dies_at_work() {
    for slots in slots(2) {
        for steps in deaths(move || first(slots, AtMostOnce), send(&[11])) {
            model(&format!("swap 2P1C, {slots} slots, dies at {steps}"), 2, move || {
                let [dying, other, mut me] = peers(slots, AtMostOnce);
                let dying = dying.spawn(steps, send(&[11]));
                let more = if slots == 1 { &[21, 22][..] } else { &[21] };
                let other = other.spawn(Life::ENDLESS, send(more));
                receive(2)(&mut me);
                me.reap(0);
                finish(me, [dying.join().unwrap(), other.join().unwrap()]);
            });
        }
    }
}

/// A consumer dies while another one and a producer work, and is recovered dead or alive.
#[test]
fn a_consumer_dies_at_work() {
    for (slots, policy) in [(1, AtMostOnce), (1, Redeliver), (2, AtMostOnce)] {
        let scene = move || {
            let [dying, mut other] = peers(slots, policy);
            send(&[31])(&mut other);
            dying
        };
        for steps in deaths(scene, receive(1)) {
            let name = format!("swap 1P2C, {slots} slots, {policy:?}, dies at {steps}");
            model(&name, 2, move || {
                let [dying, other, mut me] = peers(slots, policy);
                (0..slots).for_each(|value| _ = me.push(31 + u64::from(value)));
                let dying = dying.spawn(steps, receive(1));
                let other = other.spawn(Life::ENDLESS, receive(1));
                send(&[39])(&mut me);
                me.reap(0);
                finish(me, [dying.join().unwrap(), other.join().unwrap()]);
            });
        }
    }
}

/// Nobody who knows better is told that the ring is full, or empty.
#[test]
fn full_and_empty_are_exact() {
    for slots in 1..=3 {
        for is_full in [true, false] {
            model(&format!("swap exact, {slots} slots, full: {is_full}"), 3, move || {
                let [other, mut me] = peers(slots, AtMostOnce);
                let fill = if is_full { slots } else { 0 };
                (0..fill).for_each(|value| _ = me.push(31 + u64::from(value)));
                let done = Rc::new(AtomicU64::new(0));
                let told = Rc::clone(&done);
                let other = other.spawn(Life::ENDLESS, move |peer| {
                    if is_full {
                        receive(1)(peer)
                    } else {
                        send(&[11])(peer)
                    }
                    told.store(1, Release);
                });
                let known = done.load(Acquire) == 1;
                let worked = match is_full {
                    true => me.push(39) == Pushed::Done,
                    false => me.pop().is_ok(),
                };
                assert!(worked || !known, "a wrong verdict");
                finish(me, [other.join().unwrap()]);
            });
        }
    }
}

/// A handle begins at the hints, and another one far behind them, while the ring moves on.
#[test]
fn a_hint_is_not_ahead() {
    for slots in slots(2) {
        model(&format!("swap hints, {slots} slots"), 2, move || {
            let [gone, other, me] = peers(slots, AtMostOnce);
            assert!(handle::detach(&gone.view, 0, 0));
            let other = other.spawn(Life::ENDLESS, |peer| {
                send(&[21])(peer);
                receive(1)(peer);
            });
            let mut fresh = me.enter(0).unwrap();
            send(&[11])(&mut fresh);
            receive(1)(&mut fresh);
            finish(me, [other.join().unwrap(), fresh]);
        });
    }
}

/// A ring is closed at its tail while it is used: nothing is sent any more, nothing is lost, and
/// who is told that it is empty for ever is told the truth.
#[test]
fn a_closed_ring_is_drained() {
    for (slots, before) in [(1, 0), (1, 1), (2, 1)] {
        model(&format!("swap closing, {slots} slots, {before} of them full"), 2, move || {
            let [sender, receiver, mut me] = peers(slots, AtMostOnce);
            (0..before).for_each(|value| _ = me.push(31 + value));
            let sender = sender.spawn(Life::ENDLESS, |peer| {
                let first = peer.push(11);
                assert!(peer.push(12) == Pushed::Closed || first != Pushed::Closed, "open again");
            });
            let told = Rc::new(Cell::new(None));
            let tell = Rc::clone(&told);
            let receiver = receiver.spawn(Life::ENDLESS, move |peer| {
                tell.set(peer.pop().and_then(|_| peer.pop()).err());
            });
            me.ring.close(|| true).unwrap();
            let others = [sender.join().unwrap(), receiver.join().unwrap()];
            if told.get() == Some(Popped::Closed) {
                assert_eq!(me.pop(), Err(Popped::Closed), "not for ever");
            }
            drain(&mut me, others);
            assert_eq!((me.push(33), me.pop()), (Pushed::Closed, Err(Popped::Closed)));
        });
    }
}

/// The next owner of a handle finds the last one done with its block.
#[test]
fn a_free_handle_is_taken_with_its_block() {
    model("swap handles, freed and taken", 3, || {
        let [first, second] = peers(1, AtMostOnce);
        assert!(handle::detach(&second.view, 1, 1));
        let first = first.spawn(Life::ENDLESS, |peer| {
            peer.fill(11);
            assert!(handle::detach(&peer.view, 0, 0));
        });
        if let Some(handle) = handle::attach(&second.view, 1, Ends::BOTH) {
            second.seat(handle).fill(21);
        }
        let first = first.join().unwrap();
        drop((first, second));
    });
}

/// A handle travels to another participant by way of a third.
#[test]
fn a_handle_travels_with_its_block() {
    model("swap handles, travelling", 3, || {
        let [first, second, _courier] = peers(1, AtMostOnce);
        let first = first.spawn(Life::ENDLESS, |peer| {
            peer.fill(11);
            assert!(handle::hand_over(&peer.view, 0, 0, 2));
        });
        if handle::hand_over(&second.view, 0, 2, 1) {
            second.seat(0).fill(21);
            let is_mine = State::Live { participant: 1, ends: Ends::BOTH };
            assert_eq!(handle::state(&second.view, 0), is_mine);
        }
        first.join().unwrap();
    });
}

/// A sender moves to a handle that a scan for senders has passed, while a receiver comes.
#[test]
fn an_end_that_moves_is_not_overlooked() {
    model("swap handles, scanned", 2, || {
        let [free, sender, receiver, me] = peers(1, AtMostOnce);
        for peer in [&free, &receiver, &me] {
            assert!(handle::detach(&peer.view, peer.participant, peer.participant));
        }
        let sender = sender.spawn(Life::ENDLESS, |peer| {
            assert!(handle::attach(&peer.view, 1, Ends::SENDER).is_some());
            assert!(handle::detach(&peer.view, 1, 1));
        });
        let receiver = receiver.spawn(Life::ENDLESS, |peer| {
            assert!(handle::attach(&peer.view, 2, Ends::RECEIVER).is_some());
        });
        assert!(!handle::has_none(&me.view, Ends::SENDER), "a sender was overlooked");
        let sender = sender.join().unwrap();
        receiver.join().unwrap();
        for handle in 0..4 {
            handle::detach(&sender.view, handle, 1);
        }
        assert!(handle::has_none(&me.view, Ends::SENDER));
        assert!(!handle::has_none(&me.view, Ends::RECEIVER));
    });
}

/// Whoever sees that a message was taken finds it in the hand of its receiver, or what became of
/// it.
#[test]
fn a_message_in_a_hand_is_seen() {
    model("swap hands, looked into", 3, || {
        let [receiver, mut me] = peers(1, AtMostOnce);
        assert_eq!(me.push(31), Pushed::Done);
        let done = Rc::new(AtomicU64::new(0));
        let told = Rc::clone(&done);
        let receiver = receiver.spawn(Life::ENDLESS, move |peer| {
            assert_eq!(peer.ring.pop(&mut peer.hand, || true), Ok(Popped::Done));
            told.store(1, Relaxed);
            peer.ring.acknowledge(&peer.hand);
        });
        let (pushed, popped) = me.ring.totals(&mut me.hand).unwrap();
        if pushed == popped && !me.ring.is_popping(0) {
            assert_eq!(done.load(Relaxed), 1, "nobody has the message");
        }
        receiver.join().unwrap();
    });
}

#[test]
fn mutants_are_caught() {
    const TESTS: &str = "raw::tests::loom_swap::";
    let table = [
        ("slot/AcqRel", "full_and_empty_are_exact"),
        ("hint/Release", "a_hint_is_not_ahead"),
        ("hint/Acquire", "a_hint_is_not_ahead"),
        ("handle/Release", "a_free_handle_is_taken_with_its_block"),
        ("handle/Acquire", "a_free_handle_is_taken_with_its_block"),
        ("handle/AcqRel", "a_handle_travels_with_its_block"),
        ("handle-counted/Release", "an_end_that_moves_is_not_overlooked"),
        ("handle-counted/Acquire", "an_end_that_moves_is_not_overlooked"),
        ("handle-uncounted", "an_end_that_moves_is_not_overlooked"),
        ("scratch/Release", "a_message_in_a_hand_is_seen"),
        ("scratch/Acquire", "a_message_in_a_hand_is_seen"),
    ];
    let table: Vec<_> = table.iter().map(|(m, t)| (*m, format!("{TESTS}{t}"))).collect();
    expect_caught(&table.iter().map(|(m, t)| (*m, t.as_str())).collect::<Vec<_>>());
}
