//! Models of a death in the block-swap ring: what is recovered while the others go on.

use loom::thread;

use super::death::Life;
use super::swap_memory::{Peer, deaths, finish, peers, receive, send, slots};
use super::{expect_caught, model};
use crate::raw::swap::handle::{self, State};
use crate::raw::swap::recover::Policy::*;

/// The deaths of a producer, of one alone.
fn producer_deaths(slots: u32) -> Vec<u32> {
    let scene = move || {
        let [dying, _other] = peers(slots, AtMostOnce);
        dying
    };
    deaths(scene, send(&[11]))
}

/// The deaths of a consumer, of one alone.
fn consumer_deaths(slots: u32) -> Vec<u32> {
    let scene = move || {
        let [dying, mut other] = peers(slots, AtMostOnce);
        send(&[31])(&mut other);
        dying
    };
    deaths(scene, receive(1))
}

/// The deaths of whoever recovers a producer that died after `steps`.
fn reaper_deaths(steps: u32) -> Vec<u32> {
    let scene = move || {
        let [mut dead, reaper] = peers(1, AtMostOnce);
        dead.live(steps, send(&[11]));
        reaper
    };
    deaths(scene, reap(0))
}

fn reap(dead: u32) -> impl Fn(&mut Peer) + Send + Sync {
    move |peer| peer.reap(dead)
}

/// A producer is recovered while a consumer takes its message, if it is there.
#[test]
fn a_dead_producer_is_recovered() {
    for slots in slots(2) {
        for steps in producer_deaths(slots) {
            model(&format!("swap dead producer, {slots} slots, at {steps}"), 3, move || {
                let [mut dead, consumer, mut me] = peers(slots, AtMostOnce);
                dead.live(steps, send(&[11]));
                consumer.has_announced(&dead);
                let consumer = consumer.spawn(Life::ENDLESS, receive(2));
                send(&[32])(&mut me);
                me.reap(0);
                finish(me, [consumer.join().unwrap(), dead]);
            });
        }
    }
}

/// The same, while another producer sends.
#[test]
fn a_dead_producer_is_recovered_beside_a_live_one() {
    for slots in slots(2) {
        for steps in producer_deaths(slots) {
            model(&format!("swap dead producer of 3, {slots} slots, at {steps}"), 2, move || {
                let [mut dead, consumer, producer, me] = peers(slots, AtMostOnce);
                dead.live(steps, send(&[11]));
                consumer.has_announced(&dead);
                let consumer = consumer.spawn(Life::ENDLESS, receive(2));
                let producer = producer.spawn(Life::ENDLESS, send(&[21]));
                me.reap(0);
                finish(me, [consumer.join().unwrap(), producer.join().unwrap(), dead]);
            });
        }
    }
}

/// A producer whose exchange another one made is recovered.
#[test]
fn a_dead_producer_that_had_lost_is_recovered() {
    for slots in slots(2) {
        for steps in producer_deaths(slots).into_iter().filter(|steps| (3..7).contains(steps)) {
            model(&format!("swap dead loser, {slots} slots, at {steps}"), 3, move || {
                let [mut dead, consumer, mut me] = peers(slots, AtMostOnce);
                dead.live(steps, send(&[11]));
                send(&[31])(&mut me);
                consumer.has_announced(&dead);
                let consumer = consumer.spawn(Life::ENDLESS, receive(2));
                send(&[32])(&mut me);
                me.reap(0);
                finish(me, [consumer.join().unwrap(), dead]);
            });
        }
    }
}

/// A consumer is recovered while its slot is filled again.
#[test]
fn a_dead_consumer_is_recovered() {
    for (slots, policy) in [(1, AtMostOnce), (1, Redeliver), (2, AtMostOnce), (2, Redeliver)] {
        for steps in consumer_deaths(slots) {
            let name = format!("swap dead consumer, {slots} slots, {policy:?}, at {steps}");
            model(&name, 3, move || {
                let [mut dead, producer, mut me] = peers(slots, policy);
                send(&[31])(&mut me);
                dead.live(steps, receive(1));
                let producer = producer.spawn(Life::ENDLESS, send(&[21, 22]));
                me.reap(0);
                finish(me, [producer.join().unwrap(), dead]);
            });
        }
    }
}

