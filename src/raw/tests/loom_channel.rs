//! The whole of a pipe in one model: slot ring, lane, seats of both sides, close, and a death at
//! any access to the ring. The models of the parts look closer; this one at how they are joined.

use loom::sync::Arc;
use loom::thread;

use super::death::{Life, live};
use super::loom_spsc::{self as ring, Shared};
use super::{expect_caught, model, race};
use crate::raw::lane::{Geometry, Lane, Role};
use crate::raw::wait::{Fence, Terms, Waited};
use crate::shim::Futex;
use crate::sys::clock::Deadline;

const WRITER: u32 = 1;
const READER: u32 = 2;

/// A pipe of plain values with room for one.
struct Channel {
    lane: Lane,
    ring: Arc<Shared>,
    epoch: Futex,
}

impl Channel {
    fn new() -> Arc<Self> {
        let channel = Self { lane: Lane::new(), ring: Shared::new(1, 0), epoch: Futex::new(0) };
        let geometry = Geometry { slot: None, capacity: 1, fingerprint: 0 };
        channel.lane.prepare(geometry, WRITER);
        assert!(channel.lane.hand_over(Role::Reader, WRITER, READER));
        Arc::new(channel)
    }

    fn terms(&self) -> Terms<'_> {
        Terms { epoch: &self.epoch, how: Fence::Asymmetric, deadline: Deadline::NEVER }
    }

    /// Waits on the side of `role` until `ready` says so.
    fn wait(&self, role: Role, mut ready: impl FnMut() -> bool) {
        let ready = || {
            race(&self.ring.race);
            ready()
        };
        let waited = self.lane.side(role).seat.wait(self.terms(), ready, || ());
        assert_eq!(waited, Waited::Ready);
    }

    /// Sends messages until the reader is gone, waiting for room. How many were sent is written
    /// down after each, as a killed writer cannot tell.
    fn send(&self, messages: u64, steps: u32, sent: &mut u64) {
        let mut producer = ring::producer(&self.ring, steps);
        for message in 0..messages {
            let mut is_there = false;
            self.wait(Role::Writer, || {
                is_there = ring::push(&mut producer, message);
                is_there || self.lane.other_side(Role::Writer).is_closed()
            });
            if !is_there {
                return;
            }
            *sent += 1;
            self.lane.side(Role::Reader).notify(Fence::Asymmetric);
        }
    }

    /// Receives up to so many messages, up to the end.
    fn receive(&self, most: usize) -> Vec<u64> {
        let mut consumer = ring::consumer(&self.ring, Life::ENDLESS);
        let mut taken = Vec::new();
        while taken.len() < most {
            let mut message = None;
            self.wait(Role::Reader, || {
                // In this order: what was sent before the close is there when the close is seen.
                let is_closed = self.lane.other_side(Role::Reader).is_closed();
                message = ring::pop(&mut consumer);
                message.is_some() || is_closed
            });
            let Some(message) = message else { return taken };
            taken.push(message);
            self.lane.side(Role::Writer).notify(Fence::Asymmetric);
        }
        taken
    }
}

/// Two messages through a pipe with room for one, and then its end.
#[test]
fn a_pipe_carries_everything_to_its_end() {
    model("a_pipe_carries_everything_to_its_end", 2, || {
        let channel = Channel::new();
        let reader = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.receive(3))
        };
        let mut sent = 0;
        channel.send(2, Life::ENDLESS, &mut sent);
        assert!(channel.lane.close(Role::Writer, WRITER, false));
        assert_eq!((reader.join().unwrap(), sent), (vec![0, 1], 2));
        assert!(!channel.lane.other_side(Role::Reader).has_died());
    });
}

/// The writer is killed before any one of its accesses to the ring. The reader hears of the end,
/// has all that was sent and nothing else, each once.
#[test]
fn a_reader_outlives_a_writer_killed_anywhere() {
    for steps in 0..12 {
        model(&format!("a writer killed after {steps} accesses"), 2, move || {
            let channel = Channel::new();
            let reader = {
                let channel = Arc::clone(&channel);
                thread::spawn(move || channel.receive(3))
            };
            let mut sent = 0;
            let was_killed = live(|| channel.send(2, steps, &mut sent));
            channel.lane.sweep(WRITER, was_killed);
            let taken = reader.join().unwrap();
            // What it was about to send can be there already.
            assert!((sent..=sent + 1).contains(&(taken.len() as u64)), "{taken:?} of {sent}");
            assert!(taken.iter().copied().eq(0..taken.len() as u64), "{taken:?}");
            assert_eq!(channel.lane.other_side(Role::Reader).has_died(), was_killed);
        });
    }
}

/// The reader goes while the writer waits for room; the writer hears of it.
#[test]
fn a_writer_does_not_wait_for_a_reader_that_is_gone() {
    model("a_writer_does_not_wait_for_a_reader_that_is_gone", 2, || {
        let channel = Channel::new();
        let writer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || {
                let mut sent = 0;
                channel.send(3, Life::ENDLESS, &mut sent);
                sent
            })
        };
        let taken = channel.receive(1);
        channel.lane.sweep(READER, true);
        let sent = writer.join().unwrap();
        assert_eq!(taken, [0]);
        assert!((1..=2).contains(&sent), "{sent} messages, of which one was taken");
    });
}

#[test]
fn mutants_are_caught() {
    expect_caught(&[
        ("slot-filled/Release", "raw::tests::loom_channel::a_pipe_carries_everything_to_its_end"),
        ("notify-wake", "raw::tests::loom_channel::a_pipe_carries_everything_to_its_end"),
        ("wait-look-again", "raw::tests::loom_channel::a_pipe_carries_everything_to_its_end"),
        ("lane-wake", "raw::tests::loom_channel::a_pipe_carries_everything_to_its_end"),
    ]);
}