/// The same, while another consumer receives.
#[test]
fn a_dead_consumer_is_recovered_beside_a_live_one() {
    for (slots, policy) in [(1, AtMostOnce), (2, Redeliver)] {
        for steps in consumer_deaths(slots) {
            let name = format!("swap dead consumer of 3, {slots} slots, {policy:?}, at {steps}");
            model(&name, 2, move || {
                let [mut dead, producer, consumer, mut me] = peers(slots, policy);
                send(&[31])(&mut me);
                dead.live(steps, receive(1));
                let producer = producer.spawn(Life::ENDLESS, send(&[21, 22]));
                let consumer = consumer.spawn(Life::ENDLESS, receive(1));
                me.reap(0);
                finish(me, [producer.join().unwrap(), consumer.join().unwrap(), dead]);
            });
        }
    }
}

/// Two reapers find one corpse, while a consumer takes what it sent.
#[test]
fn two_reapers_find_a_corpse() {
    for slots in slots(2) {
        for steps in producer_deaths(slots) {
            model(&format!("swap two reapers, {slots} slots, dead at {steps}"), 2, move || {
                two_reapers(slots, steps, Life::ENDLESS);
            });
        }
    }
}

fn two_reapers(slots: u32, steps: u32, reaper_steps: u32) {
    let [mut dead, reaper, consumer, me] = peers(slots, AtMostOnce);
    dead.live(steps, send(&[11]));
    let reaper = reaper.spawn(reaper_steps, reap(0));
    let consumer = consumer.spawn(Life::ENDLESS, receive(1));
    me.reap(0);
    finish(me, [reaper.join().unwrap(), consumer.join().unwrap(), dead]);
}

/// A reaper dies, too; another one begins anew.
#[test]
fn a_reaper_dies() {
    for steps in producer_deaths(1) {
        for reaper_steps in reaper_deaths(steps) {
            let name = format!("swap dead reaper, at {reaper_steps}, of one dead at {steps}");
            model(&name, 2, move || two_reapers(1, steps, reaper_steps));
        }
    }
}

/// Two corpses, of which one took the other's block, or had tried to; and two reapers, of which one
/// may die.
#[test]
fn two_corpses_are_recovered() {
    // From the exchange on, of the one; from the announcement on, of the other.
    for (steps, taker_steps) in pairs(&producer_deaths(1)[3..], &consumer_deaths(1)[2..]) {
        for reaper_steps in reaper_deaths(steps).split_off(1) {
            let name = format!("swap two corpses, {steps}, {taker_steps}, {reaper_steps}");
            model(&name, 2, move || {
                let [mut dead, mut taker, reaper, me] = peers(1, Redeliver);
                dead.live(steps, send(&[11]));
                taker.live(taker_steps, receive(1));
                let reaper = reaper.spawn(reaper_steps, |peer| {
                    peer.reap(0);
                    peer.reap(1);
                });
                me.reap(1);
                me.reap(0);
                finish(me, [reaper.join().unwrap(), dead, taker]);
            });
        }
    }
}

fn pairs(some: &[u32], others: &[u32]) -> Vec<(u32, u32)> {
    some.iter().flat_map(|&one| others.iter().map(move |&other| (one, other))).collect()
}

/// A new process takes the place of a corpse and its handle, while another one has stale cursors,
/// and another reaper still looks for the old corpse.
#[test]
fn a_handle_is_used_again() {
    // Before the exchange and behind it, and behind it.
    let (producer, consumer) = (producer_deaths(1), consumer_deaths(1));
    let dead = [(AtMostOnce, producer[2]), (AtMostOnce, producer[3]), (Redeliver, consumer[3])];
    for (policy, steps) in dead {
        model(&format!("swap heir, {policy:?}, dead at {steps}"), 2, move || {
            let [mut dead, stale, mut me] = peers(1, policy);
            if policy == Redeliver {
                send(&[31])(&mut me);
                dead.live(steps, receive(1));
            } else {
                dead.live(steps, send(&[11]));
            }
            let heir = thread::spawn(move || {
                let heir = dead.next().map(|mut heir| {
                    send(&[41])(&mut heir);
                    let state = handle::state(&heir.view, heir.handle);
                    assert!(matches!(state, State::Live { participant: 0, .. }), "robbed");
                    heir
                });
                [Some(dead), heir]
            });
            let stale = stale.spawn(Life::ENDLESS, |peer| {
                peer.reap(0);
                receive(1)(peer);
            });
            me.reap(0);
            let heirs = heir.join().unwrap().into_iter().flatten();
            finish(me, heirs.chain([stale.join().unwrap()]));
        });
    }
}

/// What a dead consumer had in its hands goes to exactly one other, also if these die.
#[test]
fn an_orphan_is_delivered_once() {
    let holding = consumer_deaths(2)[4];
    let orphan = move || {
        let [mut dead, adopter, mut me] = peers(2, Redeliver);
        send(&[31, 32])(&mut me);
        dead.live(holding, receive(1));
        (dead, adopter, me)
    };
    let scene = move || {
        let (_dead, adopter, me) = orphan();
        me.reap(0);
        adopter
    };
    let adopter_deaths = deaths(scene, receive(1));
    let reaper_deaths = deaths(move || orphan().1, reap(0));
    for (adopter_steps, reaper_steps) in pairs(&adopter_deaths, &reaper_deaths) {
        model(&format!("swap orphan, {adopter_steps}, {reaper_steps}"), 2, move || {
            let [mut dead, adopter, reaper, mut me] = peers(2, Redeliver);
            send(&[31, 32])(&mut me);
            dead.live(holding, receive(1));
            let adopter = adopter.spawn(adopter_steps, receive(1));
            let reaper = reaper.spawn(reaper_steps, |peer| {
                peer.reap(0);
                receive(1)(peer);
            });
            receive(1)(&mut me);
            me.reap(1);
            finish(me, [adopter.join().unwrap(), reaper.join().unwrap(), dead]);
        });
    }
}

#[test]
fn mutants_are_caught() {
    const TESTS: &str = "raw::tests::loom_swap_recover::";
    let table = [
        ("slot/Acquire", "a_dead_consumer_is_recovered"),
        ("want/Release", "a_dead_producer_is_recovered"),
        ("want/Acquire", "a_dead_producer_is_recovered"),
        ("intent/Release", "a_dead_consumer_is_recovered"),
        ("intent/Acquire", "a_dead_consumer_is_recovered"),
        ("announce-after", "a_dead_consumer_is_recovered"),
        ("intent-before-want", "a_dead_producer_that_had_lost_is_recovered"),
        ("owner-after-clear", "a_dead_consumer_is_recovered"),
        ("scratch-after-clear", "a_dead_consumer_is_recovered"),
        ("acknowledge-before-read", "a_dead_consumer_is_recovered"),
        ("no-slot-evidence", "a_dead_consumer_is_recovered"),
        ("no-intent-evidence", "a_dead_consumer_is_recovered"),
        ("no-owner-evidence", "a_dead_consumer_is_recovered"),
        ("intents-before-slot", "a_dead_producer_is_recovered"),
        ("owner-before-intents", "a_dead_consumer_is_recovered"),
        ("want-before-intent", "a_dead_producer_that_had_lost_is_recovered"),
        ("recover-clears-first", "a_reaper_dies"),
        ("recover-clears-first", "two_corpses_are_recovered"),
        ("recover-unclaimed", "a_handle_is_used_again"),
        ("orphan-after-state", "an_orphan_is_delivered_once"),
        ("adopter-skips-claim", "an_orphan_is_delivered_once"),
        ("handle/Release", "an_orphan_is_delivered_once"),
        ("handle/Acquire", "an_orphan_is_delivered_once"),
    ];
    let table: Vec<_> = table.iter().map(|(m, t)| (*m, format!("{TESTS}{t}"))).collect();
    expect_caught(&table.iter().map(|(m, t)| (*m, t.as_str())).collect::<Vec<_>>());
}
